"""A cluster of the shipped core on simulated hosts."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred

from dynatwist.auth.tokens import Identity, Role
from dynatwist.config import NodeConfig
from dynatwist.core import Core
from dynatwist.model.record import Key, Record
from dynatwist.model.replica import Merge
from dynatwist.runtime import Runtime
from dynatwist.storage.keyfile import ClusterKeys

from .disk import SimDisk, SimWriter
from .network import SimNetwork
from .world import Process, World

PORT = 7000
EPOCH_MS = 1_700_000_000_000

Witness = Callable[[int, Key, Record], None]
"""(partition, key, record) of every record that any node merges."""


class SimNode:
    """One host: its disk stays, its process comes and goes.

    :ivar core: of the running process; ``None`` while there is none.
    """

    def __init__(self, cluster: SimCluster, number: int) -> None:
        self._cluster = cluster
        self.number = number
        self.host = f"10.0.0.{number + 1}"
        self.disk = SimDisk(cluster.world.random)
        self.process: Process | None = None
        self.core: Core | None = None
        self.fatal = ""

    @property
    def running(self) -> bool:
        """Whether there is a process."""
        return self.process is not None and self.process.alive

    def start(self) -> None:
        """Start a process on what the disk holds."""
        world = self._cluster.world
        world.say(f"{self.host} starts")
        process = self.process = Process(world, self.host)
        network = self._cluster.network.host(self.host, process)
        process.on_killed = lambda: self._died(network)

        def offload(work: Callable[[], Any]) -> Deferred[Any]:
            done: Deferred[Any] = Deferred()
            world.later(0.02, lambda: done.callback(work()), process)
            return done

        def fatal(reason: str) -> None:
            self.fatal = reason
            process.kill()

        runtime = Runtime(
            process,
            lambda: world.now_s,
            lambda: EPOCH_MS + int(world.now_s * 1000),
            world.random,
            world.random.randbytes,
            self.disk,
            network,
            lambda name: SimWriter(world, process),
            offload,
            fatal,
        )

        def boot() -> None:
            self.core = Core(self._cluster.config(self.number), self._cluster.keys, runtime)
            self._watch(self.core)
            self.core.start()

        process.run(boot)

    def _watch(self, core: Core) -> None:
        """Have every record that this node merges witnessed."""
        merge = core.store.merge

        def witnessed(key: Key, record: Record) -> Merge:
            self._cluster.witness(core.store.replica_of(key).number, key, record)
            return merge(key, record)

        core.store.merge = witnessed  # type: ignore[method-assign]

    def _died(self, network: Any) -> None:
        self._cluster.world.say(f"{self.host} dies")
        if self.disk.power_cut:
            self.disk.lose_power()
        self.core = None
        network.reset_all()

    def kill(self, power: bool) -> None:
        """kill -9, or loss of power."""
        if self.process is not None and self.process.alive:
            self.disk.power_cut = power
            self.process.kill()
            if not power:
                self.disk.survive_kill()


class SimCluster:
    """Nodes, network and keys.

    :param settings: of every node's `NodeConfig`, beyond addresses.
    """

    def __init__(self, world: World, nodes: int, witness: Witness, **settings: Any) -> None:
        self.world = world
        self.network = SimNetwork(world)
        self.keys = ClusterKeys((hashlib.sha256(b"cluster").digest(),), (hashlib.sha256(b"storage").digest(),))
        self.witness = witness
        self._settings = settings
        self.nodes = [SimNode(self, number) for number in range(nodes)]

    def config(self, number: int) -> NodeConfig:
        """The configuration of a node."""
        join = () if number == 0 else ((self.nodes[0].host, PORT),)
        return NodeConfig(
            port=PORT,
            advertise=f"10.0.0.{number + 1}",
            join=join,
            data_dir=f"/sim/{number}",
            argon2=(1, 8),
            **self._settings,
        )

    def running(self) -> list[SimNode]:
        """The nodes with a process, paused or not."""
        return [node for node in self.nodes if node.running]

    def is_settled(self) -> bool:
        """Whether every node runs, is ready and whole, and no change is under way."""
        return all(
            node.core is not None
            and node.core.cluster.ready
            and not node.core.cluster.not_whole()
            and node.core.cluster.registry is not None
            and not node.core.cluster.registry.changing
            and len(node.core.cluster.registry.members) == len(self.nodes)
            for node in self.nodes
        )


def user(name: str) -> Identity:
    """Somebody who is logged in."""
    return Identity(name, name, Role.USER, 0, 1 << 40)
