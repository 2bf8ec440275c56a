"""Knows every acknowledged write and every record ever made, and judges P1 to P5 at the end."""

from __future__ import annotations

from dynatwist.model.dots import Dot
from dynatwist.model.record import Key, Record, beats, had_seen
from dynatwist.model.ring import PARTITIONS, partition_of

from .cluster import SimCluster
from .workload import History


class Oracle:
    """See the module.

    :ivar violations: lines that name a promise and how it was broken.
    """

    def __init__(self) -> None:
        self._records: dict[tuple[int, Dot], tuple[Key, Record]] = {}
        self._by_key: dict[Key, dict[Dot, Record]] = {}
        self.violations: list[str] = []

    def witness(self, partition: int, key: Key, record: Record) -> None:
        """A node merges a record. P5: one dot, one record."""
        known = self._records.setdefault((partition, record.dot), (key, record))
        if known != (key, record):
            self.violations.append(
                f"P5: dot {record.dot.actor.hex()[:8]}-{record.dot.seq} issued twice, {known[0]}, {key}"
            )
        self._by_key.setdefault(key, {})[record.dot] = record

    def judge(self, cluster: SimCluster, history: History) -> list[str]:
        """The violations, after everything has come to rest."""
        self._judge_convergence(cluster)
        final = self._final(cluster)
        for written in history.acknowledged:
            self._judge_write(written.key, written.record, final.get(written.key))
        for node in cluster.nodes:
            if node.core is not None and node.core.store.alarms:
                self.violations.append(f"P4: {node.host} counts {node.core.store.alarms} alarms")
        return self.violations

    def _owners(self, cluster: SimCluster, partition: int) -> list[int]:
        core = cluster.nodes[0].core
        assert core is not None
        assert core.cluster.registry is not None
        owners = core.cluster.registry.owners(partition)
        return [node.number for node in cluster.nodes if node.core is not None and node.core.identity.node_id in owners]

    def is_converged(self, cluster: SimCluster) -> bool:
        """Whether all owners hold the same."""
        return self._difference(cluster) is None

    def _difference(self, cluster: SimCluster) -> str | None:
        for partition in range(PARTITIONS + 1):
            states = []
            for number in self._owners(cluster, partition):
                core = cluster.nodes[number].core
                assert core is not None
                replica = core.store.replicas[partition]
                states.append((dict(sorted(replica.records.items())), replica.clock.to_wire(), replica.generation))
            for state in states[1:]:
                if state != states[0]:
                    return f"owners of partition {partition} differ"
        return None

    def _judge_convergence(self, cluster: SimCluster) -> None:
        difference = self._difference(cluster)
        if difference is not None:
            self.violations.append(f"P4: {difference}")

    def _final(self, cluster: SimCluster) -> dict[Key, Record]:
        final: dict[Key, Record] = {}
        for key in self._by_key:
            for number in self._owners(cluster, partition_of(*key))[:1]:
                core = cluster.nodes[number].core
                assert core is not None
                held = core.store.held(key)
                if held is not None:
                    final[key] = held
        return final

    def _judge_write(self, key: Key, record: Record, final: Record | None) -> None:
        name = f"{key[0]}/{key[1]} {record.value!r}"
        if final is None:
            buried = any(
                other.value is None and (other == record or beats(other, record))
                for other in self._by_key.get(key, {}).values()
            )
            if not buried:
                self.violations.append(f"P1: acknowledged {name} is gone")
        elif final.dot == record.dot:
            return
        elif beats(record, final):
            promise = "P3" if record.value is None else "P2"
            self.violations.append(f"{promise}: {name} gave way to {final.value!r}, which it beats")
        elif record.value is None and final.value is not None and had_seen(record, final.dot):
            self.violations.append(f"P3: {name}: the deleted value {final.value!r} is back")
