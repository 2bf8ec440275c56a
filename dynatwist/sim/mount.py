"""What one process sees of a disk: a file system that ends with the process."""

from __future__ import annotations

import errno

from dynatwist.storage.files import AppendFile

from .disk import SimDisk
from .volume import File
from .world import Killed, Process


class Mount:
    """A `FileSystem` for one process: nothing reaches the disk once that is dead."""

    def __init__(self, disk: SimDisk, process: Process) -> None:
        self._disk = disk
        self._process = process
        disk.begin()

    @property
    def disk(self) -> SimDisk:
        """The disk, for as long as the process lives."""
        if not self._process.alive:
            raise Killed("the process is dead")
        return self._disk

    def reached(self, what: str) -> SimDisk:
        """The disk, at a point where a crash may be due."""
        self.disk.reached(self._process, what)
        return self._disk

    def create(self, path: str) -> AppendFile:
        """See `FileSystem`."""
        self.disk.opens()
        return _SimAppendFile(self, self.disk.create(path))

    def read(self, path: str, most_bytes: int = -1) -> bytes:
        """See `FileSystem`."""
        file = self.disk.file(path)
        if not file.is_readable:
            raise OSError(errno.EIO, "Input/output error", path)
        return bytes(file.data if most_bytes < 0 else file.data[:most_bytes])

    def read_part(self, path: str, at: int, size_bytes: int) -> bytes:
        """See `FileSystem`."""
        return self.read(path)[at : at + size_bytes]

    def names(self, folder: str) -> list[str]:
        """See `FileSystem`."""
        return self.disk.names(folder)

    def make_folder(self, path: str) -> None:
        """See `FileSystem`."""
        self.disk.make_folder(path)

    def remove_folder(self, path: str) -> None:
        """See `FileSystem`."""
        self.disk.remove_folder(path)

    def rename(self, old: str, new: str) -> None:
        """See `FileSystem`."""
        self.reached("rename").rename(old, new)

    def remove(self, path: str) -> None:
        """See `FileSystem`."""
        self.disk.remove(path)

    def truncate(self, path: str, size_bytes: int) -> None:
        """See `FileSystem`."""
        file = self.disk.file(path)
        del file.data[size_bytes:]
        file.durable = size_bytes

    def sync(self, path: str) -> None:
        """See `FileSystem`."""
        disk = self.reached("fsync")
        disk.sync(disk.file(path))

    def sync_folder(self, path: str) -> None:
        """See `FileSystem`."""
        self.disk.opens()
        self.reached("fsync of a folder").sync_folder(path)

    def room(self, folder: str) -> tuple[int, int]:
        """See `FileSystem`."""
        disk = self.disk
        return max(0, disk.capacity_bytes - disk.used_bytes), disk.capacity_bytes


class _SimAppendFile:
    def __init__(self, mount: Mount, file: File) -> None:
        self._mount = mount
        self._file = file

    def write(self, data: bytes) -> None:
        self._mount.disk.append(self._file, data)

    def sync(self) -> None:
        self._mount.reached("fsync").sync(self._file)

    def cut(self, size_bytes: int) -> None:
        self._file.cut(size_bytes)

    def close(self) -> None:
        pass
