"""The HTTP channel: Twisted's own, with bounds that hold as bytes arrive and wait, and errors that are objects.

What Twisted would do otherwise: bad requests get an empty 400, heads and bodies may arrive for as long as they like,
and answers may wait for ever for a client that does not read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Protocol

from twisted.internet.interfaces import ITCPTransport
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from twisted.web.http_headers import Headers

from dynatwist.api.admission import Admission
from dynatwist.api.audit import REFUSED, Audit
from dynatwist.api.heavy import HEAVY_BYTES, Heavy
from dynatwist.api.intake import Intake
from dynatwist.api.lane import FastLane
from dynatwist.api.limits import Limits
from dynatwist.api.origins import Origins
from dynatwist.api.request import Certificate
from dynatwist.api.source import source_of
from dynatwist.auth.user import ADMIN_UID
from dynatwist.budget import Budget, Charge
from dynatwist.errors import ApiError
from dynatwist.metrics import Metrics
from dynatwist.runtime import Clock, Timer, cancel
from dynatwist.twisted_inside.http import OpenChannel

from .closing import closing_answer
from .unread import Unread

LINGER_S = 1.0
"""For a client to read why it is refused before the connection closes: a round trip, and one lost packet."""
_BLANKS = (b" ", b"\t")
ADMIN_PATH = b"/admin/"
"""All that only an administrator may do, and the login."""


def _is_plain(headers: Headers) -> bool:
    """Whether nothing in a head may be read in two ways that Twisted reads in one."""
    encodings = headers.getRawHeaders(b"transfer-encoding", [])
    return len(headers.getRawHeaders(b"host", [])) < 2 and [one.lower() for one in encodings] in ([], [b"chunked"])


class Clients(Protocol):
    """What a channel and its requests ask of the site that made them (`dynatwist.web.site`)."""

    lane: FastLane | None
    resource: object
    reactor: Clock
    limits: Limits
    budget: Budget
    admission: Admission
    origins: Origins
    intake: Intake
    heavy: Heavy
    metrics: Metrics
    audit: Audit

    def certificate_on(self, transport: object) -> Certificate | None:
        """What a client has shown on a connection, if that is to count."""

    def opened(self, channel: BoundedChannel, source: str) -> None:
        """A connection is there; nobody knows whose."""

    def known(self, channel: BoundedChannel, source: str) -> None:
        """A valid token was shown on it."""

    def closed(self, channel: BoundedChannel, source: str) -> None:
        """It is gone."""


class BoundedChannel(OpenChannel):
    """One connection from a client.

    :ivar source: what counts as its address.
    :ivar holder: whom its unread answers are charged to: the user that was answered last, at first the address.
    :ivar is_gone: whether it has ended.
    :ivar unread: of its answers, by whichever way they were written.
    """

    site: Clients
    unread: Unread
    refused = False
    source = ""
    holder = ""
    _request_timer: Timer | None = None
    _end_timer: Timer | None = None
    _of_user: Charge | None = None
    _is_stranger = True
    _reserved: ApiError | None = None
    _taken: ITCPTransport | None = None
    _origin = ""
    _shown: tuple[Certificate | None, ...] = ()
    is_gone = False

    def connectionMade(self) -> None:
        """Note the connection, so that a stop can close it; its first head is awaited from now on."""
        assert self.transport is not None
        self.source = self.holder = source_of(getattr(self.transport.getPeer(), "host", ""))
        limits = self.site.limits
        self.unread = Unread(self.site.budget.unread, limits.unread_s, self.callLater, self.dismiss)
        self.bound_heads(limits.header_bytes)
        self.site.opened(self, self.source)
        self._await("head", self.site.limits.head_s)
        super().connectionMade()

    def certificate(self) -> Certificate | None:
        """What the client has shown, once TLS is begun."""
        if not self._shown:
            self._shown = (self.site.certificate_on(self.transport),)
        return self._shown[0]

    def reserve(self, refusal: ApiError) -> None:
        """Answer the administrator on this connection and nobody else: there is no room for others.

        :param refusal: what everybody else is told.
        """
        self._reserved = refusal

    @property
    def is_reserved(self) -> bool:
        """Whether it is the administrator's."""
        return self._reserved is not None

    def dataReceived(self, data: bytes) -> None:
        """Bytes for Twisted's parser, cut anywhere."""
        if self.refused:
            return
        if self._request_timer is None and self.is_before_body:
            self._origin = ""
            self._await("head", self.site.limits.head_s)
        super().dataReceived(data)

    @property
    def is_busy(self) -> bool:
        """Whether a request is being answered."""
        return self.is_answering

    def pauseProducing(self) -> None:
        """The client reads more slowly than it is answered."""
        super().pauseProducing()
        self.stalls()

    def stalls(self) -> None:
        """Something waits in the transport from now on."""
        if not self.is_gone:
            self.unread.stalls(self.holder)

    def write(self, data: bytes) -> None:
        """Twisted's way to the transport."""
        super().write(data)
        self.unread.wrote(len(data))

    def writeSequence(self, iovec: Iterable[bytes]) -> None:
        """The same for several pieces."""
        iovec = list(iovec)
        super().writeSequence(iovec)
        self.unread.wrote(sum(map(len, iovec)))

    def send_now(self, data: bytes) -> None:
        """The same past Twisted's request, for what is to go at once."""
        super().send_now(data)
        self.unread.wrote(len(data))

    def belongs_to(self, holder: str) -> None:
        """A user with a valid token is answered on it."""
        self.holder = holder
        if holder == self.source:
            return
        if self._is_stranger:
            self._is_stranger = False
            self.site.known(self, self.source)
        if self.is_reserved:
            if holder != ADMIN_UID:
                self.callLater(0, self._end)
            return
        if self._of_user is not None:
            self._of_user.give_back()
        self._of_user = Charge(self.site.budget.user_connections, holder)
        try:
            self._of_user.take()
        except ApiError:
            self.callLater(0, self._end)  # it has this answer, and no other on this connection

    def take_in(self, size_bytes: int, call: Callable[[], None]) -> None:
        """Begin a request of Twisted's when there is time.

        :param size_bytes: of its body.
        """
        intake = self.site.intake
        if size_bytes > HEAVY_BYTES:
            self.site.heavy.begin(self.holder, size_bytes, call)
        elif self._is_stranger:
            intake.take_strange(self.source, call)
        elif intake.has_time():
            call()
        else:
            intake.postpone(call)

    def dismiss(self) -> None:
        """Close it at once: its client does not read, or has shown no token while others want to come in."""
        transport = self._taken if self._taken is not None else self.transport
        if transport is not None and not self.is_gone:
            transport.abortConnection()

    def hand_over(self) -> bytes:
        """Give the transport to whoever goes on with this connection, which stays one of the site's.

        The new protocol tells `connectionLost` when it ends.

        :returns: what has arrived behind the request.
        """
        self.await_no_more()
        self.setTimeout(None)
        self._taken = self.transport
        return self.take_behind()

    def resumeProducing(self) -> None:
        """The client has read."""
        super().resumeProducing()
        self.unread.drained()

    def lineReceived(self, line: bytes) -> None:
        """A line of a head. One that goes on with the line before (RFC 9112, section 5.2) is refused: proxies read that
        in other ways, and what is a header to one of them is none to another."""
        self._forget_page()
        if line[:1] in _BLANKS:
            self.head_malformed()
        else:
            super().lineReceived(line)

    def _forget_page(self) -> None:
        """What is wrong with a request is not for the page to read that had the one before it sent."""
        if self.is_before_head:
            self._origin = ""

    def head_read(self, headers: Headers, has_body: bool) -> bool:
        """The head is complete; a body may take its own time."""
        if not _is_plain(headers):
            self.head_malformed()
            return False
        self._origin = headers.getRawHeaders(b"origin", [b""])[-1].decode("latin-1")
        if self._reserved is not None and not self._is_for_all(self.target):
            self.refuse(self._reserved)
            return False
        self.await_no_more()
        if has_body:
            self._await("body", self.site.limits.body_s)
        return True

    def _is_for_all(self, target: bytes) -> bool:
        """What is answered also where there is no room: administrators; and browsers that ask for a page what it may
        send, since it could not read the refusal otherwise."""
        return target.startswith(ADMIN_PATH) or self.site.origins.is_preflight(self.method, self._origin)

    def request_read(self) -> None:
        """The request is complete."""
        self.await_no_more()

    def may_invite_body(self) -> bool:
        """Not one that was refused already."""
        return not self.refused

    def _await(self, what: str, limit_s: float) -> None:
        self._request_timer = self.callLater(limit_s, partial(self._too_slow, what, limit_s))

    def await_no_more(self) -> None:
        """What was awaited has come, or comes no more."""
        if self._request_timer is not None:
            cancel(self._request_timer)
            self._request_timer = None

    def _too_slow(self, what: str, limit_s: float) -> None:
        text = f"the {what} of the request took longer than {limit_s:g} s (--{what}-timeout)"
        self.refuse(ApiError(408, "too_slow", text))

    def lineLengthExceeded(self, line: bytes) -> None:
        """One line is longer than the whole head may be."""
        self._forget_page()
        limit_bytes = self.site.limits.header_bytes
        self.refuse(ApiError(431, "head_too_large", f"the head of the request exceeds {limit_bytes} bytes"))

    def head_malformed(self) -> None:
        """The head is not well-formed, or too large."""
        if self.is_head_too_large:
            self.lineLengthExceeded(b"")
        else:
            self.refuse(ApiError(400, "bad_request", "this is not a well-formed HTTP/1.1 request"))

    def refuse(self, error: ApiError) -> None:
        """Answer with an error object, then close; what still arrives meanwhile is dropped."""
        if self.refused:
            return
        self.refused = True
        self.await_no_more()
        self.setTimeout(None)
        if self.transport is None:
            return
        self.transport.write(closing_answer(error, self.site.origins.shown_to(self._origin)))
        self.site.metrics.observe("BAD", error.status, 0.0)
        if error.status in REFUSED:
            self.site.audit.note("request", error.code, address=self.source)
        # Closing with unread bytes would reset the connection and take the answer away from the client.
        self.drop_what_comes()
        self.callLater(LINGER_S, self._end)

    def _end(self) -> None:
        """Say goodbye; a client that does not answer to that, as TLS wants it, is not waited for."""
        if self.transport is not None and not self.is_gone:
            self.transport.loseConnection()
            self._dismiss_in(LINGER_S)

    def rawDataReceived(self, data: bytes) -> None:
        """Body bytes, or what is dropped after a refusal."""
        if not self.refused:
            super().rawDataReceived(data)

    def loseConnection(self) -> None:
        """The last answer is given; a client that does not read it to its end is not waited for."""
        super().loseConnection()
        self._dismiss_in(self.site.limits.unread_s)

    def _dismiss_in(self, delay_s: float) -> None:
        """Unless the connection has ended by itself by then; the first such word counts."""
        if self._end_timer is None and not self.is_gone:
            self._end_timer = self.callLater(delay_s, self.dismiss)

    def timeoutConnection(self) -> None:
        """An idle connection; not worth a log line."""
        self._end()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The client is gone; what it sent and was not begun with is forgotten."""
        self.is_gone = True
        self.await_no_more()
        cancel(self._end_timer)
        self.unread.drained()
        if self._of_user is not None:
            self._of_user.give_back()
        self.site.closed(self, self.source)
        super().connectionLost(reason)
