"""Progress: what each node holds durably of each key; a replica goes on, never back."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from dynatwist.core import Core
from dynatwist.model.record import Key, Record
from dynatwist.storage.store import Store

from .burials import Burials
from .cluster import SimNode
from .durable import once_durable
from .history import name_of
from .known import Known
from .ledger import Ledger
from .order import is_preferred


class Progress:
    """See the module.

    :param say: hears of violations.
    """

    def __init__(self, ledger: Ledger, burials: Burials, say: Callable[[str], None]) -> None:
        self._ledger = ledger
        self._burials = burials
        self._say = say
        self._greatest: dict[tuple[int, Key], Record] = {}

    def merged(self, known: Known, node: SimNode, core: Core) -> None:
        """A replica merges a record, and once that is durable its node is in custody of it."""
        if self._burials.brings_back(known):
            self._begin_anew(known.key)
        elif self.is_held(core.store, known):
            self._judge_step(known, node)
            self._judge_burial(known, node, core)
        once_durable(core.store.wal, partial(self._has, known, node, core))

    def _judge_step(self, known: Known, node: SimNode) -> None:
        """P3: not back to what it had replaced."""
        before = self._greatest.get((node.number, known.key))
        if before is None or not is_preferred(before, known.record):
            return
        buried, buried_s = self._burials.last(known.key)
        # by one that had lost what it knew of that, and was alone
        is_new = buried is not None and not is_preferred(before, buried) and known.born_s >= buried_s
        if not is_new:
            self._say(f"P3: {node.host} goes back from {name_of(before)} to {known.name}")

    def _judge_burial(self, known: Known, node: SimNode, core: Core) -> None:
        """P3: nor to what a collected tombstone had.

        A damaged one that nobody reaches serves what verifies, however old (``--lone-after``); and who lost a partition
        before it was whole again hands off what was set aside, to owners that know better.
        """
        buried, buried_s = self._burials.last(known.key)
        if buried is None or known.born_s >= buried_s or not is_preferred(buried, known.record):
            return
        is_whole = core.store.replica_of(known.key).whole
        alone = not is_whole and core.cluster.standing.is_left_alone(known.partition)
        registry = core.cluster.registry
        owns = registry is None or core.identity.node_id in registry.all_owners(known.partition)
        if owns and not alone:
            self._say(f"P3: {known.name} is back at {node.host}, though {name_of(buried)} had buried it")

    def _has(self, known: Known, node: SimNode, core: Core) -> None:
        """What was merged is durable; it may have been handed off meanwhile."""
        replica, key, record = core.store.replicas[known.partition], known.key, known.record
        if node.core is not core or not (replica.clock.covers(record.dot) or key in replica.aside):
            return
        known.holders.add(node.number)
        known.held_by.add(node.number)
        before = self._greatest.get((node.number, key))
        if self.is_held(core.store, known) and (before is None or is_preferred(record, before)):
            self._greatest[node.number, key] = record

    def is_held(self, store: Store, known: Known) -> bool:
        """Whether a store holds this record of its key now."""
        held = store.held(known.key)
        return held is not None and held.dot == known.record.dot

    def _begin_anew(self, key: Key) -> None:
        """What was collected counts no more."""
        for at in [at for at in self._greatest if at[1] == key]:
            del self._greatest[at]

    def damaged(self, number: int) -> None:
        """A node may hold lesser records than before."""
        self._greatest = {at: record for at, record in self._greatest.items() if at[0] != number}

    def starts_over(self, number: int, partition: int) -> None:
        """A node may hold lesser records of a partition than before, for a while."""
        for known in self._ledger.within(partition):
            self._greatest.pop((number, known.key), None)
