"""Twisted's sockets, opened: writing at once, and ports that take in only so much in a turn of the reactor."""

from __future__ import annotations

from typing import Any

from twisted.internet import tcp, udp
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure

from dynatwist.calls import call_safely

from .together import gather, handed_over

ACCEPTED_A_TURN = 8
"""Connections: two milliseconds' work, as for requests; the kernel keeps the others in its queue."""
PACKETS_A_TURN = 64
"""Datagrams: a few milliseconds' work, whatever they are."""


def write_now(transport: Any, data: bytes) -> None:
    """Write to a TCP transport at once if nothing waits before it, without a turn through the reactor's poller; inside
    `written_together`, at its end.

    :param transport: any; where it is none of TCP, or TLS has it, this is its usual `write`.
    """
    sent = 0
    if isinstance(transport, tcp.Connection) and not transport.TLS:  # TLS passes attributes on to what it wraps
        waits = transport.dataBuffer or transport._tempDataBuffer or transport.disconnecting
        if transport.connected and not waits:
            if gather(transport, data):
                return
            sent = handed_over(transport, data)
    if sent < len(data):
        transport.write(data[sent:])


class _LettingGo(tcp.Server):
    """A connection that lets go of what it could not send when it ends.

    Twisted keeps that with the connection, and errors of TLS keep the connection until the garbage is collected, which
    counts objects, and not the megabyte that hangs on each of them.
    """

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        super().connectionLost(reason)
        self.dataBuffer, self._tempDataBuffer, self._tempDataLen = b"", [], 0


class PatientPort(tcp.Port):
    """A listening port that accepts few connections in a turn, so that a flood of them leaves time for other work.

    Twisted's accepts ever more in one go the more there are.
    """

    transport = _LettingGo

    @property
    def numberAccepts(self) -> int:
        """How many connections are accepted in a turn."""
        return ACCEPTED_A_TURN

    @numberAccepts.setter
    def numberAccepts(self, value: int) -> None:
        """Twisted would have more."""


class FairPort(udp.Port):
    """A UDP port that reads so many packets in a turn, however short they are: Twisted's counts their bytes."""

    def doRead(self) -> None:
        """There is something to read."""
        for _ in range(PACKETS_A_TURN):
            try:
                data, address = self.socket.recvfrom(self.maxPacketSize)
            except OSError:  # none is left, or one could not be delivered
                return
            call_safely(self.protocol.datagramReceived, data, address)
