"""What there is, told before what changes: for whoever wants to know a table, or one key, and keep it current.

The subscription stands before the first page is read, so nothing between is missed. What had happened before a record
was read, and is heard behind it, is left out; else a listener would go back for a moment. Pages are read one at a time,
as fast as the connection takes them. Of all keys that are told at one node, so many are remembered for that
(`Remembered`); of further ones something older may be heard behind them.
"""

from __future__ import annotations

from collections import deque

from twisted.internet.defer import ensureDeferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from dynatwist.errors import ApiError
from dynatwist.feed.event import Event
from dynatwist.feed.subscription import Subscription
from dynatwist.model.dots import Dot
from dynatwist.model.lineage import Lineage
from dynatwist.model.record import Key, Record
from dynatwist.model.records import pack
from dynatwist.replication.request import Code, Kind, Operation
from dynatwist.requests.listing import ListingUnavailable
from dynatwist.runtime import Timer, cancel

from .context import Context

AGAIN_S = 0.5
"""Until a page is asked for again that could not be read: owners come back, or are struck out."""
REMEMBERED_S = 10.0
"""So long after all was told it is remembered what was: news of before is relayed within seconds, or its listeners are
told to read afresh."""

_Shown = tuple[Dot, tuple[int, int], Lineage]


class Initial:
    """See the module.

    :ivar is_over: whether all was taken.
    """

    log = Logger()

    def __init__(self, context: Context, subscription: Subscription) -> None:
        assert subscription.table is not None
        self._context = context
        self._subscription = subscription
        self._table: str = subscription.table
        self._ready: deque[Event] = deque()
        self._after: str | None = ""
        self._is_reading = False
        self._shown: dict[str, _Shown] = {}
        self._forgetting: Timer | None = None
        self.is_over = False

    @property
    def has_more(self) -> bool:
        """Whether there is something to take."""
        return bool(self._ready) or not self._is_reading

    def take(self) -> Event | None:
        """The next record; ``None`` where there is none yet, or no more."""
        while self._ready:
            event = self._ready.popleft()
            if event.is_shown(self._subscription.sight):  # rights may have changed since it was read
                return event
        if self._after is None:
            self.is_over = True
            self._forgetting = self._context.cluster.runtime.clock.callLater(REMEMBERED_S, self.close)
        elif not self._is_reading:
            self._is_reading = True
            ensureDeferred(self._read()).addErrback(self._failed)
        return None

    def is_older(self, event: Event) -> bool:
        """Whether an event tells what was so before a record was told."""
        shown = self._shown.get(event.key[1])
        if shown is None:
            return False
        record = event.record
        if shown[0] == record.dot:
            return not event.is_over
        return record.lineage == shown[2] and record.stamp[:2] < shown[1]

    def close(self) -> None:
        """Nothing that was told is remembered any more; harmless when repeated."""
        cancel(self._forgetting)
        self._context.remembered.give_back(len(self._shown))
        self._shown.clear()

    async def _read(self) -> None:
        assert self._after is not None
        try:
            if self._subscription.key is not None:
                records = await self._one(self._subscription.key)
                self._after = None
            else:
                page = await self._context.pages.page(self._table, self._subscription.prefix, self._after)
                records, self._after = page.records, page.next_after
        except (ListingUnavailable, ApiError):
            self._context.cluster.runtime.clock.callLater(AGAIN_S, self._again)
            return
        if self._subscription.closed:  # nobody would give back what is remembered
            return
        for name, record in records:
            key = self._table, name
            if self._subscription.sight.sees(key, record):
                self._tell(key, record)
        self._again()

    async def _one(self, key: str) -> list[tuple[str, Record]]:
        result = await self._context.coordinator.execute(Operation(Kind.GET, (self._table, key)))
        if result.code is Code.OK and result.record is not None:
            return [(key, result.record)]
        if result.code is Code.ABSENT:
            return []
        raise ListingUnavailable

    def _tell(self, key: Key, record: Record) -> None:
        if self._context.remembered.has_room(1):
            self._context.remembered.take(1)
            self._shown[key[1]] = record.dot, record.stamp[:2], record.lineage
        self._ready.append(Event(key, pack(record), "", 0, is_initial=True))

    def _again(self) -> None:
        self._is_reading = False
        if not self._subscription.closed:
            self._subscription.wake()

    def _failed(self, failure: Failure) -> None:
        self.log.failure("what there is could not be read", failure=failure)
        self._context.cluster.runtime.clock.callLater(AGAIN_S, self._again)
