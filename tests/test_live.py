"""Live changes on real processes: SSE, the websocket, tickets, slow listeners, nodes that own nothing of a key."""

from __future__ import annotations

import json
import socket
from collections import deque

import pytest
import pytest_twisted
from autobahn.twisted.websocket import WebSocketClientFactory, WebSocketClientProtocol
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.threads import deferToThread

from .real import Listener, Node, RealCluster, free_port, wait_until

pytestmark = pytest.mark.processes


@pytest.fixture(scope="module")
def alice(cluster):
    return cluster.nodes[0].register("alice")


@pytest.fixture(scope="module")
def bob(cluster):
    return cluster.nodes[0].register("bob")


class Socket(WebSocketClientProtocol):
    """A websocket client for tests."""

    def __init__(self):
        super().__init__()
        self.opened = Deferred()
        self.closed = Deferred()
        self.frames = deque()
        self._waiting = None

    def onOpen(self):
        self.opened.callback(self)

    def onMessage(self, payload, isBinary):
        self.frames.append(json.loads(payload))
        waiting, self._waiting = self._waiting, None
        if waiting:
            waiting.callback(None)

    def onClose(self, wasClean, code, reason):
        if not self.opened.called:
            self.opened.errback(ConnectionError(reason))
        self.closed.callback(code)

    async def next(self):
        while not self.frames:
            self._waiting = Deferred().addTimeout(10, reactor)
            await self._waiting
        return self.frames.popleft()

    async def ask(self, **fields):
        self.sendMessage(json.dumps(fields).encode())
        return await self.next()


async def connect(node, path="/ws", **headers):
    factory = WebSocketClientFactory(f"ws://127.0.0.1:{node.port}{path}", protocols=["dynakv.v1.json"], headers=headers)
    factory.protocol = Socket
    factory.noisy = False
    made = await TCP4ClientEndpoint(reactor, "127.0.0.1", node.port).connect(factory)
    return await made.opened


@pytest_twisted.ensureDeferred
async def test_every_operation(cluster, alice):
    ws = await connect(cluster.nodes[0])
    assert ws.websocket_protocol_in_use == "dynakv.v1.json"
    assert (await ws.ask(op="ping", id="p")) == {"id": "p", "ok": True}
    assert (await ws.ask(op="get", id=0, table="w", key="a"))["code"] == "no_token"
    assert (await ws.ask(op="auth", id=1, token=alice))["ok"] is True
    put = await ws.ask(op="put", id=2, table="w", key="a", value={"n": 1})
    assert (put["id"], put["ok"], put["record"]["value"]) == (2, True, {"n": 1})
    patched = await ws.ask(op="patch", id=3, table="w", key="a", value={"m": 2})
    assert patched["record"]["value"] == {"n": 1, "m": 2}
    assert (await ws.ask(op="get", id=4, table="w", key="a"))["record"]["version"] == 2
    assert (await ws.ask(op="delete", id=5, table="w", key="a")) == {"id": 5, "ok": True}
    assert (await ws.ask(op="get", id=6, table="w", key="a"))["code"] == "not_found"
    ws.sendClose()


@pytest_twisted.ensureDeferred
async def test_a_socket_is_one_users(cluster, alice, bob):
    """Else what was subscribed to with one token would go on behind its end, on a socket that ends with another."""
    ws = await connect(cluster.nodes[0])
    assert (await ws.ask(op="auth", id=1, token=alice))["ok"] is True
    refused = await ws.ask(op="auth", id=2, token=bob)
    assert (refused["id"], refused["code"]) == (2, "another_user")
    fresh = await deferToThread(cluster.nodes[0].register, "alice")
    assert (await ws.ask(op="auth", id=3, token=fresh))["user"] == "alice"
    assert (await ws.ask(op="put", id=4, table="w", key="mine", value={}))["record"]["owner"] == "alice"
    ws.sendClose()


@pytest_twisted.ensureDeferred
async def test_subscriptions_by_key_prefix_and_table(cluster, alice):
    one, two, _ = cluster.nodes
    ws = await connect(two)
    await ws.ask(op="auth", id=1, token=alice)
    for number, fields in enumerate(({"key": "pre-1"}, {"prefix": "pre"}, {}), 10):
        assert (await ws.ask(op="subscribe", id=number, table="s", **fields))["sub"] == number
    await deferToThread(one.put, "s", "pre-1", {"n": 1}, alice)
    events = [await ws.next() for _ in range(3)]
    assert {event["sub"] for event in events} == {10, 11, 12}
    assert {(event["op"], event["type"], event["key"]) for event in events} == {("event", "Updated", "pre-1")}
    assert events[0]["record"]["value"] == {"n": 1}
    await deferToThread(one.put, "s", "other", {"n": 2}, alice)
    assert (await ws.next())["sub"] == 12
    assert (await ws.ask(op="unsubscribe", id=20, sub=12)) == {"id": 20, "ok": True}
    await deferToThread(one.delete, "s", "pre-1", alice)
    gone = [await ws.next() for _ in range(2)]
    assert {(event["sub"], event["type"], event["record"]) for event in gone} == {
        (10, "Deleted", None),
        (11, "Deleted", None),
    }
    ws.sendClose()


@pytest_twisted.ensureDeferred
async def test_a_cursor_repeats_rather_than_skips(cluster, alice):
    one = cluster.nodes[0]
    ws = await connect(one, Authorization=f"Bearer {alice}")
    cursor = (await ws.ask(op="subscribe", id=1, table="c"))["cursor"]
    ws.sendClose()
    for number in range(3):
        await deferToThread(one.put, "c", f"k{number}", {"n": number}, alice)
    ws = await connect(one, Authorization=f"Bearer {alice}")
    ws.sendMessage(json.dumps({"op": "subscribe", "id": 2, "table": "c", "from": cursor}).encode())
    frames = [await ws.next() for _ in range(4)]
    assert [frame["record"]["value"]["n"] for frame in frames if frame.get("op") == "event"] == [0, 1, 2]
    ws.sendMessage(json.dumps({"op": "subscribe", "id": 3, "table": "c", "from": "gone-1"}).encode())
    assert {frame.get("op") for frame in [await ws.next(), await ws.next()]} == {"reset", None}
    ws.sendClose()


JUNK = [
    "",
    "{",
    "[]",
    "1",
    '{"op": 1}',
    '{"op": "fly"}',
    '{"op": "put", "id": 1}',
    '{"op": "get", "table": 1, "key": 2}',
    '{"op": "subscribe"}',
    '{"op": "unsubscribe", "id": 1, "sub": []}',
    "[" * 5000,
    '{"op": "put", "table": "_users", "key": "x", "value": {}}',
    '{"op": "put", "table": "t", "key": "x", "value": []}',
]


@pytest_twisted.ensureDeferred
async def test_nonsense_is_answered_and_the_socket_stays(cluster, alice):
    ws = await connect(cluster.nodes[0], Authorization=f"Bearer {alice}")
    for junk in JUNK:
        ws.sendMessage(junk.encode())
        answer = await ws.next()
        assert set(answer) >= {"error", "code"}, junk
    ws.sendMessage(b"\x00\x01", isBinary=True)
    assert (await ws.next())["code"] == "binary_frame"
    assert (await ws.ask(op="ping", id=1))["ok"] is True
    ws.sendMessage(b"\xff\xfe\xfd")
    assert await ws.closed == 1007
    ws = await connect(cluster.nodes[0], Authorization=f"Bearer {alice}")
    ws.sendMessage(b"x" * (6 << 20))
    assert await ws.closed in (1009, 1006)


@pytest_twisted.ensureDeferred
async def test_tickets_are_good_once(cluster, alice):
    one = cluster.nodes[0]
    ticket = (await deferToThread(one.request, "POST", "/auth/ticket", None, alice)).json["ticket"]
    ws = await connect(one, f"/ws?ticket={ticket}")
    assert (await ws.ask(op="put", id=1, table="w", key="by-ticket", value={}))["ok"] is True
    ws.sendClose()
    for node in cluster.nodes:
        with pytest.raises(ConnectionError):
            await connect(node, f"/ws?ticket={ticket}")
        answer = await deferToThread(node.request, "GET", f"/w/subscribe/x?ticket={ticket}")
        assert (answer.status, answer.json["code"]) == (401, "bad_ticket")
    assert one.request("GET", f"/w/key/by-ticket?ticket={ticket}").json["code"] == "unknown_parameter"
    assert one.request("GET", "/w/subscribe/x?ticket=nonsense").status == 401
    with pytest.raises(ConnectionError):
        await connect(one, Authorization="Bearer nonsense")


@pytest_twisted.ensureDeferred
async def test_nobody_hears_of_anothers_records(cluster, alice, bob):
    one = cluster.nodes[0]
    ws = await connect(one, Authorization=f"Bearer {bob}")
    await ws.ask(op="subscribe", id=1, table="private")
    listener = await deferToThread(Listener, one, "private", "a", bob)
    await deferToThread(one.put, "private", "a", {"of": "alice"}, alice)
    await deferToThread(one.put, "private", "b", {"of": "bob"}, bob)
    assert (await ws.next())["key"] == "b"
    assert listener.events == []
    listener.close()
    ws.sendClose()


def test_sse_begins_silent_has_ids_and_resumes(cluster, alice):
    one = cluster.nodes[0]
    one.put(
        "e", "k", {"before": True}, alice, "?w=all"
    )  # a listener hears what becomes durable at its node from then on
    first = Listener(one, "e", "k", alice)
    one.put("e", "k", {"n": 1}, alice)
    wait_until(lambda: first.events)
    assert [event["Updated"]["value"] for event in first.events] == [{"n": 1}]
    first.close()
    one.put("e", "k", {"n": 2}, alice)
    one.delete("e", "k", alice)
    again = Listener(one, "e", "k", alice, Last_Event_ID=first.ids[-1])
    wait_until(lambda: len(again.events) == 2)
    assert again.events[0]["Updated"]["value"] == {"n": 2}
    assert again.events[1] == "Deleted"
    again.close()
    lost = Listener(one, "e", "k", alice, Last_Event_ID="someone-elses-9")
    wait_until(lambda: lost.names == ["reset"])
    lost.close()


def test_each_write_is_announced_once_whoever_wrote_it(cluster, alice):
    listeners = [Listener(node, "once", "k", alice) for node in cluster.nodes]
    for number in range(30):
        assert cluster.nodes[number % 3].put("once", "k", {"n": number}, alice, "?w=all").status == 201
    for listener in listeners:
        wait_until(lambda listener=listener: len(listener.events) == 30)
        assert [event["Updated"]["value"]["n"] for event in listener.events] == list(range(30))
        listener.close()
    wait_until(lambda: all(node.stats()["active_sse_connections"] == 0 for node in cluster.nodes))


def test_a_slow_listener_is_bounded_and_told(cluster, alice):
    one = cluster.nodes[0]
    slow = socket.create_connection(("127.0.0.1", one.port))
    slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
    slow.sendall(f"GET /slow/subscribe/k HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {alice}\r\n\r\n".encode())
    wait_until(lambda: one.stats()["active_sse_connections"] == 1)
    for number in range(24):
        assert one.put("slow", "k", {"n": number, "pad": "x" * 500_000}, alice).status == 201
    slow.settimeout(10)
    heard = b""
    while b"event: lagged" not in heard[-2_000_000:]:
        part = slow.recv(1 << 20)
        assert part, "closed before it was told"
        heard += part
    assert heard.count(b"data: {") < 25
    slow.close()


@pytest_twisted.ensureDeferred
async def test_a_slow_websocket_is_bounded_and_told(cluster, alice):
    one = cluster.nodes[0]
    ws = await connect(one, Authorization=f"Bearer {alice}")
    await ws.ask(op="subscribe", id=1, table="slowws")
    ws.transport.pauseProducing()
    for number in range(24):
        answer = await deferToThread(one.put, "slowws", "k", {"n": number, "pad": "x" * 500_000}, alice)
        assert answer.status == 201
    ws.transport.resumeProducing()
    ops = []
    while "lagged" not in ops:
        ops.append((await ws.next())["op"])
    assert len(ops) < 25
    ws.sendClose()


def test_a_node_that_owns_nothing_of_the_key_hears_of_it():
    cluster = RealCluster.start(5)
    try:
        alice = cluster.nodes[0].register("alice")
        keys = [f"k{number}" for number in range(4)]
        listeners = [(key, Listener(node, "far", key, alice)) for node in cluster.nodes for key in keys]
        wait_until(lambda: sum(node.stats()["active_sse_connections"] for node in cluster.nodes) == 20)
        for key in keys:
            assert cluster.nodes[0].put("far", key, {"k": key}, alice).status == 201
            assert cluster.nodes[1].delete("far", key, alice).status == 200
        for key, listener in listeners:
            wait_until(lambda listener=listener: "Deleted" in listener.events, what=f"{key} heard everywhere")
            values = [event if event == "Deleted" else event["Updated"]["value"] for event in listener.events]
            assert values in ([{"k": key}, "Deleted"], ["Deleted"])
            listener.close()
    finally:
        cluster.close()


def test_more_connections_than_there_is_room_for(tmp_path):
    """Those on which nobody has shown a token make room, the oldest first; whoever has shown one stays."""
    cluster = RealCluster(tmp_path)
    node = Node(tmp_path, free_port())
    node.before = ("prlimit", "--nofile=200:200")
    cluster.nodes.append(node)
    node.start()
    try:
        cluster.wait_ready()
        token = node.register("alice", "a long secret")
        listener = Listener(node, "t", "k", token)
        wait_until(lambda: node.stats()["active_sse_connections"] == 1)
        crowd = [socket.create_connection((node.host, node.port), 5) for _ in range(180)]
        wait_until(lambda: sum(map(is_closed, crowd)) > 100)
        assert is_closed(crowd[0])
        crowd[-1].sendall(b"GET /heartbeat HTTP/1.1\r\nHost: x\r\n\r\n")
        assert b" 200 " in crowd[-1].recv(4096)
        assert node.put("t", "k", {"n": 1}, token).status == 201
        wait_until(lambda: len(listener.events) == 1)
        for one in crowd:
            one.close()
        assert b"Traceback" not in node.log.read_bytes()
    finally:
        cluster.close()


def is_closed(client):
    client.settimeout(0.01)
    try:
        return not client.recv(4096, socket.MSG_PEEK)
    except ConnectionResetError:
        return True
    except TimeoutError:
        return False
