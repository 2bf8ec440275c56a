"""The HTTP channel and request: Twisted's own, with bounds that hold as bytes arrive, and errors that are objects.

What Twisted would do otherwise: bodies over 100 kB go to a temporary file in clear text, bad requests get an empty
400, and a head may arrive for as long as it likes.
"""

from __future__ import annotations

from http import HTTPStatus
from io import BytesIO
from typing import Any

import msgspec
from twisted.internet.protocol import Protocol
from twisted.web import http
from twisted.web.server import Request as TwistedRequest
from twisted.web.server import Site

from dynatwist.api.intake import Intake
from dynatwist.runtime import Timer, cancel

from .lane import FastLane, write_now

HEAD_TIMEOUT_S = 20.0
IDLE_TIMEOUT_S = 75.0
LINGER_S = 1.0
MAX_BEHIND_BYTES = 64 << 10
"""How much is read behind a request that is not answered yet."""


def _is_utf8(path: bytes) -> bool:
    try:
        path.decode()
    except UnicodeDecodeError:
        return False
    return True


class BoundedRequest(TwistedRequest):
    """A request whose body is kept in memory, up to a limit, and whose path segments stay percent-encoded."""

    received_bytes = 0
    started_s = 0.0

    def gotLength(self, length: int | None) -> None:
        """The head is complete: refuse a body that says it is too long."""
        self.content = BytesIO()
        limit = self.channel.site.max_body_bytes
        if length is not None and length > limit:
            self.channel.refuse(413, "too_large", f"the body has {length} bytes; the limit is {limit}")

    def handleContentChunk(self, data: bytes) -> None:
        """Some of the body: refuse one that turns out to be too long."""
        self.received_bytes += len(data)
        limit = self.channel.site.max_body_bytes
        if self.received_bytes > limit:
            self.channel.refuse(413, "too_large", f"the body has more than {limit} bytes, which is the limit")
        elif not self.channel.refused:
            super().handleContentChunk(data)

    def requestReceived(self, command: bytes, path: bytes, version: bytes) -> None:
        """The whole request is here. Forms are not parsed, and bodies not interpreted."""
        if self.channel.refused:
            return
        self.content.seek(0)
        self.method, self.uri, self.clientproto = command, path, version
        self.path, _, self.query = path.partition(b"?")
        self.args = {}
        self.process()

    def process(self) -> None:
        """Hand over to the site's resource; the segments stay as they were sent, so that ``%2F`` is no slash."""
        site = self.site = self.channel.site
        self.started_s = site.reactor.seconds()
        self.prepath: list[bytes] = []
        self.postpath = self.path[1:].split(b"/")
        if not self.path.startswith(b"/") or not _is_utf8(self.path) or not self.method.isalpha():
            self.channel.refuse(400, "bad_request", "the request needs a known method and a path in UTF-8")
            return
        self.render(site.resource)

    def processingFailed(self, reason: Any) -> Any:
        """A bug: logged, and answered without telling the client anything of it."""
        self._log.failure("a handler failed", failure=reason)
        if self.startedWriting:
            self.channel.loseConnection()
        else:
            self.setResponseCode(500)
            self.setHeader(b"content-type", b"application/json")
            self.write(b'{"error":"internal error; see the log of the node","code":"internal"}')
            self.finish()
        return reason


class BoundedChannel(http.HTTPChannel):
    """One connection from a client."""

    refused = False
    _head_timer: Timer | None = None
    _in_lane = False
    _is_held = False
    _is_gone = False
    _behind = b""
    _address = ""

    def connectionMade(self) -> None:
        """Note the connection, so that a stop can close it."""
        self._address = getattr(self.transport.getPeer(), "host", "")
        self.totalHeadersSize = self.site.max_head_bytes
        self.MAX_LENGTH = self.site.max_head_bytes
        self.site.channels.add(self)
        super().connectionMade()

    def dataReceived(self, data: bytes) -> None:
        """Bytes, cut anywhere."""
        if self.refused:
            return
        if self._in_lane:
            self._behind += data
            if len(self._behind) > MAX_BEHIND_BYTES and not self._waitingForTransport:
                self._networkProducer.pauseProducing()
            return
        lane = self.site.lane
        if lane is not None and self._is_between_requests():
            if self._waitingForTransport:
                self._hold(data)
                return
            if not self.site.intake.has_time():
                self._in_lane, self._behind = True, data
                self.site.intake.postpone(self._go_on)
                return
            data = self._run_lane(lane, data)
            if not data:
                return
        if self._head_timer is None and not self._handlingRequest and self._transferDecoder is None:
            self._head_timer = self.callLater(HEAD_TIMEOUT_S, self._head_too_slow)
        super().dataReceived(data)

    @property
    def is_busy(self) -> bool:
        """Whether a request is being answered."""
        return bool(self.requests) or self._in_lane

    def _is_between_requests(self) -> bool:
        """Whether Twisted's parser is where it begins, so that the next byte is the first of a request."""
        return (
            not self.requests
            and not self._buffer
            and not self._busyReceiving
            and bool(self.line_mode)
            and self._HTTPChannel__first_line == 1
            and bool(self.persistent)
        )

    def _run_lane(self, lane: FastLane, data: bytes) -> bytes:
        """Have the fast lane answer what it can.

        :returns: what it leaves to Twisted.
        """
        self.resetTimeout()
        while data:
            self._in_lane = True
            took = lane.take(data, self._address, self._answer)
            if not took:
                self._in_lane = False
                return data
            data = data[took:]
            if self._in_lane:  # not answered yet
                self._behind = data
                return b""
            if self._waitingForTransport:
                self._hold(data)
                return b""
        return b""

    def _hold(self, data: bytes) -> None:
        """The client does not read its answers: it gets no more of them until it does."""
        self._in_lane, self._is_held, self._behind = True, True, data
        self._networkProducer.pauseProducing()

    def resumeProducing(self) -> None:
        """The client has read."""
        super().resumeProducing()
        if self._is_held:
            self._is_held = False
            self._go_on()

    def requestDone(self, request: Any) -> None:
        """A request of Twisted's was answered; Twisted does not pause if the transport fills up with the answer."""
        super().requestDone(request)
        if self._waitingForTransport and not self._handlingRequest:
            self._networkProducer.pauseProducing()

    def _answer(self, answer: bytes) -> None:
        """The fast lane's answer."""
        if not self._is_gone and not self.refused:
            write_now(self.transport, answer)
        self._go_on()

    def _go_on(self) -> None:
        """Take in what arrived meanwhile."""
        self._in_lane = False
        if self._is_gone or self.refused:
            return
        data, self._behind = self._behind, b""
        if len(data) > MAX_BEHIND_BYTES and not self._waitingForTransport:
            self._networkProducer.resumeProducing()
        if data:
            self.dataReceived(data)

    def allHeadersReceived(self) -> None:
        """The head is complete."""
        self._cancel_head_timer()
        super().allHeadersReceived()

    def _send100Continue(self) -> None:
        """Do not invite a body that was refused already."""
        if not self.refused:
            super()._send100Continue()

    def _head_too_slow(self) -> None:
        self._head_timer = None
        self.refuse(408, "too_slow", f"the head of the request took longer than {HEAD_TIMEOUT_S:g} s")

    def _cancel_head_timer(self) -> None:
        cancel(self._head_timer)
        self._head_timer = None

    def lineLengthExceeded(self, line: bytes) -> None:
        """One line is longer than the whole head may be."""
        self.refuse(431, "head_too_large", f"the head of the request exceeds {self.site.max_head_bytes} bytes")

    def _respondToBadRequestAndDisconnect(self) -> None:
        if self._receivedHeaderSize > self.totalHeadersSize or self._receivedHeaderCount > self.maxHeaders:
            self.lineLengthExceeded(b"")
        else:
            self.refuse(400, "bad_request", "this is not a well-formed HTTP/1.1 request")

    def refuse(self, status: int, code: str, text: str) -> None:
        """Answer with an error object, then close; what still arrives meanwhile is dropped."""
        if self.refused:
            return
        self.refused = True
        self._cancel_head_timer()
        self.setTimeout(None)
        body = msgspec.json.encode({"error": text, "code": code})
        phrase = HTTPStatus(status).phrase
        head = (
            f"HTTP/1.1 {status} {phrase}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        )
        if self.transport is None:
            return
        self.transport.write(head.encode() + body)
        self.site.metrics.observe("BAD", status, 0.0)
        # Closing with unread bytes would reset the connection and take the answer away from the client.
        self.setRawMode()
        if getattr(self, "_networkProducer", None) is not None:
            self._networkProducer.resumeProducing()
        self.callLater(LINGER_S, self._end)

    def _end(self) -> None:
        if self.transport is not None:
            self.transport.loseConnection()

    def rawDataReceived(self, data: bytes) -> None:
        """Body bytes, or what is dropped after a refusal."""
        if not self.refused:
            super().rawDataReceived(data)

    def timeoutConnection(self) -> None:
        """An idle connection; not worth a log line."""
        self.loseConnection()

    def connectionLost(self, reason: Any) -> None:
        """The client is gone; what it sent and was not begun with is forgotten."""
        self._is_gone = True
        self._cancel_head_timer()
        self.site.channels.discard(self)
        super().connectionLost(reason)


class _Full(Protocol):
    """Says that there is no room, and closes."""

    def connectionMade(self) -> None:
        body = b'{"error":"this node has as many connections as it may; try another node, or later","code":"full"}'
        head = b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nRetry-After: 1\r\n"
        self.transport.write(head + b"Content-Length: %d\r\nConnection: close\r\n\r\n" % len(body) + body)
        self.transport.loseConnection()


class BoundedSite(Site):
    """The factory of channels; writes no access log, which would name keys and users.

    :param max_head_bytes: bound on a request's head.
    :param max_body_bytes: bound on its body.
    :param max_channels: bound on connections.
    """

    protocol = BoundedChannel
    requestFactory = BoundedRequest
    noisy = False
    lane: FastLane | None = None
    intake: Intake

    def __init__(
        self,
        resource: Any,
        reactor: Any,
        metrics: Any,
        max_head_bytes: int,
        max_body_bytes: int,
        max_channels: int = 1 << 20,
    ) -> None:
        super().__init__(resource, reactor=reactor, timeout=IDLE_TIMEOUT_S)
        self.metrics = metrics
        self.max_head_bytes = max_head_bytes
        self.max_body_bytes = max_body_bytes
        self.channels: set[BoundedChannel] = set()
        self.max_channels = max_channels

    def buildProtocol(self, addr: Any) -> Any:
        """A channel; or, where all descriptors are in use, a refusal: whoever is connected stays so."""
        if len(self.channels) >= self.max_channels:
            return _Full()
        return super().buildProtocol(addr)

    def log(self, request: Any) -> None:
        """No access log."""
