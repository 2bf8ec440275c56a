"""Which owners can carry out a request now, and in which order they are asked."""

from __future__ import annotations

from dynatwist.cluster.cluster import Cluster


class Candidates:
    """See the module. The order is that of the preference list, behind whoever does not yield as far.

    While members change, all go by the owners before the change.
    """

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    def of(self, partition: int) -> list[bytes]:
        """The owners of a partition that are ready, this node perhaps among them, best first."""
        cluster = self._cluster
        registry = cluster.registry
        if registry is None:
            return []
        able: list[bytes] = []
        for owner in registry.old_owners(partition) or registry.owners(partition):
            if owner == cluster.me.node_id:
                if cluster.standing.may_coordinate(partition):
                    able.append(owner)
            elif cluster.peers.is_ready_at(owner, partition):
                able.append(owner)
        return sorted(able, key=self._yields)  # whatever does not differ in this stays in its order

    def others_go_first(self, partition: int, node: bytes) -> bool:
        """Whether an owner yields to another one that can be asked."""
        yields = self._yields(node)
        return yields > 0 and any(self._yields(owner) < yields for owner in self.of(partition))

    def _yields(self, owner: bytes) -> int:
        cluster = self._cluster
        return cluster.yielding.yields if owner == cluster.me.node_id else cluster.peers.yields(owner)
