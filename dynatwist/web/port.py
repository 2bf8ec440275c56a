"""The listening socket for clients: few connections are accepted in a turn, so that a flood of them leaves time."""

from __future__ import annotations

from typing import Any

from twisted.internet import tcp
from twisted.internet.interfaces import IListeningPort
from twisted.protocols.tls import TLSMemoryBIOFactory

ACCEPTED_A_TURN = 8
"""Two milliseconds' work, as for requests; the kernel keeps the others in its queue."""


class PatientPort(tcp.Port):
    """Twisted's, which accepts ever more in one go the more there are."""

    @property
    def numberAccepts(self) -> int:
        """How many connections are accepted in a turn."""
        return ACCEPTED_A_TURN

    @numberAccepts.setter
    def numberAccepts(self, value: int) -> None:
        """Twisted would have more."""


def listen(reactor: Any, port: int, factory: Any, backlog: int, interface: str, context: Any = None) -> IListeningPort:
    """Listen for clients.

    :param context: TLS settings, where clients come by HTTPS.
    """
    if context is not None:
        factory = TLSMemoryBIOFactory(context, False, factory, reactor)
    listening = PatientPort(port, factory, backlog, interface, reactor)
    listening.startListening()
    return listening
