"""A websocket to a cluster: to one node, and when that is lost, to the next one."""

from __future__ import annotations

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
PING_S = 10.0
"""Between two pings; a node that does not answer one for as long is left for the next one."""

REFUSALS = (
    "no_token", "bad_token", "forbidden", "another_user", "malformed", "bad_table", "bad_key", "bad_prefix",
    "reserved_table", "system_table", "not_an_object", "unknown_op",
)  # fmt: skip
"""What no other node would answer otherwise. After anything else the next one is asked."""


class _Socket(WebSocketClientProtocol):
    """One connection.

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
    """Makes one connection.

    :param make: makes its protocol.
    """

    noisy = False

    def __init__(self, url: str, make: Callable[[], _Socket], ping_s: float) -> None:
        super().__init__(url, protocols=[SUBPROTOCOL])
        self._make = make
        self.setProtocolOptions(openHandshakeTimeout=OPEN_TIMEOUT_S, autoPingInterval=ping_s, autoPingTimeout=ping_s)

    def buildProtocol(self, addr: IAddress | None) -> _Socket:
        socket = self._make()
        socket.factory = self
        return socket


class Connection:
    """See the module.

    :param token: of whoever it is, asked for each time.
    :param opened: called when one stands; a token was shown on it.
    :param received: called with each message.
    :param ping_s: see `PING_S`.
    """

    def __init__(
        self,
        reactor: Any,
        urls: list[str],
        *,
        token: Callable[[], str | None],
        opened: Callable[[], None],
        received: Callable[[dict[str, Any]], None],
        ping_s: float = PING_S,
    ) -> None:
        self._ping_s = ping_s
        self._reactor = reactor
        self._urls = list(urls)
        self._token = token
        self._opened = opened
        self._received = received
        self._socket: _Socket | None = None
        self._pause_s = FIRST_PAUSE_S
        self._is_over = False
        self._closing: Deferred[None] | None = None
        self._connect()

    def send(self, fields: dict[str, object]) -> None:
        """Send a message, if a connection stands."""
        if self._socket is not None:
            self._socket.sendMessage(msgspec.json.encode(fields))

    def settle(self) -> None:
        """The node serves: if it is lost, the next one is tried without delay."""
        self._pause_s = FIRST_PAUSE_S

    def drop(self) -> None:
        """Leave this node for the next one."""
        if self._socket is not None:
            self._socket.sendClose()

    def close(self) -> Deferred[None]:
        """End it, saying goodbye; fires when the node has heard that, or is lost."""
        self._is_over = True
        if self._closing is None:
            self._closing = Deferred()
            if self._socket is not None:
                self._socket.sendClose()
            else:
                self._closing.callback(None)
        return self._closing

    def _connect(self) -> None:
        if self._is_over:
            return
        url = urlsplit(self._urls[0])
        secure = url.scheme == "https"
        host, port = url.hostname or "", url.port or (443 if secure else 80)
        address = f"{'wss' if secure else 'ws'}://{host}:{port}/ws"
        factory = _Sockets(address, lambda: _Socket(self._stands, self._received, self._closed), self._ping_s)
        endpoint: Any = HostnameEndpoint(self._reactor, host, port, timeout=OPEN_TIMEOUT_S)
        if secure:
            endpoint = wrapClientTLS(optionsForClientTLS(host), endpoint)
        endpoint.connect(factory).addErrback(lambda _: self._again())

    def _stands(self, socket: _Socket) -> None:
        if self._is_over:
            socket.sendClose()
            return
        self._socket = socket
        token = self._token()
        if token is not None:
            self.send({"op": "auth", "id": 1, "token": token})
        self._opened()

    def _closed(self) -> None:
        self._socket = None
        if self._closing is not None and not self._closing.called:
            self._closing.callback(None)
        self._again()

    def _again(self) -> None:
        if self._is_over:
            return
        self._urls.append(self._urls.pop(0))
        self._reactor.callLater(self._pause_s, self._connect)
        self._pause_s = min(MAX_PAUSE_S, self._pause_s * 2)
