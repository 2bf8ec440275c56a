"""The rules of the design, taken away one at a time."""

from __future__ import annotations

import msgspec

from dynatwist import core
from dynatwist.feed.hub import Subscription
from dynatwist.model import replica as replica_module
from dynatwist.model.record import Draft, Lineage
from dynatwist.model.registry import Registry
from dynatwist.model.replica import Merge, Outcome, Replica
from dynatwist.net.arrival import Arrival
from dynatwist.net.link import PeerLink
from dynatwist.repair import hint_replay, rounds, tombstones, wholeness
from dynatwist.replication import forwarding
from dynatwist.replication.collection import Collection
from dynatwist.replication.exchange import Verdict
from dynatwist.replication.reading import Reading
from dynatwist.requests import from_peers
from dynatwist.storage import saved, snapshot
from dynatwist.storage import store as store_module
from dynatwist.storage.store import Store

from .edits import edit
from .faults import under


@under("partitions")
def no_generation(patch):
    """Keys are created in generation 0, whatever was collected before."""
    write_over = store_module.write_over
    patch.setattr(store_module, "write_over", lambda held, seen, generation, *rest: write_over(held, seen, 0, *rest))


@under("clocks")
def what_a_peer_collected_is_kept(patch):
    """A tombstone that a peer has collected is not dropped here."""
    compare = rounds.compare

    def keeping(*arguments):
        verdict = compare(*arguments)
        return Verdict((), verdict.wanted, verdict.alarms)

    patch.setattr(rounds, "compare", keeping)


def collection_in_one_step(patch):
    """A tombstone is dropped when all owners cover it, without J."""

    def hasty(self, replica, owners, members, registry_version, lapse_ms, now_s, grace_s):
        if all(owner in self._clocks for owner in owners):
            yield [
                (key, replica.records[key].dot)
                for key in sorted(replica.tombstones)
                if replica.records[key].is_dead(lapse_ms)
                and all(self._clocks[owner].covers(replica.records[key].dot) for owner in owners)
            ]

    patch.setattr(Collection, "steps", hasty)


def collection_without_grace(patch):
    """Dropped as soon as J is covered."""
    steps = Collection.steps
    patch.setattr(Collection, "steps", lambda self, *rest: steps(self, *rest[:-1], 0.0))
    patch.setattr(Collection, "is_waiting", lambda self, now_s, grace_s: False)


def hints_that_carry_records(patch):
    """A hint delivers the record of the moment at which it was noted."""
    hint, held, replay = Store.hint, Store.held, hint_replay.HintReplay.replay
    noted = {}

    def noting(self, node, key):
        noted.setdefault((id(self), key), held(self, key))
        hint(self, node, key)

    def replaying(self, node):
        with_old = lambda store, key: noted.get((id(store), key)) or held(store, key)  # noqa: E731
        Store.held = with_old
        try:
            replay(self, node)
        finally:
            Store.held = held

    patch.setattr(Store, "hint", noting)
    patch.setattr(hint_replay.HintReplay, "replay", replaying)


@under("pauses", "slow_links")
def frames_without_a_deadline(patch):
    """A frame from before a freeze, or long under way, is as good as any."""
    patch.setattr(Arrival, "is_late", lambda self, deadline_ms: False)
    edit(patch, from_peers.FromPeers, "_on_forward", " - arrival.age_ms / 1000", "")


@under("mass_kills")
def clock_saved_after_the_slices(patch):
    """A cold save takes the clock of a partition when its records are taken, not before."""

    def late(self, replica, registers):
        pieces = []
        for records, key in saved.walk(replica, registers):
            item = saved.item_of(replica, registers, records, key)
            if item is not None:
                pieces.append(self._add(snapshot.Slice(replica.number, [item])))
            for _ in range(100):  # a long slice
                yield True
        clock = replica.clock.to_wire()
        self._entries.append(
            snapshot.SavedPartition(replica.number, clock, replica.generation, replica.whole, pieces, registers.floor)
        )
        yield True

    patch.setattr(snapshot._Save, "_partition", late)


@under("corners")
def refill_from_a_single_owner(patch):
    """A damaged replica is whole after one round with anybody."""
    patch.setattr(wholeness.Wholeness, "_sources_needed", lambda self, partition: 1)


def expiry_as_a_new_write(patch):
    """Whoever finds an expired record writes a tombstone over it."""
    collect = tombstones.Tombstones.collect

    def burying(self):
        store = self._cluster.store
        for replica in store.replicas:
            for key in sorted(replica.tombstones):
                record = replica.records[key]
                if record.value is not None and record.is_dead(store.lapse_ms):
                    store.write(key, Draft(None, record.owner))
        collect(self)

    patch.setattr(tombstones.Tombstones, "collect", burying)


@under("joins", "strandings", "slow_disks")
def majority_of_the_new_owners_only(patch):
    """While members change, the old owners do not count."""
    patch.setattr(Registry, "groups", lambda self, partition: (self.owners(partition),))


@under("pauses", "slow_links")
def forwarded_writes_carried_out_late(patch):
    """An owner carries out what was forwarded to it whenever it gets to it."""
    on_forward = from_peers.FromPeers._on_forward

    def patient(self, node, message, respond):
        on_forward(self, node, msgspec.structs.replace(message, deadline_ms=10**9), respond)

    patch.setattr(from_peers.FromPeers, "_on_forward", patient)
    patch.setattr(PeerLink, "_slept_meanwhile", lambda self: False)


@under("pauses", "slow_links", "slow_disks")
def no_fence_between_attempts(patch):
    """The next owner is asked while the one before may still write."""
    patch.setattr(forwarding, "ATTEMPT_S", 2.0)
    patch.setattr(forwarding, "IN_DOUBT_S", 2.0)
    ask = forwarding.Forwarding._ask

    def unfenced(self, node, now_s):
        asked = ask(self, node, now_s)
        self._fences.clear()
        return asked

    patch.setattr(forwarding.Forwarding, "_ask", unfenced)


def an_epoch_kept_over_a_restart(patch):
    """The same actor numbers its writes from one again."""
    opening = core.open_folder

    def keeping(**more):
        opened = opening(**more)
        opened.identity.epoch = b"forever!"
        return opened

    patch.setattr(core, "open_folder", keeping)


def covered_dots_that_still_win(patch):
    """A record that the clock covers is taken if nothing, or something lesser, is held."""
    merge = Replica.merge

    def forgetful(self, key, record, packed=None):
        held = self.records.get(key)
        if self.clock.covers(record.dot) and (held is None or replica_module.beats(record, held)):
            self._hold(key, record, held.dot if held is not None else None)
            self._summary = None
            return Merge(Outcome.WON)
        return merge(self, key, record, packed)

    patch.setattr(Replica, "merge", forgetful)


def a_clock_without_gaps(patch):
    """The clock is a maximum: what came after a lost write hides the loss."""
    patch.setattr(replica_module.DotSet, "add", _add_without_gaps)


def _add_without_gaps(self, dot):
    if dot.seq <= self._upto.get(dot.actor, 0):
        return False
    self._upto[dot.actor] = dot.seq
    return True


def clocks_joined_before_the_records_are_merged(patch):
    """A round joins the peer's clock though one record of the page is missing."""
    edit(patch, rounds.RoundRun, "_pulled", "reply.records)", "reply.records[1:])")


def earlier_creation_does_not_win(patch):
    """Of two creations the later one wins, and takes the key away from its owner."""
    beats = Lineage.beats

    def latest(self, other):
        if self.generation == other.generation and self.stamps[0] != other.stamps[0]:
            return self.stamps[0] > other.stamps[0]
        return beats(self, other)

    patch.setattr(Lineage, "beats", latest)


def a_recreation_forgets_the_lineage(patch):
    """A key that is created again over its tombstone begins a lineage of its own."""
    write_over = store_module.write_over

    def forgetful(held, seen, generation, draft, dot, stamp, now_ms, *rest):
        dead = held is not None and held.is_dead(now_ms) and draft.value is not None
        return write_over(None if dead else held, seen, generation, draft, dot, stamp, now_ms, *rest)

    patch.setattr(store_module, "write_over", forgetful)


def majority_reads_that_do_not_write_back(patch):
    """A read answers the greatest of what a majority holds, though only one of them has it."""
    patch.setattr(Reading, "_equalize", lambda self, owner: self._equal.count(owner))


@under("flips", "misdirected", "corners")
def replicas_that_are_not_whole_answer(patch):
    """A damaged replica coordinates and answers as if nothing had happened."""
    patch.setattr(Replica, "set_aside", lambda self: self.reset(whole=True))


@under("slow_disks")
def a_listener_that_lags_is_not_told(patch):
    """What does not fit a queue is dropped without a word."""
    offer = Subscription.offer

    def silent(self, event):
        if len(self._queue) < 4:
            offer(self, event)

    patch.setattr(Subscription, "offer", silent)
