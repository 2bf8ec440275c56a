"""What time it is, as the judge knows it: from all hosts' wall clocks, and from nothing that a node says.

A time has *passed* when a majority of the members' clocks were beyond it within one moment. Frames take a while, and a
node may count what it heard up to three seconds ago; so a moment is four seconds long. What has passed goes on while
nobody's clock is looked at, as clocks do.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .cluster import SimCluster

MOMENT_S = 4.0
LOOK_S = 0.1
SLACK_MS = 100
"""What clocks 500 ppm apart make of a moment, and rounding."""


class MajorityTime:
    """See the module; `look` at every change of a clock, and now and then."""

    def __init__(self, cluster: SimCluster) -> None:
        self._cluster = cluster
        self._say: Callable[[str], None] = lambda text: None
        self._durable_ms = 0
        self._passed_ms = 0.0
        self._looked_s = 0.0
        self._lately: deque[tuple[float, dict[int, int]]] = deque()

    def tell(self, say: Callable[[str], None]) -> None:
        """Who is told of a node that takes a time for over which no majority has passed."""
        self._say = say

    def start(self) -> None:
        """Begin to look by itself."""
        self.look()
        self._cluster.world.later(LOOK_S, self.start)

    def look(self) -> None:
        """See what all clocks say now."""
        now_s = self._cluster.world.now_s
        self._lately.append((now_s, {node.number: node.wall_ms() for node in self._cluster.nodes}))
        while self._lately[0][0] < now_s - MOMENT_S:
            self._lately.popleft()
        greatest: dict[int, float] = {}
        for at_s, readings in self._lately:
            for number, reading_ms in readings.items():
                greatest[number] = max(greatest.get(number, 0.0), reading_ms + 1000 * (now_s - at_s))
        self._passed_ms = max(self.passed_ms, *self._by_registry(greatest), 0.0)
        self._looked_s = now_s
        for core in self._cluster.cores():
            if core.store.lapse_ms > self._passed_ms + SLACK_MS:
                self._say(f"P1: {core.cluster.me.host} takes {core.store.lapse_ms} for over, {self._passed_ms:.0f} is")

    def _by_registry(self, readings: dict[int, float]) -> list[float]:
        """By each registry that a node goes by; what one of them may say is no fault."""
        registries = {}
        for core in self._cluster.cores():
            if core.cluster.registry is not None:
                registries[core.cluster.registry.version] = core.cluster.registry
        return [
            min(self._beyond_most(ids, readings) for ids in (registry.ids, registry.previous_ids) if ids)
            for registry in registries.values()
        ]

    def _beyond_most(self, ids: frozenset[bytes], readings: dict[int, float]) -> float:
        hosts = self._cluster.hosts_by_id
        clocks = sorted((readings[hosts[one]] for one in ids if one in hosts and hosts[one] in readings), reverse=True)
        middle = len(ids) // 2  # so many clocks, and one more, are a majority
        return clocks[middle] if len(clocks) > middle else 0.0

    @property
    def passed_ms(self) -> float:
        """What may count as over, at most."""
        return self._passed_ms + 1000 * (self._cluster.world.now_s - self._looked_s)

    def may_be_over(self, end_ms: int) -> bool:
        """Whether a record may be taken for expired by now."""
        return 0 < end_ms <= self.passed_ms + SLACK_MS

    def died(self, durable_lapse_ms: int) -> None:
        """A process is gone, and so much was over by its log."""
        self._durable_ms = max(self._durable_ms, durable_lapse_ms)

    @property
    def durable_ms(self) -> int:
        """What is over by some log."""
        return max([self._durable_ms, *(core.store.wal.durable_lapse_ms for core in self._cluster.cores())])

    @property
    def most_ms(self) -> int:
        """Beyond what the clocks of most active hosts are right now."""
        clocks = sorted((node.wall_ms() for node in self._cluster.active()), reverse=True)
        return clocks[len(clocks) // 2]
