"""The HTTP request: Twisted's own, with a body that is bounded as it arrives, taken in when there is time for it."""

from __future__ import annotations

import re
from urllib.parse import parse_qsl, unquote_to_bytes

from twisted.internet.protocol import connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure

from dynatwist.api.admission import Body
from dynatwist.api.request import Certificate, Request
from dynatwist.api.source import Proxies
from dynatwist.errors import ApiError
from dynatwist.twisted_inside.http import OpenRequest

from .channel import BoundedChannel

_LISTS = ("x-forwarded-for", "forwarded")
"""Each proxy may add a line of its own (RFC 9110, section 5.3)."""
_BAD_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")


def _is_utf8(path: bytes) -> bool:
    try:
        path.decode()
    except UnicodeDecodeError:
        return False
    return True


def headers_of(request: OpenRequest) -> dict[str, str]:
    """Lower-case names to the last value of each; lines that name the way through proxies are one list."""
    headers = {}
    for raw, values in request.requestHeaders.getAllRawHeaders():
        name = raw.decode("latin-1").lower()
        value = values[-1] if len(values) == 1 or name not in _LISTS else b", ".join(values)
        headers[name] = value.decode("latin-1")
    return headers


class BoundedRequest(OpenRequest):
    """See the module.

    :ivar started_s: when all of it was there, by the reactor's clock.
    """

    log = Logger()
    channel: BoundedChannel
    started_s = 0.0
    _is_gone = False
    _body: Body | None = None

    def gotLength(self, length: int | None) -> None:
        """The head is complete: refuse a body from whom none is taken, before it is kept."""
        self.keep_body_in_memory()
        if length == 0:
            return
        channel = self.channel
        try:
            self._body = channel.site.admission.admit(channel.target, headers_of(self), length, self.certificate())
        except ApiError as error:
            channel.refuse(error)

    def certificate(self) -> Certificate | None:
        """What its client has shown on the connection. What a browser sends may be any page's wish (`Origins`), and no
        page can be asked which certificate it shows: there only a token counts."""
        if self.channel.site.origins.is_browser(headers_of(self)):
            return None
        return self.channel.certificate()

    def handleContentChunk(self, data: bytes) -> None:
        """Some of the body: refuse one that turns out to be too long."""
        if self.channel.refused or self._body is None:
            return
        try:
            self._body.arrives(len(data))
        except ApiError as error:
            self.channel.refuse(error)
        else:
            super().handleContentChunk(data)

    def requestReceived(self, command: bytes, path: bytes, version: bytes) -> None:
        """The whole request is here."""
        if not self.channel.refused:
            super().requestReceived(command, path, version)

    def process(self) -> None:
        """Hand over to the site's resource, when it is this one's turn."""
        self.started_s = self.channel.site.reactor.seconds()
        size_bytes = self._body.size_bytes if self._body is not None else 0
        self.channel.take_in(size_bytes, self._begin)

    def _begin(self) -> None:
        """Have it answered, if it may be: by Klein, or at once."""
        if self._is_gone:
            return  # its client did not wait
        try:
            shared = self.channel.site.origins.check(self.method.decode("latin-1"), headers_of(self), self.path)
        except ApiError as error:
            self.channel.refuse(error)
            return
        if shared:
            for name, value in shared.items():
                self.setHeader(name.encode(), value.encode("latin-1"))
            if self.method == b"OPTIONS":
                self.setResponseCode(204)
                self.finish()
                return
        if not self.path.startswith(b"/") or not _is_utf8(self.path) or not self.method.isalpha():
            self.channel.refuse(ApiError(400, "bad_request", "the request needs a known method and a path in UTF-8"))
            return
        self.render_as_sent()

    def processingFailed(self, reason: Failure) -> Failure:
        """A bug: logged, and answered without telling the client anything of it."""
        self.log.failure("a handler failed", failure=reason)
        if self.is_begun:
            self.channel.loseConnection()
        else:
            self.setResponseCode(500)
            self.setHeader(b"content-type", b"application/json")
            self.write(b'{"error":"internal error; see the log of the node","code":"internal"}')
            self.finish()
        return reason

    def finish(self) -> None:
        """It is answered."""
        super().finish()
        self._is_over()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Its client is gone."""
        self._is_gone = True
        super().connectionLost(reason)
        self._is_over()

    def _is_over(self) -> None:
        if self._body is not None:
            self._body.is_over()


def parsed(request: BoundedRequest, proxies: Proxies) -> Request:
    """A twisted.web request, parsed; 400 where it makes no sense."""
    headers = headers_of(request)
    if headers.get("content-encoding", "identity").lower() != "identity":
        raise ApiError(415, "unsupported_encoding", "send the body without Content-Encoding")
    query = query_of(request)
    address = proxies.client_of(request.getClientAddress().host, headers)
    return Request(query, headers, request.content.read(), address, request.certificate())


def query_of(request: BoundedRequest) -> dict[str, str]:
    """What a request names in its query: the last value of each; 400 where it makes no sense."""
    if not request.query:
        return {}
    try:
        pairs = parse_qsl(request.query.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=64)
    except (ValueError, UnicodeDecodeError):
        raise ApiError(400, "bad_query", "the query is not percent-encoded UTF-8") from None
    return dict(pairs)


def segment(text: str) -> str:
    """A decoded path segment."""
    raw = text.encode()
    if _BAD_ESCAPE.search(raw):
        raise ApiError(400, "bad_path", "the path contains a % that begins no escape; write it as %25")
    try:
        return unquote_to_bytes(raw).decode()
    except UnicodeDecodeError:
        raise ApiError(400, "bad_path", "the path is not percent-encoded UTF-8") from None
