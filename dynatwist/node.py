"""A node as a Twisted service: the core, the sockets for clients, and an orderly stop.

Can live inside another Twisted program::

    NodeService(NodeConfig(port=6661), reactor).setServiceParent(application)
"""

from __future__ import annotations

import os
import random
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from fcntl import LOCK_EX, LOCK_NB, flock
from functools import partial
from typing import Any

from twisted.application.service import MultiService
from twisted.internet.defer import Deferred, inlineCallbacks
from twisted.internet.error import DNSLookupError, InvalidAddressError
from twisted.internet.interfaces import ILoggingContext
from twisted.internet.protocol import Factory
from twisted.logger import Logger
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.python.failure import Failure
from zope.interface import implementer

from dynatwist import __version__
from dynatwist.config import NodeConfig
from dynatwist.core import Core
from dynatwist.errors import StartError
from dynatwist.exposure import exposures
from dynatwist.net.names import Names
from dynatwist.net.packet import MAX_PACKET_BYTES
from dynatwist.net.tls import TlsConnections, is_foreign_key, peer_context, peer_node_id, secrets_of
from dynatwist.process import TurnMeter, descriptors, max_connections
from dynatwist.runtime import Datagrams, Runtime
from dynatwist.storage.files import RealFileSystem, ThreadWriter
from dynatwist.storage.keyfile import change, load_or_create
from dynatwist.storage.keyring import ClusterKeys, Keyring
from dynatwist.twisted_inside import tls
from dynatwist.twisted_inside.sockets import FairPort

HASHING_THREADS = 2
DIAL_TIMEOUT_S = 3
MAX_SAID = 64
"""Addresses with another key file that are named in the log, each once: strangers can come from any number."""


class DataFolderLock:
    """Keeps two nodes from sharing a data folder; held until `release`, or the end of the process."""

    def __init__(self, folder: str) -> None:
        os.makedirs(folder, mode=0o700, exist_ok=True)
        self._fd = os.open(os.path.join(folder, "lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            flock(self._fd, LOCK_EX | LOCK_NB)
        except OSError:
            os.close(self._fd)
            raise StartError(f"{folder}: in use by another node; give this one its own with --data-dir") from None

    def release(self) -> None:
        """Let another node have it."""
        os.close(self._fd)


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
        self._said: set[str] = set()

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
        if address not in self._said and len(self._said) < MAX_SAID:
            self._said.add(address)
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
    """Builds links whose transport knows the node id in the peer's certificate, and notes foreign keys."""

    noisy = False

    def __init__(self, factory: Any, say_foreign: Callable[[str], None]) -> None:
        self._factory = factory
        self._say_foreign = say_foreign

    def logPrefix(self) -> str:
        """What the log calls the port."""
        return "links with other nodes"

    def buildProtocol(self, addr: Any) -> Any:
        link = self._factory.buildProtocol(addr)
        if link is None:
            return None
        lost, received = link.connectionLost, link.dataReceived
        say = self._say_foreign

        def connection_lost(reason: Failure) -> None:
            if is_foreign_key(reason):
                say(str(addr.host))
            lost(reason)

        def data_received(data: bytes) -> None:
            link.dataReceived = received
            link.transport.peer_node_id = peer_node_id(link.transport)
            link.transport.secrets = secrets_of(link.transport)
            received(data)

        link.connectionLost, link.dataReceived = connection_lost, data_received
        return link


def real_runtime(
    reactor: Any, network: RealNetwork, fatal: Callable[[str], None]
) -> tuple[Runtime, ThreadPoolExecutor]:
    """The world as it is."""
    hashing = ThreadPoolExecutor(HASHING_THREADS, "argon2")

    def offload(work: Callable[[], Any]) -> Deferred[Any]:
        done: Deferred[Any] = Deferred()

        def run() -> None:
            try:
                result = work()
            except Exception:
                reactor.callFromThread(done.errback, Failure())
            else:
                reactor.callFromThread(done.callback, result)

        hashing.submit(run)
        return done

    runtime = Runtime(
        reactor,
        time.monotonic,
        lambda: time.time_ns() // 1_000_000,
        random.Random(),
        os.urandom,
        RealFileSystem(),
        network,
        lambda name: ThreadWriter(name, reactor.callFromThread),
        offload,
        fatal,
    )
    return runtime, hashing


class NodeService(MultiService):
    """One node.

    :param config: its settings, checked.
    :param reactor: the one to live in; its timers should not go by the wall clock (`process.keep_time_steadily`).
    """

    log = Logger()

    def __init__(self, config: NodeConfig, reactor: Any) -> None:
        super().__init__()
        self.config = config
        self._reactor = reactor
        self._lock: DataFolderLock | None = None
        self.core: Core | None = None
        self._front: Any = None
        self._hashing: ThreadPoolExecutor | None = None
        self._turns = TurnMeter(reactor)

    def prepare(self) -> None:
        """Lock and load the data folder. `startService` does it too when it was not done before.

        :raises StartError: when the node cannot start as asked.
        """
        if self.core is not None:
            return
        try:
            self._lock = DataFolderLock(self.config.actual_data_dir)
        except OSError as error:
            raise StartError(f"{self.config.actual_data_dir}: {error.strerror}") from None
        self.log.info("DynaTwist {version} at {url}", version=__version__, url=self.config.url)
        try:
            key_file = self.config.actual_key_file
            keys, created = load_or_create(key_file)
            if created:
                self.log.info("made the key file {path}", path=key_file)
            keyring = Keyring(keys, partial(change, key_file))
            network = RealNetwork(self._reactor, self.config.interface)
            runtime, self._hashing = real_runtime(self._reactor, network, self._fatal)
            self.core = Core(
                self.config, keyring, runtime, self.config.limits.budget(max_connections(self.config.doors.descriptors))
            )
            node_id = self.core.identity.node_id
            network.identify(node_id, keys)
            keyring.on_change.append(partial(network.identify, node_id))
        except Exception:
            self._lock.release()
            raise

    def startService(self) -> None:
        """Open all ports and begin to serve."""
        from dynatwist.web.front import Front

        self.prepare()
        assert self.core is not None
        super().startService()
        self.log.info(
            "node {id}, data in {folder}", id=self.core.identity.node_id.hex(), folder=self.config.actual_data_dir
        )
        if self.config.interface not in ("127.0.0.1", "::1") and self.config.tls_cert is None:
            self.log.warn("clients reach {ip} without TLS; give --tls-cert and --tls-key", ip=self.config.interface)
        for line in exposures(self.config):
            self.log.warn("{line}", line=line)
        doors = self.config.doors
        self.core.cluster.links.doors.limits = doors.within(descriptors(doors.descriptors).peers)
        self._front = Front(self.core, self.config, self._reactor)
        self._front.start()
        self._turns.start()
        self.core.metrics.turns = self._turns.turns
        self.core.start()

    @inlineCallbacks
    def stopService(self) -> Any:
        """Stop accepting, drain, close sockets, say goodbye, flush the log, close the links."""
        yield super().stopService()
        if self._front is not None:
            yield self._front.stop()
        if self.core is not None:
            yield self.core.stop()
        self._turns.stop()
        if self._hashing is not None:
            self._hashing.shutdown(wait=False, cancel_futures=True)
        if self._lock is not None:
            self._lock.release()

    def _fatal(self, reason: str) -> None:
        """Going on would break a promise: end, at once, without pretending that anything was written."""
        self.log.critical("fatal: {reason}", reason=reason)
        sys.stderr.write(f"dynakv: fatal: {reason}\n")
        sys.stderr.flush()
        os._exit(70)
