"""Events on their way to their listeners: piece by piece, in order, so that requests come between."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

from dynatwist.model.record import Key
from dynatwist.sometimes import sometimes

from .event import Event
from .subscription import Subscription

HANDED_AT_ONCE = 32
"""Listeners between two looks at the clock."""
MAX_FANS = 1024
"""Events that may wait to be handed out: what a group commit of the log brings at once, and more."""
MAX_FAN_BYTES = 8 << 20
"""The same for large values."""


class Fan:
    """An event on its way to its listeners, or the word to those of a key that they lag.

    :ivar key: ``None`` for all keys.
    :ivar event: ``None`` where events were dropped.
    :ivar seq: the number of the event; of those that were dropped, of the last.
    """

    __slots__ = ("_at", "_listeners", "event", "key", "seq")

    def __init__(self, key: Key | None, event: Event | None, seq: int) -> None:
        self.key = key
        self.event = event
        self.seq = seq
        self._listeners: list[Subscription] | None = None
        self._at = 0

    @property
    def handed_out(self) -> int:
        """To how many it was handed out."""
        return self._at if self.event is not None else 0

    @property
    def has_begun(self) -> bool:
        """Whether its listeners have been looked up."""
        return self._listeners is not None

    def begin(self, found: list[Subscription]) -> None:
        """Its turn has come.

        :param found: who listens to the key now; those that did not when it was announced are left out.
        """
        self._listeners = [one for one in found if one.after < self.seq]
        if len(self._listeners) < len(found):
            sometimes("who began to listen while an event waited is not told of it")

    def hand_out(self, count: int) -> bool:
        """To some more of them.

        :returns: whether all have it now.
        """
        assert self._listeners is not None
        until = min(self._at + count, len(self._listeners))
        while self._at < until:
            listener = self._listeners[self._at]
            self._at += 1
            if listener.closed:
                continue
            if self.event is not None:
                listener.offer(self.event)
            else:
                listener.lag(self.seq)
        return self._at >= len(self._listeners)


class Fans:
    """See the module.

    Who listens is looked up when an event's turn has come. An event for which there is no room is dropped; behind all
    that waits, those that then listen to its key are told that they lag: everybody, when the keys are too many.

    :param has_time: whether this turn may go on handing out.
    :param postpone: calls a function in a later turn.
    :param listeners: who listens to a key and may see an event; see `Hub`.
    :ivar handed_out: events so far, one for each listener; those that a listener had missed are not counted.
    """

    def __init__(
        self,
        has_time: Callable[[], bool],
        postpone: Callable[[Callable[[], None]], None],
        listeners: Callable[[Key | None, Event | None], list[Subscription]],
    ) -> None:
        self._has_time = has_time
        self._postpone = postpone
        self._listeners = listeners
        self._together: Callable[[], AbstractContextManager[None]] = nullcontext
        self._fans: deque[Fan] = deque()
        self._lagging: dict[Key | None, Fan] = {}
        self._size_bytes = 0
        self.handed_out = 0
        self._max_fans, self._max_bytes, self._at_once = MAX_FANS, MAX_FAN_BYTES, HANDED_AT_ONCE

    def bound(self, max_fans: int, max_bytes: int, at_once: int) -> None:
        """Keep no more than this waiting from the next event on, and look at the clock after so many listeners."""
        self._max_fans, self._max_bytes, self._at_once = max_fans, max_bytes, at_once

    def write_together(self, together: Callable[[], AbstractContextManager[None]]) -> None:
        """Hand out in this context from now on: what listeners write inside goes to the kernel in one go."""
        self._together = together

    def add(self, event: Event) -> None:
        """Hand out an event, behind those that wait."""
        fans = self._fans
        if fans and (len(fans) >= self._max_fans or self._size_bytes + event.size_bytes > self._max_bytes):
            self._drop(event)
            return
        fans.append(Fan(event.key, event, event.seq))
        self._size_bytes += event.size_bytes
        if len(fans) == 1:
            self._go_on()

    def _drop(self, event: Event) -> None:
        fan = self._lagging.get(None) or self._lagging.get(event.key)
        if fan is None:
            sometimes("an event does not fit among those that wait to be handed out")
            key = event.key if len(self._lagging) < self._max_fans else None
            if key is None:
                sometimes("so many keys have events that do not fit that all listeners lag")
            fan = self._lagging[key] = Fan(key, None, event.seq)
            self._fans.append(fan)
        fan.seq = event.seq

    def _go_on(self) -> None:
        """Hand out what waits, as long as there is time."""
        try:
            with self._together():
                self._hand_out()
        except Exception:  # of one listener's transport: the others are not to wait for ever
            if self._fans:
                self._postpone(self._go_on)
            raise

    def _hand_out(self) -> None:
        while self._fans:
            fan = self._fans[0]
            if not fan.has_begun:
                if fan.event is None:
                    del self._lagging[fan.key]  # what is dropped from now on needs another word
                fan.begin(self._listeners(fan.key, fan.event))
            if fan.hand_out(self._at_once) and self._fans and self._fans[0] is fan:
                self._fans.popleft()
                self.handed_out += fan.handed_out
                self._size_bytes -= fan.event.size_bytes if fan.event is not None else 0
            if self._fans and not self._has_time():
                self._postpone(self._go_on)
                return

    def clear(self) -> None:
        """Hand out none of what waits."""
        if self._fans:
            sometimes("a feed is reset while events wait to be handed out")
        self._fans.clear()
        self._lagging.clear()
        self._size_bytes = 0

    @property
    def size_bytes(self) -> int:
        """What waits costs, about."""
        return self._size_bytes

    def __len__(self) -> int:
        return len(self._fans)
