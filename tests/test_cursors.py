"""A cursor counts on every node: a listener goes on anywhere, and hears what it missed, deletes and ends among it."""

from __future__ import annotations

import http.client
import json
import threading
import time
from contextlib import suppress

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.threads import deferToThread

from dynatwist.client import Client

from .real import RealCluster, check_logs, wait_until
from .test_live import connect

pytestmark = pytest.mark.processes


class Wanderer(threading.Thread):
    """A listener to a table, that goes on at the next node whenever its connection ends.

    :ivar last: of each key the last value; ``None`` where it was deleted or has ended.
    :ivar words: what it was told besides: ``reset``, ``lagged``.
    """

    def __init__(self, nodes, table, token, cursor=None):
        super().__init__(daemon=True)
        self.nodes = list(nodes)
        self.last = {}
        self.heard = []
        self.words = []
        self.cursor = cursor
        self.moves = 0
        self._table = table
        self._token = token
        self._is_over = False
        self.is_open = threading.Event()
        self.connection = None
        self.start()

    @property
    def at(self):
        """The node that it listens to, or tries to."""
        return self.nodes[0]

    def run(self):
        while not self._is_over:
            with suppress(OSError, http.client.HTTPException, ValueError, AttributeError):
                self._listen()
            self.is_open.clear()
            self.nodes.append(self.nodes.pop(0))
            self.moves += 1
            time.sleep(0.05)  # between tries, so that nodes that start are not hammered

    def _listen(self):
        self.connection = http.client.HTTPConnection("127.0.0.1", self.nodes[0].port, timeout=5)
        headers = {"Authorization": f"Bearer {self._token}"}
        if self.cursor is not None:
            headers["Last-Event-ID"] = self.cursor
        self.connection.request("GET", f"/{self._table}/subscribe", headers=headers)
        answer = self.connection.getresponse()
        if answer.status != 200:
            return
        answer.readline()  # the first heartbeat
        self.is_open.set()
        fields = {}
        while line := answer.readline().decode():
            name, _, text = line.rstrip("\n").partition(": ")
            if name:
                fields[name] = text
            elif "data" in fields:
                self._hear(fields)
                fields = {}

    def _hear(self, fields):
        if "event" in fields:
            self.words.append(fields["event"])
            return
        self.cursor = fields["id"]
        data = json.loads(fields["data"])
        value = data["Updated"]["value"] if "Updated" in data else None
        self.heard.append((data["key"], value))
        self.last[data["key"]] = value

    def move(self):
        """Have the connection end."""
        self.connection.sock.shutdown(2)

    def close(self):
        self._is_over = True
        self.move()


def values_at(node, table, token):
    """All that a node holds of a table."""
    page = node.request("GET", f"/{table}/store", None, token).json
    return {key: record["value"] for key, record in page.items()}


class Writer(threading.Thread):
    """Changes keys, one after another, at any node that answers, until it is stopped."""

    def __init__(self, nodes, table, token, keys):
        super().__init__(daemon=True)
        self.count = 0
        self._nodes, self._table, self._token, self._keys = list(nodes), table, token, keys
        self._is_over = False
        self.start()

    def run(self):
        while not self._is_over:
            key = f"k{self.count * 7919 % self._keys:05}"
            node = self._nodes[self.count % len(self._nodes)]
            if self.count % 9 == 8:
                node.try_request("DELETE", f"/{self._table}/key/{key}", None, self._token, timeout_s=3)
            else:
                node.try_request("PUT", f"/{self._table}/key/{key}", {"n": self.count}, self._token, timeout_s=3)
            self.count += 1

    def stop(self):
        self._is_over = True
        self.join(10)


@pytest.fixture(scope="module", params=[(3, 3), (5, 3)], ids=["three", "five"])
def cluster(request, tmp_path_factory):
    count, replicas = request.param
    folder = tmp_path_factory.mktemp("cursors")
    made = RealCluster.start(count, "--replicas", str(replicas), folder=folder)
    yield made
    check_logs(made)
    made.close()


@pytest.fixture(scope="module")
def ann(cluster):
    return cluster.nodes[0].register("ann", "a long secret")


def first_words(node, table, token, cursor):
    """What a node tells first to a listener that has missed something."""
    connection = http.client.HTTPConnection("127.0.0.1", node.port, timeout=5)
    try:
        headers = {"Authorization": f"Bearer {token}", "Last-Event-ID": cursor}
        connection.request("GET", f"/{table}/subscribe", headers=headers)
        answer = connection.getresponse()
        while (line := answer.readline().decode()) and line.strip() in ("", ":"):
            pass
        return line
    finally:
        connection.close()


def hears_all(wanderer, node, table, token):
    """Waits until it has heard the last of all that there is."""

    def is_current():
        there = values_at(node, table, token)
        heard = {key: value for key, value in wanderer.last.items() if value is not None}
        return heard == there

    wait_until(is_current, 20, "the listener has heard the last of each key")


def test_a_listener_that_moves_hears_what_it_missed(cluster, ann):
    one, two, *_ = cluster.nodes
    wanderer = Wanderer([one, two], "moves", ann)
    try:
        assert wanderer.is_open.wait(5)
        one.put("moves", "a", {"n": 1}, ann)
        one.put("moves", "b", {"n": 1}, ann)
        wait_until(lambda: len(wanderer.last) == 2)
        wanderer.move()
        wait_until(lambda: wanderer.at is two and wanderer.is_open.is_set())
        one.put("moves", "c", {"n": 2}, ann)
        one.delete("moves", "a", ann)
        hears_all(wanderer, one, "moves", ann)
        assert wanderer.last == {"a": None, "b": {"n": 1}, "c": {"n": 2}}
        assert wanderer.words == []
    finally:
        wanderer.close()


def test_nothing_is_missed_while_nodes_are_killed_and_started(cluster, ann):
    """Each node in turn, while keys are changed and deleted all the time."""
    nodes = cluster.nodes
    writer = Writer(nodes, "much", ann, 500)
    wanderer = Wanderer(nodes, "much", ann)
    try:
        assert wanderer.is_open.wait(5)
        wait_until(lambda: writer.count > 200)
        for _ in range(2 * len(nodes)):
            victim = wanderer.at
            victim.kill()
            wait_until(lambda victim=victim: wanderer.at is not victim and wanderer.is_open.is_set(), 20)
            before = writer.count
            wait_until(lambda before=before: writer.count > before + 50, 20)
            victim.start()
            wait_until(victim.is_ready, 20)
        writer.stop()
        hears_all(wanderer, nodes[0], "much", ann)
        assert wanderer.moves >= len(nodes)
        assert wanderer.words == []
    finally:
        writer.stop()
        wanderer.close()


def test_who_was_away_while_all_nodes_were_restarted_goes_on(cluster, ann):
    nodes = cluster.nodes
    wanderer = Wanderer(nodes, "away", ann)
    assert wanderer.is_open.wait(5)
    for number in range(20):
        nodes[0].put("away", f"k{number}", {"n": number}, ann)
    wait_until(lambda: len(wanderer.last) == 20)
    cursor = wanderer.cursor
    wanderer.close()
    nodes[0].put("away", "late", {"n": 1}, ann)
    nodes[0].delete("away", "k3", ann)
    for node in nodes:
        node.stop()
        node.start()
        wait_until(lambda: all(one.is_ready() for one in nodes), 30)
        wait_until(lambda node=node: "reset" not in first_words(node, "away", ann, cursor), 10)
    back = Wanderer(nodes, "away", ann, cursor)
    try:
        wait_until(lambda: back.last.get("late") == {"n": 1} and "k3" in back.last)
        assert back.last["k3"] is None
        assert back.words == []
    finally:
        back.close()


@pytest_twisted.ensureDeferred
async def test_a_websocket_goes_on_at_another_node_with_a_key_or_a_prefix(cluster, ann):
    """Deletes and ends among what it hears."""
    one, two, *_ = cluster.nodes
    ws = await connect(one, Authorization=f"Bearer {ann}")
    for number, more in ((1, {"key": "a/1"}), (2, {"prefix": "a/"})):
        await ws.ask(op="subscribe", id=number, table="parts", **more)
    for key in ("a/1", "a/2", "b/1"):
        await deferToThread(one.put, "parts", key, {"n": 1}, ann, "?ttl=3" if key == "a/2" else "")
    cursors = {}
    for _ in range(3):
        frame = await ws.next()
        cursors[frame["sub"]] = frame["cursor"]
    ws.sendClose()
    await deferToThread(one.delete, "parts", "a/1", ann)
    await deferToThread(one.put, "parts", "b/1", {"n": 2}, ann)
    await deferToThread(wait_until, lambda: two.get("parts", "a/2", ann).status == 404)
    ws = await connect(two, Authorization=f"Bearer {ann}")
    for number, more in ((1, {"key": "a/1"}), (2, {"prefix": "a/"})):
        asked = {"op": "subscribe", "id": number, "table": "parts", "from": cursors[number], **more}
        ws.sendMessage(json.dumps(asked).encode())
    deleted = []
    while len(deleted) < 3:
        frame = await ws.next()
        if frame.get("type") == "Deleted":  # what was heard in the last second may be heard again before
            deleted.append((frame["sub"], frame["key"], frame["reason"]))
    assert sorted(deleted) == [(1, "a/1", "deleted"), (2, "a/1", "deleted"), (2, "a/2", "expired")]
    ws.sendClose()


@pytest_twisted.ensureDeferred
async def test_a_socket_that_hears_nothing_asks_where_it_is(cluster, ann):
    one, two, *_ = cluster.nodes
    ws = await connect(one, Authorization=f"Bearer {ann}")
    first = (await ws.ask(op="subscribe", id=1, table="quiet", key="k"))["cursor"]
    await deferToThread(one.put, "quiet", "another", {"n": 1}, ann)
    await deferToThread(wait_until, lambda: one.get("quiet", "another", ann).status == 200)
    place = (await ws.ask(op="bookmark", id=2, sub=1))["cursor"]
    assert place != first
    assert (await ws.ask(op="bookmark", id=3, sub=9))["code"] == "no_such_subscription"
    ws.sendClose()
    await deferToThread(one.put, "quiet", "k", {"n": 1}, ann)
    ws = await connect(two, Authorization=f"Bearer {ann}")
    await ws.ask(op="subscribe", id=1, table="quiet", key="k", **{"from": place})
    assert (await ws.next())["record"]["value"] == {"n": 1}
    ws.sendClose()


@pytest_twisted.ensureDeferred
async def test_a_mirror_makes_good_what_it_missed_without_beginning_anew(cluster, ann):
    one, *others = cluster.nodes
    kv = await Client.connect(reactor, [f"http://{node.address}" for node in (one, *others)])
    kv.token = ann
    for number in range(30):
        await kv.put("mirrored", f"k{number}", {"n": number})
    async with kv.mirror("mirrored") as mirror:
        changes = mirror.changes()
        await deferToThread(one.kill)
        await deferToThread(others[0].put, "mirrored", "k1", {"n": 100}, ann)
        await deferToThread(others[0].delete, "mirrored", "k2", ann)
        heard = set()
        while heard != {("k1", "Updated"), ("k2", "Deleted")}:
            change = await anext(changes)
            assert change.type in ("Updated", "Deleted")
            heard.add((change.key, change.type))
        assert mirror["k1"].value == {"n": 100}
        assert "k2" not in mirror
        assert len(mirror) == 29
    await kv.close()
    one.start()
    await deferToThread(wait_until, one.is_ready, 20)


@pytest.mark.parametrize("cursor", ["nonsense", "0" * 16 + "-5", "-", "a" * 16 + "-" + "9" * 40, "é-1", "x" * 5000])
def test_a_cursor_that_nobody_knows_is_a_reset(cluster, ann, cursor):
    answer = first_words(cluster.nodes[0], "moves", ann, cursor) if cursor.isascii() else "event: reset"
    assert answer.strip() == "event: reset"
