"""Changes of secrets in the middle of a storm: no fault by themselves, but they meet all others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from twisted.internet.defer import ensureDeferred

from dynatwist.agreement.rotation import RotationRefused

from ..cluster import SimNode
from .storm import Fault, Storm


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
            cluster = self._storm.cluster
            cluster.keys = replace(cluster.keys, storage=(random.randbytes(32), *cluster.keys.storage))
            return self._storm.say("there is a new storage secret")
        if core is None or process is None or not core.cluster.standing.is_ready:
            return False
        rotation = core.handlers.keys.rotation
        process.run(lambda: ensureDeferred(rotation.rotate()).addErrback(lambda failure: failure.trap(RotationRefused)))
        return self._storm.say(f"{node.host} has the cluster's secret changed")
