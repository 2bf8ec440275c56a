"""Twisted's TLS, opened: for clients that never say goodbye, and for links that send at once."""

from __future__ import annotations

from typing import Any

from twisted.internet.interfaces import (
    IAddress,
    IOpenSSLClientConnectionCreator,
    IOpenSSLServerConnectionCreator,
    IProtocolFactory,
    IReactorTime,
)
from twisted.internet.protocol import connectionDone
from twisted.protocols.tls import BufferingTLSTransport, TLSMemoryBIOFactory, TLSMemoryBIOProtocol
from twisted.python.failure import Failure

from dynatwist.runtime import Timer, cancel

CLOSE_S = 2.0
"""For a client to say goodbye too, as TLS wants it; a round trip around the world takes a fraction of it."""


SomeCreator = IOpenSSLServerConnectionCreator | IOpenSSLClientConnectionCreator


class _SelectiveFactory(TLSMemoryBIOFactory):
    """Begins TLS only on connections that the factory above wants; Twisted would wrap what is not there.

    :ivar clock: for timers.
    """

    def __init__(self, creator: SomeCreator, is_client: bool, factory: IProtocolFactory, clock: IReactorTime) -> None:
        super().__init__(creator, is_client, factory, clock)
        self.clock = clock

    def buildProtocol(  # type: ignore[override] # None is what refuses a connection, by `IProtocolFactory`
        self, addr: IAddress | None
    ) -> TLSMemoryBIOProtocol | None:
        wrapped = self.wrappedFactory.buildProtocol(addr)
        return None if wrapped is None else self.protocol(self, wrapped)


class _EndingTls(BufferingTLSTransport):
    """TLS with a client that may never answer to a goodbye: Twisted would keep the connection for ever."""

    factory: _SelectiveFactory
    _close_timer: Timer | None = None

    def loseConnection(self) -> None:
        """Say goodbye, and wait for the client's only so long."""
        super().loseConnection()
        if self._close_timer is None and self.connected:
            self._close_timer = self.factory.clock.callLater(CLOSE_S, self._close)

    def _close(self) -> None:
        """Close what is below TLS, behind what waits there; the protocol above sees to it that this takes an end."""
        self._close_timer = None
        if self._appSendBuffer or self._producer is not None:
            self._close_timer = self.factory.clock.callLater(CLOSE_S, self._close)
        elif self.transport is not None:
            self.transport.loseConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """It is over; what could not be sent is let go at once, as `sockets` does it, and says why."""
        cancel(self._close_timer)
        self._close_timer = None
        super().connectionLost(reason)
        self._producer, self._appSendBuffer = None, []


class _PromptTls(TLSMemoryBIOProtocol):
    """TLS that sends at once: a link writes one frame a turn, so there is nothing to gather, and peers wait for it."""

    def write(self, data: bytes) -> None:
        super().write(data)
        below: Any = self.transport
        if self.connected and getattr(below, "connected", False):
            below.doWrite()


def for_clients(
    creator: IOpenSSLServerConnectionCreator, factory: IProtocolFactory, clock: IReactorTime
) -> TLSMemoryBIOFactory:
    """TLS for connections from clients, which may be strangers and leave without a word.

    :param creator: makes the connection of OpenSSL.
    :param factory: what goes on above TLS.
    """
    made = _SelectiveFactory(creator, False, factory, clock)
    made.protocol = _EndingTls
    return made


def for_accepted_links(
    creator: IOpenSSLServerConnectionCreator, factory: IProtocolFactory, clock: IReactorTime
) -> TLSMemoryBIOFactory:
    """TLS for connections that peers open."""
    return _for_links(_SelectiveFactory(creator, False, factory, clock))


def for_dialled_links(
    creator: IOpenSSLClientConnectionCreator, factory: IProtocolFactory, clock: IReactorTime
) -> TLSMemoryBIOFactory:
    """TLS for connections to peers."""
    return _for_links(_SelectiveFactory(creator, True, factory, clock))


def _for_links(made: TLSMemoryBIOFactory) -> TLSMemoryBIOFactory:
    made.protocol = _PromptTls
    return made
