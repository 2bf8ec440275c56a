"""A disk that fails its node: it is full or slow, a sync fails, or the machine goes down in the middle of one.

What a process sees of it is a `dynatwist.sim.mount.Mount`, which ends with the process.
"""

from __future__ import annotations

import errno
from collections import deque
from collections.abc import Callable
from random import Random

from dynatwist.storage.files import Done

from .volume import File, Volume
from .world import Event, Killed, Process, World

UNLIMITED_BYTES = 1 << 40
RELIEF_S = 5.0
"""A node that is paused, or busy, needs a while to find out that there is room again."""


class SimDisk(Volume):
    """A volume, what ails the disk that it is on, and the threads that work on it.

    :ivar crash_after: syncs and renames until the process dies in the middle of one, usually for want of power; 0 for
        never.
    :ivar power_cut: whether the process that dies now takes the machine with it.
    :ivar capacity_bytes: its size; what is beyond fails with ``ENOSPC``, some of the bytes written.
    :ivar cramped_until_s: until when its node may say that it has no room.
    :ivar has_descriptors: whether the process may open more files; else ``EMFILE``.
    :ivar opens_left: how many it may open all the same.
    :ivar fails_sync: the next sync fails with ``EIO``, and what it was to make durable is not; bytes are forgotten.
    :ivar writers: the disk threads of the process.
    """

    def __init__(self, random: Random) -> None:
        super().__init__(random)
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

    # Processes and machines

    def begin(self) -> None:
        """A new process has all its descriptors."""
        self.has_descriptors = True

    def survive_kill(self) -> None:
        """The process died, the machine did not: everything written is still there."""
        self.crash_after, self.power_cut = 0, False

    def lose_power(self) -> None:
        """Forget what was not durable, save a random, perhaps garbled part of it."""
        self.survive_kill()
        super().lose_power()

    def twin(self, power_lost: bool, random: Random | None = None) -> SimDisk:
        """A copy to look at.

        :param power_lost: whether as it would be after a power cut at this moment, everything unsynced gone.
        :param random: what chance decides there.
        """
        twin = SimDisk(random or Random(0))
        twin.restore(self.image() if power_lost else {path: bytes(file.data) for path, file in self._names.items()})
        twin.foreign = dict(self.foreign)
        for path, file in twin._names.items():
            file.is_readable = (self._durable_names if power_lost else self._names)[path].is_readable
        return twin

    # What ails it

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

    def mend(self, now_s: float) -> None:
        """Nothing ails it any more."""
        self.crash_after = 0
        self.fails_sync = False
        self.relieve(now_s)
        self.stall_s = 0.0

    # What a mount does

    def reached(self, process: Process, what: str) -> None:
        """A point at which a crash may be due."""
        if self.crash_after:
            self.crash_after -= 1
            if not self.crash_after:
                self.power_cut = self.random.random() < 0.7
                process.kill()
                raise Killed(what)

    def opens(self) -> None:
        """A file or folder is to be opened."""
        if self.has_descriptors:
            return
        self.opens_left -= 1
        if self.opens_left < 0:
            raise OSError(errno.EMFILE, "Too many open files")

    def append(self, file: File, data: bytes) -> None:
        """Write at the end of a file."""
        free_bytes = self.capacity_bytes - self.used_bytes
        if len(data) > free_bytes:
            file.data += data[: max(0, self.random.randint(0, max(0, free_bytes)))]
            raise OSError(errno.ENOSPC, "No space left on device")
        file.data += data

    def sync(self, file: File) -> None:
        """Make a file durable."""
        if self.fails_sync:
            self.fails_sync = False
            del file.data[self.random.randint(file.durable, len(file.data)) :]
            raise OSError(errno.EIO, "Input/output error")
        file.durable = len(file.data)

    def sync_folder(self, path: str) -> None:
        """Make the names in a folder durable."""
        if self.fails_sync:
            self.fails_sync = False
            raise OSError(errno.EIO, "Input/output error")
        super().sync_folder(path)


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
