"""Room on the disk: how much is left, and files that keep some of it for what has to go on when it is full.

Below the reserve, writes that add are refused; deletes, whatever ends sessions, and cold saves go on in what is left.
When others fill the disk to the last byte, the file ``reserve`` is given up, and they go on in its place.
"""

from __future__ import annotations

import errno
from contextlib import suppress

from dynatwist.sometimes import sometimes

from .files import FileSystem, Writer

DEFAULT_RESERVE_BYTES = 256 << 20
DEFAULT_RESERVE_SHARE = 0.05
"""The reserve is the smaller one of these: of a small disk not most of it, of a large one what a cold save may take."""
RESERVE_FILE_BYTES = 8 << 20
"""What the file holds at most: tombstones and tokens ended by the ten thousand."""
_FULL = (errno.ENOSPC, errno.EDQUOT)
_EXHAUSTED = (*_FULL, errno.EMFILE, errno.ENFILE)


def is_full(error: BaseException | None) -> bool:
    """Whether the disk has no room, or this user's share of it has none."""
    return isinstance(error, OSError) and error.errno in _FULL


def is_exhausted(error: BaseException | None) -> bool:
    """Whether something has run out that may be there again later: room, or descriptors."""
    return isinstance(error, OSError) and error.errno in _EXHAUSTED


def usual_reserve_bytes(total_bytes: int) -> int:
    """The reserve that suits a disk of some size."""
    return min(DEFAULT_RESERVE_BYTES, int(total_bytes * DEFAULT_RESERVE_SHARE))


class Spare:
    """A file that only takes room, to be given up when there is no other.

    :param size_bytes: how much it takes.
    """

    def __init__(self, fs: FileSystem, path: str, size_bytes: int) -> None:
        self._fs, self._path = fs, path
        self.size_bytes = size_bytes

    def make(self) -> bool:
        """Write it, if there is room.

        :returns: whether it is there.
        """
        try:
            file = self._fs.create(self._path)
            try:
                file.write(b"\xd7" * self.size_bytes)
                file.sync()
            finally:
                file.close()
        except OSError:
            self.give_up()
            return False
        return True

    def give_up(self) -> bool:
        """Remove it.

        :returns: whether it was there.
        """
        with suppress(OSError):
            self._fs.remove(self._path)
            return True
        return False


class DiskRoom:
    """See the module.

    :param reserve_bytes: below which writes that add are refused; ``None`` for what suits the disk.
    :ivar free_bytes: what is left by the last look.
    """

    def __init__(self, fs: FileSystem, folder: str, reserve_bytes: int | None) -> None:
        self._fs, self._folder = fs, folder
        self.free_bytes, self.total_bytes = self._fs.room(folder)
        self.reserve_bytes = usual_reserve_bytes(self.total_bytes) if reserve_bytes is None else reserve_bytes
        self._spare = Spare(fs, f"{folder}/reserve", min(RESERVE_FILE_BYTES, self.reserve_bytes))
        self._has_spare = "reserve" in fs.names(folder)
        self._is_making = False

    @property
    def is_low(self) -> bool:
        """Whether writes that add are refused."""
        return self.free_bytes < self.reserve_bytes

    @property
    def wants_spare(self) -> bool:
        """Whether the file is not there, and there is room enough to make it."""
        return not (self._has_spare or self._is_making) and self.free_bytes > 2 * (
            self.reserve_bytes + self._spare.size_bytes
        )

    def look(self) -> None:
        """See how much is left."""
        with suppress(OSError):
            self.free_bytes, self.total_bytes = self._fs.room(self._folder)

    def have_spare_made(self, writer: Writer) -> None:
        """Have a disk thread make the file; it is not wanted again before that is done, which a slow disk may delay."""
        self._is_making = True

        def made(failure: BaseException | None) -> None:
            self._is_making = False

        writer.submit(self.make_spare, made)

    def make_spare(self) -> None:
        """Make the file. In a disk thread."""
        self._has_spare = self._spare.size_bytes > 0 and self._spare.make()

    def give_up_spare(self) -> bool:
        """There is no room any more: give up the file, if it is there. In a disk thread."""
        self.free_bytes, had, self._has_spare = 0, self._has_spare, False
        if had:
            sometimes("the reserve on the disk is given up")
        return had and self._spare.give_up()
