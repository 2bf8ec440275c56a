"""The client port: opens it, and closes it in order."""

from __future__ import annotations

from typing import Any

from OpenSSL import SSL
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.ssl import DefaultOpenSSLContextFactory

from dynatwist.config import NodeConfig
from dynatwist.core import Core
from dynatwist.process import max_connections

from .channel import BoundedSite
from .klein_app import KleinApp
from .lane import FastLane

DRAIN_S = 2.0
BACKLOG = 1024


class _ChainContextFactory(DefaultOpenSSLContextFactory):
    """A certificate chain and its key, TLS 1.2 or newer."""

    def cacheContext(self) -> None:
        """Load the files once."""
        if self._context is None:
            context = SSL.Context(SSL.TLS_SERVER_METHOD)
            context.set_min_proto_version(SSL.TLS1_2_VERSION)
            context.use_certificate_chain_file(self.certificateFileName)
            context.use_privatekey_file(self.privateKeyFileName)
            context.check_privatekey()
            self._context = context


def client_tls(certificate: str, key: str) -> DefaultOpenSSLContextFactory:
    """The TLS settings of the client port.

    :raises SSL.Error: when the files do not fit together.
    """
    return _ChainContextFactory(key, certificate, SSL.TLS_SERVER_METHOD)


class Front:
    """See the module."""

    def __init__(self, core: Core, config: NodeConfig, reactor: Any) -> None:
        self._config = config
        self._reactor = reactor
        self.app = KleinApp(core, reactor)
        limits = config.limits
        bounds = limits.header_bytes, limits.body_bytes
        room = max_connections(config.doors.descriptors)
        self.site = BoundedSite(self.app.resource(), reactor, core.metrics, *bounds, room)
        if not config.klein_only:
            self.site.lane = FastLane(core.data, core.metrics, reactor.seconds, *bounds)
            self.site.intake = core.context.intake
        self._port: Any = None

    def start(self) -> None:
        """Listen."""
        config = self._config
        if config.tls_cert is not None and config.tls_key is not None:
            context = client_tls(config.tls_cert, config.tls_key)
            self._port = self._reactor.listenSSL(config.port, self.site, context, BACKLOG, config.interface)
        else:
            self._port = self._reactor.listenTCP(config.port, self.site, BACKLOG, config.interface)

    def stop(self) -> Deferred[Any]:
        """Stop accepting, drain what is under way, close sockets (1001) and streams; within a deadline."""
        stopped = maybeDeferred(self._port.stopListening) if self._port is not None else maybeDeferred(lambda: None)
        for stream in list(self.app.streams):
            stream.close()
        for socket in list(self.app.sockets):
            socket.sendClose(1001, "the node stops")
        return stopped.addCallback(lambda _: self._drained(self._reactor.seconds() + DRAIN_S))

    def _drained(self, until_s: float) -> Deferred[None]:
        done: Deferred[None] = Deferred()

        def look() -> None:
            busy = [channel for channel in self.site.channels if channel.is_busy]
            if (busy or self.app.sockets) and self._reactor.seconds() < until_s:
                self._reactor.callLater(0.02, look)
                return
            for channel in list(self.site.channels):
                if channel.transport is not None:
                    channel.transport.abortConnection()
            done.callback(None)

        look()
        return done
