"""The small file-system interface through which everything reaches the disk, and the thread that writes.

Two implementations of each: the real ones here, the simulated ones in `dynatwist.sim`.
"""

from __future__ import annotations

import errno
import os
import queue
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol


class AppendFile(Protocol):
    """A file being written at its end."""

    def write(self, data: bytes) -> None:
        """Append; raises `OSError`."""

    def sync(self) -> None:
        """Make what was appended durable; raises `OSError`."""

    def cut(self, size_bytes: int) -> None:
        """Take back what was appended beyond a size, and go on from there; raises `OSError`."""

    def close(self) -> None:
        """Close it."""


class FileSystem(Protocol):
    """What storage needs of a disk. Paths are ``/``-separated strings. All methods raise `OSError`."""

    def create(self, path: str) -> AppendFile:
        """Make a new, empty file; one that exists is replaced."""

    def read(self, path: str, most_bytes: int = -1) -> bytes:
        """A whole file, or so much of its beginning."""

    def read_part(self, path: str, at: int, size_bytes: int) -> bytes:
        """So many bytes of a file at most, from an offset on; less only at its end."""

    def names(self, folder: str) -> list[str]:
        """The names in a folder, in order; empty when there is no such folder."""

    def make_folder(self, path: str) -> None:
        """Make a folder and its parents, durably; one that exists is left as it is."""

    def rename(self, old: str, new: str) -> None:
        """Move a file over another, atomically; durable after `sync_folder`."""

    def remove(self, path: str) -> None:
        """Remove a file."""

    def remove_folder(self, path: str) -> None:
        """Remove a folder; what is none, or has something left in it, stays as it is, without an error."""

    def truncate(self, path: str, size_bytes: int) -> None:
        """Cut a file to a size, durably."""

    def sync(self, path: str) -> None:
        """Make a file durable as it is: whoever wrote it may have died before."""

    def sync_folder(self, path: str) -> None:
        """Make creations, renames and removals in a folder durable."""

    def room(self, folder: str) -> tuple[int, int]:
        """Bytes that are left to this process on the disk of a folder, and bytes of it in all."""


def replace_file(fs: FileSystem, folder: str, name: str, data: bytes) -> None:
    """Write a file so that after a crash the old or the new one is there, whole: write, fsync, rename, fsync."""
    temporary = f"{folder}/{name}.new"
    file = fs.create(temporary)
    try:
        file.write(data)
        file.sync()
    finally:
        file.close()
    fs.rename(temporary, f"{folder}/{name}")
    fs.sync_folder(folder)


def read_or_none(fs: FileSystem, path: str) -> bytes | None:
    """A whole file, or ``None`` when it is gone or the disk does not give it back."""
    try:
        return fs.read(path)
    except OSError:
        return None


class _RealAppendFile:
    def __init__(self, descriptors: _Descriptors, path: str) -> None:
        self._descriptors = descriptors
        self._fd = descriptors.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC)

    def write(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[os.write(self._fd, view) :]

    def sync(self) -> None:
        os.fdatasync(self._fd)

    def cut(self, size_bytes: int) -> None:
        os.ftruncate(self._fd, size_bytes)
        os.lseek(self._fd, size_bytes, os.SEEK_SET)

    def close(self) -> None:
        self._descriptors.close(self._fd)


SPARE_DESCRIPTORS = 4
"""A log that begins a new segment has two files and a folder open; another disk thread may do the same."""


class _Descriptors:
    """Opens files, also when sockets have taken all descriptors: a few are held ready for that."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._spare: list[int] = []
        self._refill()

    def open(self, path: str, flags: int) -> int:
        with self._lock:
            try:
                return os.open(path, flags, 0o600)
            except OSError as error:
                if error.errno not in (errno.EMFILE, errno.ENFILE) or not self._spare:
                    raise
                os.close(self._spare.pop())
                return os.open(path, flags, 0o600)

    def close(self, fd: int) -> None:
        with self._lock:
            os.close(fd)
            self._refill()

    def _refill(self) -> None:
        with suppress(OSError):
            while len(self._spare) < SPARE_DESCRIPTORS:
                self._spare.append(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))


class RealFileSystem:
    """The operating system's files, mode 0600."""

    def __init__(self) -> None:
        self._descriptors = _Descriptors()

    def create(self, path: str) -> AppendFile:
        """See `FileSystem`."""
        return _RealAppendFile(self._descriptors, path)

    def read(self, path: str, most_bytes: int = -1) -> bytes:
        """See `FileSystem`."""
        with open(path, "rb") as file:
            return file.read(most_bytes)

    def read_part(self, path: str, at: int, size_bytes: int) -> bytes:
        """See `FileSystem`."""
        with open(path, "rb") as file:
            file.seek(at)
            return file.read(size_bytes)

    def names(self, folder: str) -> list[str]:
        """See `FileSystem`."""
        try:
            return sorted(os.listdir(folder))
        except (FileNotFoundError, NotADirectoryError):
            return []

    def make_folder(self, path: str) -> None:
        """See `FileSystem`."""
        if os.path.isdir(path):
            return
        parent = os.path.dirname(path) or "."
        self.make_folder(parent)
        with suppress(FileExistsError):
            os.mkdir(path, mode=0o700)
        self.sync_folder(parent)

    def rename(self, old: str, new: str) -> None:
        """See `FileSystem`."""
        os.replace(old, new)

    def remove(self, path: str) -> None:
        """See `FileSystem`."""
        os.remove(path)

    def remove_folder(self, path: str) -> None:
        """See `FileSystem`."""
        try:
            os.rmdir(path)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOENT, errno.ENOTDIR):
                raise

    def truncate(self, path: str, size_bytes: int) -> None:
        """See `FileSystem`."""
        fd = self._descriptors.open(path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.ftruncate(fd, size_bytes)
            os.fsync(fd)
        finally:
            self._descriptors.close(fd)

    def sync(self, path: str) -> None:
        """See `FileSystem`."""
        fd = self._descriptors.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            self._descriptors.close(fd)

    def sync_folder(self, path: str) -> None:
        """See `FileSystem`."""
        fd = self._descriptors.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            self._descriptors.close(fd)

    def room(self, folder: str) -> tuple[int, int]:
        """See `FileSystem`."""
        found = os.statvfs(folder)
        return found.f_bavail * found.f_frsize, found.f_blocks * found.f_frsize


Done = Callable[[BaseException | None], None]


class Writer(Protocol):
    """Does disk work off the reactor, one piece after another, in order."""

    def submit(self, work: Callable[[], object], done: Done) -> None:
        """Run `work`; then `done`, on the reactor, with ``None`` or what it raised."""

    def stop(self) -> None:
        """Finish what was submitted, then end."""


class ThreadWriter:
    """A thread of its own: not the reactor's pool, which DNS and password hashing share.

    It begins with the first work: a daemon is forked once its node is made, and no thread goes along.

    :param call_from_thread: the reactor's ``callFromThread``.
    """

    def __init__(self, name: str, call_from_thread: Callable[..., object]) -> None:
        self._call = call_from_thread
        self._queue: queue.SimpleQueue[tuple[Callable[[], object], Done] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def submit(self, work: Callable[[], object], done: Done) -> None:
        """See `Writer`."""
        self._queue.put((work, done))
        if self._thread.ident is None:
            self._thread.start()

    def stop(self) -> None:
        """See `Writer`."""
        self._queue.put(None)
        if self._thread.ident is not None:
            self._thread.join()

    def _run(self) -> None:
        while (item := self._queue.get()) is not None:
            work, done = item
            failure: BaseException | None = None
            try:
                work()
            except Exception as error:
                failure = error
            self._call(done, failure)
