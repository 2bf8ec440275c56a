"""Pages of conflicts: whatever members keep, and however far each answer goes, all is listed once and in order."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import ensureDeferred

from dynatwist.model.clock import Stamp
from dynatwist.model.dots import Dot
from dynatwist.model.record import Draft, write_over
from dynatwist.net.messages import FetchConflicts, ListConflicts, SettleConflicts
from dynatwist.replication.conflict_pages import Head, Told, put_together
from dynatwist.replication.conflicts import ID_BYTES, Winner
from dynatwist.sim.cluster import SimCluster
from dynatwist.sim.world import World

K = ("t", "k")


def name(number: int) -> bytes:
    return number.to_bytes(ID_BYTES)


def head(number: int, owner: str = "alice", won: Winner | None = None, holder: str | None = None) -> Head:
    return Head(name(number), K, owner, won or Winner(2, 5, owner), holder, 100)


def told(kept: set[int], settled: set[int], after: bytes, limit: int) -> Told:
    """What a member that keeps some says, so many at most."""
    behind = [number for number in sorted(kept, reverse=True) if not after or name(number) < after]
    upto = name(behind[limit - 1]) if len(behind) > limit else b""
    known = [name(number) for number in sorted(settled, reverse=True) if not after or name(number) < after]
    return Told([head(number) for number in behind[:limit]], [one for one in known if one >= upto], upto)


MEMBERS = st.lists(
    st.tuples(st.sets(st.integers(1, 20)), st.sets(st.integers(1, 20), max_size=4), st.integers(1, 5)),
    min_size=1,
    max_size=4,
)


class TestPutTogether:
    @given(MEMBERS)
    def test_all_that_is_not_settled_is_listed_once_and_in_order(self, members):
        found, after, untold = [], b"", set()
        while True:
            answers = {bytes([n]): told(*member[:2], after, member[2]) for n, member in enumerate(members)}
            assert all(one.is_sound(after) for one in answers.values())
            part = put_together(answers)
            found += part.found
            untold |= {(node, one) for node, ones in part.untold.items() for _, one in ones}
            if not part.horizon:
                break
            assert not after or part.horizon < after
            after = part.horizon
        settled = set().union(*(one for _, one, _ in members))
        wanted = set().union(*(kept for kept, _, _ in members)) - settled
        assert [one.id for one in found] == [name(number) for number in sorted(wanted, reverse=True)]
        for one in found:
            assert one.sources == tuple(bytes([n]) for n, (kept, _, _) in enumerate(members) if name_in(one.id, kept))
        assert untold == {
            (bytes([n]), name(number)) for n, (kept, _, _) in enumerate(members) for number in kept & settled
        }

    def test_whoever_owns_anything_of_it_counts(self):
        one = Told([head(7, "alice", Winner(3, 9, "bob"), "carol")], [], b"")
        other = Told([head(7, "alice", Winner(2, 8, "dave"), None)], [], b"")
        (found,) = put_together({b"1": one, b"2": other}).found
        assert found.owners == {"alice", "bob", "carol", "dave"}
        assert found.won == Winner(2, 8, "dave")

    def test_nobody_has_answered(self):
        part = put_together({})
        assert (part.found, part.horizon, part.untold) == ([], b"", {})

    @pytest.mark.parametrize(
        ("heads", "upto", "after"),
        [([1, 2], b"", b""), ([2, 2], b"", b""), ([5], b"", name(5)), ([2], name(3), b""), ([], name(5), name(5))],
    )
    def test_what_can_be_no_answer(self, heads, upto, after):
        assert not Told([head(number) for number in heads], [], upto).is_sound(after)


def name_in(one: bytes, kept: set[int]) -> bool:
    return int.from_bytes(one) in kept


@pytest.fixture
def cluster():
    cluster = SimCluster(World(5), 3)
    for node in cluster.nodes:
        node.start()
    assert cluster.world.run_until(cluster.is_settled, 60)
    return cluster


def meet(node, numbers):
    """A node meets pairs that the others do not."""
    for number in numbers:
        first = write_over(None, (), 0, Draft(b"{}", "alice"), Dot(b"o" * 16, number), Stamp(5, 0, b"o" * 16), 0)
        for actor in (b"a" * 16, b"b" * 16):
            draft = Draft(msgspec.json.encode({"by": actor.decode(), "n": number}), "alice")
            record = write_over(first, (), 0, draft, Dot(actor, number), Stamp(100 + number, 0, actor), 0)
            node.process.run(node.core.store.merge, ("c", f"k{number}"), record)


def asked(cluster, node, ask):
    """What comes of a question at a node."""
    found = []
    node.process.run(lambda: ensureDeferred(ask(node.core.handlers.conflicts.conflicts)).addCallback(found.append))
    assert cluster.world.run_until(lambda: bool(found), 10, 0.01)
    return found[0]


def page(cluster, node, after=b"", limit=100, table="") -> tuple[list[int], bytes, frozenset[bytes]]:
    found = asked(cluster, node, lambda conflicts: conflicts.page(table, after, limit, lambda one: True))
    numbers = [msgspec.json.decode(one.lost.value)["n"] for one in found.conflicts]
    return numbers, found.next_after, found.missing


class TestMembers:
    def test_what_any_of_them_has_met_is_listed_by_all(self, cluster):
        for node, numbers in zip(cluster.nodes, ((1, 4), (2, 3), (5,)), strict=True):
            meet(node, numbers)
        for node in cluster.nodes:
            assert page(cluster, node) == ([5, 4, 3, 2, 1], b"", frozenset())
            first, after, _ = page(cluster, node, limit=2)
            assert first == [5, 4]
            assert page(cluster, node, after, 3) == ([3, 2, 1], b"", frozenset())
            assert page(cluster, node, table="other")[0] == []

    def test_answers_that_are_cut_short_are_asked_for_in_parts(self, cluster):
        for node, numbers in zip(cluster.nodes, (range(1, 30, 2), range(2, 30, 2), range(1, 30)), strict=True):
            meet(node, numbers)
            node.core.handlers.conflicts.conflicts.bound(300, 500)
        seen, after = [], b""
        while True:
            some, after, _ = page(cluster, cluster.nodes[0], after)
            seen += some
            if not after:
                break
        assert seen == list(range(29, 0, -1))

    def test_what_a_page_may_not_show_is_looked_past(self, cluster):
        meet(cluster.nodes[1], range(1, 60))
        found = asked(
            cluster,
            cluster.nodes[0],
            lambda conflicts: conflicts.page("", b"", 2, lambda one: one.key[1] in ("k3", "k1")),
        )
        assert [one.found.key[1] for one in found.conflicts] == ["k3", "k1"]
        assert found.next_after == b""

    def test_who_is_told_late_shows_it_no_more(self, cluster):
        one, two, three = cluster.nodes
        for node in cluster.nodes:
            meet(node, (1,))
        cluster.network.cut([three.host], [one.host, two.host])
        cluster.world.run(cluster.world.now_s + 5)
        (found,) = asked(cluster, one, lambda conflicts: conflicts.page("", b"", 9, lambda one: True)).conflicts
        count, missing = asked(cluster, one, lambda conflicts: conflicts.settle(found.found))
        assert (count, missing) == (2, {three.node_id})
        assert page(cluster, two) == ([], b"", {three.node_id})
        assert page(cluster, three)[0] == [1]
        cluster.network.heal()
        assert cluster.world.run_until(cluster.is_settled, 60)
        assert page(cluster, two) == ([], b"", frozenset())
        assert cluster.world.run_until(lambda: len(three.core.store.conflicts) == 0, 5)
        assert page(cluster, three) == ([], b"", frozenset())

    def test_a_member_of_an_older_release_is_not_asked(self, cluster):
        one, _, old = cluster.nodes
        meet(one, (1,))
        status = old.core.cluster._status
        old.core.cluster._status = lambda: msgspec.structs.replace(status(), has_conflicts=False)
        old.process.run(old.core.cluster.publish)
        heard = []
        handle = old.core.cluster.peers.handle

        def listening(arrival, message, respond):
            heard.append(type(message))
            handle(arrival, message, respond)

        old.core.cluster.peers.handle = listening
        cluster.world.run(cluster.world.now_s + 1)
        assert page(cluster, one) == ([1], b"", {old.node_id})
        (found,) = asked(cluster, one, lambda conflicts: conflicts.page("", b"", 9, lambda one: True)).conflicts
        assert asked(cluster, one, lambda conflicts: conflicts.settle(found.found)) == (2, {old.node_id})
        assert not {ListConflicts, FetchConflicts, SettleConflicts} & set(heard)

    def test_a_disk_that_takes_nothing_settles_nothing(self, cluster):
        one = cluster.nodes[0]
        meet(one, (1,))
        (found,) = asked(cluster, one, lambda conflicts: conflicts.page("", b"", 9, lambda one: True)).conflicts
        cluster.network.cut([one.host], [node.host for node in cluster.nodes[1:]])
        cluster.world.run(cluster.world.now_s + 5)
        one.core.store.wal.when_durable = lambda lsn, call: None
        count, missing = asked(cluster, one, lambda conflicts: conflicts.settle(found.found))
        assert count == 0
        assert missing == {node.node_id for node in cluster.nodes}
