"""The segments of the write-ahead log as files that are written: the only code that touches them while a node runs.

The log's thread begins a segment when a group asks for one, seals the group and writes it behind the one before. Each
segment says of its predecessor how long it became, so a segment is begun only when its predecessor is synced. The
thread of the cold saves removes segments that no manifest needs any more.
"""

from __future__ import annotations

import errno
from collections.abc import Callable

import msgspec

from .entries import SegmentStart
from .files import AppendFile, FileSystem
from .groups import Writing
from .room import DiskRoom, is_full
from .seal import Keys, Sealer
from .segment import KIND, segment_name, segments_in

_ENCODER = msgspec.msgpack.Encoder()

Position = tuple[int, int]
"""(segment, length of it in bytes)."""


class SegmentWriter:
    """See the module.

    :param folder: the log's.
    :param previous: number and length of the last segment found; (0, 0) when none is kept.
    :param room: what is left on the disk.
    :param previous_salt: names the file of the last segment found; empty when that is not known.
    :param starts: of this node, this one included.
    :ivar reached: how far the log is written.
    :ivar groups: how many were written.
    :ivar bytes_written: of the frames of groups.
    """

    def __init__(
        self,
        *,
        fs: FileSystem,
        folder: str,
        data_keys: Keys,
        randbytes: Callable[[int], bytes],
        previous: Position,
        room: DiskRoom | None = None,
        previous_salt: bytes = b"",
        starts: int = 0,
    ) -> None:
        self._fs = fs
        self._folder = folder
        self._data_keys = data_keys
        self._randbytes = randbytes
        self._room = room
        self._predecessor = (*previous, previous_salt)
        self._starts = starts
        self._salts: dict[int, bytes] = {}
        self._file: AppendFile | None = None
        self._sealer: Sealer | None = None
        self._segment = 0
        self.reached: Position = previous
        self.groups = 0
        self.bytes_written = 0

    def use(self, data_keys: Keys) -> None:
        """Seal by another key, from the next segment on."""
        self._data_keys = data_keys

    def salt_of(self, number: int) -> bytes:
        """Names the file of a segment that this process has begun and not removed; empty for any other."""
        return self._salts.get(number, b"")

    # In the log's thread

    def write(self, writing: Writing) -> None:
        """Write a group; on a full disk, in the place of what was kept for that.

        :raises OSError: when that does not go; once there is room, the same group can be tried again.
        """
        try:
            self._write(writing)
        except OSError as error:
            if not is_full(error) or self._room is None or not self._room.give_up_spare():
                raise
            self._write(writing)

    def _write(self, writing: Writing) -> None:
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
        self.reached = (self._segment, self._sealer.offset)
        self.groups += 1

    def _open_segment(self, number: int) -> None:
        """Begin a segment; when that fails, it can be tried again, and the one before is as it was."""
        if self._file is not None and self._sealer is not None:
            _sync(self._file)
            self._predecessor = (self._segment, self._sealer.offset, self._sealer.salt)
        start = SegmentStart(*self._predecessor, number, self._starts)
        sealer = Sealer(self._data_keys, KIND, self._randbytes(16))
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

    def close(self) -> None:
        """Sync and close what is open."""
        if self._file is not None:
            self._file.sync()
            self._file.close()

    # In the cold writer's thread

    def remove_before(self, number: int) -> None:
        """Remove segments that no kept manifest needs."""
        for old in segments_in(self._fs.names(self._folder)):
            if old < number:
                self._fs.remove(f"{self._folder}/{segment_name(old)}")
                self._salts.pop(old, None)
        self._fs.sync_folder(self._folder)


def _sync(file: AppendFile) -> None:
    """Make a file durable.

    :raises OSError: ``EIO``, whatever the system says: what was written may be on the disk or not, and trying again
        would succeed though it is not.
    """
    try:
        file.sync()
    except OSError as error:
        raise OSError(errno.EIO, error.strerror or str(error)) from error
