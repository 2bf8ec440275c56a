"""A node behind nginx and HAProxy: both sides take the same bytes for requests, and clients keep their addresses."""

from __future__ import annotations

import http.client
import json
import socket

import pytest

from .proxies import Proxy
from .real import Listener, Node, RealCluster, check_logs, wait_until
from .smuggled import ATTACKS, head, put
from .test_doors import WebSocket

pytestmark = pytest.mark.processes

QUIET_S = 0.15
"""Of a connection on which no more answers come: proxy and node answer within milliseconds."""
WAITS = ("chunks: a size beyond 64 bits", "chunks: a size beyond 32 bits")
"""For the rest of what was announced, until --body-timeout ends that."""
PROXIES = ("nginx", "haproxy", "lenient haproxy")


@pytest.fixture(scope="module")
def node(tmp_path_factory):
    folder = tmp_path_factory.mktemp("proxied")
    cluster = RealCluster(folder)
    node = cluster.add("--trusted-proxy", "127.0.0.1", "--audit-log", str(folder / "audit.log"))
    cluster.wait_ready()
    yield node
    check_logs(cluster)
    cluster.close()


@pytest.fixture(scope="module")
def tokens(node):
    found = {name: node.register(name, "a long secret") for name in ("alice", "mallory")}
    assert node.put("t", "hers", {"n": "hers"}, found["alice"]).status == 201
    return found


@pytest.fixture(scope="module", params=PROXIES)
def proxy(request, node, tmp_path_factory):
    found = Proxy(request.param, tmp_path_factory.mktemp("proxy") / "p", node.port)
    yield found
    found.close()


def send(door, data, source="127.0.0.1"):
    """What comes back for some bytes until it is quiet."""
    answer = b""
    with socket.create_connection(("127.0.0.1", door.port), 5, (source, 0)) as client:
        try:
            client.sendall(data)
            client.settimeout(QUIET_S)
            while part := client.recv(65536):
                answer += part
        except (TimeoutError, ConnectionError):
            pass
    return answer


def puts(node):
    """How many writes the node has answered by now; what it shows of that is some tenths of a second old."""

    def count(method):
        text = node.request("GET", "/metrics").body.decode()
        lines = [line for line in text.splitlines() if line.startswith("dynakv_requests_total{")]
        return sum(float(line.split()[-1]) for line in lines if f'"{method}"' in line)

    before = count("PATCH")
    node.request("PATCH", "/t/key/none", {})
    wait_until(lambda: count("PATCH") > before)
    return count("PUT")


def as_alice(door, tokens):
    answer = Node.request(door, "GET", "/t/key/hers", None, tokens["alice"])
    return answer.status, answer.json.get("value", answer.json)


@pytest.mark.parametrize("name", ATTACKS)
def test_a_node_takes_for_requests_what_are_requests(node, tokens, name):
    key = f"inner-{abs(hash(name))}"
    answer = send(node, ATTACKS[name].make(tokens["mallory"], put(key, tokens["mallory"])))
    assert answer.startswith(b"HTTP/1.") or (name in WAITS and not answer), answer
    if not ATTACKS[name].is_behind:
        assert node.get("t", key, tokens["mallory"]).status == 404, answer


def test_a_node_takes_for_requests_what_the_proxy_takes_for_requests(node, tokens, proxy):
    """And nobody gets an answer to what somebody else has sent; the clients share the proxy's connections."""
    puts_before, answers, hers = puts(node), {}, as_alice(node, tokens)
    for name, attack in ATTACKS.items():
        key = f"inner-{proxy.port}-{abs(hash(name))}"
        answers[key] = name, send(proxy, attack.make(tokens["mallory"], put(key, tokens["mallory"])))
        assert [as_alice(proxy, tokens) for _ in range(2)] == [hers] * 2, answers[key]
    written = [key for key in answers if node.get("t", key, tokens["mallory"]).status == 200]
    assert written  # what is pipelined is a request everywhere
    wait_until(lambda: len([line for line in proxy.forwarded() if "hers" in line]) >= 2 * len(ATTACKS))
    forwarded = proxy.forwarded()
    for key in written:
        assert any(key in line for line in forwarded), answers[key]
    assert puts(node) - puts_before <= len([line for line in forwarded if line.startswith("PUT ")])


def test_requests_of_two_users_on_one_connection_stay_theirs(node, tokens, proxy):
    keys = [f"{proxy.port}-{name}-{number}" for number in range(5) for name in tokens]
    answer = send(proxy, b"".join(put(key, tokens[key.split("-")[1]]) for key in keys))
    assert answer.count(b"HTTP/1.1 201 ") == len(keys)
    for key in keys:
        for name, token in tokens.items():
            assert node.get("t", key, token).status == (200 if name in key else 403)


# Addresses


def guess(door, name, source, **headers):
    connection = http.client.HTTPConnection("127.0.0.1", door.port, timeout=10, source_address=(source, 0))
    try:
        sent = {one.replace("_", "-"): value for one, value in headers.items()}
        connection.request("POST", f"/auth/{name}", json.dumps({"secret": "a wrong secret"}), sent)
        return connection.getresponse().status
    finally:
        connection.close()


def said_of(node, name, outcome="wrong_secret"):
    lines = [json.loads(line) for line in (node.folder / "audit.log").read_text().splitlines()]
    return {line["from"] for line in lines if line.get("on") == [name] and line["outcome"] == outcome}


FORGED = (
    {},
    {"X_Forwarded_For": "192.0.2.99"},
    {"Forwarded": "for=192.0.2.99"},
    {"X_Forwarded_For": "192.0.2.99, 127.0.0.1", "Forwarded": 'for="192.0.2.99:80", for=127.0.0.1'},
    {"X_Real_IP": "192.0.2.99"},
)


@pytest.mark.parametrize("number", range(len(FORGED)))
def test_whoever_guesses_is_known_by_the_address_that_the_proxy_sees(node, proxy, number):
    name, far, home = f"victim-{proxy.port}-{number}", f"127.0.1.{number + 1}", f"127.0.2.{number + 1}"
    node.request("POST", f"/auth/{name}", {"secret": "a long secret"}, X_Forwarded_For=home)
    statuses = [guess(proxy, name, far, **FORGED[number]) for _ in range(12)]
    assert statuses[:10] == [401] * 10
    assert statuses[-1] == 429
    wait_until(lambda: said_of(node, name) == {far}, what=f"the audit log names {far}")
    assert guess(proxy, name, home, **FORGED[number]) == 401  # that address has its own tries


def test_each_of_two_proxies_may_add_a_line_of_its_own(node):
    body = b'{"secret":"a wrong secret"}'
    lines = ("X-Forwarded-For: 192.0.2.99, 127.0.3.1", "X-Forwarded-For: 127.0.0.1", f"Content-Length: {len(body)}")
    send(node, head("POST /auth/nobody-knows HTTP/1.1", "Host: x", *lines) + body)
    wait_until(lambda: said_of(node, "nobody-knows", "created") == {"127.0.3.1"})


# What stays open


def test_websockets_go_through(node, tokens, proxy):
    socket_ = WebSocket(proxy, tokens["alice"])
    assert socket_.status == 101
    assert socket_.ask(op="subscribe", id=1, table="t", key="seen")["ok"]
    assert socket_.ask(op="put", id=2, table="t", key="large", value={"v": "x" * 200_000})["ok"]
    assert node.put("t", "seen", {"n": 1}, tokens["alice"]).status in (200, 201)
    assert json.loads(socket_.receive()[1])["op"] == "event"
    socket_.send(b"\x03\xe8", opcode=8)
    assert socket_.close_code() == 1000


def test_event_streams_go_through_as_they_happen(node, tokens, proxy):
    listener = Listener(proxy, "t", "streamed", tokens["alice"])
    wait_until(lambda: node.stats()["active_sse_connections"] == 1)
    for number in range(3):
        assert node.put("t", "streamed", {"n": number}, tokens["alice"]).status in (200, 201)
        wait_until(lambda number=number: len(listener.events) == number + 1)
    listener.close()
    wait_until(lambda: node.stats()["active_sse_connections"] == 0)
