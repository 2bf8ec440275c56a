"""What there is, then what changes: ``initial``, ``synced``, tables and prefixes over SSE, and mirrors made of that."""

from __future__ import annotations

import http.client
import json
import threading

import pytest
import pytest_twisted
from twisted.internet import reactor

from dynatwist.client import Client
from dynatwist.sansio.watch import WatchRefused

from .real import wait_until
from .test_live import connect

pytestmark = pytest.mark.processes


@pytest.fixture(scope="module")
def ann(four):
    return four.nodes[0].register("ann", "a long secret")


class Stream(threading.Thread):
    """An event stream of a table; ``heard`` are (event, id, data)."""

    def __init__(self, node, path, token, **headers):
        super().__init__(daemon=True)
        self.heard = []
        self._connection = http.client.HTTPConnection("127.0.0.1", node.port, timeout=30)
        sent = {name.replace("_", "-"): text for name, text in headers.items()}
        if token:
            sent["Authorization"] = f"Bearer {token}"
        self._connection.request("GET", path, headers=sent)
        self._answer = self._connection.getresponse()
        self.status = self._answer.status
        if self.status == 200:
            self.start()

    def run(self):
        fields = {}
        try:
            while line := self._answer.readline().decode():
                name, _, text = line.rstrip("\n").partition(": ")
                if name:
                    fields[name] = text
                elif "data" in fields:
                    self.heard.append((fields.get("event"), fields.get("id"), json.loads(fields["data"])))
                    fields = {}
        except (OSError, ValueError, AttributeError):
            return

    def texts(self):
        return [
            event or f"{data['key']}={data['Updated']['value']['n']}" if "Deleted" not in data else f"-{data['key']}"
            for event, _, data in self.heard
        ]


@pytest.fixture
def filled(four, ann, request):
    table = request.node.name.split("[")[0][:60]
    for number, key in enumerate(("a/1", "a/2", "b/1")):
        assert four.nodes[0].put(table, key, {"n": number}, ann).status == 201
    return table


@pytest.mark.parametrize("at", range(4))
def test_what_there_is_comes_first_then_the_word_then_what_changes(four, ann, filled, at):
    stream = Stream(four.nodes[at], f"/{filled}/subscribe?prefix=a/&initial=true", ann)
    wait_until(lambda: stream.texts() == ["a/1=0", "a/2=1", "synced"], 10)
    assert [one[1] is not None for one in stream.heard] == [False, False, True]
    four.nodes[0].put(filled, "a/2", {"n": 5}, ann)
    four.nodes[0].put(filled, "b/2", {"n": 6}, ann)
    four.nodes[0].delete(filled, "a/1", ann)
    wait_until(lambda: sorted(stream.texts()[3:]) == ["-a/1", "a/2=5"], 10)
    cursor = stream.heard[2][1]
    again = Stream(four.nodes[at], f"/{filled}/subscribe?prefix=a/&initial=true", ann, Last_Event_ID=cursor)
    wait_until(lambda: sorted(again.texts()) == ["-a/1", "a/2=5"], 10)


def test_one_key_too_and_none(four, ann, filled):
    one = Stream(four.nodes[3], f"/{filled}/subscribe/b%2F1?initial=true", ann)
    none = Stream(four.nodes[3], f"/{filled}/subscribe/none?initial=true", ann)
    wait_until(lambda: [name for name, _, _ in one.heard] == [None, "synced"], 10)
    assert one.heard[0][2]["Updated"]["value"] == {"n": 2}
    wait_until(lambda: [name for name, _, _ in none.heard] == ["synced"], 10)


def test_a_table_is_listened_to_without_what_others_own(four, ann, filled):
    ben = four.nodes[0].register("ben", "a long secret")
    stream = Stream(four.nodes[1], f"/{filled}/subscribe?initial=true", ben)
    wait_until(lambda: stream.texts() == ["synced"], 10)
    four.nodes[0].put(filled, "c", {"n": 1}, ben)
    wait_until(lambda: stream.texts() == ["synced", "c=1"], 10)
    assert Stream(four.nodes[1], f"/{filled}/subscribe", None).status == 401
    assert Stream(four.nodes[1], f"/{filled}/subscribe?initial=yes", ben).status == 400


def test_many_records_come_page_by_page_while_they_change(four, ann):
    ops = [{"op": "put", "key": f"k{number:04}", "value": {"n": 0}} for number in range(1000)]
    assert four.nodes[0].request("POST", "/many/batch", {"ops": ops}, ann).status == 200
    stream = Stream(four.nodes[2], "/many/subscribe?initial=true", ann)
    for number in range(0, 1000, 100):
        four.nodes[0].put("many", f"k{number:04}", {"n": 1}, ann)
    wait_until(lambda: "synced" in stream.texts(), 20)

    def is_current():
        kept = {}
        for _, _, data in stream.heard:
            if "key" in data:
                before = kept.get(data["key"], 0)
                assert data["Updated"]["version"] >= before, "a listener goes back"
                kept[data["key"]] = data["Updated"]["version"]
        return len(kept) == 1000 and sum(version == 2 for version in kept.values()) == 10

    wait_until(is_current, 10)


@pytest_twisted.ensureDeferred
async def test_the_websocket_likewise(four, ann, filled):
    ws = await connect(four.nodes[3])
    await ws.ask(op="auth", id=0, token=ann)
    answer = await ws.ask(op="subscribe", id=1, table=filled, prefix="a/", initial=True)
    assert answer["ok"]
    frames = [await ws.next() for _ in range(3)]
    assert [(one["op"], one.get("key"), one.get("initial")) for one in frames] == [
        ("event", "a/1", True),
        ("event", "a/2", True),
        ("synced", None, None),
    ]
    assert frames[2]["cursor"] == answer["cursor"]
    refused = await ws.ask(op="subscribe", id=2, table=filled, initial="yes")
    assert refused["code"] == "malformed"
    ws.sendClose()
    await ws.closed


class TestMirror:
    @pytest_twisted.ensureDeferred
    async def test_a_table_of_many_pages_is_there_though_nothing_changes(self, four, ann):
        ops = [{"op": "put", "key": f"k{number:04}", "value": {"n": 0}} for number in range(700)]
        assert four.nodes[0].request("POST", "/pages/batch", {"ops": ops}, ann).status == 200
        kv = await client(four, ann, 3)
        async with kv.mirror("pages") as mirror:
            assert len(mirror) == 700
        await kv.close()

    @pytest_twisted.ensureDeferred
    async def test_it_is_what_the_table_is(self, four, ann, filled):
        kv = await client(four, ann)
        async with kv.mirror(filled, "a/") as mirror:
            assert {key: one.value["n"] for key, one in mirror.items()} == {"a/1": 0, "a/2": 1}
            changes = mirror.changes()
            await kv.put(filled, "a/3", {"n": 3})
            await kv.delete(filled, "a/1")
            told = {(change.type, change.key) for change in [await anext(changes), await anext(changes)]}
            assert told == {("Updated", "a/3"), ("Deleted", "a/1")}
            assert set(mirror) == {"a/2", "a/3"}
        await kv.close()

    @pytest_twisted.ensureDeferred
    async def test_what_it_missed_is_made_good(self, four, ann, filled):
        """Its node dies and comes back, so that no cursor counts; meanwhile keys change, come and go."""
        kv = await client(four, ann, 3)
        mirror = kv.mirror(filled)
        await mirror.wait_synced()
        changes = mirror.changes()
        four.nodes[3].kill()
        four.nodes[0].put(filled, "a/1", {"n": 7}, ann)
        four.nodes[0].put(filled, "new", {"n": 8}, ann)
        four.nodes[0].delete(filled, "b/1", ann)
        four.nodes[3].start()
        four.wait_ready()
        told = {}
        while len(told) < 3:
            change = await anext(changes)
            told[change.key] = change.type
        assert told == {"a/1": "Updated", "new": "Updated", "b/1": "Deleted"}
        assert {key: one.value["n"] for key, one in mirror.items()} == {"a/1": 7, "a/2": 1, "new": 8}
        mirror.close()
        await kv.close()

    @pytest_twisted.ensureDeferred
    async def test_who_may_not_listen_is_told(self, four):
        kv = await client(four, "no token")
        with pytest.raises(WatchRefused):
            await kv.mirror("t").wait_synced()
        await kv.close()


async def client(cluster, token, number=0):
    kv = await Client.connect(reactor, [f"http://{cluster.nodes[number].address}"])
    kv.token = token
    return kv
