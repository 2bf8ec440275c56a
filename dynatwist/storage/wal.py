"""The write-ahead log: entries gather, are written in groups, and are durable then.

All that gathers while one group is being written and synced goes into the next. Only one group is under way at a
time, so at most the last one can be torn by a crash. A start always opens a new segment.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from dynatwist.calls import call_each, call_safely
from dynatwist.sometimes import sometimes

from .durability import Durability
from .entries import AnyEntry, Group, Merged
from .files import Writer
from .groups import NextGroup, Writing
from .room import DiskRoom, is_exhausted
from .segment_writer import Position, SegmentWriter

MAX_GATHERED_BYTES = 16 << 20
"""What may wait behind the group under way: seconds of a busy node, and little memory."""
ENTRY_BYTES = 200
"""An entry's share of memory besides its record, roughly."""

TOLD_A_TURN = 32
"""Whoever waits for the log may be about to decide a request, which takes a tenth of a millisecond; while a slow disk
writes one group, thousands may come to wait. So many go on in one turn of the reactor."""


class Wal:
    """The log being written.

    When the disk is full, or no descriptor is left, the log is *stuck*: what was gathered is kept, nothing of it is
    durable, shown or acknowledged, and `retry` tries again.

    :param segments: the files, which belong to the writer's thread.
    :param writer: the thread.
    :param number: of the segment to open now; greater than any there is.
    :param wall_ms: the wall reading to note with each group; see `dynatwist.cluster.walls`.
    :param later: has something done in a later turn of the reactor.
    :param fatal: called with a reason when a write or sync fails for good; the process must not go on.
    :param room: what is left on the disk.
    :ivar stuck: why nothing can be written now; empty while it can.
    :ivar durable_lapse_ms: the lapse that is durable; see `keep_lapse`.
    :ivar recovered: how far the log reached when this process started.
    :ivar position: how far it is durable now. It only ever grows, from process to process too, so a node whose log
        reaches less far than its peers remember has lost some of it.
    :ivar gathered_bytes: about how much waits for the group under way to be written.
    """

    def __init__(
        self,
        *,
        segments: SegmentWriter,
        writer: Writer,
        durability: Durability,
        number: int,
        wall_ms: Callable[[], int],
        at_turn_end: Callable[[Callable[[], None]], object],
        later: Callable[[Callable[[], None]], object],
        fatal: Callable[[str], None],
        room: DiskRoom | None = None,
    ) -> None:
        self.segments = segments
        self._writer = writer
        self.durability = durability
        self._next = NextGroup(number, durability)
        self._wall_ms = wall_ms
        self._at_turn_end = at_turn_end
        self._later = later
        self._fatal = fatal
        self._room = room
        self.stuck = ""
        self._stuck_writing: Writing | None = None
        self._gathered: list[AnyEntry] = []
        self._most_gathered_bytes = MAX_GATHERED_BYTES
        self.gathered_bytes = 0
        self.lsn = 0
        self.durable_lsn = 0
        self.recovered: Position = segments.reached
        self.position: Position = segments.reached
        self._on_durable: list[Callable[[int], None]] = []
        self._lapse_ms: Callable[[], int] = lambda: 0
        self.durable_lapse_ms = 0
        self._on_written: Callable[[], None] = lambda: None
        self._waiting: deque[tuple[int, Callable[[], None]]] = deque()
        self._is_telling = False
        self._busy = False
        self._scheduled = False
        self._closed = False

    def keep_lapse(self, lapse_ms: Callable[[], int]) -> None:
        """Note a lapse with each group (see `dynatwist.replication.lapse`); what it is now was recovered."""
        self._lapse_ms = lapse_ms
        self.durable_lapse_ms = lapse_ms()

    def tell_first(self, call: Callable[[int], None]) -> None:
        """Tell somebody up to which number the log is durable, before anybody who waits for that."""
        self._on_durable.append(call)

    def after_each_group(self, call: Callable[[], None]) -> None:
        """Tell somebody of each group that was written."""
        self._on_written = call

    def open(self) -> None:
        """Open the first segment now, rather than with the first entry."""
        self._schedule()

    def append(self, entry: AnyEntry) -> int:
        """Log an entry.

        :returns: its number; see `when_durable`.
        """
        self._gathered.append(entry)
        self.gathered_bytes += ENTRY_BYTES + len(entry.record) if type(entry) is Merged else ENTRY_BYTES
        self.lsn += 1
        self._schedule()
        return self.lsn

    def when_durable(self, lsn: int, call: Callable[[], None]) -> None:
        """Call once everything up to a number is as durable as the mode promises; at once if it is already.

        Calls are made in the order of their numbers, which must not decrease from call to call; pass `Wal.lsn`.
        """
        if lsn <= self.durable_lsn and not self._is_due():
            call()
        else:
            self._waiting.append((lsn, call))

    def bound(self, gathered_bytes: int) -> None:
        """Count as behind when more than this waits, from now on."""
        self._most_gathered_bytes = gathered_bytes

    @property
    def is_behind(self) -> bool:
        """Whether so much waits to be written that whoever can wait, or go elsewhere, should."""
        return self.gathered_bytes > self._most_gathered_bytes

    def refusal(self, adds: bool) -> str:
        """Why a write is refused now, for people; empty when it is not.

        :param adds: whether it takes room for good; deletes go on in the reserve.
        """
        if self.stuck:
            return f"this node's disk takes nothing now ({self.stuck}); reads go on"
        if adds and self._room is not None and self._room.is_low:
            return "this node's disk is nearly full; delete something first"
        return ""

    # What the next group is asked for

    def rotate(self) -> int:
        """Open a new segment with the next group; it is there when what `lsn` says now is durable.

        :returns: its number; every entry logged from now on is in it or behind it.
        """
        number = self._next.begin_segment()
        self.lsn += 1  # a manifest that names the segment must not come before it
        self._schedule()
        return number

    def leap(self, starts: int) -> None:
        """Go on in a segment with a number beyond all that were ever used: what peers remember of the log is lost.

        :param starts: of the node, this one included, those that were lost among them. Each may have leapt once.
        """
        self._next.leap(starts)
        self.rotate()

    def sync(self) -> None:
        """Have what was written synced, in the modes that do not sync each group."""
        self._next.sync()
        self._schedule()

    def note_lapse(self) -> None:
        """Have the lapse noted though there is nothing to log; it is durable when what `lsn` says now is."""
        self._next.note_lapse()
        self.lsn += 1
        self._schedule()

    @property
    def noted_wall_ms(self) -> int:
        """The wall reading that a group would note now."""
        return self._wall_ms()

    # Writing, one group at a time

    @property
    def _has_work(self) -> bool:
        return bool(self._gathered) or self._next.is_asked

    def _schedule(self) -> None:
        if not self._busy and not self._scheduled:
            self._scheduled = True
            self._at_turn_end(self._flush)

    def _flush(self) -> None:
        self._scheduled = False
        if self._busy or self._closed or not self._has_work:
            return
        entries, self._gathered, self.gathered_bytes = self._gathered, [], 0
        group = Group(self._wall_ms(), entries, self._lapse_ms()) if entries or self._next.notes_lapse else None
        self._submit(self._next.take(group, self.lsn))

    def _submit(self, writing: Writing) -> None:
        self._busy = True
        self._writer.submit(lambda: self.segments.write(writing), lambda failure: self._written(writing, failure))

    def retry(self) -> None:
        """Try again to write what could not be written, if the log is stuck."""
        writing, self._stuck_writing = self._stuck_writing, None
        if writing is not None:
            self._submit(writing)

    def _written(self, writing: Writing, failure: BaseException | None) -> None:
        if is_exhausted(failure):
            sometimes("the log is stuck")
            assert isinstance(failure, OSError)
            self.stuck, self._stuck_writing = failure.strerror or str(failure), writing
            return
        self._busy = False
        if failure is not None:
            self._fatal(f"the write-ahead log cannot be written: {failure}")
            return
        self.stuck = ""
        self.durable_lsn, self.position = writing.upto, self.segments.reached
        if writing.group is not None and writing.group.lapse_ms > self.durable_lapse_ms:
            self.durable_lapse_ms = writing.group.lapse_ms
        self._tell(writing.upto)
        if self._has_work:
            self._schedule()

    def _tell(self, upto: int) -> None:
        """The log is durable up to a number: tell whoever waits for that."""
        call_each(self._on_durable, upto)
        if not self._is_telling:
            self._tell_some()
        call_safely(self._on_written)

    def _is_due(self) -> bool:
        """Whether somebody waits who could go on now."""
        return bool(self._waiting) and self._waiting[0][0] <= self.durable_lsn

    def _tell_some(self) -> None:
        waiting = self._waiting
        for _ in range(TOLD_A_TURN):
            if not waiting or waiting[0][0] > self.durable_lsn:
                break
            call_safely(waiting.popleft()[1])
        self._is_telling = self._is_due()
        if self._is_telling:
            sometimes("so many wait for the log that they go on in several turns")
            self._later(self._tell_some)

    def close(self, closed: Callable[[], None]) -> None:
        """Sync and close behind what was appended so far; what comes later is neither written nor acknowledged."""
        self._closed = True
        self._writer.submit(self.segments.close, lambda failure: closed())
