"""A cluster of the shipped core on simulated hosts."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from random import Random
from typing import Any

from twisted.internet.defer import Deferred

from dynatwist.auth.tokens import Identity, Role
from dynatwist.config.node import NodeConfig
from dynatwist.core import Core
from dynatwist.errors import StartError
from dynatwist.model.registry import Registry
from dynatwist.runtime import Runtime
from dynatwist.storage.keyring import Change, ClusterKeys, Keyring
from dynatwist.storage.needed import secrets_needed

from .disk import SimDisk, SimWriter
from .mount import Mount
from .network import SimHost, SimNetwork
from .times import MajorityTime
from .world import Killed, Process, World

PORT = 7000
EPOCH_MS = 1_700_000_000_000
SMALLEST = 3

OnCore = Callable[["SimNode", Core], None]
"""Told of every core that is built, before it starts."""


class SimNode:
    """One host: its disk and its clock stay, its process comes and goes.

    :ivar core: of the running process; ``None`` while there is none.
    :ivar skew_ms: how far its wall clock is ahead.
    :ivar rate: how fast its monotonic clock goes.
    :ivar uptime_s: what its monotonic clock said when the world began.
    :ivar retired: forgotten by the cluster; it is not started again.
    :ivar node_id: of the last process that came as far as to have one.
    :ivar fatal: why the last process ended itself.
    :ivar zone: where it stands; empty while its operator has not said.
    """

    def __init__(self, cluster: SimCluster, number: int) -> None:
        self._cluster = cluster
        self.number = number
        self.host = f"10.0.0.{number + 1}"
        self.disk = SimDisk(cluster.world.random)
        self.skew_ms = 0
        chance = Random(f"drift {cluster.world.seed} {number}")
        self.rate = 1 + chance.uniform(-1, 1) * cluster.drift_ppm * 1e-6
        self.uptime_s = chance.uniform(0, 1e6) if cluster.drift_ppm else 0.0
        self.process: Process | None = None
        self.core: Core | None = None
        self.retired = False
        self.node_id = b""
        self.fatal = ""
        self.zone = str(number % cluster.zones) if cluster.zones else ""

    def move(self, zone: str) -> None:
        """From its next start on it is said to stand somewhere else."""
        self.zone = zone

    @property
    def running(self) -> bool:
        """Whether there is a process, paused or not."""
        return self.process is not None and self.process.alive

    @property
    def awake(self) -> bool:
        """Whether there is a process that runs."""
        return self.process is not None and self.process.alive and not self.process.paused

    def wall_ms(self) -> int:
        """What its wall clock says."""
        return EPOCH_MS + int(self._cluster.world.now_s * 1000) + self.skew_ms

    def set_clock(self, skew_ms: int) -> None:
        """Set its wall clock so far ahead."""
        self._cluster.time.look()
        self.skew_ms = skew_ms
        self._cluster.time.look()

    def start(self) -> None:
        """Start a process on what the disk holds."""
        world = self._cluster.world
        world.say(f"{self.host} starts")
        process = self.process = Process(world, self.host, self.rate, self.uptime_s)
        network = self._cluster.network.host(self.host, process)
        process.on_killed = lambda: self._died(network)

        def offload(work: Callable[[], Any]) -> Deferred[Any]:
            done: Deferred[Any] = Deferred()
            world.later(0.02, lambda: done.callback(work()), process)
            return done

        def fatal(reason: str) -> None:
            world.say(f"{self.host} gives up: {reason}")
            self.fatal = reason
            process.kill()
            raise Killed(reason)  # the real one does not return either: nothing more of this turn happens

        runtime = Runtime(
            process,
            process.seconds,
            self.wall_ms,
            world.random,
            world.random.randbytes,
            Mount(self.disk, process),
            network,
            lambda name: SimWriter(world, process, self.disk),
            offload,
            fatal,
        )

        def boot() -> None:
            try:
                core = Core(self._cluster.config(self.number), self._cluster.keyring(self.number), runtime)
            except StartError as error:
                fatal(str(error))
                return
            self.core = core
            network.show(lambda: core.keyring.keys)
            self.node_id = core.identity.node_id
            self._cluster.hosts_by_id[self.node_id] = self.number
            self._cluster.on_core(self, core)
            core.start()

        process.run(boot)

    def _died(self, network: SimHost) -> None:
        power = self.disk.power_cut
        self._cluster.world.say(f"{self.host} dies{', without power' if power else ''}")
        if power:
            self.disk.lose_power()
        if self.core is not None:
            self._cluster.time.died(self.core.store.wal.durable_lapse_ms)
        self.core = None
        self.disk.writers.clear()
        network.die(power)

    def kill(self, power: bool = False) -> None:
        """kill -9, or loss of power."""
        if self.process is not None and self.process.alive:
            self.disk.power_cut = power
            self.process.kill()
            if not power:
                self.disk.survive_kill()

    def stop(self) -> None:
        """An orderly stop, which takes a moment."""
        if not self.awake or self.core is None:
            return
        process = self.process
        assert process is not None
        self._cluster.world.say(f"{self.host} stops")

        def ended(_: object) -> None:
            if self.process is process:
                self.kill()

        process.run(lambda core=self.core: core.stop().addCallback(ended))


class SimCluster:
    """Nodes, network and keys.

    :param on_core: told of every core that is built, before it starts.
    :param drift_ppm: by how much the hosts' monotonic clocks are off at most.
    :param bytes_per_s: that a connection carries, each way.
    :param settings: of every node's `NodeConfig`, beyond addresses.
    :param own_key_files: whether each host has a key file of its own, copied from a member's at its first start.
    :param zones: over how many zones the hosts are spread; 0 if nobody says where they stand.
    :ivar keys: what is in the key file that all hosts share, or that the first ones get.
    :ivar time: what time it is by the hosts' wall clocks.
    :ivar hosts_by_id: the number of the host that has, or had, a node id.
    :ivar same_seeds: whether all nodes are started with the same ``--join`` list, themselves in it.
    """

    def __init__(
        self,
        world: World,
        nodes: int,
        on_core: OnCore = lambda node, core: None,
        *,
        drift_ppm: int = 0,
        bytes_per_s: float = float("inf"),
        same_seeds: bool = False,
        own_key_files: bool = False,
        zones: int = 0,
        **settings: Any,
    ) -> None:
        self.world = world
        self.network = SimNetwork(world, bytes_per_s)
        self.keys = ClusterKeys((hashlib.sha256(b"cluster").digest(),), (hashlib.sha256(b"storage").digest(),))
        self.on_core = on_core
        self.settings = settings
        self.drift_ppm = drift_ppm
        self.zones = zones
        self.nodes = [SimNode(self, number) for number in range(nodes)]
        self.time = MajorityTime(self)
        self.hosts_by_id: dict[bytes, int] = {}
        self._founded = False
        self.same_seeds = same_seeds
        self._own_key_files: dict[int, ClusterKeys] | None = {} if own_key_files else None

    def keyring(self, number: int) -> Keyring:
        """For one process."""

        def keep(change: Change) -> ClusterKeys:
            changed = change(self.keys_of(number))
            if self._own_key_files is None:
                self.keys = changed
            else:
                self._own_key_files[number] = changed
            return changed

        def needed_by_others(secrets: tuple[bytes, ...]) -> frozenset[str]:
            if self._own_key_files is not None:
                return frozenset()
            others = (node for node in self.nodes if node.number != number)
            process = Process(self.world, "look")
            looks = (
                secrets_needed(Mount(one.disk.twin(False), process), f"/sim/{one.number}", secrets) for one in others
            )
            return frozenset(name for look in looks for name in look)

        return Keyring(self.keys_of(number), keep, needed_by_others)

    def keys_of(self, number: int) -> ClusterKeys:
        """What is in a host's key file."""
        own = self._own_key_files
        if own is None:
            return self.keys
        if number not in own:
            self.copy_key_file(number)
        return own[number]

    def copy_key_file(self, number: int) -> None:
        """A host gets the key file of a member, as it is now."""
        assert self._own_key_files is not None
        own = self._own_key_files
        ready = (node.number for node in self.ready_nodes() if node.number != number)
        own[number] = next((own[other] for other in ready if other in own), self.keys)

    def add_storage_secret(self, secret: bytes) -> None:
        """An operator puts a new storage secret into all key files."""
        self.keys = with_storage(self.keys, secret)
        if self._own_key_files is not None:
            own = self._own_key_files
            own |= {number: with_storage(keys, secret) for number, keys in own.items()}

    def return_storage_secrets(self, number: int, secrets: tuple[bytes, ...]) -> None:
        """Somebody who restores a node from a backup has its key file of then, too."""
        keys = self.keys_of(number)
        for secret in secrets:
            keys = keys.with_needed_storage(secret)
        if self._own_key_files is None:
            self.keys = keys
        else:
            self._own_key_files[number] = keys

    def config(self, number: int) -> NodeConfig:
        """The configuration of a node."""
        return NodeConfig(
            port=PORT,
            advertise=f"10.0.0.{number + 1}",
            join=self.seeds(number),
            data_dir=f"/sim/{number}",
            zone=self.nodes[number].zone,
            argon2=(1, 8),
            **self.settings,
        )

    def seeds(self, number: int) -> tuple[tuple[str, int], ...]:
        """The ``--join`` list: the first node founds the cluster, once; all others join any of the rest.

        On request it is the same list everywhere.
        """
        if self.same_seeds:
            return tuple((node.host, PORT) for node in self.nodes)
        others = [node.host for node in self.nodes if node.number != number and not node.retired]
        if number == 0 and not self._founded:
            self._founded = True
            others = []
        return tuple((host, PORT) for host in others)

    def add(self) -> SimNode:
        """A further host; start it."""
        node = SimNode(self, len(self.nodes))
        self.nodes.append(node)
        return node

    def active(self) -> list[SimNode]:
        """The nodes that are to be members, running or not."""
        return [node for node in self.nodes if not node.retired]

    def ready_nodes(self) -> list[SimNode]:
        """The nodes that would answer clients now."""
        return [node for node in self.nodes if node.awake and node.core and node.core.cluster.standing.is_ready]

    def cores(self) -> list[Core]:
        """Of all running nodes."""
        return [node.core for node in self.nodes if node.core is not None]

    def registry(self) -> Registry | None:
        """The newest that a running node knows."""
        known = [core.cluster.registry for core in self.cores() if core.cluster.registry is not None]
        return max(known, key=lambda registry: registry.version, default=None)

    def is_settled(self) -> bool:
        """Whether every node runs, is ready and whole, the members are exactly these, and all reach each other."""
        active = self.active()
        cores = [node.core for node in active if node.core is not None]
        registry = self.registry()
        if registry is None or registry.changing or len(cores) != len(active):
            return False
        return all(
            core.cluster.registry == registry
            and core.cluster.standing.is_ready
            and not core.cluster.ownership.is_removed
            and not core.cluster.standing.not_whole()
            and all(core.cluster.peers.is_reachable(member.node_id) for member in registry.members)
            and core.cluster.me.zone in ("", _zone_of(registry, core))
            for core in cores
        ) and registry.ids == {core.identity.node_id for core in cores}


def _zone_of(registry: Registry, core: Core) -> str | None:
    member = registry.find(core.identity.node_id)
    return member.zone if member is not None else None


def with_storage(keys: ClusterKeys, secret: bytes) -> ClusterKeys:
    """Keys with another storage secret in use."""
    return replace(keys, storage=(secret, *keys.storage))


def user(name: str) -> Identity:
    """Somebody who is logged in."""
    return Identity(name, name, Role.USER, 0, 1 << 40)
