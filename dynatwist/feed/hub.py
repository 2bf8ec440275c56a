"""The subscription hub: an event goes in once, and to every subscription that wants it and whose user may see it.

Queues are bounded. What does not fit is never silently skipped: the queue is emptied and the subscriber told `LAGGED`.
A subscriber that comes back with a cursor inside the window repeats rather than skips; outside, it is told `RESET`.
Per key only what is newer than what was announced before goes on, whichever way it came.

An event for many is handed out piece by piece, so that requests come between; events stay in their order. When too many
wait to be handed out, those that listen to a key whose last event still waits are told `LAGGED` instead.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from enum import Enum

from dynatwist.model.record import Key, Record, beats
from dynatwist.model.records import Packed, pack, unpack

QUEUE_EVENTS = 256
QUEUE_BYTES = 1 << 20
WINDOW_EVENTS = 8192
ANNOUNCED_KEYS = 16_384
HANDED_AT_ONCE = 32
"""Listeners between two looks at the clock."""
MAX_FANS = 64
"""Events that may wait to be handed out, one more per key aside."""


class Event:
    """One record that won.

    :ivar encoded: room for the encodings, each made once however many listen.
    """

    __slots__ = ("_epoch", "_packed", "_record", "_seq", "encoded", "key")

    def __init__(self, key: Key, packed: Packed, epoch: str, seq: int) -> None:
        self.key = key
        self._packed = packed
        self._record: Record | None = None
        self._epoch = epoch
        self._seq = seq
        self.encoded: dict[str, bytes] | None = None

    @property
    def record(self) -> Record:
        """What won."""
        if self._record is None:
            self._record = unpack(self._packed)
        return self._record

    @property
    def cursor(self) -> str:
        """The position right behind it, for resuming."""
        return f"{self._epoch}-{self._seq}"

    @property
    def size_bytes(self) -> int:
        """What it costs a queue, about."""
        return len(self._packed) + 300


class Notice(Enum):
    """What a subscriber is told besides events."""

    LAGGED = "lagged"
    """It was too slow; events were dropped. Read afresh."""
    RESET = "reset"
    """What it missed is not known any more. Read afresh."""


class Subscription:
    """One listener's filter and queue.

    :param table: whose changes; ``None`` for all tables.
    :param key: this key only.
    :param prefix: keys that begin so; empty for all.
    :param may_see: asked for each event.
    :param wake: called when the queue ceases to be empty.
    """

    __slots__ = ("_bytes", "_may_see", "_queue", "_wake", "closed", "key", "prefix", "table")

    def __init__(
        self,
        table: str | None,
        key: str | None,
        prefix: str,
        may_see: Callable[[Record], bool],
        wake: Callable[[], None],
    ) -> None:
        self.table = table
        self.key = key
        self.prefix = prefix
        self._may_see = may_see
        self._wake = wake
        self._queue: deque[Event | Notice] = deque()
        self._bytes = 0
        self.closed = False

    def matches(self, key: Key) -> bool:
        """Whether a change of this key is wanted."""
        if self.table is not None and key[0] != self.table:
            return False
        return key[1] == self.key if self.key is not None else key[1].startswith(self.prefix)

    def offer(self, event: Event) -> None:
        """Queue an event that matches, if its user may see it."""
        if not self._may_see(event.record):
            return
        if len(self._queue) >= QUEUE_EVENTS or self._bytes + event.size_bytes > QUEUE_BYTES:
            self.lag()
            return
        self._queue.append(event)
        self._bytes += event.size_bytes
        if len(self._queue) == 1:
            self._wake()

    def lag(self) -> None:
        """Events for this one were dropped before they were offered."""
        if len(self._queue) == 1 and self._queue[0] is Notice.LAGGED:
            return
        was_empty = not self._queue
        self._queue.clear()
        self._bytes = QUEUE_BYTES  # stays full until it is read
        self._queue.append(Notice.LAGGED)
        if was_empty:
            self._wake()

    def tell(self, notice: Notice) -> None:
        """Queue a notice."""
        self._queue.append(notice)
        if len(self._queue) == 1:
            self._wake()

    def take(self) -> Event | Notice | None:
        """The next thing to send, or ``None``."""
        if not self._queue:
            return None
        item = self._queue.popleft()
        if isinstance(item, Event):
            self._bytes -= item.size_bytes
        elif item is Notice.LAGGED:
            self._bytes = 0
        return item

    def __len__(self) -> int:
        return len(self._queue)


class _Fan:
    """An event on its way to its listeners; no event any more where they are told that they lag."""

    __slots__ = ("at", "event", "key", "listeners")

    def __init__(self, key: Key, event: Event, listeners: list[Subscription]) -> None:
        self.key = key
        self.event: Event | None = event
        self.listeners = listeners
        self.at = 0

    def hand_out(self, count: int) -> bool:
        """To some more of them.

        :returns: whether all have it now.
        """
        for listener in self.listeners[self.at : self.at + count]:
            if listener.closed:
                continue
            if self.event is not None:
                listener.offer(self.event)
            else:
                listener.lag()
        self.at += count
        return self.at >= len(self.listeners)


class Hub:
    """See the module.

    :param epoch: names this process's numbering in cursors.
    :param has_time: whether this turn may go on handing out.
    :param postpone: calls a function in a later turn.
    :ivar interest_changed: called when the set of `interests` changes.
    """

    def __init__(
        self,
        epoch: str,
        has_time: Callable[[], bool] = lambda: True,
        postpone: Callable[[Callable[[], None]], None] = lambda call: call(),
    ) -> None:
        self._epoch = epoch
        self._has_time = has_time
        self._postpone = postpone
        self._fans: deque[_Fan] = deque()
        self._waiting: dict[Key, _Fan] = {}
        self.interest_changed: Callable[[], None] = lambda: None
        self._seq = 0
        self._window: deque[Event] = deque(maxlen=WINDOW_EVENTS)
        self._by_key: dict[Key, dict[Subscription, None]] = {}
        self._by_table: dict[str | None, dict[Subscription, None]] = {}
        self._announced: dict[Key, Packed] = {}
        self._tables: dict[str, int] = {}

    @property
    def cursor(self) -> str:
        """The position behind the newest event."""
        return f"{self._epoch}-{self._seq}"

    def publish(
        self, key: Key, record: Record, packed: Packed | None = None, replaced: Packed | None = None
    ) -> Event | None:
        """A record won, here and durably or at an owner; answers its event, if that is news.

        :param packed: the same record, when it is packed already; it is kept in this form, which the store has too.
        :param replaced: what it has beaten at the store; usually that is what was announced last.
        """
        announced = self._announced
        known = announced.pop(key, None)
        if known is not None and known is not replaced and not beats(record, unpack(known)):
            announced[key] = known
            return None
        if packed is None:
            packed = pack(record)
        announced[key] = packed
        if len(announced) > ANNOUNCED_KEYS:
            del announced[next(iter(announced))]
        self._seq += 1
        event = Event(key, packed, self._epoch, self._seq)
        self._window.append(event)
        if self._by_key or self._by_table:
            listeners = self._listeners(key)
            if listeners:
                self._hand_out(_Fan(key, event, listeners))
        return event

    def _listeners(self, key: Key) -> list[Subscription]:
        found = list(self._by_key.get(key, ()))
        for table in (key[0], None):
            found.extend(one for one in self._by_table.get(table, ()) if one.matches(key))
        return found

    def _hand_out(self, fan: _Fan) -> None:
        if len(self._fans) >= MAX_FANS and fan.key in self._waiting:
            self._waiting[fan.key].event = None
            return
        self._fans.append(fan)
        self._waiting[fan.key] = fan
        if len(self._fans) == 1:
            self._go_on()

    def _go_on(self) -> None:
        """Hand out what waits, as long as there is time."""
        while self._fans:
            fan = self._fans[0]
            if self._waiting.get(fan.key) is fan:
                del self._waiting[fan.key]  # it has begun: what follows has to wait for itself
            if fan.hand_out(HANDED_AT_ONCE):
                self._fans.popleft()
            if self._fans and not self._has_time():
                self._postpone(self._go_on)
                return

    def reset(self) -> None:
        """Something may have been missed, or what was announced may be gone: tell everybody to read afresh."""
        self._announced.clear()
        self._window.clear()
        self._seq += 1  # a cursor from before is behind the window now: who left without reading this is told on return
        for fan in self._fans:
            fan.listeners = []
        for group in (*self._by_key.values(), *self._by_table.values()):
            for subscription in group:
                subscription.tell(Notice.RESET)

    def since(self, cursor: str) -> list[Event] | None:
        """The events behind a cursor; ``None`` when they are not known any more."""
        epoch, _, number = cursor.rpartition("-")
        first = self._seq - len(self._window)
        if epoch != self._epoch or not number.isdecimal() or not first <= int(number) <= self._seq:
            return None
        return list(self._window)[int(number) - first :]

    def subscribe(self, subscription: Subscription, cursor: str | None) -> None:
        """Begin to listen.

        :param cursor: from where; ``None`` for now.
        """
        if cursor is not None:
            self._replay(subscription, cursor)
        self._group_of(subscription)[subscription] = None
        self._count(subscription, 1)

    def unsubscribe(self, subscription: Subscription) -> None:
        """Stop listening; harmless when repeated."""
        if subscription.closed:
            return
        subscription.closed = True
        self._group_of(subscription).pop(subscription, None)
        if subscription.key is not None and subscription.table is not None:
            if not self._by_key.get((subscription.table, subscription.key), True):
                del self._by_key[subscription.table, subscription.key]
        elif not self._by_table.get(subscription.table, True):
            del self._by_table[subscription.table]
        self._count(subscription, -1)

    def _group_of(self, subscription: Subscription) -> dict[Subscription, None]:
        if subscription.key is not None and subscription.table is not None:
            return self._by_key.setdefault((subscription.table, subscription.key), {})
        return self._by_table.setdefault(subscription.table, {})

    def _count(self, subscription: Subscription, change: int) -> None:
        name = subscription.table or ""
        count = self._tables.get(name, 0) + change
        if count:
            self._tables[name] = count
        else:
            del self._tables[name]
        if count == max(change, 0):
            self.interest_changed()

    def interests(self) -> list[str]:
        """The tables that somebody listens to; an empty string stands for all."""
        return sorted(self._tables)

    def _replay(self, subscription: Subscription, cursor: str) -> None:
        events = self.since(cursor)
        if events is None:
            subscription.tell(Notice.RESET)
            return
        for event in events:
            if subscription.matches(event.key):
                subscription.offer(event)

    def __len__(self) -> int:
        return sum(len(group) for group in (*self._by_key.values(), *self._by_table.values()))
