"""A node as a Twisted service: the core, the sockets for clients, and an orderly stop.

Can live inside another Twisted program::

    NodeService(NodeConfig(port=6661), reactor).setServiceParent(application)
"""

from __future__ import annotations

import os
import random
import socket
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from fcntl import LOCK_EX, LOCK_NB, flock
from functools import partial
from typing import Any

from twisted.application.service import MultiService
from twisted.internet.defer import Deferred, inlineCallbacks
from twisted.logger import Logger
from twisted.python.failure import Failure

from dynatwist import __version__, heart
from dynatwist.config.node import NodeConfig
from dynatwist.core import Core
from dynatwist.errors import StartError
from dynatwist.exposure import exposures
from dynatwist.network import RealNetwork
from dynatwist.process import TurnMeter, descriptors, max_connections, usage
from dynatwist.runtime import Runtime
from dynatwist.storage.files import RealFileSystem, ThreadWriter
from dynatwist.storage.keyfile import change, load_or_create
from dynatwist.storage.keyring import Keyring
from dynatwist.storage.shared_key import SharedKey
from dynatwist.tracing.chosen import tracer_of
from dynatwist.tracing.tracer import Tracer
from dynatwist.web.certificates import files_of, load

TRACES_TIMEOUT_S = 1.0
"""For a collector to take the last spans at a stop: one that is well needs milliseconds, and others are left."""
HASHING_THREADS = 2
"""For argon2: each takes a core and 19 MiB for tens of milliseconds, and logins are few."""


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


def real_runtime(
    reactor: Any, network: RealNetwork, fatal: Callable[[str], None], tracer: Tracer
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
        clock=reactor,
        monotonic_s=time.monotonic,
        wall_ms=lambda: time.time_ns() // 1_000_000,
        random=random.Random(),
        randbytes=os.urandom,
        fs=RealFileSystem(),
        network=network,
        new_writer=lambda name: ThreadWriter(name, reactor.callFromThread),
        offload=offload,
        fatal=fatal,
        usage=usage,
        tracer=tracer,
    )
    return runtime, hashing


class NodeService(MultiService):
    """One node.

    :param config: its settings, checked.
    :param reactor: the one to live in; its timers should not go by the wall clock (`process.fit`).
    :param network: makes the sockets between nodes.
    """

    log = Logger()

    def __init__(self, config: NodeConfig, reactor: Any, network: type[RealNetwork] = RealNetwork) -> None:
        super().__init__()
        self._new_network = network
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
        files = files_of(self.config)
        if files is not None:
            load(files)  # it is looked at first, since what is wrong with it is nothing to recover from
        try:
            self._lock = DataFolderLock(self.config.actual_data_dir)
        except OSError as error:
            raise StartError(f"{self.config.actual_data_dir}: {error.strerror}") from None
        self.log.info("DynaTwist {version} at {url}", version=__version__, url=self.config.url)
        self.log.info("{heart}", heart=heart.SAYS)
        try:
            key_file = self.config.actual_key_file
            keys, created = load_or_create(key_file)
            if created:
                self.log.info("made the key file {path}", path=key_file)
            network = self._new_network(self._reactor, self.config.interface)
            runtime, self._hashing = real_runtime(self._reactor, network, self._fatal, self._new_tracer())
            shared = SharedKey(runtime.fs, key_file, self.config.actual_data_dir, socket.gethostname())
            keyring = Keyring(keys, partial(change, key_file), shared.needed_by_others)
            self.core = Core(
                self.config, keyring, runtime, self.config.limits.budget(max_connections(self.config.doors.descriptors))
            )
            shared.note(keys)
            node_id = self.core.identity.node_id
            network.identify(node_id, keys)
            keyring.on_change.append(partial(network.identify, node_id))
        except Exception:
            self._lock.release()
            raise

    def _new_tracer(self) -> Tracer:
        config = self.config
        told = {"service.version": __version__, "dynakv.node": f"{config.host}:{config.port}"}
        return tracer_of(
            config.otel_endpoint,
            config.otel_sample,
            told,
            lambda text: self._reactor.callFromThread(self.log.warn, "{text}", text=text),
        )

    @property
    def is_ready(self) -> bool:
        """Whether the client port is open, and the data routes answer."""
        return self._front is not None and self.core is not None and self.core.cluster.standing.is_ready

    def startService(self) -> None:
        """Open all ports and begin to serve."""
        from dynatwist.web.front import Front

        self.prepare()
        assert self.core is not None
        super().startService()
        self.log.info(
            "node {id}, data in {folder}, {peers}",
            id=self.core.identity.node_id.hex(),
            folder=self.config.actual_data_dir,
            peers=self._peers(self.core),
        )
        if self.config.interface not in ("127.0.0.1", "::1") and self.config.tls_cert is None:
            self.log.warn("clients reach {ip} without TLS; give --tls-cert and --tls-key", ip=self.config.interface)
        for line in exposures(self.config):
            self.log.warn("{line}", line=line)
        doors = self.config.doors
        self.core.cluster.links.doors.go_by(doors.within(descriptors(doors.descriptors).peers))
        self._front = Front(self.core, self.config, self._reactor)
        self._front.start()
        self._turns.start()
        metrics = self.core.handlers.context.metrics
        metrics.tell_durations("turn_cpu_seconds", "CPU time of a turn of the reactor", self._turns.turns)
        self.core.runtime.tracer.start(self.core.identity.node_id.hex())
        self.core.start()

    def reload(self) -> None:
        """Read again what may have changed in files: certificates."""
        if self._front is not None:
            self._front.reload()

    def _peers(self, core: Core) -> str:
        """With whom the node will be, in words."""
        registry = core.cluster.registry
        if registry is not None and len(registry.members) > 1:
            return f"back in a cluster of {len(registry.members)} members"
        if self.config.join:
            return "joins " + ", ".join(f"{host}:{port}" for host, port in self.config.join)
        return "alone until others join"

    @inlineCallbacks
    def stopService(self) -> Any:
        """Stop accepting, drain, close sockets, say goodbye, flush the log, close the links."""
        yield super().stopService()
        if self._front is not None:
            yield self._front.stop()
        if self.core is not None:
            yield self.core.stop()
            yield self._stop_tracing(self.core.runtime)
        self._turns.stop()
        if self._hashing is not None:
            self._hashing.shutdown(wait=False, cancel_futures=True)
        if self._lock is not None:
            self._lock.release()

    def _stop_tracing(self, runtime: Runtime) -> Deferred[None]:
        """Send the last spans; a collector that does not take them in time does not get them."""
        stopped: Deferred[None] = Deferred()
        if runtime.tracer.is_on:
            runtime.new_writer("tracing").submit(runtime.tracer.stop, lambda _: stopped.callback(None))
            stopped.addTimeout(TRACES_TIMEOUT_S, self._reactor, lambda *_: None)
        else:
            stopped.callback(None)
        return stopped

    def _fatal(self, reason: str) -> None:
        """Going on would break a promise: end, at once, without pretending that anything was written."""
        self.log.critical("fatal: {reason}", reason=reason)
        sys.stderr.write(f"dynakv: fatal: {reason}\n")
        sys.stderr.flush()
        os._exit(70)
