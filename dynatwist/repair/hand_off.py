"""Handing off what a node holds and does not own any more: that is dropped once a majority of its owners has it all."""

from __future__ import annotations

from dynatwist.cluster.ask import Ask, ask_all
from dynatwist.cluster.cluster import Cluster
from dynatwist.cluster.switchboard import Respond
from dynatwist.model.dots import DotSet
from dynatwist.model.registry import Registry, majority
from dynatwist.net.arrival import Arrival
from dynatwist.net.dialler import Dialling
from dynatwist.net.messages import ClocksAre, PullFromMe
from dynatwist.net.replies import Reply

from .rounds import RoundRun, summaries_of
from .tombstones import answer_clocks, clock_parts

HAND_OFF_TIMEOUT_S = 30.0
"""For an owner to pull what is handed off: up to all records of some partitions."""


class HandOff:
    """See the module; also the answer to those that hand off."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._is_under_way = False
        cluster.peers.on_call(PullFromMe, self._on_pull_from_me)

    def surplus(self) -> list[int]:
        """Partitions that hold something here though this node does not own them any more."""
        registry = self._cluster.registry
        if registry is None or registry.changing:
            return []
        owned = set(self._cluster.ownership.shared_with(self._cluster.me.node_id))
        return [
            replica.number
            for replica in self._cluster.store.replicas
            if replica.number not in owned and (replica.records or replica.clock)
        ]

    def go_on(self) -> None:
        """Drop a partition only once a majority of its owners durably has all of it."""
        surplus = self.surplus()
        registry = self._cluster.registry
        if self._cluster.ownership.is_removed:
            self._cluster.links.dial(Dialling.ALL if surplus else Dialling.NOBODY)
        if not surplus or self._is_under_way or registry is None:
            return
        self._is_under_way = True
        clocks: dict[int, list[DotSet]] = {partition: [] for partition in surplus}
        resets = {partition: self._cluster.store.replicas[partition].resets for partition in surplus}
        targets = [node for node in sorted(registry.ids) if self._cluster.links.is_reachable(node)]
        asked: list[tuple[bytes, list[int]]] = []
        for node in targets:
            owned = [partition for partition in surplus if node in registry.owners(partition)]
            asked += [(node, part) for part in clock_parts(self._cluster, owned)]

        def heard(reply: Reply) -> None:
            if isinstance(reply, ClocksAre):
                for partition, wire in reply.clocks.items():
                    clocks[partition].append(DotSet.from_wire(wire))

        def over() -> None:
            self._is_under_way = False
            self._drop_covered(registry, clocks, resets)

        asks = [Ask(node, PullFromMe(registry.version, part), heard) for node, part in asked]
        ask_all(self._cluster.links, asks, over, HAND_OFF_TIMEOUT_S)

    def _drop_covered(self, registry: Registry, clocks: dict[int, list[DotSet]], resets: dict[int, int]) -> None:
        """Drop what its owners have, one partition a turn: each is dropped in one go, and may be large."""
        store = self._cluster.store
        while clocks and self._cluster.version == registry.version and not self._cluster.standing.is_stopping:
            partition, known = clocks.popitem()
            replica = store.replicas[partition]
            covering = sum(1 for clock in known if clock.covers_all(replica.clock))
            if replica.resets == resets[partition] and covering >= majority(len(registry.owners(partition))):
                store.reset(partition, whole=True)
                self._cluster.runtime.later(lambda: self._drop_covered(registry, clocks, resets))
                return

    def _on_pull_from_me(self, arrival: Arrival, message: PullFromMe, respond: Respond) -> None:
        def done(ok: bool, whole: set[int]) -> None:
            answer_clocks(self._cluster, message.partitions, respond)

        RoundRun(self._cluster, arrival.node, summaries_of(self._cluster, message.partitions), done)
