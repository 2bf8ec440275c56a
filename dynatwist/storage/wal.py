"""The write-ahead log: sealed segments, group commit.

All that gathers while one group is being written and synced goes into the next. Only one group is under way at a
time, so at most the last one can be torn by a crash. A start always opens a new segment.
"""

from __future__ import annotations

import errno
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

import msgspec

from dynatwist.calls import call_safely
from dynatwist.sometimes import sometimes

from .entries import AnyEntry, Group, Merged, SegmentStart
from .files import AppendFile, FileSystem, Writer
from .room import DiskRoom, is_exhausted, is_full
from .seal import Sealer
from .segment import KIND, LEAP, segment_name, segments_in

_ENCODER = msgspec.msgpack.Encoder()
MAX_GATHERED_BYTES = 16 << 20
"""What may wait behind the group under way: seconds of a busy node, and little memory."""
ENTRY_BYTES = 200
"""An entry's share of memory besides its record, roughly."""


class Durability(Enum):
    """When a write is acknowledged, and synced."""

    FSYNC = "fsync"
    """After fdatasync of its group."""
    INTERVAL = "interval"
    """After write(2); synced every second."""
    NONE = "none"
    """After write(2); synced by the operating system, and at a clean stop."""


Position = tuple[int, int]
"""(segment, length of it in bytes)."""


@dataclass(slots=True)
class _Writing:
    """What is being written, until it is.

    :ivar new_segment: number of the segment to begin with it.
    :ivar frame: its bytes, sealed once: were it sealed again with more in it, one nonce would seal two texts.
    """

    group: Group | None
    sync: bool
    new_segment: int | None
    upto: int
    frame: bytes = b""


class Wal:
    """The log being written.

    When the disk is full, or no descriptor is left, the log is *stuck*: what was gathered is kept, nothing of it is
    durable, shown or acknowledged, and `retry` tries again.

    :param number: of the segment to open now; greater than any there is.
    :param previous: number and length of the last segment found; (0, 0) when none is kept.
    :param wall_ms: the wall reading to note with each group; see `dynatwist.cluster.walls`.
    :param fatal: called with a reason when a write or sync fails for good; the process must not go on.
    :param room: what is left on the disk.
    :param previous_salt: names the file of the last segment found; empty when that is not known.
    :param starts: of this node, this one included.
    :ivar stuck: why nothing can be written now; empty while it can.
    :ivar on_durable: told up to which number the log is durable now, before anybody who waits for that.
    :ivar lapse_ms: asked for the lapse to note with each group (see `dynatwist.replication.lapse`).
    :ivar durable_lapse_ms: the lapse that is durable.
    :ivar recovered: how far the log reached when this process started.
    :ivar position: how far it is durable now. It only ever grows, from process to process too, so a node whose log
        reaches less far than its peers remember has lost some of it.
    :ivar gathered_bytes: about how much waits for the group under way to be written.
    :ivar max_gathered_bytes: see `is_behind`.
    """

    def __init__(
        self,
        *,
        fs: FileSystem,
        folder: str,
        data_key: bytes,
        writer: Writer,
        durability: Durability,
        number: int,
        previous: Position,
        randbytes: Callable[[int], bytes],
        wall_ms: Callable[[], int],
        at_turn_end: Callable[[Callable[[], None]], object],
        fatal: Callable[[str], None],
        room: DiskRoom | None = None,
        previous_salt: bytes = b"",
        starts: int = 0,
    ) -> None:
        self._fs = fs
        self._folder = folder
        self._data_key = data_key
        self._writer = writer
        self.durability = durability
        self._randbytes = randbytes
        self._wall_ms = wall_ms
        self._at_turn_end = at_turn_end
        self._fatal = fatal
        self._room = room
        self.stuck = ""
        self._stuck_writing: _Writing | None = None
        self.number = number
        self._previous = previous
        self._previous_salt = previous_salt
        self._starts = starts
        self._salts: dict[int, bytes] = {}
        self._file: AppendFile | None = None
        self._sealer: Sealer | None = None
        self._segment = 0
        self._rotate = True
        self._gathered: list[AnyEntry] = []
        self.gathered_bytes = 0
        self.max_gathered_bytes = MAX_GATHERED_BYTES
        self.lsn = 0
        self.durable_lsn = 0
        self.recovered: Position = previous
        self.position: Position = previous
        self._reached: Position = previous
        self.on_durable: Callable[[int], None] = lambda upto: None
        self.lapse_ms: Callable[[], int] = lambda: 0
        self.durable_lapse_ms = 0
        self._on_written: Callable[[], None] = lambda: None
        self._waiting: deque[tuple[int, Callable[[], None]]] = deque()
        self._busy = False
        self._scheduled = False
        self._sync_now = False
        self._notes_lapse = False
        self._closed = False
        self.groups = 0
        self.bytes_written = 0

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
        if lsn <= self.durable_lsn:
            call()
        else:
            self._waiting.append((lsn, call))

    @property
    def is_behind(self) -> bool:
        """Whether so much waits to be written that whoever can wait, or go elsewhere, should."""
        return self.gathered_bytes > self.max_gathered_bytes

    def rotate(self) -> int:
        """Open a new segment with the next group; it is there when what `lsn` says now is durable.

        :returns: its number; every entry logged from now on is in it or behind it.
        """
        if not self._rotate:
            self._rotate = True
            self.number += 1
        self.lsn += 1  # a manifest that names the segment must not come before it
        self._schedule()
        return self.number

    def salt_of(self, number: int) -> bytes:
        """Names the file of a segment that this process has begun and not removed; empty for any other."""
        return self._salts.get(number, b"")

    def leap(self, starts: int) -> None:
        """Go on in a segment with a number beyond all that were ever used: what peers remember of the log is lost.

        :param starts: of the node, this one included, those that were lost among them. Each may have leapt once.
        """
        self.number = max(self.number, starts * LEAP) + LEAP
        self.rotate()

    def sync(self) -> None:
        """Have what was written synced, in the modes that do not sync each group."""
        self._sync_now = True
        self._schedule()

    def note_lapse(self) -> None:
        """Have the lapse noted though there is nothing to log; it is durable when what `lsn` says now is."""
        self._notes_lapse = True
        self.lsn += 1
        self._schedule()

    @property
    def noted_wall_ms(self) -> int:
        """The wall reading that a group would note now."""
        return self._wall_ms()

    @property
    def _has_work(self) -> bool:
        return bool(self._gathered) or self._rotate or self._sync_now or self._notes_lapse

    def _schedule(self) -> None:
        if not self._busy and not self._scheduled:
            self._scheduled = True
            self._at_turn_end(self._flush)

    def _flush(self) -> None:
        self._scheduled = False
        if self._busy or self._closed or not self._has_work:
            return
        entries, self._gathered, self.gathered_bytes = self._gathered, [], 0
        group = Group(self._wall_ms(), entries, self.lapse_ms()) if entries or self._notes_lapse else None
        self._notes_lapse = False
        sync = self.durability is Durability.FSYNC or self._sync_now
        rotate, self._rotate, self._sync_now = self._rotate, False, False
        self._submit(_Writing(group, sync, self.number if rotate else None, self.lsn))

    def _submit(self, writing: _Writing) -> None:
        self._busy = True
        self._writer.submit(lambda: self._work(writing), lambda failure: self._written(writing, failure))

    def retry(self) -> None:
        """Try again to write what could not be written, if the log is stuck."""
        writing, self._stuck_writing = self._stuck_writing, None
        if writing is not None:
            self._submit(writing)

    def refusal(self, adds: bool) -> str:
        """Why a write is refused now, for people; empty when it is not.

        :param adds: whether it takes room for good; deletes go on in the reserve.
        """
        if self.stuck:
            return f"this node's disk takes nothing now ({self.stuck}); reads go on"
        if adds and self._room is not None and self._room.is_low:
            return "this node's disk is nearly full; delete something first"
        return ""

    def _work(self, writing: _Writing) -> None:
        """In the writer's thread, where the file and the sealer belong."""
        try:
            self._write(writing)
        except OSError as error:
            if not is_full(error) or self._room is None or not self._room.give_up_spare():
                raise
            self._write(writing)

    def _write(self, writing: _Writing) -> None:
        if writing.new_segment is not None and writing.new_segment != self._segment:
            self._open_segment(writing.new_segment)
        assert self._file is not None
        assert self._sealer is not None
        if writing.group is not None:
            writing.frame = writing.frame or self._sealer.seal(_ENCODER.encode(writing.group))
            try:
                self._file.write(writing.frame)
            except OSError:
                self._file.cut(self._sealer.offset - len(writing.frame))
                raise
            self.bytes_written += len(writing.frame)
        if writing.sync:
            _sync(self._file)
        self._reached = (self._segment, self._sealer.offset)
        self.groups += 1

    def _open_segment(self, number: int) -> None:
        """Begin a segment; when that fails, it can be tried again, and the one before is as it was."""
        if self._file is not None and self._sealer is not None:
            _sync(self._file)
            self._previous, self._previous_salt = (self._segment, self._sealer.offset), self._sealer.salt
        start = SegmentStart(*self._previous, self._previous_salt, number, self._starts)
        sealer = Sealer(self._data_key, KIND, self._randbytes(16))
        file = self._fs.create(f"{self._folder}/{segment_name(number)}")
        try:
            file.write(sealer.header + sealer.seal(_ENCODER.encode(start)))
            _sync(file)
            self._fs.sync_folder(self._folder)
        except BaseException:
            file.close()
            raise
        if self._file is not None:
            self._file.close()
        self._file, self._sealer, self._segment = file, sealer, number
        self._salts[number] = sealer.salt

    def _written(self, writing: _Writing, failure: BaseException | None) -> None:
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
        self.durable_lsn, self.position = writing.upto, self._reached
        if writing.group is not None and writing.group.lapse_ms > self.durable_lapse_ms:
            self.durable_lapse_ms = writing.group.lapse_ms
        call_safely(self.on_durable, writing.upto)
        while self._waiting and self._waiting[0][0] <= writing.upto:
            call_safely(self._waiting.popleft()[1])
        call_safely(self._on_written)
        if self._has_work:
            self._schedule()

    def remove_before(self, number: int) -> None:
        """Remove segments that no kept manifest needs. In the cold writer's thread."""
        for old in segments_in(self._fs.names(self._folder)):
            if old < number:
                self._fs.remove(f"{self._folder}/{segment_name(old)}")
                self._salts.pop(old, None)
        self._fs.sync_folder(self._folder)

    def close(self, closed: Callable[[], None]) -> None:
        """Sync and close behind what was appended so far; what comes later is neither written nor acknowledged."""
        self._closed = True

        def work() -> None:
            if self._file is not None:
                self._file.sync()
                self._file.close()

        self._writer.submit(work, lambda failure: closed())


def _sync(file: AppendFile) -> None:
    """Make a file durable.

    :raises OSError: ``EIO``, whatever the system says: what was written may be on the disk or not, and trying again
        would succeed though it is not.
    """
    try:
        file.sync()
    except OSError as error:
        raise OSError(errno.EIO, error.strerror or str(error)) from error
