"""Mistakes of one line in log, recovery, cold saves, identity and time."""

from __future__ import annotations

from dynatwist import core
from dynatwist.cluster.times import Times
from dynatwist.cluster.walls import Walls
from dynatwist.model.ends import Ends
from dynatwist.replication import lapse
from dynatwist.storage import recovery, saved, segment, snapshot, store
from dynatwist.storage.cold import ColdFolder
from dynatwist.storage.conflict_store import ConflictStore
from dynatwist.storage.effects import Lost, logged
from dynatwist.storage.entries import Reset, SetAside, Unhinted
from dynatwist.storage.identity import IdentityFile
from dynatwist.storage.readable import Readable
from dynatwist.storage.recovered import Recovered
from dynatwist.storage.segment import Segment
from dynatwist.storage.segment_writer import SegmentWriter
from dynatwist.storage.snapshot import ColdSaver
from dynatwist.storage.state import State
from dynatwist.storage.store import Store
from dynatwist.storage.wal import Wal

from .edits import edit
from .faults import under

# Recovery


@under("flips", "unreadable", "lost_files")
def replay_ends_where_the_log_is_damaged(patch):
    """What is logged behind damage is left out, also what later processes have acknowledged."""
    edit(patch, recovery, "_replay", "before = segment\n", "before = segment\n        if found.damage: break\n")


@under("flips", "lost_files", "lost_logs")
def damage_that_is_mended_counts_again(patch):
    """A second start sets aside once more what the first one had set aside, and what was acknowledged since."""
    edit(patch, Recovered, "start_over", "if partition in damage.partitions", "if False")


@under("flips", "lost_files", "lost_logs")
def what_is_set_aside_at_a_start_is_not_logged(patch):
    """A20: after the log was lost, what is acknowledged next is lost at the next crash."""
    edit(patch, Store, "__init__", "sorted(recovered.damaged)", "()")


@under("crashes_at_sync", "power_cuts")
def the_name_of_the_last_segment_is_not_durable(patch):
    """A process was killed before it synced the log's folder; the next one tells peers of a segment all the same."""
    edit(patch, recovery, "_finish_last", "fs.sync_folder(folder)", "pass")


@under("lost_logs")
def segment_numbers_do_not_leap(patch):
    """A20: the log begins where it did before it was lost, behind what peers remember of it."""
    edit(patch, recovery, "_next_segment", "number + LEAP", "number")


@under("kills", "lost_files")
def a_missing_segment_is_not_noticed(patch):
    """A segment names its predecessor, and nobody looks whether that is there."""
    edit(patch, recovery, "_check_start", "segment.start.previous != before.number", "False")


@under("kills", "lost_files")
def a_segment_that_lost_its_last_frames_is_not_noticed(patch):
    """A segment says how long its predecessor became, and nobody looks."""
    edit(patch, recovery, "_check_start", "segment.start.previous_bytes != before.size_bytes", "False")


def a_segment_in_the_middle_may_be_cut_short(patch):
    """What ends in the middle of a frame is a write that was cut short, whichever segment it is in."""
    edit(patch, recovery, "_check_end", "segment.opened.torn and not is_last", "False")


def an_unreadable_segment_is_an_empty_one(patch):
    """A segment that the disk does not give back had nothing in it."""
    edit(patch, recovery, "_check_end", 'found.damage_all(f"{name} cannot be read")', "pass")


def a_chunk_is_whatever_has_its_name(patch):
    """A manifest names the files that it refers to, and nobody looks whether a chunk is that file or an older one."""
    edit(patch, recovery._Chunks, "_open", "opened.salt != self._named.get(chunk, opened.salt)", "False")


def a_segment_is_whatever_has_its_name(patch):
    """A segment says which one it is, and nobody looks."""
    edit(patch, Segment, "_is_itself", "return number", "return True or number")


def a_manifest_is_whatever_has_its_name(patch):
    """A manifest says which save it is of, and nobody looks."""
    edit(patch, recovery, "_load_manifest", "manifest.generation == generation", "True")


def a_chunk_that_does_not_open_is_an_empty_one(patch):
    """A partition whose chunk is damaged, or cannot be read, is whole, and what was in it is gone."""
    edit(patch, recovery, "_load_partition", "[saved.number] if payload is None else []", "[]")


def damage_in_the_newest_segment_is_a_torn_tail(patch):
    """Nobody looks whether something that verifies comes behind what does not."""
    edit(patch, segment, "open_file", "_any_frame_behind(cipher, data, offset)", "False")


@under("crashes_at_sync", "power_cuts")
def a_segment_that_was_never_written_stays(patch):
    """A segment without a first frame is kept, and a start finds that it has lost its beginning, or is cut short."""
    edit(patch, Segment, "is_stillborn", "self.is_readable and", "False and")


@under("kills", "power_cuts")
def what_a_torn_log_has_is_not_synced(patch):
    """A log is read after a kill, and what a power cut would take of it is shown."""
    edit(patch, recovery, "_finish_last", 'fs.sync(f"{folder}/{name}")', "pass")


@under("unreadable")
def an_unreadable_file_stops_the_start(patch):
    """A21: the disk does not give a file back, and the node does not start."""
    patch.setattr(recovery, "read_or_none", lambda fs, path: fs.read(path))


@under("foreign")
def any_name_in_the_folder_may_be_a_manifest(patch):
    """A22: a file that is not ours lies beside the manifests."""
    patch.setattr(
        recovery,
        "manifests_in",
        lambda names: {int(name.split("-")[1]): name for name in names if name.startswith("manifest-")},
    )


def votes_of_a_cold_save_are_not_loaded(patch):
    """Small named values, votes among them, are in the manifest, and a start takes only those of the log."""
    edit(patch, recovery, "_load_manifest", "dict(manifest.meta)", "{}")


def hints_of_a_cold_save_are_not_loaded(patch):
    """A start takes only the hints of the log."""
    edit(patch, recovery, "_load_manifest", "manifest.hints.items()", "()")


def the_mark_of_the_hybrid_clock_is_not_loaded(patch):
    """A start takes the greatest stamp of what it finds."""
    edit(patch, recovery, "_load_manifest", "found.see(manifest.mark)", "pass")


@under("flips", "lost_files", "lost_logs")
def replay_forgets_what_was_set_aside(patch):
    """The log says that a partition was set aside, and at the next start it is empty instead."""
    _replayed(patch, lambda entry: Reset(entry.partition, False) if isinstance(entry, SetAside) else entry)


@under("joins", "kills", "forgets")
def replay_takes_a_fresh_partition_for_a_whole_one(patch):
    """A partition that started over counts as whole after the next start."""
    _replayed(patch, lambda entry: Reset(entry.partition, True) if isinstance(entry, Reset) else entry)


def _replayed(patch, instead):
    replay = Recovered.replay
    patch.setattr(Recovered, "replay", lambda self, entry: replay(self, instead(entry)))


@under("flips", "lost_files", "lost_logs")
def what_was_not_whole_is_whole_after_a_start(patch):
    """A cold save says whether a partition is whole, and a start takes all for whole."""
    edit(patch, recovery, "_load_partition", "replica.whole = saved.whole", "pass")


@under("flips", "lost_files", "unreadable")
def what_is_damaged_does_not_count_as_changed(patch):
    """The cold saves after a start on damage keep the damaged chunk, until nothing in the log mends it any more."""
    conclude = Recovered.conclude

    def forgetful(self):
        changed = self.state.take_changed()
        conclude(self)
        self.state.take_changed()
        self.state.give_back(changed)

    patch.setattr(Recovered, "conclude", forgetful)


# Cold saves


@under("backups", "lost_logs")
def what_is_put_aside_while_running_does_not_count_as_changed(patch):
    """Who is told that it was restored from a backup is as whole as before, once the log is cut."""
    cease = Store.cease_whole

    def forgetful(self, partition):
        changed = self.state.take_changed()
        cease(self, partition)
        self.state.take_changed()
        self.state.give_back(changed)

    patch.setattr(Store, "cease_whole", forgetful)


@under("flips", "lost_files", "lost_logs")
def what_was_set_aside_is_not_saved(patch):
    """A cold save has what is held, and not what waits for the partition to be whole."""
    edit(patch, saved, "walk", "list(aside)", "()")
    patch.setattr(snapshot, "walk", saved.walk)


def what_was_merged_besides_is_not_saved(patch):
    """A cold save has records, and not the dots that were merged besides their past."""
    edit(patch, saved, "item_of", "replica.seen.get(key, ())", "()")
    patch.setattr(snapshot, "item_of", saved.item_of)


@under("full_disks", "descriptors")
def a_save_that_failed_counts_as_done(patch):
    """What had changed before a cold save that failed is left out of the next one."""
    edit(patch, snapshot._Save, "_fail", "self._store.state.give_back(self._changed)", "pass")


def what_changes_during_a_save_counts_as_saved(patch):
    """What was changed is forgotten at the end of a cold save, not at its beginning."""
    edit(
        patch,
        snapshot._Save,
        "_write_manifest",
        "store = self._store\n",
        "store = self._store\n    store.state.take_changed()\n",
    )


def a_save_builds_on_the_one_before_the_last(patch):
    """What did not change lately is taken from the older one of the two saves."""
    edit(patch, ColdSaver, "_previous_partitions", "self._kept[-1].partitions", "self._kept[0].partitions")


@under("kills", "mass_kills")
def the_log_is_replayed_from_the_end_of_the_save(patch):
    """The manifest names the segment that begins when it is written, not the one that began with the save."""
    words = "store = self._store\n"
    edit(patch, snapshot._Save, "_write_manifest", words, f"{words}    self._wal_from = store.wal.rotate()\n")


def the_log_of_the_older_save_is_removed(patch):
    """Two saves are kept, and the log of one."""
    edit(patch, ColdSaver, "clean", "min(one.wal_from for one in kept)", "max(one.wal_from for one in kept)")


def the_chunks_of_the_older_save_are_removed(patch):
    """Two manifests are kept, and the chunks of one."""
    edit(patch, ColdFolder, "clean", "for one in kept for saved", "for one in kept[-1:] for saved")


def one_segment_too_many_is_removed(patch):
    """The log is cut behind the segment that the older save begins with."""
    edit(patch, SegmentWriter, "remove_before", "old < number", "old <= number")


@under("descriptors", "sync_errors")
def a_save_that_failed_leaves_its_manifest(patch):
    """The chunks of a failed save are removed, and its manifest may be there."""
    edit(patch, ColdFolder, "discard", "(manifest_name(generation), ", "(")


@under("full_disks", "descriptors", "kills")
def a_failed_save_takes_the_one_before_with_it(patch):
    """The folder that is removed is that of the save before."""
    edit(patch, ColdFolder, "discard", "folder_name(generation)", "folder_name(generation - 1)")


def old_folders_stay(patch):
    """A23: the folders of old saves are emptied, and never removed."""
    edit(patch, ColdFolder, "_clean_folder", "self._fs.remove_folder(path)", "pass")


# The log


@under("full_disks")
def half_a_frame_stays_in_the_log(patch):
    """The disk is full in the middle of a frame, and the next one is written behind what came out."""
    edit(patch, SegmentWriter, "_write", "self._file.cut(self._sealer.offset - len(writing.frame))", "pass")


@under("full_disks")
def a_frame_is_sealed_again_for_each_try(patch):
    """Each try to write a group takes another number for its frame."""
    edit(patch, SegmentWriter, "_write", "writing.frame or self._sealer", "self._sealer")


@under("full_disks", "descriptors")
def a_segment_counts_as_open_before_it_is(patch):
    """A segment that could not be begun is not begun by the next try."""
    edit(patch, SegmentWriter, "_open_segment", "sealer = Sealer(", "self._segment = number\n    sealer = Sealer(")


@under("power_cuts")
def the_folder_of_the_log_is_not_synced(patch):
    """A new segment may be gone after a power cut, with all that was synced in it."""
    edit(patch, SegmentWriter, "_open_segment", "self._fs.sync_folder(self._folder)", "pass")


@under("sync_errors")
def a_failed_sync_is_tried_again(patch):
    """What a disk did not take is written once more, as if it had been full."""
    edit(patch, Wal, "_written", "if is_exhausted(failure):", "if failure is not None:")


def hints_that_were_delivered_are_back_after_a_start(patch):
    """Nothing is logged when a node has what it missed."""
    patch.setattr(Store, "unhint", lambda self, node, keys: self.state.apply(Unhinted(node, keys)))


# Identity


@under("crashes_at_sync", "flips")
def the_older_identity_counts(patch):
    """Of two copies of the identity that differ the older one is taken."""
    edit(patch, IdentityFile, "load", "newest = max(found", "newest = min(found")


def one_copy_of_the_identity(patch):
    """The second copy of the identity is never written."""
    edit(patch, IdentityFile, "save", "in COPIES", "in COPIES[:1]")


@under("backups")
def starts_are_not_counted(patch):
    """Each start is the first one, by what peers are told."""
    edit(patch, core, "open_folder", "identity.starts += 1", "identity.starts = 1")


# Time


@under("joins", "jumps")
def clocks_of_the_new_members_alone(patch):
    """While members change, a time that a majority of the new ones has passed is over."""
    edit(patch, Times, "lapse_ms", "(registry.ids, registry.previous_ids)", "(registry.ids,)")


@under("jumps", "absences", "kills")
def readings_count_however_old(patch):
    """What a clock said once counts for ever."""
    edit(patch, lapse.Lapse, "_readings", " and now_s - reading[1] <= FRESH_S", "")


@under("jumps", "partitions")
def a_node_alone_goes_by_its_wall_clock(patch):
    """A node that hears of no majority believes its own clock."""
    edit(patch, lapse.Lapse, "look", "min(own_ms, self._since_base(SLOWEST, now_s))", "own_ms")


def an_end_that_was_put_off_comes_all_the_same(patch):
    """A record that is refreshed ends when the one before would have."""
    edit(patch, Ends, "discard", "self._coming.discard((end_ms, key))", "pass")


@under("mass_kills", "kills")
def absence_is_told_before_the_lapse_is_durable(patch):
    """A reader is told that a record is over, and after a crash it is not."""
    edit(patch, Readable, "when_over", "end_ms > self._wal.durable_lapse_ms", "False")


def the_lapse_of_a_cold_save_is_not_loaded(patch):
    """After a start only the log says what was over."""
    edit(patch, recovery, "_load_manifest", "manifest.lapse_ms", "0")


@under("clocks")
def the_mark_of_the_wall_clock_is_not_kept(patch):
    """After a restart any clock is right."""
    edit(patch, Walls, "__init__", "self._mark_ms = mark_ms", "self._mark_ms = 0")


def what_lost_is_logged_as_if_it_had_won(patch):
    """A record that loses a merge is logged whole, and replayed over a save that no longer has what beat it."""
    patch.setattr(store, "logged", lambda entry, effect: entry if isinstance(effect, Lost) else logged(entry, effect))


# Conflicts


def what_loses_is_not_kept(patch):
    """Of two concurrent writes the one that arrives and loses is counted, and gone."""
    edit(patch, ConflictStore, "meet", "winner is None or", "winner is None or type(effect) is Lost or")


def conflicts_are_not_saved(patch):
    """They are in the log alone, which a cold save cuts."""
    patch.setattr(snapshot, "contested", lambda *arguments: iter(()))


def conflicts_go_with_their_partition(patch):
    """A partition that starts over forgets what its keys were in conflict about."""
    apply = State.apply

    def forgetting(self, entry, *rest):
        if isinstance(entry, Reset | SetAside):
            for name in self.conflicts.of_partition(entry.partition):
                self.conflicts.settle(entry.partition, name)
        return apply(self, entry, *rest)

    patch.setattr(State, "apply", forgetting)


def two_slices_of_a_save_in_one_step(patch):
    """Each may have to write a chunk first; then there are two chains of steps, and the save ends twice."""
    edit(patch, snapshot._Save, "_partition", "yield True  # one slice a step", "pass  # one slice a step")
