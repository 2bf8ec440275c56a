"""Autobahn's websocket, opened: a connection taken over from HTTP, frames written as they are, endings with a reason.

A socket goes from its opening handshake (RFC 6455, section 4) to open, closing and closed. `OpenSocket.is_standing`
tells whether messages may be sent; whatever else Autobahn knows of the state stays with it.
"""

from __future__ import annotations

from io import BytesIO
from typing import Any

from autobahn.twisted.resource import WebSocketResource
from autobahn.twisted.websocket import WebSocketServerFactory, WebSocketServerProtocol
from autobahn.util import encode_truncate
from twisted.internet.interfaces import IAddress

from .http import OpenRequest
from .sockets import write_now

MAX_REASON_BYTES = 123
"""A close frame has 125 (RFC 6455, section 5.5), and its code takes two."""


class OpenSocket(WebSocketServerProtocol):
    """One client's socket, with verbs for what Autobahn keeps to itself, and hooks with plain names."""

    transport: Any

    def go_by(self, factory: Sockets) -> None:
        """Take a factory's options over. Autobahn would do so when the connection is made, and write them all into a
        line for its debugging log, even if nobody keeps that: a seventh of what it costs to accept a socket."""
        self.factory = factory
        for name in self.CONFIG_ATTRS:
            setattr(self, name, getattr(factory, name))
        self.CONFIG_ATTRS = []

    @property
    def is_standing(self) -> bool:
        """Whether the handshake is done and nobody has said goodbye."""
        return bool(self.state == self.STATE_OPEN)

    @property
    def has_failed(self) -> bool:
        """Whether this side has found a fault in what the client sends, and reads nothing of it any more."""
        return bool(self.failedByMe)

    @property
    def ends_cleanly(self) -> bool:
        """Whether both sides have said goodbye."""
        return bool(self.wasClean)

    @property
    def message_bytes(self) -> int:
        """How much the message that is being read has, by the frames that were announced so far."""
        return self.message_data_total_length

    def stop_reading(self) -> None:
        """Let the bytes of the client wait in the kernel, and then with the client."""
        self.transport.pauseProducing()

    def go_on_reading(self) -> None:
        """Take bytes of the client again."""
        self.transport.resumeProducing()

    def ping_no_more(self) -> None:
        """Have Autobahn send no pings by itself, but for one that is due: somebody else does from now on."""
        self.autoPingInterval = 0

    def give_up(self) -> None:
        """End the connection at once, without a word."""
        self.dropConnection(abort=True)

    def say_goodbye(self, code: int, reason: str) -> None:
        """Begin to close, with any code of RFC 6455, section 7.4.1; Autobahn's own verb takes only some of them."""
        if self.is_standing:
            self.sendCloseFrame(code, encode_truncate(reason, MAX_REASON_BYTES), isReply=False)

    def fail_too_long(self, size_bytes: int, most_bytes: int, reason: str) -> None:
        """A message is longer than is taken: close with code 1009."""
        self._max_message_size_exceeded(size_bytes, most_bytes, reason)

    def send_frames_now(self, payloads: list[bytes]) -> None:
        """Send text messages in one go, at once if nothing waits before, without Autobahn's way through its options."""
        if self.send_queue:
            for payload in payloads:
                self.sendMessage(payload)
        else:
            write_now(self.transport, b"".join([text_head(len(payload)) + payload for payload in payloads]))

    # What happens: for subclasses to override

    def handshake_refused(self, reason: str) -> bytes:
        """Autobahn does not like the handshake.

        :returns: the answer to the client, head and body; the connection is closed behind it.
        """
        raise NotImplementedError

    def closing(self) -> None:
        """The connection is being closed from this side; a client that does not read is waited for until it ends."""

    # Autobahn's names for that

    def failHandshake(self, reason: str, code: int = 400, responseHeaders: Any = None) -> None:
        """See `handshake_refused`."""
        self.wasNotCleanReason = reason
        self.sendData(self.handshake_refused(reason))
        self.dropConnection(abort=False)

    def _closeConnection(self, abort: bool = False) -> None:
        super()._closeConnection(abort)
        self.closing()


def text_head(size_bytes: int) -> bytes:
    """The head of a server's text frame (RFC 6455, section 5.2)."""
    if size_bytes < 126:
        return b"\x81%c" % size_bytes
    if size_bytes < 1 << 16:
        return b"\x81\x7e" + size_bytes.to_bytes(2)
    return b"\x81\x7f" + size_bytes.to_bytes(8)


class Sockets(WebSocketServerFactory):
    """Gives requests' connections to websockets. Autobahn wants a factory; this one has its next socket already.

    :param options: Autobahn's, see ``WebSocketServerFactory.setProtocolOptions``.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__()
        self.setProtocolOptions(**options)
        self._resource = WebSocketResource(self)
        self._next: OpenSocket | None = None

    def take_over(self, request: OpenRequest, socket: OpenSocket, behind: bytes) -> None:
        """Give a request's connection to a websocket, which answers the request with its handshake.

        :param behind: what has arrived behind the request; the socket reads it first.
        """
        self._next = socket
        request.content = BytesIO(behind)
        self._resource.render(request)

    def buildProtocol(self, addr: IAddress | None) -> OpenSocket | None:
        """The socket that takes a connection over."""
        socket, self._next = self._next, None
        if socket is not None:
            socket.go_by(self)
        return socket
