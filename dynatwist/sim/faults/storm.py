"""The storm: the time in which faults strike, and in which what they broke for a while is mended again."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

from ..cluster import SimCluster, SimNode

Fault = Callable[[SimNode], bool]
"""Does something bad to a node, or to others; says whether it could."""


class Family(Protocol):
    """Faults of one sort."""

    def kinds(self) -> Mapping[str, Fault]:
        """Each of them, by its name in the plan."""


class Storm:
    """One storm after the other: what was to happen later in one does not happen any more when that is over.

    :param power_may_fail: whether machines lose their power in this seed.
    """

    def __init__(self, cluster: SimCluster, power_may_fail: bool) -> None:
        self.cluster = cluster
        self.world = cluster.world
        self.random = cluster.world.random
        self.power_may_fail = power_may_fail
        self.is_raging = False
        self._number = 0

    def begin(self) -> None:
        """The next storm."""
        self.is_raging = True
        self._number += 1

    def end(self) -> None:
        """It is over, and everything is mended."""
        self.is_raging = False

    def after(self, delay_s: float, call: Callable[[], object]) -> None:
        """Call after a while, unless this storm is over by then."""
        number = self._number

        def due() -> None:
            if self.is_raging and number == self._number:
                call()

        self.world.later(delay_s, due)

    def soon(self, call: Callable[[], object], least_s: float, most_s: float) -> None:
        """Call after a while of chance, unless this storm is over by then."""
        self.after(self.random.uniform(least_s, most_s), call)

    def say(self, text: str) -> bool:
        """A line for the trace: a fault has struck. Always true."""
        self.world.say(f"fault: {text}")
        return True

    def hosts(self) -> set[str]:
        """Of all that are to be members."""
        return {node.host for node in self.cluster.active()}

    def others(self, node: SimNode) -> list[SimNode]:
        """All that are to be members, but one."""
        return [one for one in self.cluster.active() if one is not node]
