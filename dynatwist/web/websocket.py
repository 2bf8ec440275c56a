"""The websocket at ``/ws``: Autobahn's protocol, taken over from the HTTP channel on the same port."""

from __future__ import annotations

from typing import Any

import msgspec
from autobahn.twisted.resource import WebSocketResource
from autobahn.twisted.websocket import WebSocketServerFactory, WebSocketServerProtocol
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.logger import Logger

from dynatwist.api.live import Session
from dynatwist.auth.tokens import Identity
from dynatwist.core import Core

from .lane import write_now

SUBPROTOCOL = "dynakv.v1.json"
_log = Logger()


class KvSocket(WebSocketServerProtocol):
    """One client's socket."""

    session: Session
    _paused = False

    def makeConnection(self, transport: Any) -> None:
        """Take the connection over, with back-pressure: the HTTP channel is the transport's producer until then."""
        transport.unregisterProducer()
        super().makeConnection(transport)
        transport.registerProducer(self, True)

    def onConnect(self, request: Any) -> str | None:
        """Choose the subprotocol."""
        return SUBPROTOCOL if SUBPROTOCOL in request.protocols else None

    def onOpen(self) -> None:
        """The handshake is done."""
        core: Core = self.factory.core
        self.session = Session(
            core.context, core.data, self.factory.identity, str(self.peer), self._send_text, self._drain
        )
        core.metrics.websocket_connections += 1
        self.factory.sockets.add(self)

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        """One frame from the client."""
        if isBinary:
            error = {"id": None, "error": "send text frames with JSON", "code": "binary_frame"}
            self._send_text(msgspec.json.encode(error))
            return
        ensureDeferred(self.session.receive(payload)).addErrback(self._failed)

    def _failed(self, failure: Any) -> None:
        _log.failure("a websocket operation failed", failure=failure)
        error = {"id": None, "error": "internal error; see the log of the node", "code": "internal"}
        self._send_text(msgspec.json.encode(error))

    def _send_text(self, payload: bytes) -> None:
        if self.state == self.STATE_OPEN:
            self.sendMessage(payload)

    def _drain(self) -> None:
        """Send events while there is room."""
        while not self._paused and self.state == self.STATE_OPEN:
            frame = self.session.take()
            if frame is None:
                return
            self._send_event(frame)

    def _send_event(self, payload: bytes) -> None:
        """One text frame of the server's (RFC 6455, section 5.2), without Autobahn's way through all options."""
        if self.send_queue:
            self.sendMessage(payload)
            return
        size = len(payload)
        if size < 126:
            head = b"\x81%c" % size
        elif size < 1 << 16:
            head = b"\x81\x7e" + size.to_bytes(2)
        else:
            head = b"\x81\x7f" + size.to_bytes(8)
        write_now(self.transport, head + payload)

    def onClose(self, wasClean: bool, code: int, reason: str) -> None:
        """The socket is gone."""
        if self in self.factory.sockets:
            self.factory.sockets.discard(self)
            self.factory.core.metrics.websocket_connections -= 1
            self.session.close()

    # The transport's producer interface

    def pauseProducing(self) -> None:
        """The client does not read: send no more events, and take no more requests from it."""
        self._paused = True
        self.transport.pauseProducing()

    def resumeProducing(self) -> None:
        """There is room again."""
        self._paused = False
        self.transport.resumeProducing()
        if self.state == self.STATE_OPEN:
            self._drain()

    def stopProducing(self) -> None:
        """The connection ends."""


def take_over(request: Any, core: Core, identity: Identity | None, sockets: set[Any]) -> Deferred[None]:
    """Turn a request into a websocket.

    :param identity: who it is, when the handshake said so.
    :returns: never fires: the request is answered by the socket's own handshake.
    """
    factory = WebSocketServerFactory()
    factory.protocol = KvSocket
    factory.core, factory.identity, factory.sockets = core, identity, sockets
    factory.setProtocolOptions(
        webStatus=False,
        maxFramePayloadSize=core.config.limits.body_bytes,
        maxMessagePayloadSize=core.config.limits.body_bytes,
        openHandshakeTimeout=10,
        closeHandshakeTimeout=2,
        failByDrop=False,
        autoPingInterval=30,
        autoPingTimeout=30,
        tcpNoDelay=True,
    )
    request.channel.setTimeout(None)
    WebSocketResource(factory).render(request)
    return Deferred()
