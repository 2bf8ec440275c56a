"""The client port: opens it, and closes it in order."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import IListeningPort, IProtocolFactory

from dynatwist.api.admission import Admission
from dynatwist.api.lane import FastLane
from dynatwist.api.origins import Origins
from dynatwist.config.node import NodeConfig
from dynatwist.core import Core
from dynatwist.twisted_inside import tls
from dynatwist.twisted_inside.sockets import PatientPort
from dynatwist.twisted_inside.together import written_together

from .certificates import Certificates, files_of
from .klein_app import KleinApp
from .site import BoundedSite
from .websocket import CLOSE_GOING_AWAY

DRAIN_S = 2.0
"""For what is under way when the node stops; whoever stops it waits as long."""
BACKLOG = 1024
"""Connections that wait in the kernel until they are accepted: a burst of clients that come back all at once."""


class Front:
    """See the module.

    :raises StartError: when the certificates cannot be used.
    """

    def __init__(self, core: Core, config: NodeConfig, reactor: Any) -> None:
        self._config = config
        self._reactor = reactor
        cluster = core.cluster

        def members() -> list[str]:
            return [one.address for one in cluster.registry.members] if cluster.registry is not None else []

        is_tls = config.tls_cert is not None
        origins = Origins(config.cors_origins, config.names, is_tls=is_tls, members=members)
        self.app = KleinApp(core, reactor, origins)
        core.hub.fans.write_together(written_together)
        limits, context = config.limits, core.handlers.context
        self._metrics = context.metrics
        self.site = BoundedSite(
            self.app.resource(),
            reactor,
            metrics=context.metrics,
            limits=limits,
            budget=context.budget,
            admission=Admission(context),
            origins=origins,
            proxies=context.proxies,
            audit=context.audit,
            intake=context.intake,
        )
        if not config.klein_only:
            self.site.lane = FastLane(
                data=core.handlers.data,
                metrics=context.metrics,
                seconds=reactor.seconds,
                origins=origins,
                max_head_bytes=limits.header_bytes,
                max_body_bytes=limits.body_bytes,
            )
        self._port: IListeningPort | None = None
        files = files_of(config)
        self.site.asks_certificates = files is not None and files.client_ca is not None
        self._certificates = Certificates(files, reactor, self._renewed) if files is not None else None

    def start(self) -> None:
        """Listen."""
        config = self._config
        factory: IProtocolFactory = self.site
        if self._certificates is not None:
            factory = tls.for_clients(self._certificates.connections, self.site, self._reactor)
            self._certificates.start()
        self._port = PatientPort(config.port, factory, BACKLOG, config.interface, self._reactor)
        self._port.startListening()

    def reload(self) -> None:
        """Read certificates again, if there are any."""
        if self._certificates is not None:
            self._certificates.reload()

    def _renewed(self, ends: datetime) -> None:
        self._metrics.tell({"tls_certificate_end_timestamp_seconds": ends.timestamp()})

    def stop(self) -> Deferred[None]:
        """Stop accepting, drain what is under way, close sockets (1001) and streams; within a deadline."""
        if self._certificates is not None:
            self._certificates.stop()
        stopped = maybeDeferred(self._port.stopListening) if self._port is not None else maybeDeferred(lambda: None)
        for stream in list(self.app.live.streams):
            stream.close()
        for socket in list(self.app.live.sockets):
            socket.end(CLOSE_GOING_AWAY, "the node stops")
        return stopped.addCallback(lambda _: self._drained(self._reactor.seconds() + DRAIN_S))

    def _drained(self, until_s: float) -> Deferred[None]:
        done: Deferred[None] = Deferred()

        def look() -> None:
            busy = [channel for channel in self.site.channels if channel.is_busy]
            if (busy or self.app.live.sockets) and self._reactor.seconds() < until_s:
                self._reactor.callLater(0.02, look)
                return
            for channel in list(self.site.channels):
                if channel.transport is not None:
                    channel.transport.abortConnection()
            done.callback(None)

        look()
        return done
