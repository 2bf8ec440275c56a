"""Cursors at other nodes than the one that gave them, in states that histories reach too seldom."""

from __future__ import annotations

from twisted.internet.defer import ensureDeferred

from dynatwist.api.live import Listening
from dynatwist.feed.bookmarks import Bookmark, Bookmarks
from dynatwist.feed.bounds import HubBounds
from dynatwist.feed.event import Event
from dynatwist.feed.heard import Heard
from dynatwist.feed.hub import Notice, Subscription
from dynatwist.feed.sight import EVERYTHING
from dynatwist.model.dots import Dot, DotSet
from dynatwist.model.record import Draft
from dynatwist.model.ring import partition_of
from dynatwist.relays.streams import Streams
from dynatwist.replication.request import Code
from dynatwist.requests.missing import Stretch
from tests.test_findings import ask, settled
from tests.test_relays import key_of_others

ACTOR = bytes(16)
KEYS = [("t", f"k{number}") for number in range(6)]


class Listener:
    """Somebody who listens to a table, at one node after another."""

    def __init__(self, world, table="t"):
        self.world = world
        self.cursor = None
        self.told = []
        self.listening = None
        self._table = table

    def listen(self, node):
        """Go on at a node."""
        subscription = Subscription(table=self._table, key=None, prefix="", sight=EVERYTHING, wake=lambda: None)
        context = node.core.handlers.context
        self.listening = Listening(context, subscription, (), cursor=self.cursor, wants_initial=False)
        self.cursor = self.listening.cursor

    def read(self):
        """All that comes within a second; answers what it was told, and forgets it."""
        for _ in range(20):
            while (item := self.listening.take()) is not None:
                self.told.append(item if isinstance(item, Notice) else (item.key[1], item.record.value, item.is_over))
                if isinstance(item, Event):
                    self.cursor = item.cursor
            self.world.run(self.world.now_s + 0.05)
        told, self.told = self.told, []
        return told


def written(world, node, key, value):
    assert ask(world, node, "put", key, value).code is Code.OK


def left_at(nodes=3, **settings):
    """A cluster whose first node has told a listener of some records, and is gone now; others keep one event."""
    world, cluster = settled(nodes, **settings)
    one, *others = cluster.nodes
    listener = Listener(world)
    one.process.run(listener.listen, one)
    world.run(world.now_s + 1)
    for key in KEYS:
        written(world, one, key, b'{"n":1}')
    assert {name for name, _, _ in listener.read()} == {name for _, name in KEYS}
    world.run(world.now_s + 3)
    for node in others:
        node.core.hub.bound(HubBounds(window_events=1))
    one.kill()
    return world, cluster, others, listener


def whoever_moves_hears_what_it_missed_and_nothing_else():
    world, _, others, listener = left_at()
    written(world, others[0], KEYS[1], b'{"n":2}')
    assert ask(world, others[0], "delete", KEYS[2]).code is Code.OK
    others[1].process.run(listener.listen, others[1])
    assert sorted(listener.read(), key=str) == [("k1", b'{"n":2}', False), ("k2", None, False)]
    written(world, others[0], KEYS[3], b'{"n":3}')
    assert listener.read() == [("k3", b'{"n":3}', False)]


def whoever_moves_is_told_where_a_delete_may_be_unknown():
    world, _, others, listener = left_at()
    assert ask(world, others[0], "delete", KEYS[2]).code is Code.OK
    written(world, others[0], KEYS[0], b'{"n":2}')  # so that the delete is in no window any more
    world.run(world.now_s + 2)
    for node in others:
        store, partition = node.core.store, partition_of(*KEYS[2])
        dot = store.held(KEYS[2]).dot
        node.process.run(store.drop, partition, [(KEYS[2], dot)], store.replicas[partition].generation + 1)
    others[1].process.run(listener.listen, others[1])
    assert Notice.RESET in listener.read()


def what_was_heard_is_not_told_again_where_an_owner_lags_behind():
    """One owner has an older record than the one that the listener has heard, and that it has not."""
    world, cluster = settled(4)
    lonely, *others = cluster.nodes
    key = key_of_others(lonely.core)
    owners = [node for node in others if node.node_id in lonely.core.cluster.ownership.owners(partition_of(*key))]
    stale, fresh, third = owners
    written(world, fresh, key, b'{"n":1}')
    world.run(world.now_s + 2)
    cluster.network.cut([stale.host], [fresh.host, third.host])
    written(world, fresh, key, b'{"n":2}')
    world.run(world.now_s + 1)
    assert stale.core.store.held(key).value == b'{"n":1}'
    heard = Heard({partition_of(*key): DotSet([fresh.core.store.held(key).dot])}, 1 << 50)
    pages = []

    def ask_all():
        page = lonely.core.handlers.context.missing.page(Stretch(key[0], key=key[1]), heard)
        ensureDeferred(page).addCallback(pages.append)

    lonely.process.run(ask_all)
    assert world.run_until(lambda: bool(pages), 5)
    assert pages[0].records == []


def a_bookmark_waits_for_the_log():
    world, cluster = settled(3)
    node = cluster.nodes[0]
    listener = Listener(world)
    node.process.run(listener.listen, node)
    world.run(world.now_s + 3)
    node.disk.stall_s = 5.0
    key = KEYS[0]
    node.process.run(node.core.store.write, key, Draft(b'{"n":9}', "alice"))
    held = node.core.store.held(key)
    world.run(world.now_s + 2)
    assert node.core.store.wal.durable_lsn < node.core.store.wal.lsn
    assert not node.core.hub.bookmarks.last().has(partition_of(*key), held.dot)


def a_cursor_stands_for_what_was_announced_before_it():
    bookmarks = Bookmarks("here")
    for number in (2, 4):
        heard = Heard({0: DotSet(Dot(ACTOR, seq) for seq in range(1, number + 1))}, 0)
        bookmarks.note("there", Bookmark(number, number, heard.pack()), float(number))
    found = bookmarks.find("there", 3)
    assert found is not None
    assert not found.has(0, Dot(ACTOR, 4))


def a_bookmark_covers_events_up_to_its_first_number():
    bookmarks = Bookmarks("here")
    heard = Heard({0: DotSet([Dot(ACTOR, 1)])}, 0)
    bookmarks.note_own(Bookmark(1, 3, heard.pack()), heard, 0.0)
    assert bookmarks.position(heard, [0]) == 1


def a_broken_stream_does_not_count():
    _, cluster = settled(4)
    lonely, owner, *_ = cluster.nodes
    ownership = lonely.core.cluster.ownership
    number = next(one for one in range(256) if ownership.owners(one).count(owner.node_id) and not ownership.owns(one))
    streams = Streams(lonely.node_id, lonely.core.cluster.is_whole_owner)
    heard = Heard({number: DotSet([Dot(ACTOR, 1)])}, 0)
    streams.take(owner.node_id, heard, ownership)
    assert streams.parts() == {}
    assert streams.mend(owner.node_id, ownership)
    assert set(streams.parts()) == {number}


SCENARIOS = {
    "a_cursor_stands_for_the_next_bookmark": a_cursor_stands_for_what_was_announced_before_it,
    "a_bookmark_covers_what_is_not_durable_yet": a_bookmark_waits_for_the_log,
    "a_listener_from_elsewhere_begins_behind_a_bookmark": a_bookmark_covers_events_up_to_its_first_number,
    "deletes_that_were_missed_are_not_told": whoever_moves_hears_what_it_missed_and_nothing_else,
    "tombstones_that_are_gone_are_not_missed": whoever_moves_is_told_where_a_delete_may_be_unknown,
    "a_stream_that_is_broken_counts": a_broken_stream_does_not_count,
    "an_old_value_is_told_where_owners_differ": what_was_heard_is_not_told_again_where_an_owner_lags_behind,
}
"""By the defect that breaks it."""
