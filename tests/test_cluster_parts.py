"""The parts that know the cluster, each by itself: ownership, greeting, identity, starts. No reactor, no socket."""

from __future__ import annotations

from random import Random
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynatwist.cluster.ask import Ask, ask_all
from dynatwist.cluster.greeting import refusal_of
from dynatwist.cluster.identity import DurableIdentity
from dynatwist.cluster.ownership import Ownership
from dynatwist.cluster.starts import Starts
from dynatwist.model.registry import Member, Registry, majority
from dynatwist.model.ring import ALL_PARTITIONS, PARTITIONS
from dynatwist.net.messages import WIRE_VERSION, Done, Hello, Restored, Unable
from dynatwist.net.replies import NoAnswer
from dynatwist.replication.paxos import Vote
from dynatwist.storage.identity import Identity

EVERYBODY = [Member(bytes([number]) * 8, "10.0.0.1", 7000 + number, 17000 + number) for number in range(1, 8)]
ME = EVERYBODY[0]


def registry_of(members, previous=(), struck_out=(), version=5):
    return Registry(b"c" * 16, version, 3, tuple(members), tuple(previous), tuple(struck_out))


@st.composite
def registries(draw):
    members = draw(st.sets(st.sampled_from(EVERYBODY), min_size=1))
    previous = draw(st.sets(st.sampled_from(EVERYBODY))) if draw(st.booleans()) else ()
    order = lambda some: sorted(some, key=lambda member: member.node_id)  # noqa: E731
    return registry_of(order(members), order(previous))


class TestOwnership:
    def test_before_a_cluster_nobody_is_a_member_and_nobody_owns_anything(self):
        ownership = Ownership(None, ME.node_id)
        assert (ownership.version, ownership.members, ownership.owners(3), ownership.groups(3)) == (
            0,
            frozenset(),
            (),
            (),
        )
        assert not ownership.is_registered
        assert not ownership.is_removed
        assert not ownership.owns_all

    @given(registries(), st.integers(0, ALL_PARTITIONS - 1))
    def test_old_owners_come_first_and_every_owner_is_in_a_group(self, registry, partition):
        ownership = Ownership(registry, ME.node_id)
        owners, groups = ownership.owners(partition), ownership.groups(partition)
        assert set(owners) == {owner for group in groups for owner in group}
        assert owners[: len(registry.old_owners(partition))] == registry.old_owners(partition)
        assert len(set(owners)) == len(owners)
        assert all(set(group) <= ownership.members for group in groups)

    @given(registries(), st.integers(0, PARTITIONS - 1), st.randoms())
    def test_a_majority_of_each_group_meets_every_other_such_majority(self, registry, partition, random: Random):
        groups = Ownership(registry, ME.node_id).groups(partition)
        one, other = ([set(random.sample(group, majority(len(group)))) for group in groups] for _ in range(2))
        assert all(mine & theirs for mine, theirs in zip(one, other, strict=True))

    @given(registries())
    def test_what_is_shared_with_oneself_is_what_one_owns(self, registry):
        ownership = Ownership(registry, ME.node_id)
        assert ownership.shared_with(ME.node_id) == [p for p in range(ALL_PARTITIONS) if ownership.owns(p)]
        assert all(ownership.owns(p) for p in range(ALL_PARTITIONS) if ownership.is_joining(p))

    def test_who_is_in_no_list_any_more_is_removed_and_who_is_on_the_way_out_is_not(self):
        assert Ownership(registry_of(EVERYBODY[1:3]), ME.node_id).is_removed
        leaving = Ownership(registry_of(EVERYBODY[1:3], EVERYBODY[:3]), ME.node_id)
        assert leaving.is_registered
        assert not leaving.is_removed

    def test_only_an_older_version_is_stale(self):
        ownership = Ownership(registry_of(EVERYBODY[:3]), ME.node_id)
        assert ownership.stale(4).registry is ownership.registry
        assert ownership.stale(5) is None
        assert ownership.stale(6) is None


def hello(member, registry=None, version=WIRE_VERSION, cluster_id=None):
    known = registry.cluster_id if registry is not None else b""
    return Hello(version, known if cluster_id is None else cluster_id, member, b"e" * 8, 1, registry, (0, 0))


class TestGreeting:
    KNOWN = registry_of(EVERYBODY[:3], struck_out=[EVERYBODY[5].node_id])

    @pytest.mark.parametrize(
        ("said", "word"),
        [
            (hello(EVERYBODY[1], KNOWN), None),
            (hello(EVERYBODY[6]), None),
            (hello(EVERYBODY[1], version=WIRE_VERSION + 1), "wire version"),
            (hello(Member(b"short", "h", 1, 2)), "can be no node"),
            (hello(EVERYBODY[1], cluster_id=b"d" * 16), "belongs to cluster"),
            (hello(EVERYBODY[5]), "was removed"),
            (hello(EVERYBODY[6], registry_of(EVERYBODY, version=4)), "was removed"),
            (hello(EVERYBODY[6], registry_of(EVERYBODY, version=6)), None),
        ],
    )
    def test_who_may_stay(self, said, word):
        refusal = refusal_of(said, ME, Ownership(self.KNOWN, ME.node_id))
        assert (refusal is None) if word is None else (word in refusal)

    def test_who_was_struck_out_and_has_heard_of_it_may_hand_off(self):
        gone = hello(EVERYBODY[5], self.KNOWN)
        assert refusal_of(gone, ME, Ownership(self.KNOWN, ME.node_id)) is None


class Disk:
    """Keeps what was saved last."""

    def __init__(self):
        self.saved = None
        self.fails = False

    def save(self, identity):
        if self.fails:
            raise OSError("no disk")
        self.saved = (identity.registry, dict(identity.registry_votes), identity.incarnation, identity.wall_ms)


def durable():
    disk, ends = Disk(), []
    identity = Identity(ME.node_id, b"e" * 8, 3, 1, b"k" * 32)
    return DurableIdentity(identity, disk, lambda: 777, ends.append), disk, ends


class TestDurableIdentity:
    def test_each_verb_has_saved_when_it_returns(self):
        identity, disk, _ = durable()
        identity.raise_incarnation(9)
        assert disk.saved[2:] == (9, 777)
        identity.vote(6, Vote((2, b"a")))
        assert disk.saved[1] == {6: Vote((2, b"a"))}
        registry = registry_of(EVERYBODY[:3], version=6)
        identity.adopt(registry, {})
        assert disk.saved[:2] == (registry, {}), "votes on what is decided are not needed any more"

    def test_of_a_members_starts_the_latest_counts(self):
        identity, _, _ = durable()
        other = EVERYBODY[1].node_id
        identity.meet(other, (5, b"later"))
        identity.adopt(registry_of(EVERYBODY[:3]), {other: (4, b"sooner")})
        assert identity.start_of(other) == (5, b"later")

    def test_a_disk_that_fails_ends_the_node(self):
        identity, disk, ends = durable()
        disk.fails = True
        identity.raise_incarnation(9)
        assert len(ends) == 1


class TestStarts:
    def made(self, position=(0, 0)):
        told = []
        links = SimpleNamespace(
            tell=lambda node, message: told.append(message), position=lambda node: position, hello_of=lambda node: None
        )
        ceased = []
        store = SimpleNamespace(cease_whole=ceased.append, wal=SimpleNamespace(leap=lambda starts: None))
        identity, _, _ = durable()
        return Starts(identity, store, links), identity, told, ceased

    def greets(self, starts, node, count, epoch, recovered=(9, 9)):
        starts.greeted(node, Hello(WIRE_VERSION, b"", EVERYBODY[1], epoch, count, None, recovered))

    def test_a_later_start_is_noted_and_an_earlier_one_is_told_so(self):
        starts, identity, told, _ = self.made()
        node = EVERYBODY[1].node_id
        self.greets(starts, node, 4, b"4" * 8)
        assert identity.start_of(node) == (4, b"4" * 8)
        assert told == []
        self.greets(starts, node, 3, b"3" * 8)
        assert told == [Restored(4)]

    def test_a_node_whose_log_reaches_less_far_than_it_did_is_told_so(self):
        starts, _, told, _ = self.made(position=(10, 0))
        self.greets(starts, EVERYBODY[1].node_id, 4, b"4" * 8, recovered=(9, 9))
        assert told == [Restored(4)]

    def test_a_node_that_is_told_so_fetches_everything_anew_and_once(self):
        starts, identity, _, ceased = self.made()
        heard = []
        starts.on_restored.append(lambda: heard.append(True))
        for _ in range(2):
            starts.warned(Restored(7))
        assert identity.starts == 8
        assert ceased == list(range(ALL_PARTITIONS))
        assert heard == [True]

    def test_what_a_stranger_says_counts_once_it_turns_out_to_be_a_member(self):
        starts, identity, _, ceased = self.made()
        starts.warned_by_stranger(EVERYBODY[2].node_id, Restored(7))
        assert not ceased
        starts.joined([EVERYBODY[1].node_id])
        assert not ceased
        starts.joined([EVERYBODY[2].node_id])
        assert ceased
        assert identity.starts == 8


class TestAskingAll:
    def test_it_is_over_when_the_last_one_is_heard_and_at_once_where_nobody_is_asked(self):
        calls, heard, over = {}, [], []
        links = SimpleNamespace(call=lambda node, message, on_reply, timeout_s: calls.__setitem__(node, on_reply))
        ask_all(links, [], lambda: over.append("nobody"))
        ask_all(links, [Ask(node, Done(), heard.append) for node in (b"a", b"b")], lambda: over.append("both"))
        calls[b"b"](NoAnswer.LATE)
        assert over == ["nobody"]
        calls[b"a"](Unable("no"))
        assert over == ["nobody", "both"]
        assert heard == [NoAnswer.LATE, Unable("no")]

    def test_one_that_fails_to_hear_does_not_keep_the_others(self):
        over = []
        links = SimpleNamespace(call=lambda node, message, on_reply, timeout_s: on_reply(NoAnswer.UNSENT))
        ask_all(links, [Ask(b"a", Done(), lambda reply: 1 / 0)], lambda: over.append(True))
        assert over == [True]
