"""Twisted's HTTP server, opened: a channel that says where its parser stands, and a request that stays as it was sent.

A channel passes through these states; the fast lane may answer only in the first, where Twisted's parser holds nothing:

=====================  =========================================  ===================================================
state                  what the next byte is                      told by
=====================  =========================================  ===================================================
between requests       the first of a request, or none comes      `OpenChannel.is_between_requests`
reading a head         some of a head                             `OpenChannel.is_before_body`
reading a body         some of a body                             not `is_before_body`, until `request_read`
answering              of a later request; kept, up to a bound    `OpenChannel.is_answering`
taken over             for another protocol                       since `OpenChannel.take_behind`
=====================  =========================================  ===================================================
"""

from __future__ import annotations

from io import BytesIO
from typing import Any

from twisted.internet.interfaces import ITCPTransport
from twisted.web.http import HTTPChannel
from twisted.web.http_headers import Headers
from twisted.web.server import Request, Site

from .sockets import write_now


class OpenChannel(HTTPChannel):
    """One connection from a client, with verbs for what Twisted keeps to itself, and hooks with plain names."""

    transport: ITCPTransport | None
    site: Any
    _networkProducer: Any = None
    _HTTPChannel__first_line: int

    # Where the parser stands

    @property
    def is_between_requests(self) -> bool:
        """Whether nothing is begun: no byte of a request is kept, none is being answered, and another may come."""
        return (
            not self.requests
            and not self._buffer
            and not self._busyReceiving
            and bool(self.line_mode)
            and self._HTTPChannel__first_line == 1
            and bool(self.persistent)
        )

    @property
    def is_before_head(self) -> bool:
        """Whether the line that comes is the first one of a request."""
        return bool(self._HTTPChannel__first_line == 1)

    @property
    def is_before_body(self) -> bool:
        """Whether a head is being read, or waited for: no body, and no answer."""
        return not self._handlingRequest and self._transferDecoder is None

    @property
    def is_answering(self) -> bool:
        """Whether a request of Twisted's has come in, all of it or some, that is not answered yet."""
        return bool(self.requests)

    @property
    def is_client_behind(self) -> bool:
        """Whether the transport holds answers that the client does not read."""
        return self._waitingForTransport

    @property
    def is_head_too_large(self) -> bool:
        """Whether the head that is being read has more bytes or lines than a head may have."""
        return self._receivedHeaderSize > self.totalHeadersSize or self._receivedHeaderCount > self.maxHeaders

    @property
    def target(self) -> bytes:
        """Path and query of the request whose head was read last, while its body is read."""
        target: bytes = self._path
        return target

    @property
    def method(self) -> str:
        """Its method."""
        return str(self._command.decode("latin-1"))

    def bound_heads(self, most_bytes: int) -> None:
        """From now on heads longer than this are refused, and so is one line of that length."""
        self.totalHeadersSize = self.MAX_LENGTH = most_bytes

    # Reading and writing

    def stop_reading(self) -> None:
        """Let the bytes of the client wait in the kernel, and then with the client."""
        self._networkProducer.pauseProducing()

    def go_on_reading(self) -> None:
        """Take bytes of the client again."""
        self._networkProducer.resumeProducing()

    def drop_what_comes(self) -> None:
        """Read on, so that the client can finish its sending, and hand all of it to `rawDataReceived`."""
        self.setRawMode()
        if self._networkProducer is not None:
            self.go_on_reading()

    def take_behind(self) -> bytes:
        """What has arrived behind the request that is being answered; Twisted keeps none of it any more."""
        behind: bytes = b"".join(self._dataBuffer) + self._buffer
        self._dataBuffer, self._buffer = [], b""
        return behind

    def send_now(self, data: bytes) -> None:
        """Past Twisted's request: to the kernel at once, if nothing waits before it."""
        write_now(self.transport, data)

    # What happens: for subclasses to override

    def head_read(self, headers: Headers, has_body: bool) -> bool:
        """A head is complete.

        :returns: whether to go on with the request.
        """
        return True

    def request_read(self) -> None:
        """A request is complete, and is handed on next."""

    def head_malformed(self) -> None:
        """What was read is no HTTP/1.1, or too much of it: answer, and close. Twisted would answer without a body."""
        raise NotImplementedError

    def may_invite_body(self) -> bool:
        """Whether to send ``100 Continue`` to a client that waits for it."""
        return True

    # Twisted's names for that

    def allHeadersReceived(self) -> None:
        """See `head_read`."""
        if self.head_read(self.requests[-1].requestHeaders, self.length != 0):
            super().allHeadersReceived()

    def allContentReceived(self) -> None:
        """See `request_read`."""
        self.request_read()
        super().allContentReceived()

    def _respondToBadRequestAndDisconnect(self) -> None:
        self.head_malformed()

    def _send100Continue(self) -> None:
        if self.may_invite_body():
            super()._send100Continue()

    def requestDone(self, request: Request) -> None:
        """Twisted does not stop reading if the transport has filled up with the answer that ends here."""
        super().requestDone(request)
        if self._waitingForTransport and not self._handlingRequest:
            self._networkProducer.pauseProducing()


class OpenRequest(Request):
    """One request: its body stays in memory, forms in it are not parsed, and segments of its path keep their escapes.

    :ivar query: behind the first question mark.
    """

    channel: OpenChannel
    content: BytesIO
    query = b""

    def keep_body_in_memory(self) -> None:
        """Call in `gotLength`. Twisted writes a body over 100 kB to a temporary file, in clear text."""
        self.content = BytesIO()

    def requestReceived(self, command: bytes, path: bytes, version: bytes) -> None:
        """The whole request is here; `process` has it answered."""
        self.content.seek(0)
        self.method, self.uri, self.clientproto = command, path, version
        self.path, _, self.query = path.partition(b"?")
        self.args = {}
        self.process()

    def getRequestHostname(self) -> bytes:
        """Klein routes by it, and this node has the same routes under every name. What a client sends as ``Host`` may
        be no name at all, which is one of its own making and no failure to be logged."""
        return b"localhost"

    def render_as_sent(self) -> None:
        """Have the site's resource answer. It finds the path cut at slashes and otherwise as it was sent: ``%2F`` is
        none of them."""
        self.site: Site = self.channel.site
        self.prepath: list[bytes] = []
        self.postpath = self.path[1:].split(b"/")
        self.render(self.site.resource)

    @property
    def is_connected(self) -> bool:
        """Whether there is a channel to answer on: the client is there, and has not got all of the answer."""
        return getattr(self, "channel", None) is not None

    @property
    def is_begun(self) -> bool:
        """Whether some of the answer has been written."""
        return bool(self.startedWriting)

    def send_chunks(self, chunks: list[bytes]) -> None:
        """Send some of the answer, in one go.

        :param chunks: each within the frame of a chunk (RFC 9112, section 7.1). Twisted would make that for each client
            anew.
        """
        if self.chunked:
            self.channel.send_now(b"".join(chunks))
        else:  # HTTP/1.0 knows no chunks
            self.write(b"".join([chunk.split(b"\r\n", 1)[1][:-2] for chunk in chunks]))
