"""Faults of wall clocks: they are set ahead or back, for good or for a moment."""

from __future__ import annotations

from collections.abc import Mapping

from ..cluster import EPOCH_MS, SimNode
from .storm import Fault, Storm

JUMPS_MS = (30_000, 3_600_000, 7_200_000, 86_400_000, 10 * 365 * 86_400_000)
TOLERATED_MS = 5_000
"""A clock that is off by more is a wrong one."""


class Clocks:
    """See the module."""

    def __init__(self, storm: Storm) -> None:
        self._storm = storm
        self._jumped: dict[SimNode, int] = {}

    def kinds(self) -> Mapping[str, Fault]:
        """See `Family`."""
        return {"clocks": self._set, "jumps": self._jump}

    def set_right(self) -> None:
        """All but one are set right; that one may stay as wrong as it is."""
        for node, skew_ms in self._jumped.items():
            node.set_clock(skew_ms)
        self._jumped.clear()
        wrong = [node for node in self._storm.cluster.active() if abs(node.skew_ms) > TOLERATED_MS]
        for node in wrong[:-1]:
            node.set_clock(0)

    def _set(self, node: SimNode) -> bool:
        random = self._storm.random
        if random.random() < 0.15:  # it boots in 1970
            node.kill()
            node.set_clock(-EPOCH_MS)
        else:
            node.set_clock(random.choice((-60_000, -9_000, -500, -20, 0, 20, 500, 9_000, 60_000)))
        return self._storm.say(f"the clock of {node.host} is off by {node.skew_ms} ms")

    def _jump(self, node: SimNode) -> bool:
        random = self._storm.random
        if node in self._jumped or node.skew_ms == -EPOCH_MS:
            return False
        self._jumped[node] = node.skew_ms
        node.set_clock(node.skew_ms + random.choice((-1, 1, 1, 1)) * random.choice(JUMPS_MS))
        self._storm.soon(lambda: node.set_clock(self._jumped.pop(node)), 0.05, random.choice((0.5, 2.0, 5.0)))
        return self._storm.say(f"the clock of {node.host} is off by {node.skew_ms} ms for a moment")
