"""Pages of a table, put together from what members found: hypothesis plays the members and what they hold."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import ensureDeferred

from dynatwist.model.dots import Dot
from dynatwist.model.record import Draft
from dynatwist.model.records import Brief
from dynatwist.model.registry import Member, Registry
from dynatwist.net.arrival import Arrival
from dynatwist.net.messages import Scan as ScanMessage
from dynatwist.replication.listing import UNKNOWN_BYTES, Entry, Gathering, Part, Scan, fitting, is_covered, put_together
from dynatwist.replication.quorum import Level
from dynatwist.replication.request import Code
from tests.test_findings import ask, settled

NODES = (b"a", b"b", b"c", b"d")
NAMES = [f"k{number}" for number in range(9)]
OWNERS = 3


def dot(number):
    return Dot(b"x" * 16, number)


def brief(size_bytes=10, expires_ms=0, is_deleted=False):
    return Brief(size_bytes, is_deleted, "alice", expires_ms)


def entry(name, size_bytes=10, source=b"a", **told):
    return Entry(name, source, dot(1), brief(size_bytes, **told), size_bytes)


def owners_of(name):
    """Three of the four."""
    first = NAMES.index(name) % len(NODES)
    return [NODES[(first + number) % len(NODES)] for number in range(OWNERS)]


def scan_of(held, after, most):
    """What a member answers: as many keys as fit."""
    names = sorted(name for name in held if name > after)
    return Scan([(name, dot(held[name]), brief()) for name in names[:most]], len(names) > most)


held_by_all = st.fixed_dictionaries(
    {node: st.dictionaries(st.sampled_from(NAMES), st.integers(1, 2)) for node in NODES}
).map(lambda held: {node: {k: v for k, v in own.items() if node in owners_of(k)} for node, own in held.items()})


@given(held_by_all, st.fixed_dictionaries({node: st.integers(1, 4) for node in NODES}), st.integers(1, 5), st.data())
@settings(max_examples=300)
def test_page_by_page_each_key_that_anybody_holds_comes_once_and_in_order(held, most, limit, data):
    listed, after = [], ""
    while after is not None:
        scans = {node: scan_of(held[node], after, most[node]) for node in NODES}
        part = put_together(scans, limit, owners_of)
        assert len(part.entries) <= limit
        cut = part.cut(part.entries, data.draw(st.integers(0, 60)))
        assert cut.entries or cut.horizon is None, "a page without an end"
        listed += cut.entries
        after = cut.horizon
    assert [one.name for one in listed] == sorted({name for own in held.values() for name in own})
    for one in listed:
        said = {held[node].get(one.name) for node in owners_of(one.name)}
        if len(said) == 1:
            assert one.source == owners_of(one.name)[0]
            assert one.dot == dot(said.pop())
        else:
            assert one.source is None, "the owners differ, and one of them is believed"


class TestEntries:
    def test_where_no_whole_owner_has_answered_a_key_is_disputed(self):
        part = put_together({b"a": scan_of({"k1": 1}, "", 9)}, 9, lambda name: [])
        assert part == Part([Entry("k1", None, None, None, 10)], None)

    def test_the_largest_record_that_anybody_holds_is_what_a_page_has_room_for(self):
        scans = {b"a": Scan([("k1", dot(1), brief(7))], False), b"b": Scan([("k1", dot(2), brief(900))], False)}
        assert put_together(scans, 9, lambda name: [b"a", b"b"]).entries[0].size_bytes == 900
        scans[b"b"] = Scan([("k1", dot(1), None)], False)  # of an older release
        assert put_together(scans, 9, lambda name: [b"a", b"b"]).entries[0].size_bytes == UNKNOWN_BYTES

    def test_what_ended_while_it_was_listed_is_disputed(self):
        one = entry("k1", expires_ms=150)
        assert one.doubted(100, 149) == one
        assert one.doubted(100, 150).source is None
        assert one.doubted(150, 200) == one, "it was over before, and members knew that"
        assert one.is_gone(150)
        assert not one.doubted(100, 150).is_gone(150)


class TestPages:
    def test_a_page_ends_before_it_is_too_large_and_has_one_record_at_least(self):
        part = Part([entry("k1", 50), entry("k2", 60), entry("k3", 1)], None)
        assert part.cut(part.entries, 110) == Part(part.entries[:2], "k2")
        assert part.cut(part.entries, 1) == Part(part.entries[:1], "k1")
        assert part.cut(part.entries, 111) == part

    def test_what_costs_nothing_is_on_the_page_up_to_its_end(self):
        gone = entry("k2", 900, is_deleted=True)
        part = Part([entry("k1", 50), gone, entry("k3", 60)], "k5")
        costly = [one for one in part.entries if not one.is_gone(0)]
        assert part.cut(costly, 50) == Part(part.entries[:1], "k1")
        assert part.cut(costly, 110) == part

    @given(st.lists(st.integers(0, 50)), st.integers(0, 100))
    def test_as_many_as_fit(self, sizes, room):
        count = fitting(sizes, room)
        assert count >= min(1, len(sizes))
        assert count <= 1 or sum(sizes[:count]) <= room
        assert count == len(sizes) or sum(sizes[: count + 1]) > room


class TestAnswersThatAreNone:
    @pytest.mark.parametrize(
        ("names", "more"),
        [(["k2", "k1"], False), (["k1", "k1"], False), (["k0"], False), (["x"], False), ([], True)],
        ids=["out of order", "twice", "not behind", "another prefix", "more behind nothing"],
    )
    def test_they_count_as_none(self, names, more):
        assert not Scan([(name, dot(1), brief()) for name in names], more).is_sound("k", "k0")

    @given(held_by_all, st.integers(1, 5), st.sampled_from(["", "k0", "k4"]))
    def test_those_of_members_that_work_are_sound(self, held, most, after):
        assert scan_of(held[b"a"], after, most).is_sound("k", after)


def members(*nodes):
    return tuple(Member(node, node.decode(), 7000, 7001) for node in nodes)


class TestCoverage:
    def registry(self, *nodes):
        return Registry(b"c", 1, OWNERS, members(*nodes))

    @pytest.mark.parametrize(
        ("level", "enough"), [(Level.ONE, 1), (Level.QUORUM, 1), (Level.MAJORITY, 2), (Level.ALL, 3)]
    )
    def test_so_many_whole_owners_of_each_partition_have_to_answer(self, level, enough):
        registry = self.registry(b"a", b"b", b"c")
        for count in range(4):
            answered = [b"a", b"b", b"c"][:count]
            assert is_covered(registry, level, answered, lambda node, partition: True) == (count >= enough)

    def test_an_owner_that_is_not_whole_somewhere_does_not_count_there(self):
        registry = self.registry(b"a", b"b", b"c")
        is_whole = lambda node, partition: (node, partition) != (b"a", 7)  # noqa: E731
        assert not is_covered(registry, Level.MAJORITY, [b"a", b"b"], is_whole)
        assert is_covered(registry, Level.MAJORITY, [b"b", b"c"], is_whole)

    def test_while_members_change_the_old_owners_have_to_answer_as_well(self):
        registry = self.registry(b"a", b"b", b"c").with_members(members(b"d", b"e", b"f"))
        assert not is_covered(registry, Level.MAJORITY, [b"d", b"e", b"f"], lambda node, partition: True)
        assert is_covered(registry, Level.MAJORITY, [b"a", b"b", b"d", b"e"], lambda node, partition: True)

    def test_the_last_one_is_not_waited_for_where_the_others_are_enough(self):
        gathering = Gathering([b"a", b"b", b"c"], lambda answered: set(answered) >= {b"a"})
        for node, is_over in ((b"b", False), (b"a", True), (b"c", True)):
            gathering.hear(node, Scan([], False))
            assert gathering.is_over == is_over
        gathering = Gathering([b"a", b"b"], lambda answered: False)
        gathering.hear(b"a", None)
        assert not gathering.is_over
        gathering.hear(b"b", None)
        assert gathering.is_over
        assert gathering.scans == {}


@pytest.fixture(scope="module")
def three():
    """A world, and two of its three nodes; they hold `kept` and `old`, and `gone` as a tombstone."""
    world, cluster = settled()
    a, b, _ = cluster.nodes
    for name in ("gone", "kept", "old"):
        assert ask(world, a, "put", ("t", name), level="all").code is Code.OK
    assert ask(world, a, "delete", ("t", "gone"), level="all").code is Code.OK
    return world, a, b


class TestTombstones:
    """Members leave them out, which says no less: whoever holds a value names the key."""

    def names(self, world, node, level):
        found = []
        listing = node.core.handlers.context.listing
        node.process.run(lambda: ensureDeferred(listing.names("t", "", "", level)).addBoth(found.append))
        assert world.run_until(lambda: bool(found), 5, step_s=0.001)
        return [name for name, _ in found[0].names]

    def test_where_owners_differ_a_read_decides(self, three):
        world, a, b = three
        assert self.names(world, a, Level.ALL) == ["kept", "old"]
        b.core.store.write(("t", "old"), Draft(None, "alice"))
        b.core.store.write(("t", "new"), Draft(b"{}", "alice"))
        for node in (a, b):
            assert self.names(world, node, Level.ALL) == ["kept", "new"]

    def test_whoever_has_to_hear_of_them_is_told_all(self, three):
        world, a, _ = three
        told = []
        for asked in (ScanMessage(0, "t", "", "", 9), ScanMessage(0, "t", "", "", 9, is_live=True)):
            a.process.run(a.core.handlers.context.listing.answer, Arrival(a.node_id), asked, told.append)
        assert world.run_until(lambda: len(told) == 2, 5)
        whole, live = ([name for name, _ in one.entries] for one in told)
        assert whole == ["gone", "kept", "new", "old"]
        assert live == ["kept", "new"]
