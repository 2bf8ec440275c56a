"""The subscription hub: an event goes in once, and to every subscription that wants it and whose user may see it.

Queues are bounded. What does not fit is never silently skipped: the queue is emptied and the subscriber told `LAGGED`.
A subscriber that comes back with a cursor inside the window repeats rather than skips; outside, it is told `RESET`.
Per key only what is newer than what was announced before goes on, whichever way it came. What was announced is
remembered within bounds: a listener that may have heard something newer that is forgotten is told `LAGGED` instead.
A hub that nobody has ever listened to keeps nothing: there is no cursor yet from which anybody could come back.

An event for many is handed out piece by piece, so that requests come between; events stay in their order. Who listens
is looked up when an event's turn has come. When too much waits to be handed out, those that then listen to the keys
whose events do not fit are told `LAGGED` instead.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from dynatwist.model.record import Key, Record
from dynatwist.model.records import Packed, pack
from dynatwist.sometimes import sometimes

from .announced import ANNOUNCED_BYTES, Announced, Announcement, is_news, is_news_of_an_end
from .audience import Audience
from .event import Event, Notice
from .fans import HANDED_AT_ONCE, MAX_FAN_BYTES, MAX_FANS, Fans
from .interest import Interest
from .subscription import QUEUE_BYTES, QUEUE_EVENTS, Subscription
from .window import MOST_WINDOW_BYTES, WINDOW_EVENTS, Window

__all__ = ["MAX_FANS", "Event", "Hub", "HubBounds", "Notice", "Subscription"]

REPLAYED_AT_ONCE = 32
"""Events told to a listener that comes back between two looks at the clock."""
MAX_CURSOR_CHARS = 64
"""An epoch in hexadecimal, a dash, a number."""


@dataclass(frozen=True, slots=True)
class HubBounds:
    """What a hub keeps at most.

    :ivar window_events: recent events, for listeners that come back.
    :ivar window_bytes: the same.
    :ivar announced_bytes: what is remembered of keys that were announced.
    :ivar fans: events that wait to be handed out, and again so many keys whose listeners are to be told that they lag.
    :ivar fan_bytes: the events that wait.
    :ivar queue_events: of one listener.
    :ivar queue_bytes: of one listener.
    :ivar at_once: listeners that an event is handed to between two looks at the clock.
    :ivar replayed: events that somebody who comes back is told between two looks at the clock.
    """

    window_events: int = WINDOW_EVENTS
    window_bytes: int = MOST_WINDOW_BYTES
    announced_bytes: int = ANNOUNCED_BYTES
    fans: int = MAX_FANS
    fan_bytes: int = MAX_FAN_BYTES
    queue_events: int = QUEUE_EVENTS
    queue_bytes: int = QUEUE_BYTES
    at_once: int = HANDED_AT_ONCE
    replayed: int = REPLAYED_AT_ONCE


class Hub:
    """See the module.

    :param epoch: names this process's numbering in cursors.
    :param has_time: whether this turn may go on handing out.
    :param postpone: calls a function in a later turn.
    :param budget_bytes: what the store holds; the window of events stays in proportion to it.
    :param is_settled: whether the store has held all that was ever announced of a key: what wins there is news then.
    :param hears_all: whether all that wins anywhere wins here too; else only what others relay, who do so while
        somebody here is interested.
    :param is_awake: whether events are kept from the start, and not only from the first listener on.
    :ivar is_awake: whether events are kept.
    :ivar interest: in which tables somebody is interested.
    """

    def __init__(
        self,
        epoch: str,
        has_time: Callable[[], bool] = lambda: True,
        postpone: Callable[[Callable[[], None]], None] = lambda call: call(),
        *,
        budget_bytes: Callable[[], int] = lambda: MOST_WINDOW_BYTES,
        is_settled: Callable[[Key], bool] = lambda key: False,
        hears_all: Callable[[], bool] = lambda: True,
        is_awake: bool = True,
    ) -> None:
        self._hears_all = hears_all
        self.is_awake = is_awake
        self._epoch = epoch
        self._has_time = has_time
        self._postpone = postpone
        self._is_settled = is_settled
        self._bounds = HubBounds()
        self._audience = Audience()
        self.interest = Interest()
        self._fans = Fans(has_time, postpone, self._audience.of)
        self._seq = 0
        self._window = Window(budget_bytes)
        self._announced = Announced()

    def bound(self, bounds: HubBounds) -> None:
        """Keep no more than this, from the next event and subscription on."""
        self._bounds = bounds
        self._window.bound(bounds.window_events, bounds.window_bytes)
        self._announced.bound(bounds.announced_bytes)
        self._fans.bound(bounds.fans, bounds.fan_bytes, bounds.at_once)

    @property
    def cursor(self) -> str:
        """The position behind the newest event."""
        return f"{self._epoch}-{self._seq}"

    # Events

    def publish(
        self, key: Key, record: Record, packed: Packed | None = None, replaced: Packed | None = None
    ) -> Event | None:
        """A record won, here and durably or at an owner; answers its event, if that is news.

        :param packed: the same record, as the store here holds it; ``None`` when it won elsewhere.
        :param replaced: what it has beaten at the store; usually that is what was announced last.
        """
        if not self.is_awake:
            return None
        last = self._announced.last(key)
        if last is not None and not is_news(last, record, replaced):
            return None
        return self._publish(key, record, packed, last, is_over=False)

    def publish_end(self, key: Key, record: Record, packed: Packed | None = None) -> Event | None:
        """A record has ended by itself, durably; answers the event, if that is news.

        :param packed: the same record, as the store here holds it; ``None`` when an owner has told of its end.
        """
        if not self.is_awake:
            return None
        last = self._announced.last(key)
        if last is not None and not is_news_of_an_end(last, record):
            return None
        return self._publish(key, record, packed, last, is_over=True)

    def _publish(
        self, key: Key, record: Record, packed: Packed | None, last: Announcement | None, *, is_over: bool
    ) -> Event:
        # What was announced in doubt may have been older than what was forgotten; so may this be.
        doubt = self._announced.forgotten if last is None else last[2]
        if doubt and packed is not None and self._is_settled(key):
            doubt = 0
        if packed is None:
            packed = pack(record)
        self._seq += 1
        self._announced.note(key, record, packed, self._seq, doubt, is_over=is_over)
        event = Event(key, packed, self._epoch, self._seq, doubt, is_over=is_over)
        self._window.add(event)
        if self._audience.has(key):
            self._fans.add(event)
        return event

    def reset(self) -> None:
        """Something may have been missed, or what was announced may be gone: tell everybody to read afresh."""
        self._announced.clear()
        self._seq += 1  # a cursor from before is behind the window now: who left without reading this is told on return
        self._window.clear(self._seq)
        self._fans.clear()
        for subscription in self._audience.members():
            subscription.reset(self._seq)

    def since(self, cursor: str) -> list[Event] | None:
        """The events behind a cursor; ``None`` when they are not known any more."""
        seq = self._position(cursor)
        return None if seq is None else self._window.behind(seq, self._seq, -1)

    def _position(self, cursor: str) -> int | None:
        """The number in a cursor of this hub; ``None`` for any other text."""
        if len(cursor) > MAX_CURSOR_CHARS:
            return None
        epoch, _, number = cursor.rpartition("-")
        return int(number) if epoch == self._epoch and number.isascii() and number.isdecimal() else None

    # Listeners

    def wake(self) -> None:
        """Somebody listens, here or at a node to which events are relayed: keep events from now on."""
        self.is_awake = True

    def subscribe(self, subscription: Subscription, cursor: str | None) -> str:
        """Begin to listen.

        :param cursor: from where; ``None`` for now.
        :returns: the cursor from which it is told everything, if that is known; else the one that was given, which is
            answered with a reset the next time too, should it not read the first one.
        """
        self.wake()
        bounds = self._bounds
        name = subscription.table or ""
        if not self.interest.has(name):
            self._seq += 1  # a cursor from before is less than this, though nothing may have been heard since
        trusted = self._seq if cursor is None else 0  # who comes back may have heard anything before
        subscription.begin(self._seq, trusted, bounds.queue_events, bounds.queue_bytes)
        self._audience.enter(subscription)
        self.interest.rise(name, self._seq)
        if cursor is None:
            self._join(subscription)
            return self.cursor
        seq = self._position(cursor)
        if seq is not None and not self._hears_all() and seq < self.interest.since(name):
            sometimes("a listener comes back after nobody had been interested in its table")
            seq = None
        if seq is not None and self._window.behind(seq, self._seq, 0) is not None:
            self._replay(subscription, seq)
            return cursor
        subscription.reset(self._seq)
        self._join(subscription)
        return cursor

    def _replay(self, subscription: Subscription, seq: int) -> None:
        """Tell it what it missed, then have it join the others; in later turns, if there is much."""
        while not subscription.closed:
            events = self._window.behind(seq, self._seq, self._bounds.replayed)
            if events is None:
                sometimes("the window moves on while a listener is told what it missed")
                subscription.reset(self._seq)
            if not events:
                self._join(subscription)
                return
            for event in events:
                if subscription.matches(event.key):
                    subscription.offer(event)
                seq = event.seq
            if seq < self._seq and not self._has_time():
                sometimes("a listener is told in several turns what it missed")
                self._postpone(partial(self._replay, subscription, seq))
                return

    def _join(self, subscription: Subscription) -> None:
        if not subscription.closed:
            subscription.after = self._seq
            self._audience.join(subscription)

    def unsubscribe(self, subscription: Subscription) -> None:
        """Stop listening; harmless when repeated, or when it never listened."""
        subscription.closed = True
        if self._audience.leave(subscription):
            self.interest.fall(subscription.table or "")

    @property
    def size_bytes(self) -> int:
        """What it remembers, about: window, announced keys, events that wait."""
        return self._window.size_bytes + self._announced.size_bytes + self._fans.size_bytes

    def __len__(self) -> int:
        return len(self._audience)
