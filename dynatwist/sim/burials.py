"""Burials: tombstones that were collected, and with them whatever they had beaten.

A member that was struck out while cut off is not waited for: what it alone has was written besides the delete, not
before it, and is kept when it comes back. The key begins anew with it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from dynatwist.model.dots import Dot
from dynatwist.model.record import Key, Record
from dynatwist.model.replica import Replica
from dynatwist.storage.effects import Won
from dynatwist.storage.store import Store

from .births import Births
from .cluster import SimCluster, SimNode
from .history import name_of
from .known import Known
from .ledger import Ledger
from .order import is_preferred

SLOWEST = 0.999
"""A second of a node's monotonic clock is at least so long."""


class Burials:
    """See the module.

    :param say: hears of violations.
    """

    def __init__(
        self, *, cluster: SimCluster, ledger: Ledger, births: Births, grace_s: float, say: Callable[[str], None]
    ) -> None:
        self._cluster = cluster
        self._world = cluster.world
        self._ledger = ledger
        self._births = births
        self._grace_s = grace_s
        self._say = say
        self._dropped: dict[Key, tuple[Record, float]] = {}
        self._unmet: set[tuple[Key, Dot]] = set()
        self._handed_in_s: dict[tuple[Key, Dot], float] = {}
        self._brought_back: dict[Key, Record] = {}

    def last(self, key: Key) -> tuple[Record | None, float]:
        """The greatest tombstone of a key that was collected, and when."""
        return self._dropped.get(key, (None, 0.0))

    def drops(self, node: SimNode, partition: int, key: Key, record: Record) -> None:
        """A node collects a tombstone."""
        buried, _ = self.last(key)
        if buried is None or is_preferred(record, buried):
            self._dropped[key] = record, self._world.now_s
        self._judge_time(node, self._ledger.of(key)[record.dot])
        self._judge_owners(node, partition, key, record)

    def _judge_time(self, node: SimNode, known: Known) -> None:
        """P3: after the grace period. P1: and if it was dead at all."""
        if self._world.now_s < known.born_s + self._grace_s * SLOWEST:
            self._say(f"P3: {node.host} drops {known.name} before its grace period is over")
        # it may have been brought back by a node left alone
        if not (self._births.is_dead(known.record) or self.is_superseded(known)):
            self._say(f"P1: {node.host} drops {known.name}, which ends at {known.record.expires_ms}")

    def _judge_owners(self, node: SimNode, partition: int, key: Key, record: Record) -> None:
        """P3: when all owners have met whatever it beat."""
        replicas, members = dict(self._whole_owners(partition)), self._members()
        born_s = self._ledger.of(key)[record.dot].born_s
        for one in self._ledger.of(key).values():
            if one.record.dot == record.dot or is_preferred(record, one.record):
                missing = [host for host, replica in replicas.items() if not replica.clock.covers(one.record.dot)]
                is_late = self._handed_in_s.get((key, one.record.dot), 0.0) > born_s
                if missing and (is_late or one.holders.isdisjoint(members)):
                    self._unmet.add((key, one.record.dot))
                elif missing and len(missing) < len(replicas):
                    self._say(f"P3: {node.host} drops {name_of(record)}, and {missing} have not met {one.name} yet")

    def _whole_owners(self, partition: int) -> Iterator[tuple[str, Replica]]:
        """Hosts of the owners that are whole, with their replicas; none while members change."""
        registry = self._cluster.registry()
        owners = registry.owners(partition) if registry is not None and not registry.changing else ()
        for core in self._cluster.cores():
            replica = core.store.replicas[partition]
            if core.identity.node_id in owners and replica.whole:
                yield core.cluster.me.host, replica

    def _members(self) -> set[int]:
        """Numbers of the members that run."""
        registry = self._cluster.registry()
        return {
            node.number
            for node in self._cluster.nodes
            if registry is not None and node.core is not None and node.core.identity.node_id in registry.ids
        }

    def arrives(self, node: SimNode, known: Known) -> None:
        """A node meets a record, which perhaps none but a node that was struck out has had until now."""
        registry = self._cluster.registry()
        if not known.holders or registry is None:
            return
        ids = registry.ids | registry.previous_ids
        members = {one.number for one in self._cluster.nodes if one.node_id in ids}
        if node.number in members and known.holders.isdisjoint(members):
            self._handed_in_s.setdefault((known.key, known.record.dot), self._world.now_s)

    # What else there is of a key

    def under(self, store: Store, effect: Won) -> Record | None:
        """What a replica that held nothing of a key had met of it, and was collected."""
        buried, _ = self.last(effect.key)
        if buried is None or effect.before is not None:
            return None
        return buried if store.replicas[effect.partition].clock.covers(buried.dot) else None

    def is_superseded(self, known: Known) -> bool:
        """Whether something that is in custody has replaced a record, or something that was collected."""
        buried, _ = self.last(known.key)
        if buried is not None and (buried == known.record or is_preferred(buried, known.record)):
            return True
        return any(
            one.holders and is_preferred(one.record, known.record) for one in self._ledger.of(known.key).values()
        )

    def brings_back(self, known: Known) -> bool:
        """Whether a record is one that nobody had met but a node that was struck out; its key begins anew, then."""
        if (known.key, known.record.dot) not in self._unmet:
            return False
        if known.key in self._dropped:
            self._brought_back[known.key], _ = self._dropped[known.key]
        return True

    def is_outlived(self, known: Known) -> bool:
        """Whether a record was deleted and collected, and a struck-out node brought back one that nobody had met."""
        buried = self._brought_back.get(known.key)
        return buried is not None and (buried == known.record or is_preferred(buried, known.record))
