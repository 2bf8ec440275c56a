"""Plain mistakes."""

from __future__ import annotations

from functools import partial

import msgspec

from dynatwist.agreement import registrar
from dynatwist.feed import hub
from dynatwist.model import digest, registry
from dynatwist.model import replica as replica_module
from dynatwist.model.clock import HybridClock
from dynatwist.model.dots import Dot
from dynatwist.model.records import unpack
from dynatwist.model.replica import Replica
from dynatwist.net.messages import Done
from dynatwist.relays.relays import Relays
from dynatwist.repair import hand_off, repair
from dynatwist.replication import quorum
from dynatwist.replication.collection import Collection
from dynatwist.replication.quorum import Level, Tally
from dynatwist.requests import compare, from_peers, writes
from dynatwist.storage import cold, identity, recovery, snapshot
from dynatwist.storage import store as store_module
from dynatwist.storage.entries import Dropped, Joined, Reset
from dynatwist.storage.readable import Readable
from dynatwist.storage.recovered import Recovered
from dynatwist.storage.segment_writer import SegmentWriter
from dynatwist.storage.store import Store
from dynatwist.storage.wal import Wal
from dynatwist.storage.winners import Winners

from .faults import under


def no_sync_before_the_acknowledgement(patch):
    """Groups are written, and never synced."""
    write = SegmentWriter._write

    def careless(self, group):
        group.sync = False
        write(self, group)

    patch.setattr(SegmentWriter, "_write", careless)


def merge_by_time_alone(patch):
    """The later stamp wins, whatever the lineage."""
    patch.setattr(replica_module, "beats", lambda new, held: new.stamp > held.stamp)


def merge_by_order_of_arrival(patch):
    """Whatever comes last is held."""
    patch.setattr(replica_module, "beats", lambda new, held: new.dot != held.dot)


@under("slow_links")
def merge_without_the_last_tie(patch):
    """Stamps of two actors in the same millisecond count as equal."""

    def blurred(new, held):
        if new.lineage != held.lineage:
            return new.lineage.beats(held.lineage)
        return new.stamp[:2] > held.stamp[:2]

    patch.setattr(replica_module, "beats", blurred)


@under("crashes_at_sync", "power_cuts", "kills")
def log_cut_before_the_manifest_is_durable(patch):
    """A cold save removes the segments that it replaces when it begins."""
    start = snapshot._Save.start

    def eager(self):
        self._saver._writer.submit(
            partial(self._store.wal.segments.remove_before, self._wal_from), lambda failure: None
        )
        start(self)

    patch.setattr(snapshot._Save, "start", eager)


def rename_without_the_folders_sync(patch):
    """A file is replaced, but its folder is not synced."""

    def careless(fs, folder, name, data):
        file = fs.create(f"{folder}/{name}.new")
        file.write(data)
        file.sync()
        file.close()
        fs.rename(f"{folder}/{name}.new", f"{folder}/{name}")

    patch.setattr(cold, "replace_file", careless)
    patch.setattr(identity, "replace_file", careless)


def file_replaced_without_its_own_sync(patch):
    """A file is renamed into place before its bytes are durable."""

    def careless(fs, folder, name, data):
        file = fs.create(f"{folder}/{name}.new")
        file.write(data)
        fs.rename(f"{folder}/{name}.new", f"{folder}/{name}")
        fs.sync_folder(folder)

    patch.setattr(cold, "replace_file", careless)
    patch.setattr(identity, "replace_file", careless)


@under("power_cuts", "crashes_at_sync")
def a_torn_tail_is_not_cut(patch):
    """Recovery leaves the torn end of the last segment as it is, and opens a new one."""
    replay = recovery._replay

    class Uncut:
        def __init__(self, fs):
            self.fs = fs

        def __getattribute__(self, name):
            if name == "truncate":
                return lambda path, size_bytes: None
            return (
                getattr(object.__getattribute__(self, "fs"), name)
                if name != "fs"
                else object.__getattribute__(self, "fs")
            )

    patch.setattr(recovery, "_replay", lambda fs, *rest: replay(Uncut(fs), *rest))


def a_replica_takes_whatever_it_is_sent(patch):
    """Replication and read repair overwrite what is newer."""
    merge = Replica.merge

    def obedient(self, key, record, packed=None):
        result = merge(self, key, record, packed)
        if result.outcome is replica_module.Outcome.LOST:
            self._hold(key, record, self.records.dot(key))
            return replica_module.Merge(replica_module.Outcome.WON)
        return result

    patch.setattr(Replica, "merge", obedient)


def hints_count_towards_w(patch):
    """An owner that cannot be reached, and gets a hint, counts as having the write."""
    send = writes.WriteRun._send_to_owners

    def generous(self):
        send(self)
        for owner in self._groups[-1]:
            if not self._cluster.peers.is_reachable(owner):
                self._tally.answered.add(owner)

    patch.setattr(writes.WriteRun, "_send_to_owners", generous)


@under("strandings")
def a_partition_dropped_before_its_handoff(patch):
    """What is no longer owned is dropped at once."""

    def hasty(self):
        for partition in self.surplus():
            self._cluster.store.reset(partition, whole=True)

    patch.setattr(hand_off.HandOff, "go_on", hasty)


def a_dot_left_out_of_a_digest(patch):
    """Some entries do not enter the bucket digests."""
    change = digest.BucketDigests.change

    def forgetful(self, key, before, after):
        change(self, key, *(dot if dot and digest.fingerprint(key, dot) % 4 else None for dot in (before, after)))

    patch.setattr(digest.BucketDigests, "change", forgetful)
    patch.setattr(Replica, "succeed", lambda *rest: False)  # the compiled heart changes digests, too


def an_event_before_it_is_durable(patch):
    """Listeners hear of a write as soon as it is merged."""

    held, durable = Winners.held, Winners._durable

    def eager(self, effect, lsn):
        held(self, effect, lsn)
        self._announce(effect)

    def silent(self, upto):
        announce, self._announce = self._announce, lambda *told: None
        durable(self, upto)
        self._announce = announce

    patch.setattr(Winners, "held", eager)
    patch.setattr(Winners, "_durable", silent)


def a_read_before_it_is_durable(patch):
    """What is held is shown, whether it is in the log or not."""
    patch.setattr(Readable, "when_key", lambda self, key, call: call())
    patch.setattr(Readable, "when_keys", lambda self, keys, call: call())
    patch.setattr(Readable, "when_all", lambda self, call: call())


def a_replica_acknowledges_before_it_is_durable(patch):
    """An owner says that it has a record before its log does."""

    def hasty(self, node, message, respond):
        for key, packed in message.writes:
            self._cluster.store.merge(key, unpack(packed), packed)
        respond(Done())

    patch.setattr(from_peers.FromPeers, "_on_replicate", hasty)


def a_coordinator_counts_itself_before_it_is_durable(patch):
    """The local copy counts as soon as it is merged."""
    begin = writes.WriteRun.begin

    def hasty(self):
        wal = self._cluster.store.wal
        real = wal.when_durable
        wal.when_durable = lambda lsn, call: call()
        try:
            begin(self)
        finally:
            wal.when_durable = real

    patch.setattr(writes.WriteRun, "begin", hasty)


def owners_that_always_hold_the_same(patch):
    """An owner that is asked to compare says yes without looking."""
    patch.setattr(compare.Compares, "_on_compare", lambda self, node, message, respond: respond(Done()))


def half_is_a_majority(patch):
    """Two of four, and one of three."""
    for module in (registry, quorum, hand_off, registrar):
        patch.setattr(module, "majority", lambda count: max(1, count // 2))


def quorum_is_one(patch):
    """A quorum is whoever answers first."""
    needed = Tally._needed
    patch.setattr(Tally, "_needed", lambda self, group: 1 if self.level is Level.QUORUM else needed(self, group))


def all_but_one_are_all(patch):
    """`all` does not wait for the last owner."""
    needed = Tally._needed
    patch.setattr(
        Tally,
        "_needed",
        lambda self, group: len(group) - (self.level is Level.ALL) if self.level is Level.ALL else needed(self, group),
    )


@under("kills")
def drops_that_are_not_logged(patch):
    """A collected tombstone is back after a restart."""
    _unlogged(patch, Dropped)


@under("kills", "partitions")
def joins_that_are_not_logged(patch):
    """A joined clock has its gaps again after a restart."""
    _unlogged(patch, Joined)


@under("joins", "forgets", "strandings")
def resets_that_are_not_logged(patch):
    """A partition that was handed off is back after a restart."""
    _unlogged(patch, Reset)


def _unlogged(patch, kind):
    append = Wal.append

    def forgetful(self, entry):
        return self.lsn if isinstance(entry, kind) else append(self, entry)

    patch.setattr(Wal, "append", forgetful)


@under("kills", "partitions")
def a_record_that_lost_is_not_logged(patch):
    """A merge that only adds a dot to the clock is taken for no change."""
    merge = Replica.merge

    def shy(self, key, record, packed=None):
        result = merge(self, key, record, packed)
        return replica_module.Merge(replica_module.Outcome.COVERED) if result.outcome.value == "lost" else result

    patch.setattr(Replica, "merge", shy)


def replay_skips_drops(patch):
    """Recovery does not do again what the log says about collected tombstones."""
    replay = Recovered.replay

    def skipping(self, entry):
        if not isinstance(entry, Dropped):
            replay(self, entry)

    patch.setattr(Recovered, "replay", skipping)


def replay_stops_one_short(patch):
    """Recovery leaves out the last group of each segment."""
    build = recovery.Segment.__init__

    def short(self, *arguments):
        build(self, *arguments)
        if len(self.frames) > 1:
            self.frames.pop()

    patch.setattr(recovery.Segment, "__init__", short)


@under("kills", "mass_kills")
def what_was_replayed_does_not_count_as_changed(patch):
    """The first cold save after a restart leaves out what only the log has."""
    build = Store.__init__

    def forgetful(self, *, recovered: Recovered, **rest):
        recovered.state.take_changed()
        recovered.state.give_back(recovered.damaged)
        build(self, recovered=recovered, **rest)

    patch.setattr(Store, "__init__", forgetful)


@under("flips", "misdirected", "lost_files")
def damage_is_ignored(patch):
    """What verifies is served as if it were all."""
    patch.setattr(Recovered, "damage_all", lambda self, finding: self.findings.append(finding))


def clocks_that_do_not_listen(patch):
    """The hybrid clock goes by the wall clock alone."""
    patch.setattr(HybridClock, "see_mark", lambda self, ms, counter: None)


@under("partitions")
def collection_asks_nobody(patch):
    """A tombstone is dropped when its own replica has it."""
    steps = Collection.steps

    def lonely(self, replica, owners, *rest):
        mine = replica.clock.copy()
        for owner in owners:
            self._clocks[owner] = mine
        return steps(self, replica, owners, *rest)

    patch.setattr(Collection, "steps", lonely)


def nothing_is_ever_collected(patch):
    """Tombstones stay for ever."""
    patch.setattr(Collection, "steps", lambda self, *rest: iter(()))


def no_anti_entropy(patch):
    """What was missed stays missed, hints aside."""
    patch.setattr(repair.Repair, "_due", lambda self, node, partitions: [] if self.rounds > 20 else partitions)


@under("joins", "forgets", "backups")
def numbers_taken_from_the_clock(patch):
    """The next dot is one beyond the clock, which a reset empties."""
    patch.setattr(Replica, "next_dot", lambda self, actor: Dot(actor, self.clock.top(actor) + 1))


def a_write_that_did_not_reach_its_level_is_acknowledged(patch):
    """A time-out counts as success."""
    finish = writes.WriteRun._finish
    patch.setattr(writes.WriteRun, "_finish", lambda self, reached: finish(self, True))


@under("partitions", "one_way")
def a_feed_that_is_not_resumed(patch):
    """A node asks its peers to relay from now on, though it was cut off before."""
    listen = Relays._listen
    patch.setattr(Relays, "_listen", lambda self, node, since: listen(self, node, ""))


def an_event_for_whatever_arrives(patch):
    """Records are announced in the order of their arrival, old ones too."""
    patch.setattr(hub, "is_news", lambda last, record, replaced: True)


def a_delete_that_only_clears_memory(patch):
    """A tombstone is held, and left out of the log."""
    append = Wal.append

    def forgetful(self, entry):
        record = getattr(entry, "record", None)
        is_delete = isinstance(record, msgspec.Raw) and unpack(record).value is None
        return self.lsn if is_delete else append(self, entry)

    patch.setattr(Wal, "append", forgetful)


def write_over_ignores_what_is_held(patch):
    """A version vector starts anew with every write, and so does the version."""
    write_over = store_module.write_over

    def blind(held, seen, *rest):
        return write_over(None, (), *rest)

    patch.setattr(store_module, "write_over", blind)
