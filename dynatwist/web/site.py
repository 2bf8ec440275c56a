"""The factory of the clients' connections: how many there are, whose, and who has to leave when there are too many."""

from __future__ import annotations

from typing import Any

from twisted.internet.interfaces import IAddress, ILoggingContext, IReactorTime, ITCPTransport
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.web.http import Request
from twisted.web.resource import IResource
from twisted.web.server import Site
from zope.interface import implementer

from dynatwist.api.admission import Admission
from dynatwist.api.audit import Audit
from dynatwist.api.heavy import Heavy
from dynatwist.api.intake import Intake
from dynatwist.api.lane import FastLane
from dynatwist.api.limits import Limits
from dynatwist.api.origins import Origins
from dynatwist.api.request import Certificate
from dynatwist.api.source import Proxies, source_of
from dynatwist.budget import ADMIN_CONNECTIONS, Budget
from dynatwist.errors import ApiError
from dynatwist.metrics import Metrics
from dynatwist.runtime import Timer, cancel

from .certificates import shown_by
from .channel import LINGER_S, BoundedChannel
from .closing import closing_answer
from .lane import LaneChannel
from .request import BoundedRequest

PAINS_A_SECOND = 200.0
"""A twentieth of the reactor's time."""
PROBATION_S = 2.0
"""So long somebody on such a connection may take to say what it wants, while others want it."""


class _Refused(Protocol):
    """Says why there is no room, and closes; a client that does not hear it out, or never ends the handshake of TLS, is
    not waited for, since nothing counts it."""

    transport: ITCPTransport

    def __init__(self, error: ApiError, reactor: IReactorTime) -> None:
        self._error = error
        self._reactor = reactor
        self._timer: Timer | None = None

    def connectionMade(self) -> None:
        self.transport.write(closing_answer(self._error))
        self.transport.loseConnection()
        self._timer = self._reactor.callLater(LINGER_S, self.transport.abortConnection)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """It is gone."""
        cancel(self._timer)


@implementer(ILoggingContext)
class BoundedSite(Site):
    """The factory of channels; writes no access log, which would name keys and users.

    :param limits: sizes and times.
    :param budget: whose connections and unread bytes are charged.
    :param admission: asked for each body.
    :param origins: asked for each request that a browser sent.
    :param intake: when requests are taken in.
    :param audit: told of what is refused before a handler is asked.
    :param proxies: whose connections are not counted by address.
    :ivar asks_certificates: whether clients may show certificates.
    :ivar channels: all that are open, those that became websockets among them.
    """

    protocol = LaneChannel  # type: ignore[assignment] # declared as Twisted's switch between HTTP/1.1 and HTTP/2
    requestFactory = BoundedRequest
    noisy = False
    lane: FastLane | None = None
    asks_certificates = False

    def __init__(
        self,
        resource: IResource,
        reactor: IReactorTime,
        *,
        metrics: Metrics,
        limits: Limits,
        budget: Budget,
        admission: Admission,
        origins: Origins,
        proxies: Proxies,
        audit: Audit,
        intake: Intake,
    ) -> None:
        super().__init__(resource, reactor=reactor, timeout=limits.idle_s)
        self.metrics = metrics
        self.limits = limits
        self.budget = budget
        self.admission = admission
        self.origins = origins
        self.proxies = proxies
        self.audit = audit
        self.intake = intake
        self.heavy = Heavy(reactor.seconds, reactor.callLater)
        self.channels: set[BoundedChannel] = set()
        self._strangers: dict[str, dict[BoundedChannel, None]] = {}
        self._reserved: dict[BoundedChannel, float] = {}
        self._pains_left = 0.0
        self._pains_at_s = 0.0

    def logPrefix(self) -> str:
        """What the log calls the port of this site."""
        return "HTTP for clients"

    def buildProtocol(  # type: ignore[override] # declared as is `protocol`
        self, addr: IAddress | None
    ) -> BoundedChannel | _Refused | None:
        """A channel; or, where there is no room, one for the administrator, or a refusal: whoever has shown a token
        stays connected."""
        source = source_of(getattr(addr, "host", ""))
        connections = self.budget.connections
        if self._is_proxy(addr) and connections.spent < connections.most:
            return self._channel(addr)
        if not connections.has_room(source):
            if not self._may_take_pains():
                connections.refused += 1
                return None
            if not self._dismiss_for(source):
                return self._reserved_channel(addr, connections.refuse(source))
        return self._channel(addr)

    def _reserved_channel(self, addr: IAddress | None, refusal: ApiError) -> BoundedChannel | _Refused:
        """There is no room: somebody may be the administrator, and is told so if not."""
        if len(self._reserved) >= ADMIN_CONNECTIONS:
            oldest = min(self._reserved, key=lambda channel: self._reserved[channel])
            if self.reactor.seconds() - self._reserved[oldest] < PROBATION_S:
                return _Refused(refusal, self.reactor)
            oldest.dismiss()
            self.closed(oldest, oldest.source)
        channel = self._channel(addr)
        channel.reserve(refusal)
        self._reserved[channel] = self.reactor.seconds()
        return channel

    def _channel(self, addr: IAddress | None) -> BoundedChannel:
        channel: BoundedChannel = super().buildProtocol(addr)
        return channel

    def _may_take_pains(self) -> bool:
        """Whether there is time to make room, or to refuse in words; in a flood most are closed without."""
        now_s = self.reactor.seconds()
        left = min(PAINS_A_SECOND, self._pains_left + (now_s - self._pains_at_s) * PAINS_A_SECOND)
        self._pains_at_s = now_s
        self._pains_left = left - 1 if left >= 1 else left
        return left >= 1

    def _is_proxy(self, addr: IAddress | None) -> bool:
        """Whether a connection is that of a trusted proxy, which has those of many."""
        return self.proxies.is_trusted(getattr(addr, "host", ""))

    def _dismiss_for(self, source: str) -> bool:
        """Close the oldest connection on which no token was shown yet: of the same address, if that has its share.

        :returns: whether there is room now.
        """
        connections = self.budget.connections
        if connections.held_by(source) >= connections.share:
            candidates = self._strangers.get(source)
        else:
            candidates = max(self._strangers.values(), key=len, default=None)
        if not candidates:
            return False
        connections.refused += 1
        oldest = next(iter(candidates))
        oldest.dismiss()
        self.closed(oldest, oldest.source)  # its connection is gone a turn later
        return connections.has_room(source)

    def certificate_on(self, transport: Any) -> Certificate | None:
        """What a client has shown on a connection, if that is to count.

        A trusted proxy speaks for many, who would all be the user whom its certificate names.
        """
        if not self.asks_certificates or self._is_proxy(transport.getPeer()):
            return None
        return shown_by(transport.getHandle())

    # What channels tell

    def opened(self, channel: BoundedChannel, source: str) -> None:
        """A connection is there; nobody knows whose."""
        self.channels.add(channel)
        if channel.is_reserved:
            return
        self.budget.connections.add(source, 1)
        self._strangers.setdefault(source, {})[channel] = None

    def known(self, channel: BoundedChannel, source: str) -> None:
        """A valid token was shown on it."""
        if channel.is_reserved:
            self._reserved[channel] = float(
                "inf"
            )  # nobody takes its place; it ends soon if it is not the administrator's
            return
        strangers = self._strangers.get(source, {})
        if strangers.pop(channel, self) is not self and not strangers:
            del self._strangers[source]

    def closed(self, channel: BoundedChannel, source: str) -> None:
        """It is gone."""
        if channel in self.channels:
            self.channels.discard(channel)
            if channel.is_reserved:
                del self._reserved[channel]
                return
            self.known(channel, source)
            self.budget.connections.give_back(source)

    def log(self, request: Request) -> None:
        """No access log."""
