"""What a node does by itself, by the clock: cold saves, room on the disk, forgetting what nobody can ask for again."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from dynatwist.calls import call_safely
from dynatwist.runtime import Clock
from dynatwist.sometimes import sometimes
from dynatwist.storage.durability import Durability
from dynatwist.storage.files import Writer
from dynatwist.storage.room import DiskRoom
from dynatwist.storage.snapshot import ColdSaver
from dynatwist.storage.wal import Wal

SECOND_S = 1.0
"""How often a node looks after itself; with ``--durability interval`` also how much a power cut may take."""


QUARTER_S = 0.25
"""How often a node looks who is logged out, and what has ended: gone, and heard of, within a second, the way of the
news between nodes included."""


class Every:
    """Does something each time that it was called so many times."""

    def __init__(self, count: int, call: Callable[[], object]) -> None:
        self._count = count
        self._call = call
        self._calls = 0

    def __call__(self) -> None:
        """It is called once more."""
        self._calls += 1
        if self._calls % self._count == 0:
            self._call()


class Housekeeping:
    """See the module.

    :param snapshot_interval_s: seconds between cold saves.
    :param cold_writer: the thread that writes what nobody waits for.
    :param each_second: done every second besides.
    :param each_quarter: done every `QUARTER_S`.
    """

    log = Logger()

    def __init__(
        self,
        *,
        clock: Clock,
        saver: ColdSaver,
        wal: Wal,
        room: DiskRoom,
        cold_writer: Writer,
        durability: Durability,
        snapshot_interval_s: float,
        each_second: Sequence[Callable[[], object]],
        each_quarter: Sequence[Callable[[], object]],
    ) -> None:
        self._saver = saver
        self._wal = wal
        self._room = room
        self._cold_writer = cold_writer
        self._durability = durability
        self._snapshot_interval_s = snapshot_interval_s
        self._each_second = each_second
        self._save_failed = False
        self._snapshots = LoopingCall(self._cold_save)
        self._seconds = LoopingCall(call_safely, self._second)
        self._each_quarter = each_quarter
        self._quarters = LoopingCall(self._quarter)
        for loop in self._loops:
            loop.clock = clock  # type: ignore[assignment]
        wal.after_each_group(self._save_if_due)

    @property
    def _loops(self) -> tuple[LoopingCall, ...]:
        return self._snapshots, self._seconds, self._quarters

    def start(self, save_now: bool) -> None:
        """Begin.

        :param save_now: whether the first cold save is due at once.
        """
        self._quarters.start(QUARTER_S)
        self._seconds.start(SECOND_S)
        self._snapshots.start(self._snapshot_interval_s, now=save_now)

    def stop(self) -> None:
        """Begin nothing more."""
        for loop in self._loops:
            if loop.running:
                loop.stop()

    def _quarter(self) -> None:
        for call in self._each_quarter:
            call_safely(call)

    def _second(self) -> None:
        self._look_at_the_disk()
        if self._durability is Durability.INTERVAL:
            self._wal.sync()
        for call in self._each_second:
            call()

    # Cold saves

    def _cold_save(self) -> Deferred[None]:
        def failed(failure: Failure) -> None:
            self._save_failed = True
            self.log.error("the cold save failed: {reason}", reason=failure.getErrorMessage())

        return self._saver.save().addErrback(failed)

    def _save_if_due(self) -> None:
        """A cold save by the size of the log, not by the clock."""
        saver = self._saver
        if saver.log_bytes > saver.log_limit_bytes and not saver.is_saving and not self._save_failed:
            sometimes("a cold save is due by the size of the log")
            self._cold_save()

    def _look_at_the_disk(self) -> None:
        """How much room is left, and whether what did not go before goes now."""
        self._room.look()
        self._save_failed = False
        self._wal.retry()
        if self._room.is_low and self._saver.frees_room and not self._saver.is_saving:
            self._cold_save()
        elif self._room.wants_spare:
            self._room.have_spare_made(self._cold_writer)
        self._save_if_due()
