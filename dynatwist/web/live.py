"""What is more than a request and an answer: event streams and websockets begin here."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred

from dynatwist.api.openapi.described import Described, Media, Who
from dynatwist.api.openapi.parameters import FROM, INITIAL, LAST_EVENT_ID, PREFIX
from dynatwist.api.shapes.live import HEARD, SENT, DeletedKey, Updated
from dynatwist.core import Core
from dynatwist.errors import ApiError

from .handshake import check_handshake
from .request import BoundedRequest, parsed
from .sse import SseStream
from .websocket import KvSocket, factory_of

ROUTES = (
    ("GET", "/<a>/subscribe/<b>", "subscribe"),
    ("GET", "/<a>/subscribe", "subscribe_table"),
    ("GET", "/ws", "websocket"),
)
_EVENTS = Media(
    "text/event-stream; charset=utf-8",
    'Server-sent events, until either side ends them: `data: {"Updated": record}` or `data: "Deleted"`, with an `id` '
    'for `Last-Event-ID`; of a table or prefix `data: {"Updated": record, "key": KEY}` or '
    '`data: {"Deleted": "deleted" or "expired", "key": KEY}`. `event: synced` ends what was there before. '
    "`event: lagged` (events were dropped, since the listener was too slow) and `event: reset` (what was missed is not "
    "known any more) say: read afresh. A comment comes every 15 s.",
    (Updated, DeletedKey),
)
_FRAMES = Media(
    "",
    "A websocket, subprotocol `dynakv.v1.json`: frames of JSON text. The client sends `WsAuth` first, if its handshake "
    "had neither token nor ticket; then `WsSubscribe`, `WsUnsubscribe`, `WsGet`, `WsWrite`, `WsPing`, each with an "
    "`id` that the answer repeats: `WsAnswer` or `WsRefusal`. Subscriptions tell `WsEvent` and `WsNotice`.",
    (*SENT, *HEARD),
)
_REFUSES = ("bad_prefix", "too_many", "upgrading")


class Live:
    """Event streams and websockets.

    :ivar streams: those that are open.
    :ivar sockets: likewise.
    """

    def __init__(self, core: Core, reactor: Any) -> None:
        self._core = core
        self._context = core.handlers.context
        self._reactor = reactor
        self.streams: set[SseStream] = set()
        self._factory = factory_of(core.config.limits)
        self.sockets: set[KvSocket] = set()

    @Described(who=Who.LISTENER, parameters=(INITIAL, FROM, LAST_EVENT_ID), gives={200: _EVENTS}, refuses=_REFUSES)
    async def subscribe(self, request: BoundedRequest, table: str, key: str) -> None:
        """Listen to a key: one event for each record that wins on this node, silent until then."""
        await self._listen(request, table, key)

    @Described(
        who=Who.LISTENER, parameters=(PREFIX, INITIAL, FROM, LAST_EVENT_ID), gives={200: _EVENTS}, refuses=_REFUSES
    )
    async def subscribe_table(self, request: BoundedRequest, table: str) -> None:
        """Listen to a table, or to the keys with a prefix, as far as the caller may read."""
        await self._listen(request, table, None)

    async def _listen(self, request: BoundedRequest, table: str, key: str | None) -> None:
        asked = parsed(request, self._context.proxies)
        self._context.require_ready()
        identity = await self._context.identify_listener(asked, table)
        stream = SseStream(request, self._reactor, self._context.metrics, self.streams)
        listening = self._core.handlers.live.subscribe(asked, identity, table, key, wake=stream.wake, end=stream.close)
        if listening.holder:
            request.channel.belongs_to(listening.holder)
        took_s = max(self._reactor.seconds() - request.started_s, 1e-6)
        self._context.metrics.observe("GET", 200, took_s, "live.subscribe")
        await stream.begin(listening)

    @Described(who=Who.LISTENER, gives={101: _FRAMES}, refuses=("upgrade_required", "bad_handshake", "too_many"))
    async def websocket(self, request: BoundedRequest) -> None:
        """Open a websocket: many subscriptions, reads and writes over one connection."""
        if b"websocket" not in (request.getHeader(b"upgrade") or b"").lower():
            raise ApiError(426, "upgrade_required", "this path speaks websocket", {"Upgrade": "websocket"})
        try:
            check_handshake(request)
        except ApiError as error:
            # And closes: a proxy that did not wait for this answer may send frames behind it, which are no requests.
            request.channel.refuse(error)
            await Deferred()
        identity = None
        asked = parsed(request, self._context.proxies)
        if asked.token is not None or "ticket" in asked.query:
            self._context.require_ready()
            identity = await self._context.identify_listener(asked)
            self._context.require_ready()
        else:
            identity = self._context.certified(asked)
        if request.is_connected:
            channel = request.channel
            socket = KvSocket(self._core, channel, identity=identity, address=asked.address, sockets=self.sockets)
            self._factory.take_over(request, socket, channel.hand_over())
            await Deferred()  # never fires: the request is answered by the socket's own handshake
