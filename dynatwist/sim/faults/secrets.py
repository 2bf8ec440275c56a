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
DIES = 0.5
"""Chance that a node dies while its folder is sealed anew."""
MOST_SYNCS = 40
"""Of its disk, within which that happens: as many as it takes, with few partitions changed."""
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
            return self._put_first() if random.random() < 0.3 else self._renew(node)
        if core is None or process is None or not core.cluster.standing.is_ready:
            return False
        others = [one for one in self._storm.cluster.ready_nodes() if one is not node and random.random() < AT_ONCE]
        for one in (node, *others):
            self._begin(one, random.uniform(0.0, TOGETHER_S))
        return self._storm.say(f"{', '.join(one.host for one in (node, *others))} have the cluster's secret changed")

    def _put_first(self) -> bool:
        """Somebody changes the key files by hand; each node finds that at its next start."""
        self._storm.cluster.add_storage_secret(self._storm.random.randbytes(32))
        return self._storm.say("there is a new storage secret")

    def _renew(self, node: SimNode) -> bool:
        """Its folder is sealed anew from now on; often its machine loses power, or it is killed, meanwhile."""
        core, process, random = node.core, node.process, self._storm.random
        if core is None or process is None or core.renewal.is_under_way:
            return False
        if self._storm.power_may_fail and random.random() < DIES:
            node.disk.crash_after = random.randint(1, MOST_SYNCS)
        process.run(core.renewal.renew)
        return self._storm.say(f"{node.host} is given another storage secret")

    def _begin(self, node: SimNode, after_s: float) -> None:
        def begin() -> None:
            if node.core is not None and node.process is not None and node.process.alive:
                node.process.run(rotate, node.core)

        def rotate(core: Core) -> None:
            rotating = ensureDeferred(core.handlers.keys.rotation.rotate())
            rotating.addErrback(lambda failure: failure.trap(RotationRefused))

        self._storm.cluster.world.later(after_s, begin)
