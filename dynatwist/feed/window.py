"""The window of recent events, from which a listener that comes back is told what it missed."""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Iterator

from .event import Event

WINDOW_EVENTS = 8192
"""Some seconds of a busy node's writes: as long as a client needs to connect again."""
LEAST_WINDOW_BYTES = 1 << 20
"""Some thousand events: a listener that reconnects in a moment resumes, however small the store is."""
MOST_WINDOW_BYTES = 64 << 20
"""Beside a large store; who was away for longer reads afresh."""


class Window:
    """Events in order of their numbers; the oldest go first.

    The window is bounded in events, and in bytes by what the store holds, within `LEAST_WINDOW_BYTES` and
    `MOST_WINDOW_BYTES`: an event of a value that was overwritten is kept by the window alone, and what is remembered
    beside the store is to stay in proportion to it.

    :param budget_bytes: what the store holds.
    """

    def __init__(self, budget_bytes: Callable[[], int]) -> None:
        self._budget_bytes = budget_bytes
        self._events: deque[Event] = deque()
        self._size_bytes = 0
        self._gone = 0  # the number behind which every event is here
        self._most_bytes = MOST_WINDOW_BYTES
        self._least_bytes = LEAST_WINDOW_BYTES
        self.maxlen = WINDOW_EVENTS

    def bound(self, events: int, most_bytes: int) -> None:
        """Keep no more than this from the next event on."""
        self.maxlen = events
        self._most_bytes, self._least_bytes = most_bytes, min(most_bytes, LEAST_WINDOW_BYTES)

    def add(self, event: Event) -> None:
        """Keep a further event, and no longer the oldest where there is no room."""
        events = self._events
        events.append(event)
        self._size_bytes += event.size_bytes
        while len(events) > self.maxlen or (self._size_bytes > self._least_bytes and self._is_too_large()):
            oldest = events.popleft()
            self._size_bytes -= oldest.size_bytes
            self._gone = oldest.seq
            if not events:
                return

    def _is_too_large(self) -> bool:
        return self._size_bytes > self._most_bytes or self._size_bytes > self._budget_bytes()

    def clear(self, upto: int) -> None:
        """Keep none of them, up to a number."""
        self._events.clear()
        self._size_bytes = 0
        self._gone = upto

    def behind(self, seq: int, last: int, limit: int) -> list[Event] | None:
        """The events behind a number.

        :param last: the number of the last event of all, or a greater one that no event has yet.
        :param limit: at most so many; negative for all.
        :returns: ``None`` when some of them are not kept any more.
        """
        if not self._gone <= seq <= last:
            return None
        begin = bisect_right(self._events, seq, key=lambda event: event.seq)
        end = len(self._events) if limit < 0 else min(begin + limit, len(self._events))
        return [self._events[index] for index in range(begin, end)]

    @property
    def gone(self) -> int:
        """The number behind which every event is kept."""
        return self._gone

    @property
    def size_bytes(self) -> int:
        """What it costs, about."""
        return self._size_bytes

    def __iter__(self) -> Iterator[Event]:
        return iter(self._events)

    def __len__(self) -> int:
        return len(self._events)
