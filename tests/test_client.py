"""The Python client and the command, against real nodes."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import ensureDeferred
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.threads import deferToThread

from dynatwist.client import Client, Forbidden, NotFound, PreconditionFailed, Unauthorized, Unavailable

from .real import wait_until

pytestmark = pytest.mark.processes
DYNAKV = str(Path(sys.executable).with_name("dynakv"))


def urls(cluster):
    return [f"http://{node.address}" for node in cluster.nodes]


@pytest_twisted.ensureDeferred
async def test_records(cluster):
    kv = await Client.connect(reactor, urls(cluster))
    await kv.login("alice", "a long secret")
    record = await kv.put("users", "a/b ü", {"level": 42})
    assert record.value == {"level": 42}
    assert (await kv.get("users", "a/b ü")).etag == record.etag
    assert (await kv.patch("users", "a/b ü", {"x": 1})).value == {"level": 42, "x": 1}
    with pytest.raises(PreconditionFailed):
        await kv.put("users", "a/b ü", {}, if_match=record.etag)
    with pytest.raises(PreconditionFailed):
        await kv.put("users", "a/b ü", {}, if_none_match=True)
    await kv.batch("users", [{"op": "put", "key": f"k{n}", "value": {"n": n}} for n in range(5)])
    assert await kv.keys("users", prefix="k", limit=2) == ["k0", "k1"]
    assert set(await kv.get_many("users", ["k1", "none"])) == {"k1"}
    await kv.delete("users", "a/b ü")
    with pytest.raises(NotFound):
        await kv.get("users", "a/b ü")
    other = await Client.connect(reactor, urls(cluster))
    with pytest.raises(Unauthorized):
        await other.get("users", "k1")
    with pytest.raises(Unauthorized):
        await other.login("alice", "wrong")
    await other.login("bob", "a long secret")
    with pytest.raises(Forbidden):
        await other.get("users", "k1")
    assert (await kv.members())["active_count"] == 3
    assert (await kv.stats())["total_requests"] > 0
    for client in (kv, other):
        await client.close()


@pytest_twisted.ensureDeferred
async def test_failover(cluster):
    kv = await Client.connect(reactor, urls(cluster))
    await kv.login("alice", "a long secret")
    await deferToThread(cluster.nodes[0].kill)
    await kv.stats()  # which may be repeated: a write into the connection that just ended would be of unknown fate
    try:
        for number in range(10):
            await kv.put("failover", f"k{number}", {"n": number})
            assert (await kv.get("failover", f"k{number}")).value == {"n": number}
    finally:
        cluster.nodes[0].start()
        await deferToThread(cluster.wait_ready)
        await kv.close()


class Door(Protocol):
    """Stands in for a node: takes requests as they come, and does the same to each.

    :ivar taken: the request lines, of all connections.
    """

    taken: list[str]

    def __init__(self, answer: bytes | None) -> None:
        self._answer = answer

    def dataReceived(self, data):
        head = data.split(b"\r\n", 1)[0].decode()
        if head.endswith("HTTP/1.1"):  # else the rest of a body
            self.factory.taken.append(head.split(" ")[0])
            if self._answer is None:
                self.transport.abortConnection()
            else:
                self.transport.write(self._answer)


@pytest.fixture
def door():
    """Opens one that loses each request's answer, or gives a certain one: ``(url, methods of requests taken)``."""
    ports = []

    def open_door(answer=None):
        factory = Factory.forProtocol(lambda: Door(answer))
        factory.taken = []
        ports.append(reactor.listenTCP(0, factory, interface="127.0.0.1"))
        return f"http://127.0.0.1:{ports[-1].getHost().port}", factory.taken

    yield open_door
    for port in ports:
        port.stopListening()


def answer(content, status=200):
    body = json.dumps(content).encode()
    return b"HTTP/1.1 %d Told\r\nContent-Length: %d\r\n\r\n%s" % (status, len(body), body)


def refusal(code, status=503):
    return answer({"error": "told by the test", "code": code}, status)


WRITES = {
    "put": lambda kv, **name: kv.put("t", "k", {"n": 1}, **name),
    "put, conditional": lambda kv, **name: kv.put("t", "k", {"n": 1}, if_none_match=True, **name),
    "patch": lambda kv, **name: kv.patch("t", "k", {"n": 1}, **name),
    "delete": lambda kv, **name: kv.delete("t", "k", **name),
    "batch": lambda kv, **name: kv.batch("t", [{"op": "delete", "key": "k", **name}]),
}
LOST = {"the answer is lost": None, "the node calls it uncertain": refusal("uncertain")}


class TestWhatIsRepeated:
    """What was carried out perhaps is repeated only by its name: somebody else may have written since."""

    @pytest.mark.parametrize("lost", LOST)
    @pytest.mark.parametrize("write", WRITES)
    @pytest_twisted.ensureDeferred
    async def test_no_write_of_unknown_fate_without_a_name(self, door, write, lost):
        first, second = door(LOST[lost]), door(LOST[lost])
        kv = Client(reactor, [first[0], second[0]])
        with pytest.raises(Unavailable) as raised:
            await WRITES[write](kv, idempotency_key="")
        assert raised.value.code == "uncertain"
        assert len(first[1]) == 1
        assert second[1] == []
        await kv.close()

    @pytest_twisted.ensureDeferred
    async def test_nor_a_delete_on_a_connection_that_was_used_before(self, door):
        url, taken = door(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
        kv = Client(reactor, [url])
        await kv.stats()
        kept = [protocol for protocols in kv._world._pool._connections.values() for protocol in protocols]
        assert len(kept) == 1
        lost = [reader for reader in reactor.getReaders() if isinstance(getattr(reader, "protocol", None), Door)]
        lost[0].protocol._answer = None
        with pytest.raises(Unavailable) as raised:
            await kv.delete("t", "k", idempotency_key="")
        assert raised.value.code == "uncertain"
        assert taken == ["GET", "DELETE"]
        await kv.close()

    @pytest.mark.parametrize("write", WRITES)
    @pytest_twisted.ensureDeferred
    async def test_but_what_a_node_did_not_carry_out(self, door, write):
        first, second = door(refusal("starting")), door(LOST["the answer is lost"])
        kv = Client(reactor, ["http://127.0.0.1:1", first[0], second[0]])
        with pytest.raises(Unavailable):
            await WRITES[write](kv, idempotency_key="")
        assert [len(taken) for _, taken in (first, second)] == [1, 1]
        await kv.close()

    @pytest.mark.parametrize("lost", LOST)
    @pytest.mark.parametrize("write", WRITES)
    @pytest_twisted.ensureDeferred
    async def test_and_writes_by_the_names_that_the_client_gives_them(self, door, write, lost):
        first, second = door(LOST[lost]), door(LOST[lost])
        kv = Client(reactor, [first[0], second[0]])
        with pytest.raises(Unavailable) as raised:
            await WRITES[write](kv)
        assert raised.value.code == "uncertain"
        assert len(first[1]) == len(second[1]) > 1
        await kv.close()

    @pytest.mark.parametrize("code", ["bad_token", "full"])
    @pytest_twisted.ensureDeferred
    async def test_a_refusal_that_tells_nothing_of_the_try_before_leaves_it_uncertain(self, door, code):
        first, second = door(), door(refusal(code, 401 if code == "bad_token" else 507))
        kv = Client(reactor, [first[0], second[0]])
        with pytest.raises(Unavailable) as raised:
            await kv.put("t", "k", {"n": 1})
        assert raised.value.code == "uncertain"
        await kv.close()

    @pytest_twisted.ensureDeferred
    async def test_a_value_that_is_no_json_is_a_mistake_of_the_caller(self, door):
        url, taken = door()
        kv = Client(reactor, [url])
        with pytest.raises(TypeError):
            await kv.put("t", "k", {"n": object()})
        assert taken == []
        await kv.close()

    @pytest_twisted.ensureDeferred
    async def test_operations_of_a_batch_that_came_to_nothing_are_sent_once_more(self, door):
        gone, down = {"status": 200}, {"status": 503, "code": "uncertain", "error": "told by the test"}
        first, second = door(answer({"results": [gone, down, gone, down]})), door(answer({"results": [gone]}))
        kv = Client(reactor, [first[0], second[0]])
        ops = [{"op": "delete", "key": key} for key in ("a", "b", "c", "c")]
        assert await kv.batch("t", ops) == [gone, gone, gone, down], "one of two of a key would come behind the other"
        assert (first[1], second[1]) == (["POST"], ["POST"])
        await kv.close()

    @pytest.mark.parametrize("lost", LOST)
    @pytest_twisted.ensureDeferred
    async def test_and_reads(self, door, lost):
        first, second = door(LOST[lost]), door(LOST[lost])
        kv = Client(reactor, [first[0], second[0]])
        with pytest.raises(Unavailable):
            await kv.get("t", "k")
        assert len(first[1]) == len(second[1]) > 1
        await kv.close()


@pytest_twisted.ensureDeferred
async def test_no_node_answers():
    with pytest.raises(Unavailable):
        await Client.connect(reactor, ["http://127.0.0.1:1"])


@pytest_twisted.ensureDeferred
async def test_a_watch_goes_on_at_another_node(cluster):
    kv = await Client.connect(reactor, urls(cluster))
    await kv.login("alice", "a long secret")
    watch = kv.watch("watched", prefix="p")
    await watch.subscribed()
    await kv.put("watched", "other", {})
    await kv.put("watched", "p1", {"n": 1})
    assert (await anext(watch)).record.value == {"n": 1}
    await kv.delete("watched", "p1")
    assert (await anext(watch)).type == "Deleted"
    await deferToThread(cluster.nodes[0].kill)
    try:
        await kv.put("watched", "p2", {"n": 2})
        while (change := await ensureDeferred(anext(watch)).addTimeout(20, reactor)).key != "p2":
            assert (change.type, change.key) == ("Deleted", "p1")  # the last second's changes may be heard again
        assert change.record.value == {"n": 2}
    finally:
        watch.close()
        cluster.nodes[0].start()
        await deferToThread(cluster.wait_ready)
        await kv.close()


class TestCommand:
    @pytest.fixture
    def run(self, cluster, tmp_path):
        env = {**os.environ, "XDG_STATE_HOME": str(tmp_path), "DYNAKV_URL": urls(cluster)[1], "COLUMNS": "120"}

        def run(*arguments, ok=True):
            done = subprocess.run([DYNAKV, *arguments], capture_output=True, text=True, timeout=30, env=env)
            assert (done.returncode == 0) == ok, done.stderr
            assert "Traceback" not in done.stderr
            return done.stdout if ok else done.stderr

        return run

    def test_a_tour(self, cluster, run, tmp_path):
        assert "logged in" in run("register", "tourist", "--secret", "a s3cret word")
        assert (tmp_path / "dynakv" / "sessions.json").stat().st_mode & 0o777 == 0o600
        assert json.loads(run("put", "trip", "day 1", '{"city": "Oslo"}'))["owner"] == "tourist"
        assert json.loads(run("patch", "trip", "day 1", '{"rain": true}'))["version"] == 2
        assert json.loads(run("get", "--value", "trip", "day 1")) == {"city": "Oslo", "rain": True}
        assert run("keys", "trip") == "day 1\n"
        members = run("members")
        assert members.count("Active") == 3
        assert all(node.address in members for node in cluster.nodes)
        assert json.loads(run("stats"))["cluster"]["members"] == 3
        run("del", "trip", "day 1")
        assert run("get", "trip", "day 1", ok=False).count("\n") == 1
        run("logout", "tourist")
        assert "login" in run("keys", "trip", ok=False)
        assert run("put", "trip", "x", "nonsense", ok=False)
        password = run("admin-password", "--key-file", str(cluster.folder / "cluster.key")).strip()
        run("login", "admin", "--secret", password)
        assert json.loads(run("save"))["status"] == "saved"
        assert "no such member" in run("forget", "nobody:1", ok=False)

    def test_watch(self, cluster, run, tmp_path):
        run("login", "tourist", "--secret", "a s3cret word")
        env = {**os.environ, "XDG_STATE_HOME": str(tmp_path), "DYNAKV_URL": urls(cluster)[1], "PYTHONUNBUFFERED": "1"}
        watching = subprocess.Popen([DYNAKV, "watch", "trip"], stdout=subprocess.PIPE, env=env, text=True)
        try:
            stats = cluster.nodes[1].stats
            wait_until(lambda: stats()["active_websocket_connections"] == 1)
            wait_until(lambda: run("put", "trip", "seen", "{}") and _readable(watching))
            assert json.loads(watching.stdout.readline())["key"] == "seen"
        finally:
            watching.send_signal(signal.SIGINT)
            watching.wait(10)

    def test_no_node(self, run):
        told = run("--url", "http://127.0.0.1:1", "stats", ok=False)
        assert told.count("\n") == 1
        assert re.search(r" \(request dk-[0-9a-f]{16}\)$", told.rstrip())


def _readable(process):
    import select

    return bool(select.select([process.stdout], [], [], 0.2)[0])
