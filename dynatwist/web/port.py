"""The listening socket for clients: few connections are accepted in a turn, so that a flood of them leaves time."""

from __future__ import annotations

from typing import Any

from twisted.internet import tcp
from twisted.internet.interfaces import IListeningPort
from twisted.internet.protocol import connectionDone
from twisted.protocols.tls import BufferingTLSTransport, TLSMemoryBIOFactory

from dynatwist.runtime import Timer, cancel

ACCEPTED_A_TURN = 8
"""Two milliseconds' work, as for requests; the kernel keeps the others in its queue."""
CLOSE_S = 2.0
"""For a client to say goodbye too, as TLS wants it; a round trip around the world takes a fraction of it."""


class _Connection(tcp.Server):
    """Lets go of what it could not send when it ends.

    Twisted keeps that with the connection, and errors of TLS keep the connection until the garbage is collected, which
    counts objects, and not the megabyte that hangs on each of them.
    """

    def connectionLost(self, reason: Any) -> None:
        """It has ended."""
        super().connectionLost(reason)
        self.dataBuffer, self._tempDataBuffer, self._tempDataLen = b"", [], 0


class PatientPort(tcp.Port):
    """Twisted's, which accepts ever more in one go the more there are."""

    transport = _Connection

    @property
    def numberAccepts(self) -> int:
        """How many connections are accepted in a turn."""
        return ACCEPTED_A_TURN

    @numberAccepts.setter
    def numberAccepts(self, value: int) -> None:
        """Twisted would have more."""


class EndingTls(BufferingTLSTransport):
    """TLS with a client that may never answer to a goodbye: Twisted would keep the connection for ever."""

    _close_timer: Timer | None = None

    def loseConnection(self) -> None:
        """Say goodbye, and wait for the client's only so long."""
        super().loseConnection()
        if self._close_timer is None and self.connected:
            self._close_timer = self.factory.reactor.callLater(CLOSE_S, self._close)

    def _close(self) -> None:
        """Close what is below TLS, behind what waits there; the protocol above sees to it that this takes an end."""
        self._close_timer = None
        if self._appSendBuffer or self._producer is not None:
            self._close_timer = self.factory.reactor.callLater(CLOSE_S, self._close)
        else:
            self.transport.loseConnection()

    def connectionLost(self, reason: Any = connectionDone) -> None:
        """It is over; see `_Connection` for what is let go."""
        cancel(self._close_timer)
        self._close_timer = None
        super().connectionLost(reason)
        self._producer, self._appSendBuffer = None, []


class _TlsFactory(TLSMemoryBIOFactory):
    """TLS for what the factory of channels makes, or nothing where that makes none."""

    protocol = EndingTls

    def __init__(self, context: Any, factory: Any, reactor: Any) -> None:
        super().__init__(context, False, factory, reactor)
        self.reactor = reactor

    def buildProtocol(self, addr: Any) -> Any:
        """Twisted would wrap what is not there."""
        protocol = self.wrappedFactory.buildProtocol(addr)
        return None if protocol is None else self.protocol(self, protocol)


def listen(reactor: Any, port: int, factory: Any, backlog: int, interface: str, context: Any = None) -> IListeningPort:
    """Listen for clients.

    :param context: TLS settings, where clients come by HTTPS.
    """
    if context is not None:
        factory = _TlsFactory(context, factory, reactor)
    listening = PatientPort(port, factory, backlog, interface, reactor)
    listening.startListening()
    return listening
