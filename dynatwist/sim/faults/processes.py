"""Faults of processes: they are paused, killed, stopped in order, or lose power with their machine."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from ..cluster import SimNode
from .storm import Fault, Storm
from .wounds import Wounds


class Processes:
    """See the module."""

    def __init__(self, storm: Storm, wounds: Wounds) -> None:
        self._storm = storm
        self._wounds = wounds

    def kinds(self) -> Mapping[str, Fault]:
        """See `Family`."""
        return {
            "pauses": self._pause,
            "kills": self._kill,
            "mass_kills": self._kill_all,
            "power_cuts": partial(self._kill, power=True),
            "crashes_at_sync": self._crash_at_sync,
            "leaves": self._leave,
        }

    def _pause(self, node: SimNode) -> bool:
        process = node.process
        if process is None or not node.awake:
            return False
        process.pause()
        self._storm.soon(process.thaw, 0.05, self._storm.random.choice((0.4, 4.0)))
        return self._storm.say(f"{node.host} is paused")

    def _kill(self, node: SimNode, power: bool = False) -> bool:
        node.kill(power)
        return True

    def _kill_all(self, node: SimNode) -> bool:
        power = self._storm.power_may_fail and self._storm.random.random() < 0.5
        for one in self._storm.cluster.nodes:
            one.kill(power)
        return self._storm.say("all are killed")

    def _crash_at_sync(self, node: SimNode) -> bool:
        node.disk.crash_after = self._storm.random.randint(1, 12)
        return self._storm.say(f"{node.host} will crash at sync {node.disk.crash_after} from now")

    def _leave(self, node: SimNode) -> bool:
        node.stop()
        self._storm.soon(partial(self._wounds.restart, node), 1.0, 5.0)
        return True
