"""The subscription hub: an event goes in once, and to every subscription that wants it and whose user may see it.

Queues are bounded. What does not fit is never silently skipped: the queue is emptied and the subscriber told `LAGGED`.
A subscriber that comes back with a cursor inside the window repeats rather than skips. Outside, or with a cursor of
another node, it is told what it missed from what is held, if it is known what it has heard (`Bookmarks`); else `RESET`.
Per key only what is newer than what was announced before goes on, whichever way it came. What was announced is
remembered within bounds: a listener that may have heard something newer that is forgotten is told `LAGGED` instead.
A hub that nobody has ever listened to keeps nothing: there is no cursor yet from which anybody could come back.

An event for many is handed out piece by piece, so that requests come between; events stay in their order. Who listens
is looked up when an event's turn has come. When too much waits to be handed out, those that then listen to the keys
whose events do not fit are told `LAGGED` instead.
"""

from __future__ import annotations

from collections.abc import Callable

from dynatwist.model.record import Key, Record
from dynatwist.model.records import Packed, dot_of, pack, unpack
from dynatwist.sometimes import sometimes

from .announced import Announced, Announcement, is_news, is_news_of_an_end
from .audience import Audience
from .behind import Behind
from .bookmarks import Bookmark, Bookmarks, parsed
from .bounds import HubBounds
from .event import Event, Notice
from .fans import MAX_FANS, Fans
from .heard import Heard
from .interest import Interest
from .subscription import Subscription
from .window import MOST_WINDOW_BYTES, Window

__all__ = ["MAX_FANS", "Event", "Hub", "HubBounds", "Notice", "Subscription"]


class Hub:
    """See the module.

    :param epoch: names this process's numbering in cursors.
    :param has_time: whether this turn may go on handing out.
    :param postpone: calls a function in a later turn.
    :param budget_bytes: what the store holds; the window of events stays in proportion to it.
    :param is_settled: whether the store has held all that was ever announced of a key: what wins there is news then.
    :param hears_all: whether all that wins anywhere wins here too; else what others relay while somebody is interested.
    :param is_awake: whether events are kept from the start, and not only from the first listener on.
    :ivar is_awake: whether events are kept.
    :ivar fans: events on their way to listeners.
    :ivar interest: in which tables somebody is interested.
    :ivar bookmarks: what cursors stand for, those of other nodes too.
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
        self.fans = Fans(has_time, postpone, self._audience.of)
        self._seq = 0
        self.bookmarks = Bookmarks(epoch)
        self._window = Window(budget_bytes)
        self._announced = Announced()

    def bound(self, bounds: HubBounds) -> None:
        """Keep no more than this, from the next event and subscription on."""
        self._bounds = bounds
        self._window.bound(bounds.window_events, bounds.window_bytes)
        self._announced.bound(bounds.announced_bytes)
        self.fans.bound(bounds.fans, bounds.fan_bytes, bounds.at_once)

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
            self.fans.add(event)
        return event

    def reset(self) -> None:
        """Something may have been missed, or what was announced may be gone: tell everybody to read afresh."""
        self._announced.clear()
        self._seq += 1  # a cursor from before is behind the window now: who left without reading this is told on return
        self._window.clear(self._seq)
        self.fans.clear()
        for subscription in self._audience.members():
            if subscription.is_behind:
                self._join(subscription)
            subscription.reset(self._seq)

    def since(self, cursor: str) -> list[Event] | None:
        """The events behind a cursor; ``None`` when they are not known any more."""
        seq = self._position(cursor)
        return None if seq is None else self._window.behind(seq, self._seq, -1)

    def _position(self, cursor: str) -> int | None:
        """The number in a cursor of this hub; ``None`` for any other text."""
        epoch, seq = parsed(cursor)
        return seq if epoch == self._epoch else None

    # Listeners

    def lose_interest(self, name: str) -> None:
        """Nobody has come back to a table: nothing of it needs to be relayed here any more. A bookmark from now on has
        a number that no listener to that table has."""
        self._seq += 1
        self.interest.end(name)

    def wake(self) -> None:
        """Somebody listens, here or at a node to which events are relayed: keep events from now on."""
        self.is_awake = True

    def subscribe(self, subscription: Subscription, cursor: str | None, *, is_afresh: bool = False) -> str:
        """Begin to listen. Where that leaves `Subscription.missed`, it is to be told what was missed first.

        :param cursor: from where; ``None`` for now.
        :param is_afresh: whether it is told what there is before it takes anything.
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
            if is_afresh:
                subscription.catch_up(Behind(self, subscription, self._seq))
            else:
                self._join(subscription)
            return self.cursor
        self._resume(subscription, cursor)
        return cursor

    def _resume(self, subscription: Subscription, cursor: str) -> None:
        seq = self._position(cursor)
        if seq is not None and not self._has_all_behind(subscription.table or "", seq):
            sometimes("a listener comes back after nobody had been interested in its table")
            seq = None
        if seq is not None and self._is_kept(seq):
            self._follow(subscription, seq)
            return
        heard = self._heard(cursor)
        if heard is None:
            subscription.reset(self._seq)
            self._join(subscription)
            return
        self._audience.came_from_elsewhere(subscription)
        seq = self.bookmarks.position(heard, subscription.partitions)
        if seq is not None and self._announces_all(subscription) and self._is_kept(seq):
            sometimes("a listener that comes from another node is told the events that it missed")
            self._follow(subscription, seq, heard)
        else:
            sometimes("a listener is told from what is held what it missed")
            self._follow(subscription, self._first_unheld(cursor), heard, heard)

    def tells_exactly(self, table: str, cursor: str) -> bool:
        """Whether whoever comes back to a table with a cursor is told the events behind it, and nothing else."""
        seq = self._position(cursor)
        return seq is not None and self._is_kept(seq) and self._has_all_behind(table, seq)

    def _is_kept(self, seq: int) -> bool:
        return self._window.behind(seq, self._seq, 0) is not None

    def _first_unheld(self, cursor: str) -> int:
        """The number behind which events are told besides what is held: what was relayed here may be held by nobody who
        can be asked now, and is not relayed again."""
        if self._hears_all():
            return self._seq
        return max(self._window.gone, min(self._position(cursor) or 0, self._seq))

    def _announces_all(self, subscription: Subscription) -> bool:
        """Whether all of what a subscription wants is announced here, whether or not anybody is interested: what owners
        had announced before they relayed it is in no event here, and in no bookmark for a moment."""
        table, key = subscription.table, subscription.key
        return self._hears_all() or (table is not None and key is not None and self._is_settled((table, key)))

    def _has_all_behind(self, name: str, seq: int) -> bool:
        """Whether all that won behind a number was announced here, of a table that somebody may be interested in."""
        return self._hears_all() or (self.interest.has(name) and seq >= self.interest.since(name))

    def _heard(self, cursor: str) -> Heard | None:
        """What whoever has a cursor has heard."""
        epoch, seq = parsed(cursor)
        return self.bookmarks.find(epoch, seq) if seq is not None else None

    def _follow(
        self, subscription: Subscription, seq: int, known: Heard | None = None, missed: Heard | None = None
    ) -> None:
        """Have it take the events behind a number, and then join the others."""
        if missed is None and seq >= self._seq and known is None:
            self._join(subscription)
            return
        subscription.catch_up(Behind(self, subscription, seq), known, missed)

    def offer_behind(self, subscription: Subscription, seq: int) -> int | None:
        """Offer a listener some events behind a number, or have it join the others where there are none.

        :returns: the number of the last one that was looked at; ``None`` when it has joined.
        """
        events = self._window.behind(seq, self._seq, self._bounds.replayed)
        if events is None:
            sometimes("the window moves on while a listener is told what it missed")
            subscription.reset(self._seq)
        if not events:
            self._join(subscription)
            return None
        for event in events:
            if subscription.matches(event.key) and not (subscription.known is not None and self._is_superseded(event)):
                subscription.offer(event)
        if not self._has_time():
            sometimes("a listener is told in several turns what it missed")
        return events[-1].seq

    def _is_superseded(self, event: Event) -> bool:
        """Whether something newer of its key was announced to the same listeners: who comes from elsewhere has perhaps
        heard that already."""
        last = self._announced.last(event.key)
        return last is not None and last[0] != event.seq and unpack(last[1]).owner == event.record.owner

    def has_told(self, cursor: str, key: Key, record: Record, *, is_over: bool) -> bool:
        """Whether a record, or its end, was announced by this process in front of a cursor, as far as is remembered."""
        seq, last = self._position(cursor), self._announced.last(key)
        if seq is None or last is None or last[0] > seq:
            return False
        return dot_of(last[1]) == record.dot and last[3] == is_over

    def may_go_on(self, subscription: Subscription) -> bool:
        """Whether there is time in this turn; else a listener that is behind is woken in a later one."""
        if self._has_time():
            return True
        self._postpone(subscription.wake)
        return False

    def _join(self, subscription: Subscription) -> None:
        if not subscription.closed:
            subscription.caught_up()
            subscription.after = self._seq
            self._audience.join(subscription)

    def place_of(self, subscription: Subscription) -> str | None:
        """The cursor of a listener that has read all that was announced; ``None`` where something waits for it."""
        is_current = not (subscription.has_more or len(self.fans) or subscription.known is not None)
        return self.cursor if is_current else None

    def unsubscribe(self, subscription: Subscription) -> None:
        """Stop listening; harmless when repeated, or when it never listened."""
        subscription.closed = True
        if self._audience.leave(subscription):
            self.interest.fall(subscription.table or "")

    def bookmark(self, before: int, heard: Heard, now_s: float) -> Bookmark:
        """Remember what the events up to now stand for.

        :param before: the number up to which they are all covered; see `position`.
        :param heard: what is covered by what was announced.
        """
        made = Bookmark(before, self._seq, heard.pack())
        self.bookmarks.note_own(made, heard, now_s)
        self._audience.settle(heard)
        return made

    @property
    def position(self) -> int:
        """The number of the newest event."""
        return self._seq

    @property
    def epoch(self) -> str:
        """What cursors of this process begin with."""
        return self._epoch

    @property
    def size_bytes(self) -> int:
        """What it remembers, about: window, announced keys, events that wait, bookmarks."""
        return self._window.size_bytes + self._announced.size_bytes + self.fans.size_bytes + self.bookmarks.size_bytes

    def __len__(self) -> int:
        return len(self._audience)
