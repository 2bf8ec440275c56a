"""One listener: what it wants to hear, and a bounded queue of what it has not read yet."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from dynatwist.model.record import Key
from dynatwist.sometimes import sometimes

from .event import Event, Notice
from .sight import Sight

QUEUE_EVENTS = 256
"""As many as a listener may be behind; one that is further behind reads afresh sooner than it catches up."""
QUEUE_BYTES = 1 << 20
"""The same for large values: what a listener that reads nothing costs the node at most."""


class Subscription:
    """One listener's filter and queue.

    What does not fit the queue is never silently skipped: the queue is emptied, and holds `Notice.LAGGED` until that is
    read.

    :param table: whose changes; ``None`` for all tables.
    :param key: this key only.
    :param prefix: keys that begin so; empty for all.
    :param sight: asked for each event; one for all subscriptions of a user.
    :param wake: called when the queue ceases to be empty.
    :ivar wake: see the parameter.
    :ivar after: the hub's; events with this number or a lesser one are not for this listener.
    """

    __slots__ = (
        "_bytes", "_max_bytes", "_max_events", "_queue", "_trusted",
        "after", "closed", "key", "prefix", "sight", "table", "wake",
    )  # fmt: skip

    def __init__(
        self,
        *,
        table: str | None,
        key: str | None,
        prefix: str,
        sight: Sight,
        wake: Callable[[], None],
    ) -> None:
        self.table = table
        self.key = key
        self.prefix = prefix
        self.sight = sight
        self.wake = wake
        self._queue: deque[Event | Notice] = deque()
        self._bytes = 0
        self._max_events, self._max_bytes = QUEUE_EVENTS, QUEUE_BYTES
        self._trusted = 0
        self.after = 0
        self.closed = False

    def begin(self, after: int, trusted: int, max_events: int, max_bytes: int) -> None:
        """Listen from now on.

        :param after: events with this number or a lesser one are not for this listener.
        :param trusted: events with this number or a lesser one it never heard, or reads afresh what they said.
        :param max_events: bound on the queue.
        :param max_bytes: bound on the queue.
        """
        self.after, self._trusted = after, trusted
        self._max_events, self._max_bytes = max_events, max_bytes

    def matches(self, key: Key) -> bool:
        """Whether a change of this key is wanted."""
        if self.table is not None and key[0] != self.table:
            return False
        return key[1] == self.key if self.key is not None else key[1].startswith(self.prefix)

    def offer(self, event: Event) -> None:
        """Queue an event that matches, if its user may see it."""
        if event.seq <= self._trusted:
            sometimes("an event is handed out to a listener that reads afresh what it said")
            return
        if not event.is_shown(self.sight):
            return
        size_bytes = event.size_bytes
        has_room = len(self._queue) < self._max_events and self._bytes + size_bytes <= self._max_bytes
        if not has_room or event.doubt > self._trusted:
            self.lag(event.seq)
            return
        self._queue.append(event)
        self._bytes += size_bytes
        if len(self._queue) == 1:
            self.wake()

    @property
    def is_lagging(self) -> bool:
        """Whether it has yet to read that it lags; until then nothing is queued."""
        return bool(self._queue) and self._queue[0] is Notice.LAGGED

    def lag(self, upto: int) -> None:
        """Events for this one are dropped.

        :param upto: the number of the last of them.
        """
        self._trusted = max(self._trusted, upto)
        if self.is_lagging:
            return
        was_empty = not self._queue
        self._queue.clear()
        self._bytes = self._max_bytes  # stays full until it is read
        self._queue.append(Notice.LAGGED)
        if was_empty:
            self.wake()

    def reset(self, upto: int) -> None:
        """Something may have been missed: it is to read afresh.

        :param upto: the number of the last event that may have been missed.
        """
        self._trusted = max(self._trusted, upto)
        if self._queue and isinstance(self._queue[-1], Notice):
            return  # it has yet to read that it has to, and does so after this
        self._queue.append(Notice.RESET)
        if len(self._queue) == 1:
            self.wake()

    def take(self) -> Event | Notice | None:
        """The next thing to send, or ``None``. What its user may not see any more is left out."""
        while self._queue:
            item = self._queue.popleft()
            if isinstance(item, Event):
                self._bytes -= item.size_bytes
                if not item.is_shown(self.sight):
                    sometimes("what waits to be sent may not be seen any more")
                    continue
            elif item is Notice.LAGGED:
                self._bytes = 0
            return item
        return None

    def __len__(self) -> int:
        return len(self._queue)
