"""A disk that forgets: after a power cut, bytes and names that were not synced may be gone."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from dynatwist.storage.files import AppendFile, Done

from .world import Killed, Process, World


class _File:
    """The bytes of a file: all, and how many of them are durable."""

    __slots__ = ("data", "durable")

    def __init__(self) -> None:
        self.data = bytearray()
        self.durable = 0


class _SimAppendFile:
    def __init__(self, disk: SimDisk, file: _File) -> None:
        self._disk = disk
        self._file = file

    def write(self, data: bytes) -> None:
        self._file.data += data

    def sync(self) -> None:
        self._disk.reached("fsync")
        self._file.durable = len(self._file.data)

    def close(self) -> None:
        pass


class SimDisk:
    """A `FileSystem` that outlives its process.

    :ivar crash_after: syncs and renames until the machine loses power in the middle of one; 0 for never.
    """

    def __init__(self, random: Random) -> None:
        self._random = random
        self._names: dict[str, _File] = {}
        self._durable_names: dict[str, _File] = {}
        self.crash_after = 0
        self.power_cut = False

    def reached(self, what: str) -> None:
        """A point at which a crash may be due."""
        if self.crash_after:
            self.crash_after -= 1
            if not self.crash_after:
                self.power_cut = True
                raise Killed(what)

    def lose_power(self) -> None:
        """Forget what was not durable, save a random part of it."""
        self.crash_after, self.power_cut = 0, False
        self._names = dict(self._durable_names)
        for _, file in sorted(self._names.items()):
            kept = self._random.randint(file.durable, len(file.data))
            torn = bytearray(file.data[:kept])
            if kept > file.durable and self._random.random() < 0.3:
                torn[-1] ^= 0x5A
            file.data = torn
            file.durable = len(torn)

    def survive_kill(self) -> None:
        """The process died, the machine did not: everything written is still there."""
        self.crash_after, self.power_cut = 0, False

    def damage(self, path: str, bits: int) -> None:
        """Flip some bits of a file."""
        data = self._names[path].data
        for _ in range(bits if data else 0):
            at = self._random.randrange(len(data))
            data[at] ^= 1 << self._random.randrange(8)

    def paths(self) -> list[str]:
        """All files, in order."""
        return sorted(self._names)

    # FileSystem

    def create(self, path: str) -> AppendFile:
        """See `FileSystem`."""
        self._names[path] = file = _File()
        return _SimAppendFile(self, file)

    def read(self, path: str) -> bytes:
        """See `FileSystem`."""
        if path not in self._names:
            raise FileNotFoundError(2, "No such file or directory", path)
        return bytes(self._names[path].data)

    def names(self, folder: str) -> list[str]:
        """See `FileSystem`."""
        start = folder + "/"
        return sorted({path[len(start) :].split("/")[0] for path in self._names if path.startswith(start)})

    def make_folder(self, path: str) -> None:
        """See `FileSystem`; folders are there as soon as something is in them."""

    def rename(self, old: str, new: str) -> None:
        """See `FileSystem`."""
        self.reached("rename")
        self._names[new] = self._names.pop(old)

    def remove(self, path: str) -> None:
        """See `FileSystem`."""
        self._names.pop(path, None)

    def truncate(self, path: str, size_bytes: int) -> None:
        """See `FileSystem`."""
        file = self._names[path]
        del file.data[size_bytes:]
        file.durable = size_bytes

    def sync_folder(self, path: str) -> None:
        """See `FileSystem`."""
        self.reached("fsync of a folder")
        start = path + "/"
        for name in [name for name in self._durable_names if name.startswith(start) and "/" not in name[len(start) :]]:
            if name not in self._names:
                del self._durable_names[name]
        for name, file in self._names.items():
            if name.startswith(start) and "/" not in name[len(start) :]:
                self._durable_names[name] = file


class SimWriter:
    """A disk thread: one piece of work after another, each taking a while."""

    def __init__(self, world: World, process: Process) -> None:
        self._world = world
        self._process = process
        self._free_s = 0.0

    def submit(self, work: Callable[[], object], done: Done) -> None:
        """See `dynatwist.storage.files.Writer`."""
        self._free_s = max(self._free_s, self._world.now_s) + self._world.random.uniform(0.0002, 0.004)

        def run() -> None:
            failure: BaseException | None = None
            try:
                work()
            except Exception as error:
                failure = error
            done(failure)

        self._world.later(self._free_s - self._world.now_s, run, self._process)

    def stop(self) -> None:
        """See `dynatwist.storage.files.Writer`."""
