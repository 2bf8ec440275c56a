"""The laws of the data model."""

from __future__ import annotations

from itertools import pairwise, permutations

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from dynatwist.model.clock import HybridClock, Stamp
from dynatwist.model.digest import BucketDigests
from dynatwist.model.dots import Dot, DotSet
from dynatwist.model.record import (
    Draft,
    Lineage,
    Record,
    beats,
    had_seen,
    join_vv,
    write_over,
)
from dynatwist.model.registry import Member, Registry, majority
from dynatwist.model.replica import Outcome, Replica
from dynatwist.model.ring import PARTITIONS, SYSTEM_PARTITION, partition_of, preference_list
from dynatwist.replication.collection import Collection
from dynatwist.replication.exchange import compare

ACTORS = [bytes([n]) * 16 for n in range(4)]
KEY = ("t", "k")

dots = st.builds(Dot, st.sampled_from(ACTORS), st.integers(1, 12))
dot_lists = st.lists(dots, max_size=30)
stamps = st.builds(Stamp, st.integers(0, 5), st.integers(0, 2), st.sampled_from(ACTORS))
lineages = st.builds(Lineage, st.integers(0, 2), st.lists(stamps, min_size=1, max_size=3).map(tuple))


@st.composite
def distinct_records(draw):
    """Records with different dots and stamps, as a store makes them."""
    pairs = draw(st.lists(st.tuples(dots, stamps), min_size=1, max_size=5, unique_by=(lambda p: p[0], lambda p: p[1])))
    return [
        Record(dot, b"{}" if draw(st.booleans()) else None, (), stamp, draw(lineages), 1, "alice")
        for dot, stamp in pairs
    ]


class TestDotSets:
    @given(dot_lists)
    def test_holds_what_was_added_and_nothing_else(self, added):
        held = DotSet(added)
        assert set(held) == set(added)
        assert all(held.covers(dot) == (dot in added) for dot in [Dot(a, n) for a in ACTORS for n in range(1, 14)])

    @given(dot_lists, dot_lists)
    def test_join_is_union(self, one, two):
        joined = DotSet(one)
        changed = joined.join(DotSet(two))
        assert set(joined) == set(one) | set(two)
        assert changed == (not set(two) <= set(one))

    @given(dot_lists, dot_lists)
    def test_covers_all_is_superset(self, one, two):
        assert DotSet(one).covers_all(DotSet(two)) == (set(one) >= set(two))

    @given(dot_lists)
    def test_wire_form_is_canonical(self, added):
        assert DotSet.from_wire(DotSet(added).to_wire()) == DotSet(reversed(added))

    @given(dot_lists)
    def test_copies_are_independent(self, added):
        held = DotSet(added)
        twin = held.copy()
        twin.add(Dot(ACTORS[0], 99))
        assert not held.covers(Dot(ACTORS[0], 99))


class TestMergeOrder:
    @given(distinct_records())
    def test_is_total(self, records):
        for one in records:
            for two in records:
                assert beats(one, two) + beats(two, one) == (one is not two)

    @given(distinct_records())
    def test_is_transitive(self, records):
        for one, two, three in permutations(records, 3) if len(records) >= 3 else ():
            if beats(one, two) and beats(two, three):
                assert beats(one, three)

    @given(distinct_records(), st.randoms(use_true_random=False))
    @settings(max_examples=300)
    def test_replicas_agree_whatever_the_order(self, records, random):
        first, second = Replica(0), Replica(0)
        for record in records:
            first.merge(KEY, record)
        shuffled = [*records, *records]
        random.shuffle(shuffled)
        for record in shuffled:
            second.merge(KEY, record)
        assert first.records == second.records
        assert first.clock == second.clock
        assert first.digests.root == second.digests.root

    def test_the_earlier_creation_wins_whatever_is_written_later(self):
        alice = make(1, ms=1)
        bob = make(2, ms=2, owner="bob")
        bob_again = write_over(bob, (), 0, Draft(b"{}", "bob"), Dot(ACTORS[2], 2), Stamp(900, 0, ACTORS[2]), 0)
        assert beats(alice, bob)
        assert beats(alice, bob_again)

    def test_recreation_over_a_seen_delete_wins(self):
        alice = make(1, ms=1)
        dead = write_over(alice, (), 0, Draft(None, "alice"), Dot(ACTORS[1], 2), Stamp(5, 0, ACTORS[1]), 0)
        born = write_over(dead, (), 0, Draft(b"{}", "bob"), Dot(ACTORS[2], 1), Stamp(6, 0, ACTORS[2]), 0)
        assert born.owner == "bob"
        assert beats(born, dead)
        assert len(born.lineage.stamps) == 2


def make(actor: int, ms: int, seq: int = 1, owner: str = "alice", value: bytes | None = b"{}") -> Record:
    draft, stamp = Draft(value, owner), Stamp(ms, 0, ACTORS[actor])
    return write_over(None, (), 0, draft, Dot(ACTORS[actor], seq), stamp, 0)


class TestWriting:
    def test_causal_and_concurrent(self):
        first = make(1, 1)
        second = write_over(first, (), 0, Draft(b"{}", "x"), Dot(ACTORS[2], 1), Stamp(2, 0, ACTORS[2]), 0)
        other = write_over(first, (), 0, Draft(b"{}", "x"), Dot(ACTORS[3], 1), Stamp(3, 0, ACTORS[3]), 0)
        assert had_seen(second, first.dot)
        assert not had_seen(second, other.dot)
        assert not had_seen(other, second.dot)
        assert second.owner == "alice"
        assert second.version == 2

    def test_an_expired_record_is_a_tombstone_with_the_same_dot(self):
        stamp = Stamp(1, 0, ACTORS[1])
        record = write_over(None, (), 0, Draft(b"{}", "alice", 100), Dot(ACTORS[1], 1), stamp, 0)
        assert not record.is_dead(99)
        assert record.is_dead(100)
        again = write_over(record, (), 0, Draft(b"{}", "bob"), Dot(ACTORS[1], 2), Stamp(101, 0, ACTORS[1]), 101)
        assert again.owner == "bob"
        assert len(again.lineage.stamps) == 2

    def test_version_vectors_keep_the_newest_sixteen(self):
        many = [Dot(bytes([n]) * 16, 1) for n in range(30)]
        assert join_vv(*many) == tuple(many[:16])

    @given(st.lists(st.integers(0, 10), min_size=2, max_size=30))
    def test_stamps_grow_though_the_wall_clock_does_not(self, walls):
        clock = HybridClock(ACTORS[1])
        made = [clock.next(wall) for wall in walls]
        assert all(early < late for early, late in pairwise(made))
        clock.see(Stamp(500, 7, ACTORS[2]))
        assert clock.next(3) > Stamp(500, 7, ACTORS[2])


class TestReplica:
    def test_a_covered_dot_wins_nothing_even_when_nothing_is_held(self):
        replica = Replica(0)
        record = make(1, 1)
        replica.merge(KEY, record)
        replica.drop(KEY, record.dot, 1)
        assert replica.merge(KEY, record).outcome is Outcome.COVERED
        assert not replica.records

    def test_a_dot_is_not_issued_again_after_a_reset(self):
        replica = Replica(0)
        first = replica.next_dot(ACTORS[1])
        replica.reset(whole=True)
        assert replica.next_dot(ACTORS[1]) != first

    @given(distinct_records())
    def test_the_digest_is_that_of_what_is_held(self, records):
        replica = Replica(0)
        for number, record in enumerate(records):
            replica.merge(("t", f"k{number % 2}"), record)
        fresh = BucketDigests()
        for key, record in replica.records.items():
            fresh.change(key, None, record.dot)
        assert (fresh.root, fresh.to_wire() or bytes(8192)) == (
            replica.digests.root,
            replica.digests.to_wire() or bytes(8192),
        )

    def test_comparing_follows_a_peer_that_has_collected(self):
        mine, theirs = Replica(0), Replica(0)
        record = make(1, 1, value=None)
        mine.merge(KEY, record)
        theirs.merge(KEY, record)
        theirs.drop(KEY, record.dot, 1)
        buckets = mine.digests.differing(theirs.digests.to_wire())
        verdict = compare(mine, dict(mine.in_buckets(buckets)), dict(theirs.in_buckets(buckets)), theirs.clock)
        assert verdict.drops == ((KEY, record.dot),)
        assert compare(theirs, dict(theirs.in_buckets(buckets)), dict(mine.in_buckets(buckets)), mine.clock).drops == ()


def dropped(collection, *situation):
    return [entry for page in collection.steps(*situation) for entry in page]


class TestCollection:
    OWNERS = (b"a", b"b", b"c")

    def grown(self):
        replica = Replica(0)
        replica.merge(KEY, make(1, 1, value=None))
        collection = Collection()
        for owner in self.OWNERS:
            collection.know(owner, replica.clock.copy())
        return replica, collection

    def test_takes_two_steps_and_the_grace_period(self):
        replica, collection = self.grown()
        assert dropped(collection, replica, self.OWNERS, frozenset(self.OWNERS), 1, 0, 0, 10) == []
        assert dropped(collection, replica, self.OWNERS, frozenset(self.OWNERS), 1, 0, 9, 10) == []
        assert dropped(collection, replica, self.OWNERS, frozenset(self.OWNERS), 1, 0, 10, 10) == [
            (KEY, Dot(ACTORS[1], 1))
        ]

    def test_waits_for_every_owner(self):
        replica, collection = self.grown()
        collection.begin()
        collection.know(b"a", replica.clock)
        assert dropped(collection, replica, self.OWNERS, frozenset(self.OWNERS), 1, 0, 0, 0) == []
        assert dropped(collection, replica, self.OWNERS, frozenset(self.OWNERS), 1, 0, 100, 0) == []

    def test_waits_until_every_owner_covers_what_any_had_at_the_noting(self):
        replica, collection = self.grown()
        ahead = replica.clock.copy()
        ahead.add(Dot(ACTORS[2], 1))
        collection.know(b"c", ahead)
        dropped(collection, replica, self.OWNERS, frozenset(self.OWNERS), 1, 0, 0, 0)
        assert dropped(collection, replica, self.OWNERS, frozenset(self.OWNERS), 1, 0, 100, 0) == []
        for owner in self.OWNERS:
            collection.know(owner, ahead)
        assert dropped(collection, replica, self.OWNERS, frozenset(self.OWNERS), 1, 0, 101, 0) != []

    def test_waits_until_members_that_are_no_owners_hold_nothing(self):
        replica, collection = self.grown()
        members = frozenset((*self.OWNERS, b"d"))
        assert dropped(collection, replica, self.OWNERS, members, 1, 0, 0, 0) == []
        assert dropped(collection, replica, self.OWNERS, members, 1, 0, 9, 0) == []
        collection.know_empty(b"d")
        assert dropped(collection, replica, self.OWNERS, members, 1, 0, 10, 0) == []
        assert dropped(collection, replica, self.OWNERS, members, 1, 0, 11, 0) != []

    def test_a_registry_change_voids_the_noting(self):
        replica, collection = self.grown()
        dropped(collection, replica, self.OWNERS, frozenset(self.OWNERS), 1, 0, 0, 0)
        assert dropped(collection, replica, self.OWNERS, frozenset(self.OWNERS), 2, 0, 100, 0) == []


class TestPlacement:
    def test_is_the_same_on_every_machine(self):
        assert partition_of("users", "profile") == partition_of("users", "profile")
        assert partition_of("_users", "alice") == partition_of("auth", "x") == SYSTEM_PARTITION

    @given(st.integers(0, PARTITIONS - 1), st.integers(3, 9))
    def test_a_member_that_leaves_moves_only_what_it_owned(self, partition, count):
        members = [bytes([n]) * 8 for n in range(count)]
        before = preference_list(partition, frozenset(members), 3)
        after = preference_list(partition, frozenset(members[1:]), 3)
        assert [owner for owner in before if owner != members[0]] == list(after[: len(set(before) - {members[0]})])

    @given(st.integers(0, PARTITIONS - 1), st.lists(st.sampled_from(["a", "b", "c", "d", ""]), min_size=1, max_size=9))
    def test_owners_lie_in_as_many_zones_as_there_are(self, partition, zones):
        """A member that does not say where it runs counts as a zone of its own."""
        members = [Member(bytes([n]) * 8, "h", n, n, zone) for n, zone in enumerate(zones, 1)]
        places = {member.node_id: member.zone or member.node_id for member in members}
        registry = Registry(b"c", 1, 3, tuple(members), zoned=True)
        owners = registry.owners(partition)
        assert len(owners) == len(set(owners)) == min(3, len(members))
        assert len({places[owner] for owner in owners}) == min(3, len(set(places.values())))

    @given(st.integers(0, PARTITIONS - 1), st.lists(st.sampled_from(["a", "b", "c", ""]), min_size=2, max_size=9))
    def test_a_member_that_joins_its_zone_takes_one_place_at_most(self, partition, zones):
        members = tuple(Member(bytes([n]) * 8, "h", n, n, zone) for n, zone in enumerate(zones, 1))
        without = Registry(b"c", 1, 3, members[1:], zoned=True).owners(partition)
        joined = Registry(b"c", 1, 3, members, zoned=True).owners(partition)
        assert set(joined) - set(without) <= {members[0].node_id}
        assert len(set(without) - set(joined)) <= 1

    def test_zones_count_when_all_have_said_theirs_and_from_then_on(self):
        members = [Member(bytes([n]) * 8, "h", n, n) for n in range(1, 6)]
        registry = Registry(b"c", 1, 3, tuple(members))
        for number, zone in enumerate("aaabb"):
            assert (registry.zoned, registry.changing) == (False, False)
            members[number] = structs.replace(members[number], zone=zone)
            registry = registry.with_members(members)
        assert (registry.previously_zoned, registry.zoned, registry.changing) == (False, True, True)
        assert registry.old_owners(7) == Registry(b"c", 1, 3, tuple(members)).owners(7)
        settled = registry.settled()
        assert (settled.zoned, settled.owners(7)) == (True, registry.owners(7))
        joined = settled.with_members([*members, Member(b"new node", "h", 9, 9)])
        assert (joined.previously_zoned, joined.zoned) == (True, True)
        assert joined.old_owners(7) == settled.owners(7)

    def test_the_system_partition_is_everywhere(self):
        members = frozenset(bytes([n]) * 8 for n in range(7))
        assert set(preference_list(SYSTEM_PARTITION, members, 3)) == members

    def test_owners_during_a_change_are_old_and_new(self):
        members = tuple(Member(bytes([n]) * 8, "h", n, n) for n in range(1, 6))
        registry = Registry(b"c", 1, 3, members[:4]).with_members(members)
        for partition in range(PARTITIONS):
            old, new = registry.groups(partition)
            assert set(registry.all_owners(partition)) == set(old) | set(new)
        assert registry.settled().groups(0) == (registry.owners(0),)

    def test_majorities(self):
        assert [majority(n) for n in (1, 2, 3, 4, 5)] == [1, 2, 2, 3, 3]
