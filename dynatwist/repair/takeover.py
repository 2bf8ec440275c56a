"""What a new registry means for the replicas of a node: it starts over what it did not own.

That is in the log with the rest, behind it the registry that it was done for, so that a crash in between is noticed.
"""

from __future__ import annotations

from dynatwist.cluster.cluster import Cluster
from dynatwist.model.registry import Registry, decode_registry, encode_registry
from dynatwist.replication.filling import starts_over
from dynatwist.sometimes import sometimes
from dynatwist.storage.opening import REGISTRY


class Takeover:
    """See the module."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    def take_over(self, before: Registry | None, after: Registry) -> None:
        """Start over what this node did not own; note in the log, behind that, that it is done."""
        store, me = self._cluster.store, self._cluster.me.node_id
        if before is not None and before.changing and after.changing:
            sometimes("a change under way is amended")
        for partition in starts_over(before, after, me):
            replica = store.replicas[partition]
            if replica.clock or replica.records or replica.aside:
                store.cease_whole(partition)
            else:
                store.reset(partition, whole=False)
        for replica in store.replicas:
            if not replica.whole and me not in after.all_owners(replica.number):
                if replica.aside:
                    sometimes("what was set aside is handed off, since its partition was lost before it was whole")
                store.become_whole(replica.number)  # as what is handed off: nobody but its owners counts on it
        store.set_meta(REGISTRY, encode_registry(after))

    def resume(self) -> None:
        """The registry is durable before what it means for the replicas is: a crash may have come between."""
        cluster = self._cluster
        registry, packed = cluster.registry, cluster.store.meta.get(REGISTRY)
        before = decode_registry(packed) if packed else None
        if registry is None or registry == before:
            return
        if before is not None or cluster.identity.logs_registry:
            sometimes("a crash came between a registry and what it means for the replicas")
            self.take_over(before, registry)
            return
        # A folder of an earlier release, which is believed.
        cluster.store.set_meta(REGISTRY, encode_registry(registry))
        cluster.store.wal.when_durable(cluster.store.wal.lsn, cluster.identity.log_names_registry)
