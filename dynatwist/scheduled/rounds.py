"""When a node makes a backup, and what becomes of it.

A backup is under its name once it is whole, durable, and was read back and verified; older ones are removed only then.
A node that was started again goes by the files that are there.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from dynatwist.backups.chain import Link
from dynatwist.backups.errors import BackupError
from dynatwist.backups.format import BackupWriter
from dynatwist.backups.schedule import due_ms
from dynatwist.requests.changes import DeletesForgotten, UnknownClock
from dynatwist.requests.listing import ListingUnavailable
from dynatwist.runtime import Runtime
from dynatwist.sometimes import sometimes

from .plan import Plan
from .reading import Reading
from .shelf import Shelf

RETRY_S = 300.0
"""Until another try after one that failed, or as long as between two backups where that is shorter."""
_AT = "%Y%m%dT%H%M%SZ"


class ScheduledBackups:
    """See the package.

    :param reading: of what the cluster holds, anew for each backup.
    :param is_ready: whether this node serves.
    :param version: of this program.
    :ivar made: how many were made by this process.
    :ivar failed: how many tries failed.
    :ivar last_s: when the last one was made, in seconds since 1970; 0 for never.
    :ivar is_failing: whether the last try failed.
    """

    log = Logger()

    def __init__(
        self,
        plan: Plan,
        *,
        runtime: Runtime,
        shelf: Shelf,
        reading: Callable[[], Reading],
        is_ready: Callable[[], bool],
        version: str,
    ) -> None:
        self._plan = plan
        self._runtime = runtime
        self._shelf = shelf
        self._reading = reading
        self._is_ready = is_ready
        self._version = version
        self._next_ms: int | None = None
        self._is_busy = False
        self.made = 0
        self.failed = 0
        self.last_s = 0
        self.is_failing = False

    def look(self) -> None:
        """Begin one if it is due; to be called every second."""
        if self._is_busy or not self._is_ready() or self._runtime.wall_ms() < (self._next_ms or 0):
            return
        self._is_busy = True
        begun = Deferred.fromCoroutine(self._begin())
        begun.addErrback(lambda failure: self.log.failure("a scheduled backup ended by a fault", failure))

    def stop(self) -> None:
        """Begin nothing more; what is under way is left, and never gets its name."""
        self._is_busy = True
        self._shelf.stop()

    async def _begin(self) -> None:
        every_ms, now_ms = round(1000 * self._plan.every_s), self._runtime.wall_ms()
        try:
            if self._next_ms is None:  # the first look of this process
                self.last_s = _seconds(await self._shelf.newest())
                self._next_ms = due_ms(1000 * self.last_s or None, now_ms, every_ms)
            if now_ms >= self._next_ms:
                await self._make_some(now_ms)
                self._next_ms = now_ms + every_ms
        except (BackupError, OSError, ListingUnavailable) as error:
            self.failed += 1
            self.is_failing = True
            self._next_ms = self._runtime.wall_ms() + min(every_ms, round(1000 * RETRY_S))
            self.log.error("the scheduled backup failed: {reason}", reason=_reason(error))
        self._is_busy = False

    async def _make_some(self, now_ms: int) -> None:
        """An increment where the plan says so and it can be; else a full one."""
        base = await self._shelf.base()
        try:
            await self._make(now_ms, base)
        except (DeletesForgotten, UnknownClock):
            sometimes("a scheduled backup is full, since an increment may lack deletes")
            await self._make(now_ms, None)

    async def _make(self, now_ms: int, base: Link | None) -> None:
        now = datetime.fromtimestamp(now_ms // 1000, UTC)
        created = now.isoformat(timespec="seconds").replace("+00:00", "Z")
        writer = BackupWriter(
            self._plan.secret,
            self._runtime.randbytes,
            created=created,
            dynatwist=self._version,
            base=base.itself if base is not None else None,
        )
        shelf, reading = self._shelf, self._reading()
        try:
            await shelf.begin(now.strftime(_AT), is_increment=base is not None)
            await shelf.append(lambda: writer.head)
            async for entries in reading.entries(base.totals.mark if base is not None else None):
                await shelf.append(partial(writer.add, entries))
            await shelf.append(lambda: writer.end(strong=reading.strong, mark=reading.mark))
            await shelf.finish()
        except BaseException:
            await shelf.give_up()
            raise
        self.made += 1
        self.last_s = now_ms // 1000
        self.is_failing = False
        await shelf.thin_out()


def _seconds(at: str) -> int:
    """The time in a name, in seconds since 1970; 0 for none."""
    try:
        return int(datetime.strptime(at, _AT).replace(tzinfo=UTC).timestamp())
    except ValueError:
        return 0


def _reason(error: Exception) -> str:
    if isinstance(error, ListingUnavailable):
        return "some keys have no majority of owners that answers"
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename or 'the disk'}: {error.strerror}"
    return str(error)
