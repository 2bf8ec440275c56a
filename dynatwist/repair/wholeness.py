"""Becoming whole: counting from whom a partition was fetched, and having it count as whole when that is enough.

*Whole*: a replica that was damaged, restored or newly taken over starts empty, and is whole when it has finished rounds
with enough of the other whole owners; a new owner, of the old ones. See `dynatwist.replication.filling`.
"""

from __future__ import annotations

from twisted.logger import Logger

from dynatwist.cluster.cluster import Cluster
from dynatwist.replication.filling import sources_needed, sources_of
from dynatwist.replication.losses import Losses
from dynatwist.sometimes import sometimes

MERGED_A_TURN = 60
"""Records that were set aside and are merged in one turn of the reactor: half a millisecond's work."""


class Wholeness:
    """See the module.

    :param losses: the nodes for which nobody waits.
    """

    log = Logger()

    def __init__(self, cluster: Cluster, losses: Losses) -> None:
        self._cluster = cluster
        self._losses = losses
        self._is_merging = False

    def fetched(self, node: bytes, partitions: list[int], whole: set[int]) -> None:
        """A round with a peer was completed.

        :param whole: the partitions of which the peer, whole itself, gave all that it holds.
        """
        for partition in partitions:
            if self.wants(partition) and (partition in whole or self._is_nobody_whole(partition)):
                resets = self._cluster.store.replicas[partition].resets
                self._cluster.standing.filling.fetched(partition, resets, node)

    def wants(self, partition: int) -> bool:
        """Whether it matters from whom a partition is fetched."""
        return not self._cluster.store.replicas[partition].whole or self._cluster.standing.filling.is_due(partition)

    def _is_nobody_whole(self, partition: int) -> bool:
        """Whether all that are left are damaged as this replica is; a new owner waits until one of them is whole."""
        cluster = self._cluster
        left = [one for one in self._sources(partition) if not self._losses.is_lost(one)]
        return not cluster.ownership.is_joining(partition) and all(
            cluster.peers.is_damaged_at(one, partition) for one in left
        )

    def _sources(self, partition: int) -> list[bytes]:
        registry = self._cluster.registry
        assert registry is not None
        return sources_of(registry, self._cluster.me.node_id, partition)

    def _sources_needed(self, partition: int) -> int:
        cluster = self._cluster
        registry = cluster.registry
        assert registry is not None
        sources = self._sources(partition)
        lost = self._losses.among(sources)
        damaged = [one for one in sources if cluster.peers.is_damaged_at(one, partition)]
        return sources_needed(registry, cluster.me.node_id, partition, lost, damaged)

    def check(self) -> bool:
        """Have the partitions count as whole that are; in later turns, where much was set aside."""
        changed = False
        cluster = self._cluster
        filling = cluster.standing.filling
        left = MERGED_A_TURN
        if cluster.registry is None:
            return False
        for partition in sorted({*cluster.standing.not_whole(), *filling.due}):
            replica = cluster.store.replicas[partition]
            sources = filling.sources(partition, replica.resets).intersection(self._sources(partition))
            if len(sources) < self._sources_needed(partition) or not (sources or cluster.standing.is_lone):
                continue
            if not sources:
                sometimes("a partition is whole from nothing, since nobody is left who knows it")
                self.log.warn("partition {number}: no owner that held it is left; it starts empty", number=partition)
            if not replica.whole:
                left -= cluster.store.merge_aside(partition, left)
                if left <= 0:
                    self._merge_on()
                    break
                cluster.store.become_whole(partition)
            filling.complete(partition)
            changed = True
        if changed and not cluster.standing.not_whole():
            self.log.info("all partitions are whole")
        return changed

    def serve_lone(self) -> None:
        """Nobody else is there: what verifies is served, and stays not whole."""
        left = MERGED_A_TURN
        for partition in self._cluster.standing.not_whole():
            if self._cluster.standing.is_left_alone(partition):
                left -= self._cluster.store.merge_aside(partition, left)
            if left <= 0:
                self._merge_on()
                break

    def _merge_on(self) -> None:
        """Much is set aside: go on with it in the next turn."""
        if not self._is_merging:
            sometimes("what was set aside is merged in several turns")
            self._is_merging = True
            self._cluster.runtime.later(self._go_on_merging)

    def _go_on_merging(self) -> None:
        self._is_merging = False
        if not self._cluster.standing.is_stopping:
            self.serve_lone()
            if self.check():
                self._cluster.publish()
