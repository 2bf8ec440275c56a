"""Clients and faults, drawn from the seed."""

from __future__ import annotations

from dataclasses import dataclass, field

from twisted.internet.defer import ensureDeferred
from twisted.python.failure import Failure

from dynatwist.api.request import Request
from dynatwist.coordinator.request import Kind, Result
from dynatwist.errors import ApiError
from dynatwist.model.record import Key, Record

from .cluster import SimCluster, SimNode, user

TABLES = ("users", "things")
KEYS = tuple(f"k{number}" for number in range(12))
OWNERS = ("alice", "bob")


@dataclass(slots=True)
class Written:
    """An acknowledged write."""

    key: Key
    record: Record
    node: str
    at_s: float


@dataclass(slots=True)
class History:
    """What clients saw.

    :ivar sent: requests begun.
    :ivar answered: requests that ended, well or not.
    """

    acknowledged: list[Written] = field(default_factory=list)
    sent: int = 0
    answered: int = 0
    refused: dict[str, int] = field(default_factory=dict)


class Clients:
    """Some clients that put, patch, get and delete a few keys, through any node."""

    def __init__(self, cluster: SimCluster, history: History, rate_s: float) -> None:
        self._cluster = cluster
        self._world = cluster.world
        self._history = history
        self._mean_s = 1 / rate_s
        self._running = True
        self._count = 0
        self._next()

    def stop(self) -> None:
        """No more requests."""
        self._running = False

    def _next(self) -> None:
        if self._running:
            self._world.later(self._world.random.expovariate(1 / self._mean_s), self._next)
            self._request()

    def _request(self) -> None:
        random = self._world.random
        nodes = [node for node in self._cluster.running() if node.process is not None and not node.process.paused]
        if not nodes:
            return
        node = random.choice(nodes)
        key = (random.choice(TABLES), random.choice(KEYS))
        kind = random.choices([Kind.PUT, Kind.DELETE, Kind.PATCH, Kind.GET], [5, 2, 1, 3])[0]
        level = random.choices(["quorum", "majority", "one", "all"], [6, 2, 2, 1])[0]
        self._count += 1
        assert node.process is not None
        value = b'{"n":%d}' % self._count
        usual = OWNERS[KEYS.index(key[1]) % 2]
        owner = usual if random.random() < 0.9 else random.choice(OWNERS)
        node.process.run(lambda: self._send(node, kind, key, level, value, owner))

    def _send(self, node: SimNode, kind: Kind, key: Key, level: str, value: bytes, owner: str) -> None:
        core = node.core
        if core is None or not core.cluster.ready:
            return
        history = self._history
        history.sent += 1
        request = Request(query={"w": level, "r": level})
        if kind is Kind.GET:
            running = ensureDeferred(core.data.read(user(owner), *key, request.level("r")))
        else:
            running = ensureDeferred(core.data.write(user(owner), request, kind, *key, value))

        def done(result: Result) -> None:
            history.answered += 1
            if kind is not Kind.GET and result.record is not None:
                history.acknowledged.append(Written(key, result.record, node.host, self._world.now_s))
                self._world.say(f"{node.host} {kind.value} {key[0]}/{key[1]} w={level} {value!r} {result.replicas}")

        def failed(failure: Failure) -> None:
            failure.trap(ApiError)
            history.answered += 1
            assert isinstance(failure.value, ApiError)
            code = failure.value.code
            history.refused[code] = history.refused.get(code, 0) + 1

        running.addCallbacks(done, failed)


@dataclass(frozen=True, slots=True)
class Faults:
    """What may go wrong; each a mean number of times in ten seconds."""

    partitions: float = 2.0
    pauses: float = 2.0
    kills: float = 1.5
    power_cuts: float = 1.5
    crashes_at_sync: float = 1.0
    loss: float = 0.05


class Mischief:
    """Makes things go wrong for a while."""

    def __init__(self, cluster: SimCluster, faults: Faults) -> None:
        self._cluster = cluster
        self._world = cluster.world
        self._faults = faults
        self._running = True
        cluster.network.loss = faults.loss
        cluster.network.duplication = faults.loss
        for name in ("partitions", "pauses", "kills", "power_cuts", "crashes_at_sync"):
            self._plan(name, getattr(faults, name))

    def stop(self) -> None:
        """Everything is well again: all healed, thawed and started."""
        self._running = False
        self._cluster.network.loss = self._cluster.network.duplication = 0.0
        self._cluster.network.heal()
        for node in self._cluster.nodes:
            node.disk.crash_after = 0
            if node.process is not None and node.process.paused:
                node.process.thaw()
            if not node.running:
                node.start()

    def _plan(self, name: str, per_ten_s: float) -> None:
        if per_ten_s > 0:
            self._world.later(self._world.random.expovariate(per_ten_s / 10), lambda: self._strike(name, per_ten_s))

    def _strike(self, name: str, per_ten_s: float) -> None:
        if not self._running:
            return
        random, world = self._world.random, self._world
        node = random.choice(self._cluster.nodes)
        world.say(f"{name} {node.host}")
        match name:
            case "partitions":
                hosts = [one.host for one in self._cluster.nodes]
                random.shuffle(hosts)
                split = random.randint(1, len(hosts) - 1)
                self._cluster.network.cut(hosts[:split], hosts[split:], random.random() < 0.3)
                world.later(random.uniform(0.3, 5), self._cluster.network.heal)
            case "pauses" if node.running and node.process is not None:
                process = node.process
                process.pause()
                world.later(random.uniform(0.05, 4), process.thaw)
            case "kills" | "power_cuts":
                node.kill(power=name == "power_cuts")
            case "crashes_at_sync" if node.running:
                node.disk.crash_after = random.randint(1, 12)
        if not node.running:
            world.later(random.uniform(0.2, 4), lambda: self._restart(node))
        self._sweep()
        self._plan(name, per_ten_s)

    def _sweep(self) -> None:
        """Start again whoever crashed by itself."""
        for node in self._cluster.nodes:
            if not node.running:
                self._world.later(self._world.random.uniform(0.2, 4), lambda node=node: self._restart(node))  # type: ignore[misc]

    def _restart(self, node: SimNode) -> None:
        if self._running and not node.running:
            node.start()
