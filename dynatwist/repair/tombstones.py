"""Collecting tombstones: asks all members for their durable clocks, and drops what may go.

The rules are in `dynatwist.replication.collection`.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from dynatwist.cluster.ask import Ask, ask_all
from dynatwist.cluster.cluster import Cluster
from dynatwist.cluster.switchboard import Respond
from dynatwist.model.dots import DotSet, WireDots
from dynatwist.model.flaws import BEYOND
from dynatwist.model.named import KEPT_MS
from dynatwist.net.arrival import Arrival
from dynatwist.net.messages import ClocksAre, DurableClocks
from dynatwist.net.replies import Reply
from dynatwist.replication.collection import PAGE_RECORDS, Collection
from dynatwist.sometimes import sometimes

LOOKS_PER_GRACE = 4
CLOCK_ENTRY_BYTES = 28
"""On the wire: sixteen of the actor, a number, and what stands around them."""
INTERVAL_S = (0.1, 10.0)
"""Bounds of how often a node looks what can be collected, whatever the grace period is."""
TURN_S = 0.002
"""So long a turn of the reactor may be busy with it, as the intake of requests may."""


class Tombstones:
    """See the module.

    :ivar interval_s: how often to `collect`.
    """

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._collections: dict[int, Collection] = {}
        self._looking = False
        self._named_s = KEPT_MS / 1000
        self._work: Iterator[int] = iter(())
        shortest_s, longest_s = INTERVAL_S
        self.interval_s = min(longest_s, max(shortest_s, cluster.grace_s / LOOKS_PER_GRACE))
        cluster.peers.on_call(DurableClocks, self._on_durable_clocks)

    def bound(self, named_s: float) -> None:
        """Another time than the usual one for which deletes remember named writes, from now on."""
        self._named_s = named_s

    def forget_all(self) -> None:
        """The registry changed: what was noted does not count any more."""
        for collection in self._collections.values():
            collection.forget_clocks()

    def collect(self) -> None:
        """Look at all members, one look at a time."""
        cluster = self._cluster
        registry = cluster.registry
        if registry is None or registry.changing or cluster.ownership.is_removed or self._looking:
            return
        wanted = self._wanted()
        self._looking = True
        for partition in wanted:
            self._collection(partition).begin()
        me, version = cluster.me.node_id, registry.version
        nodes = sorted(registry.ids - {me}) if wanted else []
        parts = clock_parts(cluster, wanted)

        def know(node: bytes, reply: Reply) -> None:
            if isinstance(reply, ClocksAre):
                self._know(node, reply)

        def over() -> None:
            if version == cluster.version:
                self._drop_known(wanted)
            else:
                self._looking = False

        def ask_others(mine: Reply) -> None:
            know(me, mine)
            asks = [Ask(node, DurableClocks(version, part), partial(know, node)) for node in nodes for part in parts]
            ask_all(cluster.links, asks, over)

        answer_clocks(cluster, wanted, ask_others)

    def _wanted(self) -> list[int]:
        """Partitions owned here in which there is something to learn or to drop."""
        cluster = self._cluster
        now_s, replicas = cluster.runtime.monotonic_s(), cluster.store.replicas
        return [
            partition
            for partition in cluster.ownership.shared_with(cluster.me.node_id)
            if replicas[partition].tombstones
            and replicas[partition].whole
            and not self._collection(partition).is_waiting(now_s, cluster.grace_s)
        ]

    def _collection(self, partition: int) -> Collection:
        return self._collections.setdefault(partition, Collection(self._named_s))

    def _know(self, node: bytes, reply: ClocksAre) -> None:
        for partition, wire in reply.clocks.items():
            if node in self._cluster.ownership.owners(partition):
                self._collection(partition).know(node, DotSet.from_wire(wire))
            else:
                self._collection(partition).know_empty(node)

    def _drop_known(self, partitions: list[int]) -> None:
        """Go through what was asked for, a page a turn; partitions of which there is little share a turn."""
        self._work = self._pages(partitions)
        self._step()

    def _step(self) -> None:
        runtime = self._cluster.runtime
        until_s = runtime.monotonic_s() + TURN_S
        looked, self._looking = 0, False
        for records in self._work:
            looked += records
            if looked >= PAGE_RECORDS or runtime.monotonic_s() > until_s:
                self._looking = True
                runtime.later(self._step)
                return

    def _pages(self, partitions: list[int]) -> Iterator[int]:
        """Note and drop; yields how many records were looked at, and ends when the registry changes."""
        cluster = self._cluster
        registry, store = cluster.registry, cluster.store
        lapse_ms = cluster.times.lapse_ms()
        for partition in partitions:
            replica = store.replicas[partition]
            resets = replica.resets
            if registry is None or registry is not cluster.registry or registry.changing:
                return
            if not replica.whole:
                continue
            pages = self._collection(partition).steps(
                replica,
                registry.owners(partition),
                registry.ids,
                registry.version,
                lapse_ms,
                cluster.runtime.monotonic_s(),
                cluster.grace_s,
            )
            for drops in pages:
                if drops:
                    generation = max(replica.records[key].lineage.generation for key, _ in drops) + 1
                    store.drop(partition, drops, min(generation, BEYOND - 1))
                yield min(PAGE_RECORDS, len(replica.tombstones) + len(drops))
                if registry is not cluster.registry or replica.resets != resets:
                    break

    def _on_durable_clocks(self, arrival: Arrival, message: DurableClocks, respond: Respond) -> None:
        answer_clocks(self._cluster, message.partitions, respond)


def clock_parts(cluster: Cluster, partitions: list[int]) -> list[list[int]]:
    """The partitions in as few parts as make answers of a bounded size, if others' clocks are as long as those here.

    A clock grows with each start of each node that wrote, so that of all partitions need not fit into one message.
    """
    parts: list[list[int]] = []
    room = 0
    for partition in partitions:
        size_bytes = CLOCK_ENTRY_BYTES * (1 + cluster.store.replicas[partition].clock.entries)
        if not parts or size_bytes > room:
            if parts:
                sometimes("clocks are asked for in parts")
            parts.append([])
            room = cluster.answer_bytes
        parts[-1].append(partition)
        room -= size_bytes
    return parts


def answer_clocks(cluster: Cluster, partitions: list[int], respond: Respond) -> None:
    """Answer with clocks once they are durable as they are now; with empty ones of what is not owned, nor held."""
    owned = set(cluster.ownership.shared_with(cluster.me.node_id))
    clocks: dict[int, WireDots] = {}
    for partition in partitions:
        replica = cluster.store.replicas[partition]
        if replica.whole if partition in owned else not (replica.records or replica.clock):
            clocks[partition] = replica.clock.to_wire()
    cluster.store.wal.when_durable(cluster.store.wal.lsn, lambda: respond(ClocksAre(clocks)))
