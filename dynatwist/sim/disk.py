"""A disk that forgets, and lies: after a power cut bytes and names that were not synced may be gone, torn or garbage.

What a process sees of it is a `Mount`, which ends with the process. Damage to what was durable (a flipped bit, a
misdirected write, a lost file) is done while the process is down, as a disk does it: unseen.
"""

from __future__ import annotations

import errno
from collections import deque
from collections.abc import Callable
from random import Random

from dynatwist.storage.files import AppendFile, Done
from dynatwist.storage.seal import FILE_HEADER_BYTES, FRAME_HEADER
from dynatwist.storage.segment import segments_in

from .world import Event, Killed, Process, World

UNLIMITED_BYTES = 1 << 40
RELIEF_S = 5.0
"""A node that is paused, or busy, needs a while to find out that there is room again."""


class _File:
    """The bytes of a file: all, and how many of them are durable; and whether the disk gives them back."""

    __slots__ = ("data", "durable", "is_readable")

    def __init__(self) -> None:
        self.data = bytearray()
        self.durable = 0
        self.is_readable = True


class SimDisk:
    """What outlives a process.

    :ivar random: what chance decides here.
    :ivar crash_after: syncs and renames until the process dies in the middle of one, usually for want of power; 0 for
        never.
    :ivar power_cut: whether the process that dies now takes the machine with it.
    :ivar capacity_bytes: its size; what is beyond fails with ``ENOSPC``, some of the bytes written.
    :ivar cramped_until_s: until when its node may say that it has no room.
    :ivar has_descriptors: whether the process may open more files; else ``EMFILE``.
    :ivar opens_left: how many it may open all the same.
    :ivar fails_sync: the next sync fails with ``EIO``, and what it was to make durable is not; bytes are forgotten.
    :ivar foreign: what somebody else has put into the data folder.
    :ivar writers: the disk threads of the process.
    """

    def __init__(self, random: Random) -> None:
        self.random = random
        self._names: dict[str, _File] = {}
        self._durable_names: dict[str, _File] = {}
        self._folders: set[str] = set()
        self.foreign: dict[str, bytes] = {}
        self.crash_after = 0
        self.power_cut = False
        self.capacity_bytes = UNLIMITED_BYTES
        self.has_descriptors = True
        self.opens_left = 0
        self.cramped_until_s = 0.0
        self.fails_sync = False
        self._stall_s = 0.0
        self.writers: list[SimWriter] = []

    @property
    def stall_s(self) -> float:
        """How much longer each piece of a disk thread's work takes."""
        return self._stall_s

    @stall_s.setter
    def stall_s(self, stall_s: float) -> None:
        self._stall_s = stall_s
        for writer in self.writers:
            writer.hurry()

    @property
    def busy_until_s(self) -> float:
        """When all that was given to it so far will be done."""
        return max((writer.busy_until_s for writer in self.writers), default=0.0)

    def mount(self, process: Process) -> Mount:
        """The file system of one process."""
        self.has_descriptors = True
        return Mount(self, process)

    # What happens to machines

    def lose_power(self) -> None:
        """Forget what was not durable, save a random, perhaps garbled part of it."""
        self.crash_after, self.power_cut = 0, False
        folders = sorted({path.rpartition("/")[0] for path in (*self._names, *self._durable_names)})
        kept_names = {folder for folder in folders if self.random.random() < 0.3}
        names = {path: file for path, file in self._names.items() if path.rpartition("/")[0] in kept_names}
        for path, file in self._durable_names.items():
            if path.rpartition("/")[0] not in kept_names:
                names[path] = file
        self._names = names
        for _, file in sorted(names.items()):
            self._tear(file)
        self._durable_names = dict(names)

    def _tear(self, file: _File) -> None:
        kept = self.random.randint(file.durable, len(file.data))
        torn = file.data[:kept]
        if kept > file.durable and self.random.random() < 0.3:
            start = self.random.randrange(file.durable, kept)
            end = min(kept, start + self.random.randint(1, 512))
            torn[start:end] = bytes(end - start) if self.random.random() < 0.5 else self.random.randbytes(end - start)
        file.data = torn
        file.durable = len(torn)

    def survive_kill(self) -> None:
        """The process died, the machine did not: everything written is still there."""
        self.crash_after, self.power_cut = 0, False

    def wipe(self) -> None:
        """A new, empty disk."""
        self._names, self._durable_names = {}, {}
        self._folders, self.foreign = set(), {}

    def image(self) -> dict[str, bytes]:
        """A backup: what would be left after a power cut now, without the tearing."""
        return {path: bytes(file.data[: file.durable]) for path, file in self._durable_names.items()}

    def restore(self, image: dict[str, bytes]) -> None:
        """Put a backup in the place of everything."""
        self.wipe()
        for path, data in image.items():
            self._names[path] = self._durable_names[path] = file = _File()
            file.data, file.durable = bytearray(data), len(data)

    def twin(self, power_lost: bool) -> SimDisk:
        """A copy to look at; on request as it would be after a power cut at this moment, everything unsynced gone."""
        twin = SimDisk(Random(0))
        twin.restore(self.image() if power_lost else {path: bytes(file.data) for path, file in self._names.items()})
        twin.foreign = dict(self.foreign)
        for path, file in twin._names.items():
            file.is_readable = (self._durable_names if power_lost else self._names)[path].is_readable
        return twin

    def cramp(self, room_bytes: int | None) -> None:
        """Leave some room, or take all descriptors when that is ``None``."""
        self.cramped_until_s = float("inf")
        if room_bytes is None:
            self.has_descriptors = False
        else:
            self.capacity_bytes = self.used_bytes + room_bytes

    def relieve(self, now_s: float) -> None:
        """There is room again, and descriptors; nodes look once a second."""
        if self.cramped_until_s > now_s:
            self.cramped_until_s = now_s + RELIEF_S
        self.capacity_bytes, self.has_descriptors = UNLIMITED_BYTES, True

    # Damage, to be done while no process runs

    def damage(self, path: str, bits: int) -> None:
        """Flip some bits of a file."""
        data = self._names[path].data
        for _ in range(bits if data else 0):
            at = self.random.randrange(self._damageable(path))
            data[at] ^= 1 << self.random.randrange(8)

    def misdirect(self, source: str, path: str) -> None:
        """A write that was meant for one file went to the middle of another one."""
        data, block = self._names[path].data, self._names[source].data
        start = self.random.randrange(len(block))
        piece = block[start : start + self.random.randint(1, 512)]
        at = self.random.randrange(self._damageable(path))
        piece = piece[: self._damageable(path) - at]
        data[at : at + len(piece)] = piece

    def replace(self, source: str, path: str) -> None:
        """Somebody copied one file over another, as a whole: what verifies of the first verifies in the other place."""
        file, data = self._names[path], self._names[source].data
        file.data, file.durable = bytearray(data), len(data)

    def cut(self, path: str, size_bytes: int) -> None:
        """The end of a file is gone."""
        file = self._names[path]
        del file.data[size_bytes:]
        file.durable = min(file.durable, size_bytes)

    def lose(self, path: str) -> None:
        """A file is gone."""
        del self._names[path]
        self._durable_names.pop(path, None)

    def lose_sector(self, path: str) -> None:
        """Whoever reads a file gets ``EIO``, until it is replaced."""
        self._names[path].is_readable = False

    def lose_log(self) -> None:
        """Every segment of the log is gone."""
        for path in self._segments():
            self.lose(path)

    def put(self, path: str, data: bytes, is_foreign: bool) -> None:
        """A file that no process wrote lies in the data folder.

        :param is_foreign: whether it is somebody else's, and has to stay; else it is what a crash left half written.
        """
        if path not in self._names:
            self._names[path] = self._durable_names[path] = file = _File()
            file.data, file.durable = bytearray(data), len(data)
            if is_foreign:
                self.foreign[path] = data

    def missing_foreign(self) -> list[str]:
        """The foreign files that are not as they were put there."""
        return [path for path, data in self.foreign.items() if bytes(self.file_data(path)) != data]

    def file_data(self, path: str) -> bytearray:
        """The bytes of a file; none of one that is not there."""
        return self._names[path].data if path in self._names else bytearray()

    def _damageable(self, path: str) -> int:
        """How much of a file may be damaged.

        Damage to the last frame of the newest log segment cannot be told from a write that was cut short, by anybody;
        so that frame is left alone here, and P6 can be judged.
        """
        return _last_frame(self._names[path].data) if self.is_newest_log(path) else len(self._names[path].data)

    def is_newest_log(self, path: str) -> bool:
        """Whether this is the segment that was written to last, or a later one that was not even begun.

        A start removes a segment without a first frame, and takes the one before for the last.
        """
        segments = self._segments()
        begun = [one for one in segments if len(frame_ends(self._names[one].data)) > 1]
        return path in segments and path >= max(begun, default="")

    def _segments(self) -> list[str]:
        """The files that a start takes for segments of the log, by their names."""
        return [path for path in self._names if segments_in([path.rpartition("/")[2]])]

    def paths(self) -> list[str]:
        """All files that hold something and are no strangers', in order."""
        return sorted(path for path, file in self._names.items() if file.data and path not in self.foreign)

    def empty_folders(self) -> list[str]:
        """The folders that nothing is in."""
        return sorted(one for one in self._folders if not any(name.startswith(f"{one}/") for name in self._names))

    # What a mount does

    def reached(self, process: Process, what: str) -> None:
        """A point at which a crash may be due."""
        if self.crash_after:
            self.crash_after -= 1
            if not self.crash_after:
                self.power_cut = self.random.random() < 0.7
                process.kill()
                raise Killed(what)

    def append(self, file: _File, data: bytes) -> None:
        """Write at the end of a file."""
        free_bytes = self.capacity_bytes - self.used_bytes
        if len(data) > free_bytes:
            file.data += data[: max(0, self.random.randint(0, max(0, free_bytes)))]
            raise OSError(errno.ENOSPC, "No space left on device")
        file.data += data

    def sync(self, file: _File) -> None:
        """Make a file durable."""
        if self.fails_sync:
            self.fails_sync = False
            del file.data[self.random.randint(file.durable, len(file.data)) :]
            raise OSError(errno.EIO, "Input/output error")
        file.durable = len(file.data)

    @property
    def used_bytes(self) -> int:
        """How much of it is taken."""
        return sum(len(file.data) for file in self._names.values())

    @property
    def log_bytes(self) -> int:
        """How much of it the log takes."""
        return sum(len(self._names[path].data) for path in self.paths() if path.endswith(".wal"))

    def opens(self) -> None:
        """A file or folder is to be opened."""
        if self.has_descriptors:
            return
        self.opens_left -= 1
        if self.opens_left < 0:
            raise OSError(errno.EMFILE, "Too many open files")

    def create(self, path: str) -> _File:
        """A new, empty file in the place of what is there."""
        self._names[path] = file = _File()
        return file

    def file(self, path: str) -> _File:
        """A file that exists."""
        if path not in self._names:
            raise FileNotFoundError(errno.ENOENT, "No such file or directory", path)
        return self._names[path]

    def names(self, folder: str) -> list[str]:
        """The names in a folder."""
        start = folder + "/"
        paths = (path for paths in (self._names, self._folders) for path in paths)
        return sorted({path[len(start) :].split("/")[0] for path in paths if path.startswith(start)})

    def make_folder(self, path: str) -> None:
        """Durable at once."""
        self._folders.add(path)

    def remove_folder(self, path: str) -> None:
        """If nothing is in it."""
        if not self.names(path):
            self._folders.discard(path)

    def rename(self, old: str, new: str) -> None:
        """Durable with the folder."""
        self._names[new] = self._names.pop(old)

    def remove(self, path: str) -> None:
        """Durable with the folder."""
        self._names.pop(path, None)

    def sync_folder(self, path: str) -> None:
        """Make the names in a folder durable."""
        if self.fails_sync:
            self.fails_sync = False
            raise OSError(errno.EIO, "Input/output error")
        start = path + "/"

        def is_in(name: str) -> bool:
            return name.startswith(start) and "/" not in name[len(start) :]

        self._durable_names = {
            **{name: file for name, file in self._durable_names.items() if not is_in(name)},
            **{name: file for name, file in self._names.items() if is_in(name)},
        }


class Mount:
    """A `FileSystem` for one process: nothing reaches the disk once that is dead."""

    def __init__(self, disk: SimDisk, process: Process) -> None:
        self._disk = disk
        self._process = process

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

    def read(self, path: str) -> bytes:
        """See `FileSystem`."""
        file = self.disk.file(path)
        if not file.is_readable:
            raise OSError(errno.EIO, "Input/output error", path)
        return bytes(file.data)

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
    def __init__(self, mount: Mount, file: _File) -> None:
        self._mount = mount
        self._file = file

    def write(self, data: bytes) -> None:
        self._mount.disk.append(self._file, data)

    def sync(self) -> None:
        self._mount.reached("fsync").sync(self._file)

    def cut(self, size_bytes: int) -> None:
        del self._file.data[size_bytes:]
        self._file.durable = min(self._file.durable, size_bytes)

    def close(self) -> None:
        pass


class SimWriter:
    """A disk thread: one piece of work after another, each taking a while."""

    def __init__(self, world: World, process: Process, disk: SimDisk) -> None:
        self._world = world
        self._process = process
        self._disk = disk
        self._waiting: deque[tuple[float, Callable[[], object], Done]] = deque()
        self._under_way: Event | None = None
        disk.writers.append(self)

    def submit(self, work: Callable[[], object], done: Done) -> None:
        """See `dynatwist.storage.files.Writer`."""
        self._waiting.append((self._world.random.uniform(0.0002, 0.004), work, done))
        if self._under_way is None:
            self._begin()

    def _begin(self) -> None:
        took_s, work, done = self._waiting[0]

        def run() -> None:
            failure: BaseException | None = None
            try:
                work()
            except Exception as error:
                failure = error
            self._waiting.popleft()
            self._under_way = None
            if self._waiting:
                self._begin()
            done(failure)

        self._under_way = self._world.later(took_s + self._disk.stall_s, run, self._process)

    def hurry(self) -> None:
        """The disk is quicker than it was: what is under way does not take as long as it would have."""
        event, soon_s = self._under_way, self._waiting[0][0] + self._disk.stall_s if self._waiting else 0.0
        if event is not None and event.time_s > self._world.now_s + soon_s:
            event.reset(soon_s)

    @property
    def busy_until_s(self) -> float:
        """When all that was given to it so far will be done, if the disk stays as slow as it is."""
        if self._under_way is None:
            return 0.0
        return self._under_way.time_s + sum(took_s + self._disk.stall_s for took_s, _, _ in list(self._waiting)[1:])

    def stop(self) -> None:
        """See `dynatwist.storage.files.Writer`."""


def _last_frame(data: bytearray) -> int:
    """Where the last complete frame of a sealed file begins; the length of its header when it has none."""
    ends = [0, *frame_ends(data)]
    return ends[-2] or ends[-1]


def frame_ends(data: bytearray) -> list[int]:
    """Where the header of a sealed file ends, and each of its complete frames."""
    ends = [min(FILE_HEADER_BYTES, len(data))]
    while ends[-1] + FRAME_HEADER.size <= len(data):
        end = ends[-1] + FRAME_HEADER.size + FRAME_HEADER.unpack_from(data, ends[-1])[2]
        if end > len(data):
            break
        ends.append(end)
    return ends
