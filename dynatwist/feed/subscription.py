"""One listener: what it wants to hear, and a bounded queue of what it has not read yet."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Protocol

from dynatwist.model.record import Key
from dynatwist.model.ring import partitions_of
from dynatwist.sometimes import sometimes

from .event import Event, Notice
from .heard import Heard
from .sight import Sight

QUEUE_EVENTS = 256
"""As many as a listener may be behind; one that is further behind reads afresh sooner than it catches up."""
QUEUE_BYTES = 1 << 20
"""The same for large values: what a listener that reads nothing costs the node at most."""


class Backlog(Protocol):
    """Events that a listener is behind."""

    def pull(self) -> None:
        """Offer it some of them; where there are no more, have it join the others. If there is no time in this turn,
        wake it in a later one."""


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
    :ivar missed: what it has heard elsewhere, where events do not tell what came since: that is to be told from what is
        held, before anything is taken.
    """

    __slots__ = (
        "_backlog", "_bytes", "_elsewhere", "_most", "_queue", "_trusted",
        "after", "closed", "key", "missed", "prefix", "sight", "table", "wake",
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
        self._most = QUEUE_EVENTS, QUEUE_BYTES
        self._trusted = 0
        self._backlog: Backlog | None = None
        self._elsewhere: tuple[Heard, set[Key]] | None = None
        self.missed: Heard | None = None
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
        self._most = max_events, max_bytes

    @property
    def partitions(self) -> Sequence[int]:
        """The partitions that what it wants may be in."""
        return partitions_of(self.table, self.key)

    def catch_up(self, backlog: Backlog, known: Heard | None = None, missed: Heard | None = None) -> None:
        """Take events from there, as they are read, before it is told what happens.

        :param known: what it has heard elsewhere, and is not to hear again.
        :param missed: see the attribute.
        """
        self._backlog, self.missed = backlog, missed
        self._elsewhere = (known, set()) if known is not None else None
        self.wake()

    def caught_up(self) -> None:
        """It is told what happens from now on."""
        self._backlog = None

    @property
    def is_behind(self) -> bool:
        """Whether it has not caught up yet."""
        return self._backlog is not None

    def forget_known(self) -> None:
        """What was heard elsewhere does not matter any more: this process has it all, or it is read afresh."""
        self._elsewhere = None

    @property
    def known(self) -> Heard | None:
        """What it has heard elsewhere; ``None`` where that does not matter."""
        return self._elsewhere[0] if self._elsewhere is not None else None

    def has_what_was_missed(self) -> None:
        """It was told from what is held."""
        self.missed = None

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
        if not event.is_shown(self.sight) or (self._elsewhere is not None and self._has_heard(event)):
            return
        size_bytes = event.size_bytes
        max_events, max_bytes = self._most
        has_room = len(self._queue) < max_events and self._bytes + size_bytes <= max_bytes
        if not has_room or event.doubt > self._trusted:
            self.lag(event.seq)
            return
        self._queue.append(event)
        self._bytes += size_bytes
        if len(self._queue) == 1:
            self._wake_reader()

    def _has_heard(self, event: Event) -> bool:
        """Whether it has heard an event elsewhere, and nothing of its key here since that may be older."""
        assert self._elsewhere is not None
        known, told = self._elsewhere
        if event.key not in told and event.is_known(known):
            return True
        told.add(event.key)
        return False

    def tells(self, key: Key) -> None:
        """Something of a key is told from what is held."""
        if self._elsewhere is not None:
            self._elsewhere[1].add(key)

    def _wake_reader(self) -> None:
        """The queue ceases to be empty. Who is behind reads already: that is what queues something."""
        if self._backlog is None:
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
        self.forget_known()
        if self.is_lagging:
            return
        was_empty = not self._queue
        self._queue.clear()
        self._bytes = self._most[1]  # stays full until it is read
        self._queue.append(Notice.LAGGED)
        if was_empty:
            self._wake_reader()

    def reset(self, upto: int) -> None:
        """Something may have been missed: it is to read afresh.

        :param upto: the number of the last event that may have been missed.
        """
        self._trusted = max(self._trusted, upto)
        self.forget_known()
        if self._queue and isinstance(self._queue[-1], Notice):
            return  # it has yet to read that it has to, and does so after this
        self._queue.append(Notice.RESET)
        if len(self._queue) == 1:
            self._wake_reader()

    def take(self) -> Event | Notice | None:
        """The next thing to send, or ``None``. What its user may not see any more is left out."""
        while self._queue or self._goes_on():
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

    def _goes_on(self) -> bool:
        """Queue some of what it is behind, if it is."""
        if self._backlog is not None:
            self._backlog.pull()
        return bool(self._queue)

    @property
    def has_more(self) -> bool:
        """Whether there is something to take, or may be."""
        return bool(self._queue) or self._backlog is not None

    def __len__(self) -> int:
        return len(self._queue)
