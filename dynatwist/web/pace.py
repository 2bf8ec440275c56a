"""The pace at which a client reads a long answer."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IPushProducer
from zope.interface import implementer

from .request import BoundedRequest


@implementer(IPushProducer)
class Pace:
    """A producer that tells when the client's connection has room.

    :ivar is_over: whether the connection has ended.
    """

    def __init__(self, request: BoundedRequest) -> None:
        self._request = request
        self._waiting: Deferred[None] | None = None
        self._paused = False
        self.is_over = False
        request.registerProducer(self, True)

    def ready(self) -> Deferred[None]:
        """Fires when more may be written."""
        waiting: Deferred[None] = Deferred()
        if self._paused:
            self._waiting = waiting
        else:
            waiting.callback(None)
        return waiting

    def end(self) -> None:
        """All is written."""
        if self._request.is_connected:
            self._request.unregisterProducer()

    def pauseProducing(self) -> None:
        """The client reads more slowly than is written."""
        self._paused = True

    def resumeProducing(self) -> None:
        """There is room again."""
        self._paused = False
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            waiting.callback(None)

    def stopProducing(self) -> None:
        """Nobody is there any more."""
        self.is_over = True
        self.resumeProducing()
