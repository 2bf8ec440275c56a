"""What is told before what changes: all that there is, or what was missed.

Whoever wants to know a table, or one key, and keep it current, is told what there is. Whoever comes back is told what
is held and has not been heard, deletes and ends among it, where the events themselves are not known any more.

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
from dynatwist.feed.bookmarks import parsed
from dynatwist.feed.event import Event, Notice
from dynatwist.feed.heard import Heard
from dynatwist.feed.subscription import Subscription
from dynatwist.model.dots import Dot
from dynatwist.model.lineage import Lineage
from dynatwist.model.record import Key, Record
from dynatwist.model.records import pack
from dynatwist.replication.request import Code, Kind, Operation
from dynatwist.requests.listing import ListingUnavailable
from dynatwist.requests.missing import Stretch
from dynatwist.runtime import Timer, cancel
from dynatwist.sometimes import sometimes

from .context import Context

AGAIN_S = 0.5
"""Until a page is asked for again that could not be read: owners come back, or are struck out."""
REMEMBERED_S = 10.0
"""So long after all was told it is remembered what was: news of before is relayed within seconds, or its listeners are
told to read afresh."""

_Shown = tuple[Dot, tuple[int, int], Lineage, bool]
"""(the record that was told, its stamp, its lineage, whether it was told to be over)."""


class Initial:
    """See the module.

    :param cursor: of whoever comes back; ``None`` for all that there is.
    :ivar is_over: whether all was taken.
    """

    log = Logger()

    def __init__(self, context: Context, subscription: Subscription, cursor: str | None) -> None:
        assert subscription.table is not None
        self._context = context
        self._subscription = subscription
        self._table: str = subscription.table
        self._heard = subscription.missed
        self._cursor = cursor or ""
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

    @property
    def goes_on(self) -> bool:
        """Whether not all was taken yet."""
        return not self.is_over

    def take(self) -> Event | Notice | None:
        """The next record; ``None`` where there is none yet, or no more. `Notice.SYNCED` behind all that there is."""
        while self._ready:
            event = self._ready.popleft()
            if event.is_shown(self._subscription.sight):  # rights may have changed since it was read
                return event
        if self._after is None:
            self.is_over = True
            is_missed, self._heard = self._heard is not None, None
            self._subscription.has_what_was_missed()
            self._forgetting = self._context.cluster.runtime.clock.callLater(REMEMBERED_S, self.close)
            return None if is_missed else Notice.SYNCED
        if not self._is_reading:
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
            return shown[3] or not event.is_over
        if record.lineage == shown[2]:
            return record.stamp[:2] < shown[1]
        return shown[2].beats(record.lineage)

    def close(self) -> None:
        """Nothing that was told is remembered any more; harmless when repeated."""
        cancel(self._forgetting)
        self._context.remembered.give_back(len(self._shown))
        self._shown.clear()

    async def _read(self) -> None:
        assert self._after is not None
        try:
            records = await (self._there_is() if self._heard is None else self._missed(self._heard))
        except (ListingUnavailable, ApiError):
            self._context.cluster.runtime.clock.callLater(AGAIN_S, self._again)
            return
        if self._subscription.closed:  # nobody would give back what is remembered
            return
        for key, record in records:
            if self._subscription.sight.sees(key, record):
                self._tell(key, record)
            elif self._heard is not None and len(record.lineage.stamps) > 1:
                self._hides()
        self._again()

    def _hides(self) -> None:
        """What was missed of a key may not be seen, and the key was created anew: what could be seen may be gone.

        To say so of that key would tell of what is hidden.
        """
        sometimes("what was missed of a key is another user's now")
        self._subscription.reset(self._context.hub.position)

    async def _there_is(self) -> list[tuple[Key, Record]]:
        """The next page of all that there is."""
        if self._subscription.key is not None:
            records = await self._one(self._subscription.key)
            self._after = None
        else:
            page = await self._context.pages.page(self._table, self._subscription.prefix, self._after or "")
            records, self._after = page.records, page.next_after
        return [((self._table, name), record) for name, record in records]

    async def _missed(self, heard: Heard) -> list[tuple[Key, Record]]:
        """The next page of what was missed; where that is not known, the listener is told to read afresh."""
        one = self._subscription
        wanted = Stretch(self._table, one.prefix, one.key, self._after or "")
        news = await self._context.missing.page(wanted, heard)
        if not news.is_all:
            sometimes("tombstones may be gone that a listener was not told of")
            self._after = None
            one.reset(self._context.hub.position)
            return []
        self._after = news.next_after
        return news.records

    async def _one(self, key: str) -> list[tuple[str, Record]]:
        result = await self._context.coordinator.execute(Operation(Kind.GET, (self._table, key)))
        if result.code is Code.OK and result.record is not None:
            return [(key, result.record)]
        if result.code is Code.ABSENT:
            return []
        raise ListingUnavailable

    def _tell(self, key: Key, record: Record) -> None:
        is_over = record.value is not None and record.is_dead(self._context.cluster.store.lapse_ms)
        if self._context.remembered.has_room(1):
            self._context.remembered.take(1)
            self._shown[key[1]] = record.dot, record.stamp[:2], record.lineage, is_over
        if self._heard is None:
            self._ready.append(Event(key, pack(record), "", 0, is_over=is_over, is_initial=True))
        elif not self._context.hub.has_told(self._cursor, key, record, is_over=is_over):
            self._subscription.tells(key)
            epoch, number = parsed(self._cursor)
            self._ready.append(Event(key, pack(record), epoch, number or 0, is_over=is_over))

    def _again(self) -> None:
        self._is_reading = False
        if not self._subscription.closed:
            self._subscription.wake()

    def _failed(self, failure: Failure) -> None:
        self.log.failure("what there is could not be read", failure=failure)
        self._context.cluster.runtime.clock.callLater(AGAIN_S, self._again)
