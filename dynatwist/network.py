"""The sockets between nodes: TLS over TCP for links, UDP for gossip. `dynatwist.sim.network` takes its place in the
simulated world."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from twisted.internet.error import DNSLookupError, InvalidAddressError
from twisted.internet.interfaces import IHandshakeListener, ILoggingContext
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.logger import Logger
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.python.failure import Failure
from zope.interface import implementer

from dynatwist.net.certified import Certified
from dynatwist.net.link import PeerLink
from dynatwist.net.names import Names
from dynatwist.net.packet import MAX_PACKET_BYTES
from dynatwist.net.tls import TlsConnections, certified_by, is_foreign_key, peer_context
from dynatwist.once import Once
from dynatwist.runtime import Datagrams
from dynatwist.storage.keyring import ClusterKeys
from dynatwist.twisted_inside import tls
from dynatwist.twisted_inside.sockets import FairPort

DIAL_TIMEOUT_S = 3
"""For TCP; a peer that takes longer is dialled again."""


class RealNetwork:
    """Sockets: TLS over TCP between nodes, UDP for gossip.

    :param reactor: the one that the node runs in.
    """

    log = Logger()

    def __init__(self, reactor: Any, interface: str) -> None:
        self._reactor = reactor
        self._interface = interface
        self._tls: TlsConnections | None = None
        self._names = Names(reactor.resolve, time.monotonic)
        self._foreign = Once()

    def identify(self, node_id: bytes, keys: ClusterKeys) -> None:
        """Issue this node's certificate, for connections made from now on. Call before the first."""
        context = peer_context(keys, node_id)
        if self._tls is None:
            self._tls = TlsConnections(context)
        else:
            self._tls.use(context)

    def listen(self, port: int, factory: Any) -> Any:
        """See `dynatwist.runtime.Network`."""
        assert self._tls is not None
        wrapped = tls.for_accepted_links(self._tls, self._authenticating(factory), self._reactor)
        return self._reactor.listenTCP(port, wrapped, interface=self._interface)

    def connect(self, host: str, port: int, factory: Any) -> Any:
        """See `dynatwist.runtime.Network`."""
        assert self._tls is not None
        wrapped = tls.for_dialled_links(self._tls, self._authenticating(factory), self._reactor)
        dialler = _Dialler(wrapped, factory)

        def found(address: str | None) -> None:
            if address is None:
                dialler.clientConnectionFailed(None, Failure(DNSLookupError(host)))
            else:
                self._reactor.connectTCP(address, port, dialler, DIAL_TIMEOUT_S)

        self._names.find(host, found)

    def datagrams(self, port: int, protocol: Any) -> Datagrams:
        """See `dynatwist.runtime.Network`."""
        udp = FairPort(port, protocol, self._interface, 2 * MAX_PACKET_BYTES, self._reactor)
        udp.startListening()
        return _RealDatagrams(udp, self._names)

    def _authenticating(self, factory: Any) -> _Authenticating:
        return _Authenticating(factory, self._say_foreign)

    def _say_foreign(self, address: str) -> None:
        if self._foreign.is_new(address):
            self.log.error(
                "peer link with {address} refused: the other side has another key file; "
                "copy the cluster's key file to it, or give the right one with --key-file",
                address=address,
            )


class _RealDatagrams:
    """A UDP port; what cannot be sent is lost, like any packet."""

    def __init__(self, port: Any, names: Names) -> None:
        self._port = port
        self._names = names

    def write(self, data: bytes, address: tuple[str, int]) -> None:
        try:
            self._port.write(data, address)
        except InvalidAddressError:
            self._names.find(address[0], lambda ip: self._write_to(data, ip, address[1]))

    def _write_to(self, data: bytes, ip: str | None, port: int) -> None:
        if ip is not None and self._port.connected:
            with suppress(OSError, InvalidAddressError):
                self._port.write(data, (ip, port))

    def stopListening(self) -> Any:
        return self._port.stopListening()


class _Dialler(Factory):
    """Passes on to the link's own factory what became of a connection attempt."""

    noisy = False

    def __init__(self, wrapped: TLSMemoryBIOFactory, owner: Any) -> None:
        self._wrapped = wrapped
        self._owner = owner

    def startedConnecting(self, connector: Any) -> None:
        pass

    def buildProtocol(self, addr: Any) -> Any:
        return self._wrapped.buildProtocol(addr)

    def clientConnectionFailed(self, connector: Any, reason: Failure) -> None:
        self._owner.clientConnectionFailed(connector, reason)

    def clientConnectionLost(self, connector: Any, reason: Failure) -> None:
        pass


@implementer(ILoggingContext)
class _Authenticating(Factory):
    """Builds links that are told what certificates say before any bytes of the peer, and notes foreign keys."""

    noisy = False

    def __init__(self, factory: Any, say_foreign: Callable[[str], None]) -> None:
        self._factory = factory
        self._say_foreign = say_foreign

    def logPrefix(self) -> str:
        """What the log calls the port."""
        return "links with other nodes"

    def buildProtocol(self, addr: Any) -> Any:
        link = self._factory.buildProtocol(addr)
        return _Secured(link, str(addr.host), self._say_foreign) if link is not None else None


@implementer(IHandshakeListener, ILoggingContext)
class _Secured(Protocol):
    """Between TLS and a link."""

    log = Logger()

    def __init__(self, link: PeerLink, host: str, say_foreign: Callable[[str], None]) -> None:
        self._link = link
        self._host = host
        self._say_foreign = say_foreign

    def connectionMade(self) -> None:
        self._link.makeConnection(self.transport)

    def logPrefix(self) -> str:
        """What the log calls the connection."""
        return "link with another node"

    def handshakeCompleted(self) -> None:
        try:
            self._link.certify(certified_by(self.transport))
        except Exception:  # a member may issue itself a certificate that no library can read: it is nobody's
            self.log.failure("the certificate of {address} cannot be read", address=self._host)
            self._link.certify(Certified(b"", frozenset()))
            self._link.abort()

    def dataReceived(self, data: bytes) -> None:
        self._link.dataReceived(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if is_foreign_key(reason):
            self._say_foreign(self._host)
        self._link.connectionLost(reason)
