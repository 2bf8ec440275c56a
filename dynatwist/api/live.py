"""Subscriptions apart from their transports, and those of event streams."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol
from weakref import WeakValueDictionary

from dynatwist.auth.tokens import Identity
from dynatwist.budget import Charge
from dynatwist.feed.hub import Event, Notice, Subscription
from dynatwist.feed.sight import Sight
from dynatwist.model.record import Key, Record

from .connected import Connected
from .context import Context
from .initial import Initial
from .limits import check_key, check_prefix, check_table
from .request import Request
from .views import named_sse_json, sse_json

GATHERED_BYTES = 16 << 10
"""Sent at once, or one piece that is longer: a page of what there is, and little beside what a connection may have
waiting (64 KiB) before it is asked to read."""


class _Sight:
    """What one identity may see, while its token counts."""

    __slots__ = ("__weakref__", "_context", "_identity")

    def __init__(self, context: Context, identity: Identity | None) -> None:
        self._context = context
        self._identity = identity

    @property
    def version(self) -> int:
        """See `Sight`."""
        return self._context.rights.version

    def sees(self, key: Key, record: Record) -> bool:
        """See `Sight`."""
        identity = self._identity
        if identity is not None and not self._context.users.is_current(identity):
            return False
        if not self._context.cluster.standing.knows_settings:
            return False
        return self._context.may_read(identity, key, record)


class Sights:
    """What each identity may see; one for all subscriptions of it, so that an event asks once."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._by_identity: WeakValueDictionary[Identity | None, _Sight] = WeakValueDictionary()

    def of(self, identity: Identity | None) -> Sight:
        """Asked for each event: may this listener see it, and does its token still count?"""
        sight = self._by_identity.get(identity)
        if sight is None:
            sight = self._by_identity[identity] = _Sight(self._context, identity)
        return sight


class Listening:
    """One subscription with what it is charged for.

    :param cursor: from where; ``None`` for now.
    :param wants_initial: whether what there is is to be told first, if it does not go on from somewhere.
    :ivar subscription: what is to be sent.
    :ivar cursor: from where it is told everything; see `Hub.subscribe`.
    """

    __slots__ = ("_charges", "_context", "_initial", "cursor", "subscription")

    def __init__(
        self,
        context: Context,
        subscription: Subscription,
        charges: tuple[Charge, ...],
        *,
        cursor: str | None,
        wants_initial: bool,
    ) -> None:
        self._context = context
        self.subscription = subscription
        self._charges = charges
        is_afresh = wants_initial and cursor is None
        self.cursor = context.hub.subscribe(subscription, cursor, is_afresh=is_afresh)
        is_told_first = is_afresh or subscription.missed is not None
        self._initial = Initial(context, subscription, cursor) if is_told_first else None

    @property
    def has_more(self) -> bool:
        """Whether there is something to take."""
        if self._initial is not None and not self._initial.is_over:
            return self._initial.has_more
        return self.subscription.has_more

    def take(self) -> Event | Notice | None:
        """The next thing to send, or ``None``."""
        initial = self._initial
        if initial is None:
            return self.subscription.take()
        if not initial.is_over:
            item = initial.take()
            if item is not None or initial.goes_on:
                return item
        while (heard := self.subscription.take()) is not None:
            if not isinstance(heard, Event) or not initial.is_older(heard):
                return heard
        return None

    def place(self) -> str | None:
        """The cursor of a listener that has read all that there is to tell it; ``None`` where something waits."""
        if self._initial is not None and self._initial.goes_on:
            return None
        return self._context.hub.place_of(self.subscription)

    def close(self) -> None:
        """It ends; harmless when repeated."""
        self._context.hub.unsubscribe(self.subscription)
        if self._initial is not None:
            self._initial.close()
        for charge in self._charges:
            charge.give_back()


class LiveRoutes:
    """Opens event streams."""

    def __init__(self, context: Context, sights: Sights, connected: Connected) -> None:
        self._context = context
        self._sights = sights
        self._connected = connected

    def subscribe(
        self,
        request: Request,
        identity: Identity | None,
        table: str,
        key: str | None,
        *,
        wake: Callable[[], None],
        end: Callable[[], None],
    ) -> Stream:
        """The subscription of an SSE request.

        :param key: ``None`` for all keys, or those with a prefix that the request names.
        :param identity: who asks, by `Context.identify_listener`.
        :param end: called when its token counts no more; the stream is to be closed then.
        """
        context = self._context
        context.require_ready()
        check_table(table, context.limits)
        prefix = request.query.get("prefix", "") if key is None else ""
        check_prefix(prefix, context.limits)
        if key is not None:
            check_key(key, context.limits)
        wants_initial = request.switch("initial")
        holder = context.holder_of(identity, request)
        charges = Charge(context.budget.streams, holder), Charge(context.budget.subscriptions, holder)
        charges[0].take()
        try:
            charges[1].take()
        except Exception:
            charges[0].give_back()
            raise
        cursor = request.headers.get("last-event-id") or request.query.get("from")
        subscription = Subscription(table=table, key=key, prefix=prefix, sight=self._sights.of(identity), wake=wake)
        listening = Listening(context, subscription, charges, cursor=cursor, wants_initial=wants_initial)
        return Stream(listening, self._connected, identity, end)


class Stream:
    """One event stream.

    :ivar subscription: what is to be sent.
    :ivar holder: the user whose it is; empty for nobody's.
    """

    __slots__ = ("_connected", "_end", "_identity", "_listening", "holder", "subscription")

    def __init__(
        self, listening: Listening, connected: Connected, identity: Identity | None, end: Callable[[], None]
    ) -> None:
        self._listening = listening
        self._connected = connected
        self._identity = identity
        self._end = end
        self.subscription = listening.subscription
        self.holder = identity.uid if identity is not None else ""
        if identity is not None:
            connected.join(identity, end)

    @property
    def has_more(self) -> bool:
        """Whether there is something to take, or may be in a later turn."""
        return self._listening.has_more

    def take(self) -> bytes | None:
        """The next chunk to send, or ``None``."""
        listening = self._listening
        item = listening.take()
        if item is None:
            return None
        if item is Notice.SYNCED:
            return _chunk(b"event: synced\nid: %b\ndata: {}\n\n" % listening.cursor.encode())
        return sse_bytes(item, names_key=self.subscription.key is None)

    def beat(self) -> bytes:
        """What is sent from time to time: where the listener is by now, if nothing waits for it.

        An ``id`` alone is no event, and is remembered (HTML, section 9.2.6).
        """
        place = self._listening.place()
        return b":\n\n" if place is None else b":\nid: %b\n\n" % place.encode()

    def close(self) -> None:
        """It ends; harmless when repeated."""
        self._listening.close()
        if self._identity is not None:
            self._connected.leave(self._identity, self._end)


class Source(Protocol):
    """Something that has pieces to send."""

    @property
    def has_more(self) -> bool:
        """Whether there may be one."""

    def take(self) -> bytes | None:
        """The next one, or ``None``."""


def gathered(source: Source) -> list[bytes]:
    """What there is to send, as much as goes in one call of the system; empty when there is nothing."""
    pieces: list[bytes] = []
    left_bytes = GATHERED_BYTES
    while left_bytes > 0 and (piece := source.take()) is not None:
        pieces.append(piece)
        if not source.has_more:
            break
        left_bytes -= len(piece)
    return pieces


def sse_bytes(item: Event | Notice, *, names_key: bool = False) -> bytes:
    """What goes down an SSE connection, as a chunk of HTTP/1.1; of an event, made once for all listeners.

    :param names_key: whether its listener listens to more than one key.
    """
    if isinstance(item, Notice):
        return _chunk(b"event: %b\ndata: {}\n\n" % item.value.encode())
    if item.encoded is None:
        item.encoded = {}
    kind = "named chunk" if names_key else "chunk"
    encoded = item.encoded.get(kind)
    if encoded is None:
        at = b"" if item.is_initial else b"id: %b\n" % item.cursor.encode()
        data = named_sse_json(item) if names_key else sse_json(item)
        encoded = item.encoded[kind] = _chunk(b"%bdata: %b\n\n" % (at, data))
    return encoded


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)
