"""Changes of secrets in the middle of a storm: no fault by themselves, but they meet all others."""

from __future__ import annotations

from collections.abc import Mapping

from twisted.internet.defer import ensureDeferred

from dynatwist.agreement.rotation import RotationRefused
from dynatwist.core import Core

from ..cluster import SimNode
from .storm import Fault, Storm

AT_ONCE = 0.3
"""Chance of each other node that somebody else rotates there too."""
TOGETHER_S = 0.3
"""Within so long they begin: a step of one comes between those of another."""


class Secrets:
    """See the module."""

    def __init__(self, storm: Storm) -> None:
        self._storm = storm

    def kinds(self) -> Mapping[str, Fault]:
        """See `Family`."""
        return {"rotations": self._rotate}

    def _rotate(self, node: SimNode) -> bool:
        """Where a member cannot be reached, it is refused, and may be done in part."""
        core, process, random = node.core, node.process, self._storm.random
        if random.random() < 0.3:
            self._storm.cluster.add_storage_secret(random.randbytes(32))
            return self._storm.say("there is a new storage secret")
        if core is None or process is None or not core.cluster.standing.is_ready:
            return False
        others = [one for one in self._storm.cluster.ready_nodes() if one is not node and random.random() < AT_ONCE]
        for one in (node, *others):
            self._begin(one, random.uniform(0.0, TOGETHER_S))
        return self._storm.say(f"{', '.join(one.host for one in (node, *others))} have the cluster's secret changed")

    def _begin(self, node: SimNode, after_s: float) -> None:
        def begin() -> None:
            if node.core is not None and node.process is not None and node.process.alive:
                node.process.run(rotate, node.core)

        def rotate(core: Core) -> None:
            rotating = ensureDeferred(core.handlers.keys.rotation.rotate())
            rotating.addErrback(lambda failure: failure.trap(RotationRefused))

        self._storm.cluster.world.later(after_s, begin)
