"""Watching changes over the websocket, with reconnection."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import msgspec
from autobahn.twisted.websocket import WebSocketClientFactory, WebSocketClientProtocol
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint, wrapClientTLS
from twisted.internet.interfaces import IAddress
from twisted.internet.ssl import optionsForClientTLS

SUBPROTOCOL = "dynakv.v1.json"
FIRST_PAUSE_S = 0.1
"""Before the next node is tried, so that a cluster that restarts is not hammered."""
MAX_PAUSE_S = 2.0
"""A listener misses no more than this after its cluster is back."""
OPEN_TIMEOUT_S = 5.0
"""For a node to begin its stream, or the next one is tried."""
QUEUE = 10_000
"""Events that wait for a slow reader; then it is told to read afresh, as a node would tell it."""


REFUSALS = (
    "no_token", "bad_token", "forbidden", "another_user", "malformed", "bad_table", "bad_key", "bad_prefix",
    "reserved_table", "system_table", "not_an_object", "unknown_op",
)  # fmt: skip
"""What no other node would answer otherwise. After anything else the next one is asked."""


class Change(msgspec.Struct, frozen=True):
    """One change.

    :ivar type: ``Updated``, ``Deleted``; ``lagged`` or ``reset`` when something was missed: then read afresh. A watch
        that begins with what there is says ``begin`` instead, then all there is as ``Updated``, then ``synced``.
    :ivar record: as JSON; ``None`` unless updated.
    :ivar cursor: the position right behind it.
    :ivar reason: of a delete: ``deleted``, or ``expired`` by itself.
    """

    type: str
    table: str = ""
    key: str = ""
    record: dict[str, Any] | None = None
    cursor: str = ""
    reason: str = ""


class WatchRefused(Exception):
    """The node does not let this user watch; the text says why."""


class _Socket(WebSocketClientProtocol):
    """One connection of a watch.

    :param opened: called when it stands.
    :param received: called with each message.
    :param closed: called at its end.
    """

    def __init__(
        self, opened: Callable[[_Socket], None], received: Callable[[dict[str, Any]], None], closed: Callable[[], None]
    ) -> None:
        super().__init__()
        self._opened, self._received, self._closed = opened, received, closed

    def onOpen(self) -> None:
        self._opened(self)

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        self._received(msgspec.json.decode(payload))

    def onClose(self, wasClean: bool, code: int, reason: str) -> None:
        self._closed()


class _Sockets(WebSocketClientFactory):
    """Makes the connection of a watch.

    :param make: makes its protocol.
    """

    noisy = False

    def __init__(self, url: str, make: Callable[[], _Socket]) -> None:
        super().__init__(url, protocols=[SUBPROTOCOL])
        self._make = make
        self.setProtocolOptions(openHandshakeTimeout=OPEN_TIMEOUT_S, autoPingInterval=10, autoPingTimeout=10)

    def buildProtocol(self, addr: IAddress | None) -> _Socket:
        socket = self._make()
        socket.factory = self
        return socket


class Where(msgspec.Struct, frozen=True):
    """What is watched, and from where.

    :ivar initial: whether it begins with what there is, also where something was missed.
    """

    table: str
    key: str | None = None
    prefix: str | None = None
    cursor: str | None = None
    initial: bool = False


class Watch:
    """An asynchronous iterator of `Change`; goes on at another node when a connection is lost.

    What was heard may be heard again; what was missed is told by ``reset``.
    """

    def __init__(
        self,
        reactor: Any,
        urls: list[str],
        token: Callable[[], str | None],
        where: Where,
    ) -> None:
        self._reactor = reactor
        self._where = where
        self._is_stale = False
        self._urls = list(urls)
        self._token = token
        self._cursor = where.cursor
        self._changes: deque[Change | Exception] = deque(maxlen=QUEUE)
        self._waiting: Deferred[None] | None = None
        self._socket: _Socket | None = None
        self._pause_s = FIRST_PAUSE_S
        self._ended = False
        self._subscribed: Deferred[None] = Deferred()
        self._connect()

    def subscribed(self) -> Deferred[None]:
        """Fires when the first subscription stands: from then on nothing is missed."""
        return self._subscribed

    def __aiter__(self) -> Watch:
        return self

    async def __anext__(self) -> Change:
        while not self._changes:
            if self._ended:
                raise StopAsyncIteration
            self._waiting = Deferred()
            await self._waiting
        change = self._changes.popleft()
        if isinstance(change, Exception):
            raise change
        return change

    def close(self) -> None:
        """End the watch; iteration stops after what was heard already."""
        self._ended = True
        if self._socket is not None:
            self._socket.sendClose()
        self._wake()

    def _connect(self) -> None:
        if self._ended:
            return
        url = urlsplit(self._urls[0])
        secure = url.scheme == "https"
        host, port = url.hostname or "", url.port or (443 if secure else 80)
        address = f"{'wss' if secure else 'ws'}://{host}:{port}/ws"
        factory = _Sockets(address, lambda: _Socket(self._opened, self._received, self._closed))
        endpoint: Any = HostnameEndpoint(self._reactor, host, port, timeout=OPEN_TIMEOUT_S)
        if secure:
            endpoint = wrapClientTLS(optionsForClientTLS(host), endpoint)
        endpoint.connect(factory).addErrback(lambda _: self._again())

    def _opened(self, socket: _Socket) -> None:
        if self._ended:
            socket.sendClose()
            return
        self._socket, self._is_stale = socket, False
        token = self._token()
        if token is not None:
            socket.sendMessage(msgspec.json.encode({"op": "auth", "id": 1, "token": token}))
        subscribe: dict[str, object] = {"op": "subscribe", "id": 2, "table": self._where.table}
        if self._where.initial and self._cursor is None:
            subscribe["initial"] = True
            self._add(Change("begin"))
        for name, value in (("key", self._where.key), ("prefix", self._where.prefix), ("from", self._cursor)):
            if value is not None:
                subscribe[name] = value
        socket.sendMessage(msgspec.json.encode(subscribe))

    def _received(self, message: dict[str, Any]) -> None:
        if self._is_stale:  # a new connection begins with all there is
            return
        if message.get("op") in ("lagged", "reset"):
            self._missed(str(message["op"]))
        elif message.get("op") == "event":
            self._cursor = message.get("cursor", self._cursor)
            self._add(msgspec.convert(message, Change))
        elif message.get("op") == "synced":
            self._cursor = message["cursor"]
            self._add(Change("synced"))
        elif "error" in message and message.get("code") in REFUSALS:
            self._ended = True
            self._add(WatchRefused(message["error"]))
            if self._socket is not None:
                self._socket.sendClose()
        elif message.get("id") == 2 and "error" not in message:
            self._pause_s = FIRST_PAUSE_S
            if not self._where.initial:
                self._cursor = self._cursor or message.get("cursor")
            if not self._subscribed.called:
                self._subscribed.callback(None)
        elif "error" in message and self._socket is not None:
            self._socket.sendClose()

    def _missed(self, word: str) -> None:
        """Something was missed: whoever wants all that there is begins anew with it."""
        if not self._where.initial:
            self._add(Change(word))
            return
        self._cursor, self._is_stale = None, True
        if self._socket is not None:
            self._socket.sendClose()

    def _closed(self) -> None:
        self._socket = None
        self._again()

    def _again(self) -> None:
        if self._ended:
            return
        self._urls.append(self._urls.pop(0))
        self._reactor.callLater(self._pause_s, self._connect)
        self._pause_s = min(MAX_PAUSE_S, self._pause_s * 2)

    def _add(self, change: Change | Exception) -> None:
        if len(self._changes) == QUEUE:
            self._changes.clear()
            if self._where.initial:
                self._missed("lagged")
                return
            change = Change("lagged")
        self._changes.append(change)
        self._wake()

    def _wake(self) -> None:
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            waiting.callback(None)
