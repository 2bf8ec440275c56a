"""What a membership of some size does, measured in a simulated world: load, spread of news, detection, false alarms."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from statistics import mean, median, stdev

from dynatwist.membership.settings import SwimSettings
from dynatwist.net.packet import MAX_PAYLOAD_BYTES

from .detection import mean_detection, random_tail, round_robin_tail
from .members import Crash, Host, MembersWorld

SETTLE_S = 5.0
PATIENCE_S = 120.0
"""For what has to happen some time."""
STEP_S = 0.05
PAUSE_S = (0.005, 1.0)
"""From the end of a member's disturbance to its next."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """What to look at.

    :ivar loss: share of packets lost.
    :ivar quiet_s: for how long nothing happens but loss and disturbances; load and false alarms are counted then.
    :ivar crashes: how many nodes are killed, each a while after the last was known to all.
    :ivar disturbed: how many members stop now and then, all through `quiet_s` and the crashes.
    :ivar blocked: whether these are cut off while their timers go on, instead of frozen.
    :ivar disturbance_s: the shortest and the longest; their logarithms are evenly spread.
    :ivar without: the parts of Lifeguard that are switched off, by name.
    :ivar random_probes: whether members are probed at random rather than in shuffled rounds.
    """

    nodes: int
    loss: float = 0.0
    quiet_s: float = 30.0
    crashes: int = 10
    disturbed: int = 0
    blocked: bool = False
    disturbance_s: tuple[float, float] = (0.1, 30.0)
    random_probes: bool = False
    without: frozenset[str] = frozenset()

    def settings(self) -> SwimSettings:
        """Of all nodes."""
        return SwimSettings(
            payload_bytes=MAX_PAYLOAD_BYTES,
            random_probes=self.random_probes,
            awareness="awareness" not in self.without,
            shortening="shortening" not in self.without,
            buddy="buddy" not in self.without,
            measured_timeouts="measured-timeouts" not in self.without,
        )

    def expected_first_s(self) -> float:
        """What the model says of the first suspicion, in a world without loss and disturbances."""
        others = self.nodes - 1
        tail = random_tail(others) if self.random_probes else round_robin_tail(others)
        return mean_detection(tail, others)


@dataclass(slots=True)
class Survey:
    """What was seen.

    :ivar packets: a node sent in a probe period, in quiet.
    :ivar bytes_s: a node sent a second, in quiet.
    :ivar suspected: suspicions of live members raised in quiet, by evidence of one's own.
    :ivar false_alarms: healthy members that a healthy one took for dead, pair by pair.
    :ivar known_to_most_s: until 99 % knew of a joiner; infinite if they never did.
    :ivar whole_s: until the joiner knew all; infinite if it never did.
    :ivar first_s: from each crash to the first suspicion.
    :ivar everywhere_s: from each crash until all took the node for dead.
    :ivar violations: of the invariants.
    """

    packets: float = 0.0
    bytes_s: float = 0.0
    suspected: int = 0
    false_alarms: int = 0
    known_to_most_s: float = float("inf")
    whole_s: float = float("inf")
    first_s: list[float] = field(default_factory=list)
    everywhere_s: list[float] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)

    @property
    def mean_first_s(self) -> tuple[float, float]:
        """Mean time to the first suspicion, and the standard error of it; infinite with less than two crashes."""
        if len(self.first_s) < 2:
            return (self.first_s or [float("nan")])[0], float("inf")
        return mean(self.first_s), stdev(self.first_s) / len(self.first_s) ** 0.5

    @property
    def median_everywhere_s(self) -> float:
        """Median time until all know of a crash."""
        return median(self.everywhere_s) if self.everywhere_s else float("nan")


def survey(scenario: Scenario, seed: int) -> Iterator[tuple[str, Survey]]:
    """Look at a scenario: after each part, its name and what was seen so far; always the same for the same seed."""
    world = MembersWorld(nodes=scenario.nodes, seed=seed, settings=scenario.settings(), loss=scenario.loss)
    seen = Survey()
    world.run(SETTLE_S)
    troubles = _Disturbances(world, scenario)
    _stay_quiet(world, troubles, scenario, seen)
    yield "quiet", seen
    _join(world, troubles, seen)
    yield "join", seen
    for _ in _crashes(world, troubles, scenario, seen):
        yield "crash", seen
    _judge(world, seen)
    yield "end", seen


def first_suspicions(scenario: Scenario, seeds: Iterable[int]) -> list[float]:
    """Seconds from a crash to the first suspicion of it, each in a world of its own.

    In a big cluster the news of crashes costs far more than waiting until one is noticed.
    """
    found = []
    for seed in seeds:
        world = MembersWorld(nodes=scenario.nodes, seed=seed, settings=scenario.settings(), loss=scenario.loss)
        world.run(1.0 + world.random.random())
        crash = world.kill(world.random.randrange(scenario.nodes))
        while crash.suspected_s is None:
            world.run(world.now_s + STEP_S)
        found.append(crash.suspected_s)
    return found


class _Disturbances:
    """Members that stop now and then; time passes through here."""

    def __init__(self, world: MembersWorld, scenario: Scenario) -> None:
        self._world, self._scenario = world, scenario
        troubled = world.random.sample(range(scenario.nodes), scenario.disturbed)
        self.next_s = {number: world.now_s + world.random.uniform(0, SETTLE_S) for number in troubled}
        for number in troubled:
            world.hosts[number].healthy = False

    def run(self, until_s: float) -> None:
        """Let time pass."""
        world = self._world
        while self.next_s:
            number = min(self.next_s, key=lambda one: (self.next_s[one], one))
            if self.next_s[number] > until_s:
                break
            world.run(self.next_s[number])
            shortest_s, longest_s = self._scenario.disturbance_s
            duration_s = shortest_s * (longest_s / shortest_s) ** world.random.random()
            (world.block if self._scenario.blocked else world.stall)(number, duration_s)
            self.next_s[number] = world.now_s + duration_s + world.random.uniform(*PAUSE_S)
        world.run(until_s)


def _stay_quiet(world: MembersWorld, troubles: _Disturbances, scenario: Scenario, seen: Survey) -> None:
    packets, sent_bytes, began_s = world.packets, world.bytes, world.now_s
    troubles.run(world.now_s + scenario.quiet_s)
    node_seconds = scenario.nodes * max(world.now_s - began_s, 1e-9)
    seen.packets = (world.packets - packets) / node_seconds * world.settings.probe_interval_s
    seen.bytes_s = (world.bytes - sent_bytes) / node_seconds
    seen.suspected = sum(host.swim.suspected for host in world.hosts)


def _join(world: MembersWorld, troubles: _Disturbances, seen: Survey) -> None:
    joiner = world.join()
    began_s, node = world.now_s, joiner.swim.me.node
    most = round(0.99 * len(world.hosts))
    while max(seen.known_to_most_s, seen.whole_s) == float("inf") and world.now_s < began_s + PATIENCE_S:
        troubles.run(world.now_s + STEP_S)
        if seen.known_to_most_s == float("inf") and sum(host.swim.roster.knows(node) for host in world.hosts) >= most:
            seen.known_to_most_s = world.now_s - began_s
        if len(joiner.swim.view.alive) == len(world.hosts):
            seen.whole_s = min(seen.whole_s, world.now_s - began_s)


def _crashes(world: MembersWorld, troubles: _Disturbances, scenario: Scenario, seen: Survey) -> Iterator[None]:
    """Kill nodes, in a big cluster a few at once, and start them again when all know."""
    together = max(1, scenario.nodes // 100)
    healthy = [host.number for host in world.hosts if host.healthy]
    while len(seen.everywhere_s) < scenario.crashes:
        crashes = []
        for number in world.random.sample(healthy, min(together, scenario.crashes - len(seen.everywhere_s))):
            troubles.run(world.now_s + world.random.uniform(1, 2) * world.settings.probe_interval_s)
            crashes.append(world.kill(number))
        until_s = world.now_s + PATIENCE_S
        while world.now_s < until_s and not all(_is_known(world, crash) for crash in crashes):
            troubles.run(world.now_s + 10 * STEP_S)
        for crash in crashes:
            _note(world, crash, seen)
        for crash in crashes:
            world.restart(crash.number)
        troubles.run(world.now_s + SETTLE_S)
        yield


def _hearers(world: MembersWorld) -> list[Host]:
    return [host for host in world.awake() if host.healthy]


def _is_known(world: MembersWorld, crash: Crash) -> bool:
    return all(host.number in crash.heard for host in _hearers(world))


def _note(world: MembersWorld, crash: Crash, seen: Survey) -> None:
    if crash.suspected_s is None or not _is_known(world, crash):
        seen.violations.append(f"not all know of a crash after {PATIENCE_S:.0f} s")
        seen.everywhere_s.append(PATIENCE_S)
        return
    seen.first_s.append(crash.suspected_s)
    seen.everywhere_s.append(max(crash.heard[host.number] for host in _hearers(world)))


def _judge(world: MembersWorld, seen: Survey) -> None:
    """Without disturbances, all have to agree again; and the invariants."""
    until_s = world.now_s + PATIENCE_S
    while world.now_s < until_s and not world.views_agree():
        world.run(world.now_s + 1.0)
    if not world.views_agree():
        seen.violations.append(f"views differ {PATIENCE_S:.0f} s after the last crash")
    hosts = world.hosts
    seen.false_alarms = sum(hosts[by].healthy and hosts[of].healthy for by, of, _ in world.false_alarms)
    seen.violations += world.check()
