"""What an owner relays though its own listeners hear nothing of it, since another owner's relay has told them.

An owner's bookmark covers all that it holds, so whoever it relays to has to be told of all that. A node that misses
such a relay asks for it with its cursor, and the window of events does not have it.
"""

from __future__ import annotations

from collections import deque

from dynatwist.feed.event import Event
from dynatwist.feed.hub import Hub
from dynatwist.model.record import Key
from dynatwist.model.records import Packed

MOST = 1024
"""Owners relay to one another only while members change; whoever missed more than this fetches what is held."""
MOST_BYTES = 4 << 20
"""The same for large values: as much as fits into one answer (`RESUME_BYTES` of relays), and may be held here alone."""


class Besides:
    """See the module."""

    def __init__(self) -> None:
        self._relayed: deque[Event] = deque()
        self._size_bytes = 0
        self._gone = -1

    def note(self, key: Key, packed: Packed, hub: Hub, *, is_over: bool = False) -> Event:
        """One more is relayed; as an event that has the number of the hub's newest one."""
        event = Event(key, packed, hub.epoch, hub.position, is_over=is_over)
        self._relayed.append(event)
        self._size_bytes += event.size_bytes
        while len(self._relayed) > MOST or self._size_bytes > MOST_BYTES:
            oldest = self._relayed.popleft()
            self._size_bytes -= oldest.size_bytes
            self._gone = oldest.seq
        return event

    def behind(self, seq: int) -> list[Event] | None:
        """What may have been missed by a node that was told events up to a number; ``None`` when some of that is not
        remembered."""
        return None if seq <= self._gone else [event for event in self._relayed if event.seq >= seq]
