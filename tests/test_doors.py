"""Doors on the client port: what strangers and greedy users do to a real node, and that all others do not notice."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import signal
import socket
import struct
import threading
import time

import pytest

from .real import Listener, RealCluster, check_logs, wait_until

pytestmark = pytest.mark.processes

LIMITS = (
    "--max-connections", "120", "--max-receiving", "8000000", "--max-unread", "8000000",
    "--max-user-subscriptions", "50", "--max-user-streams", "20",
    "--head-timeout", "2", "--body-timeout", "2", "--idle-timeout", "3", "--unread-timeout", "3",
)  # fmt: skip


@pytest.fixture(scope="module")
def node(tmp_path_factory):
    folder = tmp_path_factory.mktemp("doors")
    cluster = RealCluster(folder)
    node = cluster.add(*LIMITS)
    node.cluster = cluster
    cluster.wait_ready()
    yield node
    check_logs(cluster)
    cluster.close()


@pytest.fixture(scope="module")
def alice(node):
    return node.register("alice", "a long secret")


@pytest.fixture(scope="module")
def mallory(node):
    return node.register("mallory", "a long secret")


def connect(node):
    return socket.create_connection(("127.0.0.1", node.port), timeout=10)


def head(method, path, token="", **more):
    lines = [f"{method} {path} HTTP/1.1", "Host: x"]
    if token:
        lines.append(f"Authorization: Bearer {token}")
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in more.items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def read_all(client, limit_s=10.0):
    """What comes until the node closes the connection."""
    client.settimeout(limit_s)
    answer = b""
    with contextlib.suppress(ConnectionResetError):
        while part := client.recv(65536):
            answer += part
    return answer


def gauge(node, name):
    text = node.request("GET", "/metrics").body.decode()
    return float(next(line.split()[1] for line in text.splitlines() if line.startswith(f"dynakv_{name} ")))


def rss_mb(node):
    with open(f"/proc/{node.process.pid}/status") as status:
        return next(int(line.split()[1]) / 1024 for line in status if line.startswith("VmRSS"))


class WebSocket:
    """A websocket by hand, which reads nothing that it is not told to."""

    def __init__(self, node, token="", path="/ws"):
        self.client = connect(node)
        key = base64.b64encode(os.urandom(16)).decode()
        self.client.sendall(
            head(
                "GET",
                path,
                token,
                Upgrade="websocket",
                Connection="Upgrade",
                Sec_WebSocket_Key=key,
                Sec_WebSocket_Version=13,
            )
        )
        answer = b""
        while b"\r\n\r\n" not in answer:
            answer += self.client.recv(1)
        self.status = int(answer.split()[1])

    def send(self, payload, opcode=1):
        if not isinstance(payload, bytes):
            payload = json.dumps(payload).encode()
        size = len(payload)
        length = (
            struct.pack(">B", 128 | size)
            if size < 126
            else (struct.pack(">BH", 254, size) if size < 65536 else struct.pack(">BQ", 255, size))
        )
        self.client.sendall(bytes([128 | opcode]) + length + bytes(4) + payload)

    def receive(self):
        """The next frame: opcode and payload."""
        first, size = self._exactly(2)
        size &= 127
        if size == 126:
            (size,) = struct.unpack(">H", self._exactly(2))
        elif size == 127:
            (size,) = struct.unpack(">Q", self._exactly(8))
        return first & 15, self._exactly(size)

    def ask(self, **fields):
        self.send(fields)
        return json.loads(self.receive()[1])

    def close_code(self):
        """The code of the close frame, behind whatever comes before it."""
        while True:
            opcode, payload = self.receive()
            if opcode == 8:
                return struct.unpack(">H", payload[:2])[0]

    def _exactly(self, size):
        data = b""
        while len(data) < size:
            more = self.client.recv(size - len(data))
            if not more:
                raise ConnectionResetError
            data += more
        return data


# Who may come in


def test_websockets_leave_when_they_close(node, mallory):
    before = gauge(node, 'budget_spent{budget="connections"}')
    for number in range(300):
        socket_ = WebSocket(node, mallory)
        assert socket_.status == 101, number
        socket_.client.close()
    wait_until(lambda: gauge(node, 'budget_spent{budget="connections"}') <= before)
    assert gauge(node, 'budget_spent{budget="streams"}') == 0


def test_strangers_make_room_and_users_stay(node, alice):
    listener = Listener(node, "t", "stays", alice)
    wait_until(lambda: node.stats()["active_sse_connections"] == 1)
    crowd = [connect(node) for _ in range(200)]
    assert node.put("t", "stays", {"n": 1}, alice).status == 201
    wait_until(lambda: listener.events)
    assert gauge(node, 'budget_spent{budget="connections"}') <= 120
    for one in crowd:
        one.close()
    listener.close()


@pytest.mark.parametrize("sent", [b"", b"GET / HTTP/1.1\r\nHost: x\r\n"])
def test_a_head_has_to_come_in_time(node, sent):
    client = connect(node)
    client.sendall(sent)
    answer = read_all(client)
    assert b"408" in answer
    assert b"--head-timeout" in answer


def test_a_body_has_to_come_in_time_however_steadily_it_drips(node, mallory):
    client = connect(node)
    client.sendall(head("PUT", "/t/key/k", mallory, Content_Length=100))
    answers = []
    reader = threading.Thread(target=lambda: answers.append(read_all(client)))
    reader.start()
    with contextlib.suppress(OSError):
        while reader.is_alive():
            client.sendall(b" ")
            reader.join(0.1)
    reader.join()
    assert b"--body-timeout" in answers[0]


# What may come in


@pytest.mark.parametrize("token", ["", "nonsense"])
@pytest.mark.parametrize("more", [{"Content_Length": 4097}, {"Transfer_Encoding": "chunked"}])
def test_a_long_body_needs_a_token_before_it_is_kept(node, token, more):
    client = connect(node)
    client.sendall(head("PUT", "/t/key/k", token, **more))
    if "Transfer_Encoding" in more:
        client.sendall(b"2000\r\n" + b"x" * 0x2000 + b"\r\n")
    assert read_all(client).startswith(b"HTTP/1.1 401 ")


@pytest.mark.parametrize("path", ["/auth/alice", "/auth/alice/secret", "/admin/login"])
def test_accounts_have_short_bodies(node, mallory, path):
    client = connect(node)
    client.sendall(head("POST", path, mallory, Content_Length=5000))
    answer = read_all(client)
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"4096" in answer


def test_one_user_has_a_share_of_what_arrives(node, alice, mallory):
    """Sixty bodies that never end cost that user its share, and nobody else anything."""
    before = rss_mb(node)
    crowd = [connect(node) for _ in range(60)]
    with contextlib.suppress(OSError):
        for one in crowd:
            one.sendall(head("PUT", "/t/key/k", mallory, Content_Length=4_000_000))
            one.settimeout(0.05)
            with contextlib.suppress(TimeoutError):
                one.sendall(b" " * 3_900_000)
    assert rss_mb(node) - before < 40
    value = {"v": "x" * 500_000}
    assert node.put("t", "large", value, alice).status == 201
    for one in crowd:
        one.close()
    wait_until(lambda: gauge(node, 'budget_spent{budget="receiving"}') == 0)


def test_strangers_on_a_websocket_send_little_and_not_for_long(node):
    talker = WebSocket(node)
    talker.send(b" " * 5000)
    assert talker.close_code() == 1009


def test_long_ids_are_refused(node, mallory):
    one = WebSocket(node, mallory)
    answer = one.ask(op="subscribe", id="x" * 1000, table="t")
    assert answer["code"] == "malformed"
    assert one.ask(op="ping", id=2)["ok"]


def test_a_websocket_keeps_numbers_as_they_were_sent(node, mallory):
    one = WebSocket(node, mallory)
    one.send(b'{"op":"put","id":1,"table":"t","key":"numbers","value":{"a":1.10,"b":123456789012345678901234567890}}')
    assert b'{"a":1.10,"b":123456789012345678901234567890}' in one.receive()[1]


# What waits to be read


def test_answers_that_are_not_read_are_bounded(node, alice, mallory):
    """One socket asks for hundreds of megabytes, and reads nothing."""
    assert node.put("t", "huge", {"v": "x" * 1_000_000}, mallory).status in (200, 201)
    before = rss_mb(node)
    greedy = WebSocket(node, mallory)
    greedy.client.settimeout(0.2)
    with contextlib.suppress(TimeoutError, OSError):
        for number in range(400):
            greedy.send({"op": "get", "id": number, "table": "t", "key": "huge"})
    many = json.dumps({"keys": ["huge"]}).encode()
    crowd = [connect(node) for _ in range(30)]
    for one in crowd:
        one.sendall(head("GET", "/t/key/huge", mallory) * 3)
        one.sendall(head("POST", "/t/keys", mallory, Content_Length=len(many)) + many)
    assert node.put("t", "mine", {"n": 1}, alice).status in (200, 201)
    assert node.get("t", "mine", alice).status == 200
    assert rss_mb(node) - before < 60
    wait_until(lambda: gauge(node, 'budget_spent{budget="unread"}') == 0, 15, "who reads nothing is dismissed")
    for one in crowd:
        one.close()


def test_who_reads_gets_all_of_many_large_answers(node, mallory):
    assert node.put("t", "huge", {"v": "x" * 1_000_000}, mallory).status in (200, 201)
    one = WebSocket(node, mallory)
    for number in range(20):
        one.send({"op": "get", "id": number, "table": "t", "key": "huge"})
    answers = [json.loads(one.receive()[1]) for _ in range(20)]
    assert sorted(answer["id"] for answer in answers) == list(range(20))
    assert all(answer.get("ok") for answer in answers)


# What one user may have


def test_a_user_has_so_many_subscriptions(node, alice, mallory):
    one = WebSocket(node, mallory)
    answers = [one.ask(op="subscribe", id=number, table="t", key=f"k{number}") for number in range(60)]
    assert [answer.get("ok", False) for answer in answers] == [True] * 50 + [False] * 10
    assert answers[-1]["code"] == "too_many"
    assert "--max-user-subscriptions" in answers[-1]["error"]
    other = WebSocket(node, alice)
    assert other.ask(op="subscribe", id=1, table="t")["ok"]
    one.client.close()
    other.client.close()
    wait_until(lambda: gauge(node, 'budget_spent{budget="subscriptions"}') == 0)


def test_a_user_has_so_many_streams(node, alice, mallory):
    streams = [connect(node) for _ in range(25)]
    for stream in streams:
        stream.sendall(head("GET", "/t/subscribe/k", mallory))
    answers = [stream.recv(16) for stream in streams]
    assert answers.count(b"HTTP/1.1 200 OK\r") == 20
    assert answers.count(b"HTTP/1.1 429 Too") == 5
    other = Listener(node, "t", "k", alice)
    wait_until(lambda: node.stats()["active_sse_connections"] == 21)
    for stream in (*streams, other):
        stream.close()
    wait_until(lambda: gauge(node, 'budget_spent{budget="streams"}') == 0)


def test_a_user_has_so_many_connections(tmp_path):
    cluster = RealCluster.start(1, "--max-user-connections", "5", folder=tmp_path)
    node = cluster.nodes[0]
    try:
        token = node.register("alice", "a long secret")
        crowd = [connect(node) for _ in range(8)]
        for one in crowd:
            one.sendall(head("GET", "/t/key/k", token))
            assert one.recv(4096).startswith(b"HTTP/1.1 404 ")
        for one in crowd[:5]:
            one.sendall(head("GET", "/t/key/k", token))
            assert one.recv(4096).startswith(b"HTTP/1.1 404 ")
        assert [read_all(one) for one in crowd[5:]] == [b""] * 3
        check_logs(cluster)
    finally:
        cluster.close()


def test_made_up_methods_are_one_series(node):
    for number in range(50):
        node.request(f"METHOD{'ABCDEFGHIJ'[number % 10]}{'ABCDEFGHIJ'[number // 10]}".replace("1", ""), "/heartbeat")

    def methods():
        lines = node.request("GET", "/metrics").body.decode().splitlines()
        return {line.split('"')[1] for line in lines if line.startswith("dynakv_requests_total{")}

    wait_until(lambda: "OTHER" in methods())
    assert not any(method.startswith("METHOD") for method in methods())


def test_many_tables_are_shown_in_pages(node, mallory):
    admin = node.cluster.admin_token()
    for begin in range(0, 1200, 100):
        ops = [{"op": "put", "key": "k", "value": {}}]
        for number in range(begin, begin + 100):
            assert node.request("POST", f"/many{number:04}/batch", {"ops": ops}, mallory).status == 200
    stats = node.stats()
    assert len(stats["tables"]) == 1000
    assert stats["table_count"] > 1200
    first = node.request("GET", "/admin/tables", token=admin).json
    rest = node.request("GET", f"/admin/tables?after={first['next_after']}", token=admin).json
    names = [one["name"] for one in (*first["tables"], *rest["tables"])]
    assert names == sorted(set(names))
    assert len(names) == stats["table_count"]
    assert rest["next_after"] is None


# Tokens that end


@pytest.mark.parametrize("how", ["logout", "secret", "delete"])
def test_whoever_is_logged_out_is_gone_within_a_second(node, how):
    name = f"leaver-{how}"
    token = node.register(name, "a long secret")
    listener, socket_ = Listener(node, "t", "k", token), WebSocket(node, token)
    wait_until(lambda: node.stats()["active_sse_connections"] >= 1)
    if how == "logout":
        assert node.request("POST", f"/auth/{name}/logout", None, token).status == 200
    elif how == "secret":
        body = {"secret": "another long secret", "old_secret": "a long secret"}
        assert node.request("PUT", f"/auth/{name}/secret", body).status == 200
    else:
        assert node.request("DELETE", f"/auth/{name}", None, token).status == 200
    begun_s = time.monotonic()
    assert socket_.close_code() == 1008
    wait_until(lambda: not listener.is_alive())
    assert time.monotonic() - begun_s < 1.5


def test_an_expired_token_ends_what_it_opened(tmp_path):
    cluster = RealCluster.start(1, "--token-lifetime", "2", folder=tmp_path)
    node = cluster.nodes[0]
    try:
        token = node.register("alice", "a long secret")
        ticket = node.request("POST", "/auth/ticket", None, token).json["ticket"]
        by_token, by_ticket = WebSocket(node, token), WebSocket(node, path=f"/ws?ticket={ticket}")
        listener = Listener(node, "t", "k", token)
        wait_until(lambda: node.stats()["active_sse_connections"] == 1)
        assert [by_token.close_code(), by_ticket.close_code()] == [1008, 1008]
        wait_until(lambda: not listener.is_alive())
        check_logs(cluster)
    finally:
        cluster.close()


def test_data_that_fill_the_memory_lock_nobody_out(tmp_path):
    cluster = RealCluster.start(1, "--max-memory", "1048576", folder=tmp_path)
    node = cluster.nodes[0]
    try:
        alice, mallory = node.register("alice", "a long secret"), node.register("mallory", "a long secret")
        number = 0
        while node.put("t", f"k{number}", {"v": "x" * 50_000}, mallory).status == 201:
            number += 1
        assert node.put("t", "mine", {"v": "x" * 50_000}, alice).status == 507
        assert node.request("POST", "/auth/newcomer", {"secret": "a long secret"}).status == 201
        changed = node.request("PUT", "/auth/alice/secret", {"secret": "another one", "old_secret": "a long secret"})
        assert changed.status == 200
        assert node.request("POST", "/auth/mallory/logout", None, mallory).status == 200
    finally:
        cluster.close()


def test_a_node_that_stops_says_so_to_its_sockets(tmp_path):
    cluster = RealCluster.start(1, folder=tmp_path)
    node = cluster.nodes[0]
    try:
        one = WebSocket(node, node.register("alice", "a long secret"))
        stopping = threading.Thread(target=node.stop)
        stopping.start()
        assert one.close_code() == 1001
        stopping.join()
        assert node.process.returncode in (0, -signal.SIGTERM)
        check_logs(cluster)
    finally:
        cluster.close()


@pytest.mark.parametrize("who", ["administrator", "user"])
def test_a_rotation_that_logs_out_reaches_whoever_is_connected(tmp_path, who):
    cluster = RealCluster.start(2, folder=tmp_path)
    one, two = cluster.nodes
    try:
        admin = cluster.admin_token()
        token = admin if who == "administrator" else one.register("alice", "a long secret")
        sockets = [WebSocket(node, token) for node in cluster.nodes]
        listener = Listener(two, "t", "k", token)
        wait_until(lambda: two.stats()["active_sse_connections"] == 1)
        assert one.request("POST", "/admin/keys/rotate", {"keep_tokens": False}, admin).status == 200
        begun_s = time.monotonic()
        assert [socket_.close_code() for socket_ in sockets] == [1008, 1008]
        wait_until(lambda: not listener.is_alive())
        assert time.monotonic() - begun_s < 10, "a heartbeat may have found out, and not the node that looks"
        check_logs(cluster)
    finally:
        cluster.close()


# Guesses, and pages of others


def test_parallel_guesses_do_not_pass_the_limit(node):
    node.register("victim", "a long secret")
    statuses = []

    def guess(number):
        statuses.append(node.request("POST", "/auth/victim", {"secret": f"guess {number}"}).status)

    guessers = [threading.Thread(target=guess, args=[number]) for number in range(40)]
    for guesser in guessers:
        guesser.start()
    for guesser in guessers:
        guesser.join()
    assert statuses.count(401) <= 10
    assert statuses.count(429) >= 30


def test_made_up_names_do_not_delay_logins(tmp_path):
    cluster = RealCluster.start(1, folder=tmp_path)
    node = cluster.nodes[0]
    try:
        node.register("alice", "a long secret")
        over = threading.Event()

        def register(number):
            while not over.is_set():
                node.try_request("POST", f"/auth/rubbish-{number}-{time.monotonic()}", {"secret": "a long secret"})

        rubbish = [threading.Thread(target=register, args=[number]) for number in range(40)]
        for one in rubbish:
            one.start()
        answers = [node.request("POST", "/auth/alice", {"secret": "a long secret"}).status for _ in range(25)]
        over.set()
        for one in rubbish:
            one.join()
        assert answers == [200] * 25
    finally:
        cluster.close()


def test_a_foreign_page_is_refused_before_anything_is_counted(node):
    for _ in range(30):
        answer = node.request(
            "POST", "/admin/login", {"password": "guess"}, Origin="https://evil.example", Content_Type="text/plain"
        )
        assert (answer.status, answer.json["code"]) == (403, "foreign_origin")
    assert node.cluster.admin_token()
    page = status_for_page(node, "https://evil.example")
    assert page == 403


def status_for_page(node, origin):
    """The status that a page of some origin gets when it opens a websocket."""
    client = connect(node)
    client.sendall(
        head(
            "GET", "/ws", Upgrade="websocket", Connection="Upgrade", Sec_WebSocket_Version=13, Origin=origin,
            Sec_WebSocket_Key=base64.b64encode(bytes(16)).decode(),
        )
    )  # fmt: skip
    return int(client.recv(4096).split()[1])


def test_an_origin_that_is_named_may_use_the_node(tmp_path):
    origin = "https://app.example.org"
    cluster = RealCluster.start(1, "--cors-origin", origin, folder=tmp_path)
    node = cluster.nodes[0]
    try:
        token = node.register("alice", "a long secret")
        asked = node.request("OPTIONS", "/t/key/k", Origin=origin, Access_Control_Request_Method="PUT")
        assert asked.status == 204
        assert "PUT" in asked.headers["access-control-allow-methods"]
        for method, body in (("PUT", {"n": 1}), ("GET", None)):
            answer = node.request(method, "/t/key/k", body, token, Origin=origin)
            assert answer.status in (200, 201)
            assert answer.headers["access-control-allow-origin"] == origin
        assert node.request("GET", "/t/key/missing", None, token, Origin=origin).headers["vary"] == "Origin"
        assert status_for_page(node, origin) == 101
        assert status_for_page(node, "http://x") == 421
        assert node.request("GET", "/heartbeat", Host="evil.example", User_Agent="Mozilla/5.0").status == 421
        assert node.request("GET", "/heartbeat", Host="evil.example").status == 200
    finally:
        cluster.close()


def test_a_trusted_proxy_says_for_whom_it_asks(tmp_path):
    cluster = RealCluster.start(1, "--trusted-proxy", "127.0.0.1", folder=tmp_path)
    node = cluster.nodes[0]
    try:
        node.request("POST", "/auth/victim", {"secret": "a long secret"}, X_Forwarded_For="192.0.2.1")
        far = [
            node.request("POST", "/auth/victim", {"secret": "a wrong one"}, X_Forwarded_For="198.51.100.7").status
            for _ in range(12)
        ]
        assert far[-1] == 429
        at_home = node.request("POST", "/auth/victim", {"secret": "a long secret"}, X_Forwarded_For="192.0.2.1")
        assert at_home.status == 200
    finally:
        cluster.close()
