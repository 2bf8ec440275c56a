"""The HTTP request: Twisted's own, with a body that is bounded as it arrives, and path segments as they were sent.

What Twisted would do otherwise: bodies over 100 kB go to a temporary file in clear text, and forms are parsed.
"""

from __future__ import annotations

from io import BytesIO
from typing import Any

from twisted.web.server import Request as TwistedRequest

from dynatwist.api.admission import Body
from dynatwist.errors import ApiError

_LISTS = ("x-forwarded-for", "forwarded")
"""Each proxy may add a line of its own (RFC 9110, section 5.3)."""


def _is_utf8(path: bytes) -> bool:
    try:
        path.decode()
    except UnicodeDecodeError:
        return False
    return True


def headers_of(request: Any) -> dict[str, str]:
    """Lower-case names to the last value of each; lines that name the way through proxies are one list."""
    headers = {}
    for raw, values in request.requestHeaders.getAllRawHeaders():
        name = raw.decode("latin-1").lower()
        value = values[-1] if len(values) == 1 or name not in _LISTS else b", ".join(values)
        headers[name] = value.decode("latin-1")
    return headers


class BoundedRequest(TwistedRequest):
    """See the module."""

    started_s = 0.0
    _is_gone = False
    _body: Body | None = None

    def gotLength(self, length: int | None) -> None:
        """The head is complete: refuse a body from whom none is taken, before it is kept."""
        self.content = BytesIO()
        if length == 0:
            return
        channel = self.channel
        try:
            self._body = channel.site.admission.admit(channel._path, headers_of(self), length)
        except ApiError as error:
            channel.refuse(error)

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
        """The whole request is here. Forms are not parsed, and bodies not interpreted."""
        if self.channel.refused:
            return
        self.content.seek(0)
        self.method, self.uri, self.clientproto = command, path, version
        self.path, _, self.query = path.partition(b"?")
        self.args = {}
        self.process()

    def getRequestHostname(self) -> bytes:
        """Klein routes by it, and this node has the same routes under every name. What a client sends as ``Host`` may
        be no name at all, which is one of its own making and no failure to be logged; `Origins` looks at it."""
        return b"localhost"

    def process(self) -> None:
        """Hand over to the site's resource, when it is this one's turn."""
        self.started_s = self.channel.site.reactor.seconds()
        size_bytes = self._body.size_bytes if self._body is not None else 0
        self.channel.take_in(size_bytes, self._begin)

    def _begin(self) -> None:
        """The segments stay as they were sent, so that ``%2F`` is no slash."""
        if self._is_gone:
            return  # its client did not wait
        site = self.site = self.channel.site
        self.prepath: list[bytes] = []
        self.postpath = self.path[1:].split(b"/")
        try:
            shared = site.origins.check(self.method.decode("latin-1"), headers_of(self))
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

    def finish(self) -> None:
        """It is answered."""
        super().finish()
        self._is_over()

    def connectionLost(self, reason: Any) -> None:
        """Its client is gone."""
        self._is_gone = True
        super().connectionLost(reason)
        self._is_over()

    def _is_over(self) -> None:
        if self._body is not None:
            self._body.is_over()
