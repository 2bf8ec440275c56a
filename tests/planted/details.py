"""Small mistakes in merge, collection, rounds, hand-off, quorums and the registry: one condition, one line each."""

from __future__ import annotations

import msgspec

from dynatwist.agreement.registrar import Registrar
from dynatwist.cluster.ownership import Ownership
from dynatwist.cluster.standing import Standing
from dynatwist.cluster.starts import Starts
from dynatwist.model import replica as replica_module
from dynatwist.model.registry import majority
from dynatwist.model.replica import Replica
from dynatwist.net.messages import ClocksAre, Done, StaleRegistry, Unable
from dynatwist.repair import hand_off, tombstones
from dynatwist.repair.answers import RoundAnswers
from dynatwist.repair.rounds import RoundRun
from dynatwist.replication.collection import Collection
from dynatwist.replication.quorum import Level, Tally
from dynatwist.replication.round import PartitionRound
from dynatwist.requests import compare, reads, writes
from dynatwist.requests.deciding import Deciding
from dynatwist.storage.store import Store

from .edits import edit
from .faults import under

# Merge


@under("partitions")
def generations_are_not_compared(patch):
    """A record of a later generation has no advantage."""

    def beats(new, held):
        if new.lineage.stamps != held.lineage.stamps:
            return new.lineage._replace(generation=0).beats(held.lineage._replace(generation=0))
        return new.stamp > held.stamp

    patch.setattr(replica_module, "beats", beats)


def what_is_dropped_stays_in_the_digest(patch):
    """A dropped key is not taken out of its bucket."""
    drop = Replica.drop

    def forgetful(self, key, dot, generation):
        change, self.digests.change = self.digests.change, lambda *rest: None
        try:
            return drop(self, key, dot, generation)
        finally:
            self.digests.change = change

    class Open(replica_module.BucketDigests):
        __slots__ = ("__dict__",)

    patch.setattr(replica_module, "BucketDigests", Open)
    patch.setattr(Replica, "drop", forgetful)


@under("partitions", "kills")
def whatever_is_held_is_dropped(patch):
    """A tombstone that was noted is dropped though something newer is held meanwhile."""
    steps = Collection.steps

    def careless(self, replica, *rest):
        noted = self._noted
        yield from steps(self, replica, *rest)
        if noted is not None and self._noted is None:
            yield [(key, replica.records.dot(key)) for key, _ in noted.entries if key in replica.records]

    patch.setattr(Collection, "steps", careless)


@under("partitions", "kills")
def the_first_record_of_a_page_is_skipped(patch):
    """A page of a round begins one record too late, except the first page."""
    fill_page = RoundAnswers._fill_page

    def short(self, node, walk, page, *rest):
        if walk.at and not page:
            walk.at += 1
        fill_page(self, node, walk, page, *rest)

    patch.setattr(RoundAnswers, "_fill_page", short)


@under("joins", "forgets")
def a_reset_keeps_the_clock(patch):
    """A partition that starts over, empty, still claims what it had merged."""
    reset = Replica.reset

    def proud(self, whole):
        clock = self.clock
        reset(self, whole)
        self.clock = clock

    patch.setattr(Replica, "reset", proud)


# Collection


@under("partitions")
def a_drop_does_not_raise_the_generation(patch):
    """Tombstones are dropped, and G stays."""
    drop = Store.drop
    patch.setattr(Store, "drop", lambda self, partition, entries, generation: drop(self, partition, list(entries), 0))


@under("partitions", "one_way")
def the_union_is_this_nodes_clock(patch):
    """J is what this node's clock covers, not what any owner's does."""
    note = Collection._note

    def narrow(self, replica, clocks, *rest):
        yield from note(self, replica, clocks, *rest)
        if self._noted is not None:
            object.__setattr__(self._noted, "union", replica.clock.copy())

    patch.setattr(Collection, "_note", narrow)


@under("joins", "forgets", "strandings")
def collection_goes_on_while_members_change(patch):
    """What was noted before a change of members still counts."""
    patch.setattr(Collection, "forget_clocks", lambda self: None)
    patch.setattr(tombstones.Tombstones, "forget_all", lambda self: None)


@under("joins", "forgets", "strandings")
def members_that_own_nothing_are_not_asked(patch):
    """A former owner that still has something to hand off is not waited for."""
    steps = Collection.steps

    def hasty(self, replica, owners, members, *rest):
        return steps(self, replica, owners, frozenset(owners), *rest)

    patch.setattr(Collection, "steps", hasty)


@under("power_cuts", "crashes_at_sync", "slow_disks")
def clocks_are_told_before_they_are_durable(patch):
    """An owner says that it covers a dot that a power cut may take back."""
    answer = tombstones.answer_clocks

    def hasty(cluster, partitions, respond):
        wal = cluster.store.wal
        real = wal.when_durable
        wal.when_durable = lambda lsn, call: call()
        try:
            answer(cluster, partitions, respond)
        finally:
            wal.when_durable = real

    patch.setattr(tombstones, "answer_clocks", hasty)
    patch.setattr(hand_off, "answer_clocks", hasty)


# Rounds


@under("partitions", "slow_links")
def the_clock_of_the_last_page_is_joined(patch):
    """A round joins the clock that came with its last page, which covers what came while it ran."""
    edit(patch, RoundAnswers, "_send_page", "walk.clock,", "walk.replica.clock.to_wire(),")
    edit(patch, PartitionRound, "kept", "self._first or page", "page")


@under("joins", "forgets", "flips")
def a_round_outlives_a_reset(patch):
    """A round that began before a partition started over joins its clock afterwards."""
    patch.setattr(RoundRun, "_is_same", lambda self, partition: True)


@under("power_cuts", "crashes_at_sync", "slow_disks")
def a_clock_is_joined_before_the_records_are_durable(patch):
    """The log may have the joined clock, and lose what it covers."""
    joined = "self._cluster.store.join(partition.number, DotSet.from_wire(reply.clock), reply.generation)"
    edit(patch, RoundRun, "_pulled", "self._round.weigh(", f"{joined}; self._round.weigh(")


@under("partitions", "kills")
def only_the_first_page_is_pulled(patch):
    """A round ends with its first page."""
    edit(patch, PartitionRound, "kept", "if not page.more:", "if True:")


@under("flips", "corners", "lost_files")
def a_round_that_failed_fills_too(patch):
    """A source counts though its round was cut short."""
    edit(patch, RoundRun, "_go_on", "self._round.is_complete", "True")


# Hand-off


@under("joins", "forgets", "strandings")
def a_partition_is_handed_off_to_a_single_owner(patch):
    """One owner that has all of it is enough to drop it."""
    patch.setattr(hand_off, "majority", lambda count: 1)


@under("joins", "forgets", "power_cuts", "crashes_at_sync")
def a_hand_off_is_confirmed_before_it_is_durable(patch):
    """The new owner says that it has all, and loses it."""

    def hasty(cluster, partitions, respond):
        respond(ClocksAre({partition: cluster.store.replicas[partition].clock.to_wire() for partition in partitions}))

    patch.setattr(hand_off, "answer_clocks", hasty)


# Quorums


@under("joins", "strandings")
def a_majority_of_old_and_new_together(patch):
    """While members change, old and new owners count as one group."""

    def merged(self):
        group = tuple(sorted({owner for one in self._groups for owner in one}))
        return len(self.answered.intersection(group)) >= self._needed(group) if self.answered else False

    patch.setattr(Tally, "is_reached", merged)


@under("pauses", "slow_links", "joins")
def a_refusal_counts_as_an_acknowledgement(patch):
    """Whatever an owner answers counts."""
    reply_from = writes.WriteRun._reply_from

    def trusting(self, owner):
        on_reply = reply_from(self, owner)
        return lambda reply: on_reply(Done() if isinstance(reply, Unable | StaleRegistry) else reply)

    patch.setattr(writes.WriteRun, "_reply_from", trusting)


@under("partitions")
def a_majority_of_those_reachable(patch):
    """`majority` is what `quorum` is."""
    needed = Tally._needed

    def fewer(self, group):
        if self.level is Level.MAJORITY:
            reachable = sum(1 for owner in group if owner in self.answered or self._is_reachable(owner))
            return majority(reachable)
        return needed(self, group)

    patch.setattr(Tally, "_needed", fewer)


# Reads


@under("partitions", "slow_links")
def another_record_at_an_owner_is_taken_for_the_same(patch):
    """An owner that holds something else counts as agreeing."""
    patch.setattr(compare.CompareRun, "_leave", lambda self, indices: None)


@under("power_cuts", "crashes_at_sync", "slow_disks")
def what_was_fetched_is_read_before_it_is_durable(patch):
    """A read shows what it just got, and a power cut takes it back."""
    fetch = reads.ReadRun._fetch

    def hasty(self, owner):
        readable = self._cluster.store.readable
        real = readable.when_key
        readable.when_key = lambda key, call: call()
        try:
            fetch(self, owner)
        finally:
            readable.when_key = real

    patch.setattr(reads.ReadRun, "_fetch", hasty)


# The registry


@under("joins", "forgets", "strandings")
def requests_by_an_older_registry_are_served(patch):
    """An owner does not look at the version that a request goes by."""
    patch.setattr(Ownership, "stale", lambda self, version: None)


@under("joins")
def joining_owners_coordinate(patch):
    """A new owner carries out requests before it is filled."""
    patch.setattr(Ownership, "is_joining", lambda self, partition: False)


@under("joins", "strandings")
def a_change_ends_before_the_joiners_are_whole(patch):
    """Nobody asks whether the joiners have all they need."""
    patch.setattr(Standing, "is_filling", lambda self: False)


@under("joins", "forgets", "strandings")
def a_change_ends_without_a_majority_of_the_old(patch):
    """Only those who gain something are asked."""
    patch.setattr(Registrar, "_all_old_left", lambda self, registry: True)


@under("backups")
def a_restored_backup_is_believed(patch):
    """Nobody compares how often a node had started, or how far its log had come."""
    patch.setattr(Starts, "warned", lambda self, node, message: None)


# Conditions


def a_condition_of_absence_is_ignored(patch):
    """``If-None-Match: *`` overwrites."""
    refusal = Deciding._refusal

    def blind(self, operation, held):
        return refusal(self, msgspec.structs.replace(operation, if_none_match=False), held)

    patch.setattr(Deciding, "_refusal", blind)


def anybody_may_write_anything(patch):
    """The owner of a record is not compared with whoever writes."""
    refusal = Deciding._refusal

    def blind(self, operation, held):
        return refusal(self, msgspec.structs.replace(operation, any_owner=True), held)

    patch.setattr(Deciding, "_refusal", blind)
