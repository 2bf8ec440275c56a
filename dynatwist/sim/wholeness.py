"""Wholeness: which replicas count, what a start has to find, and what a node finds out by itself after damage."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator

from dynatwist.core import Core
from dynatwist.model.replica import Replica
from dynatwist.model.ring import SYSTEM_PARTITION

from .burials import Burials
from .cluster import SimNode
from .durable import once_durable
from .known import Known
from .ledger import Ledger
from .order import is_preferred
from .progress import Progress
from .world import World


class Wholeness:
    """See the module.

    :param say: hears of violations.
    """

    def __init__(
        self, *, world: World, ledger: Ledger, burials: Burials, progress: Progress, say: Callable[[str], None]
    ) -> None:
        self._world = world
        self._ledger = ledger
        self._burials = burials
        self._progress = progress
        self._say = say
        self._unwhole_s: dict[tuple[int, int], float] = {}
        self._hurt: set[int] = set()
        self._aside: dict[int, set[Known]] = {}
        self._not_whole: defaultdict[int, set[int]] = defaultdict(set)
        self._may_be_told: set[int] = set()

    def damaged(self, number: int) -> None:
        """What a node held may be gone."""
        self._hurt.add(number)
        self._may_be_told.add(number)
        self._aside.pop(number, None)
        self._not_whole.pop(number, None)

    # What a start finds

    def started(self, node: SimNode, core: Core) -> None:
        """A start finds what the last process made durable, and notices what its disk lost.

        What was damaged once, and mended, counts as damaged no more, though the damaged file may still lie there.
        """
        if node.number not in self._hurt:
            self._judge_damage(node, core)
            self._judge_custody(node, core)
        for replica in core.store.replicas:
            self._takes_up(node, replica)
        for known in self._ledger.all():
            known.lost_by.discard(node.number)
        aside = set(self._set_aside(core))

        def durable() -> None:
            if node.core is core:
                self._hurt.discard(node.number)
                self._not_whole[node.number] |= {one.number for one in core.store.replicas if not one.whole}
                self._aside[node.number] = {one for one in aside if core.store.replicas[one.partition].aside}

        once_durable(core.store.wal, durable)

    def _judge_damage(self, node: SimNode, core: Core) -> None:
        """Nothing happened to its disk since it was up: so nothing is damaged, and nothing counts that did not."""
        damaged = len(core.folder.recovered.damaged)
        if damaged and any(node.number in known.holders for known in self._ledger.all()):
            self._say(f"P1: {node.host} starts with {damaged} partitions damaged, though nothing was lost since")
        for number in sorted(self._not_whole[node.number]):
            if core.store.replicas[number].whole:
                self._say(f"P6: {node.host} starts as if partition {number} were whole, which it was not")

    def _judge_custody(self, node: SimNode, core: Core) -> None:
        """P1: what it had is there, and counts as before."""
        aside_before = self._aside.get(node.number, set())
        for known in self._ledger.all():
            if node.number in known.holders or known in aside_before:
                replica = core.store.replicas[known.partition]
                aside = replica.aside.get(known.key)
                is_aside = aside is not None and not is_preferred(known.record, aside)
                is_there = replica.clock.covers(known.record.dot) or is_aside
                if not is_there and not self._burials.is_superseded(known):
                    self._say(f"P1: {node.host} starts without {known.name}, which it had made durable")

    def _takes_up(self, node: SimNode, replica: Replica) -> None:
        """P12: who starts as if whole has lost nothing."""
        records = self._ledger.within(replica.number)
        for known in records:
            if replica.clock.covers(known.record.dot):
                known.holders.add(node.number)
                known.held_by.add(node.number)
        if not replica.whole:
            self._unwhole_s[node.number, replica.number] = self._world.now_s
            return
        for known in records:
            if node.number in known.lost_by and not replica.clock.covers(known.record.dot):
                self._say(f"P12: {node.host} starts as if whole, and has lost {known.name}")

    def _set_aside(self, core: Core) -> Iterator[Known]:
        """What waits at a node for its partition to be whole."""
        for replica in core.store.replicas:
            for key, record in replica.aside.items():
                if record.dot in self._ledger.of(key):
                    yield self._ledger.of(key)[record.dot]

    # Starting over, and being whole again

    def was_reset(self, node: SimNode, core: Core, partition: int, whole: bool) -> None:
        """A node lets go of a partition, or begins it afresh."""
        self._starts_over(node, partition)
        self._merges_aside(node, partition)
        self._handed_off(node, partition)
        if whole:
            self._not_whole[node.number].discard(partition)
        else:
            self._ceases_whole(node, core, partition)

    def was_set_aside(self, node: SimNode, core: Core, partition: int) -> None:
        """P12: what a node holds counts no more, since some of it was lost."""
        if node.number not in self._may_be_told and not core.cluster.ownership.is_joining(partition):
            self._say(f"P12: {node.host} sets partition {partition} aside, though nothing of it was lost")
        self._starts_over(node, partition)
        if partition == SYSTEM_PARTITION:  # the last; one that dies before that is durable is told once more
            core.store.wal.when_durable(core.store.wal.lsn, lambda: self._may_be_told.discard(node.number))
        self._ceases_whole(node, core, partition)

    def became_whole(self, node: SimNode, core: Core, partition: int) -> None:
        """P6: a replica that counts again has met all that a majority had when it ceased to."""
        self._not_whole[node.number].discard(partition)
        self._merges_aside(node, partition)
        since_s = self._unwhole_s.pop((node.number, partition), 0.0)
        registry = core.cluster.registry
        if registry is None or core.identity.node_id not in registry.all_owners(partition):
            return  # what it holds is to be handed off
        clock = core.store.replicas[partition].clock
        for known in self._ledger.within(partition):
            if known.by_majority_s < since_s and known.holders and not clock.covers(known.record.dot):
                self._say(f"P6: {node.host} counts as whole, and has not met {known.name}, which a majority had")

    def _starts_over(self, node: SimNode, partition: int) -> None:
        self._unwhole_s[node.number, partition] = self._world.now_s
        self._progress.starts_over(node.number, partition)

    def _merges_aside(self, node: SimNode, partition: int) -> None:
        aside = self._aside.get(node.number, set())
        aside -= {known for known in aside if known.partition == partition}

    def _handed_off(self, node: SimNode, partition: int) -> None:
        """P1: who lets go of a partition is not the last to have something."""
        for known in self._ledger.within(partition):
            if node.number in known.holders:
                known.holders.discard(node.number)
                if not known.holders and known.acknowledged and not self._burials.is_superseded(known):
                    self._say(f"P1: {node.host} drops partition {partition}, and with it the last of {known.name}")

    def _ceases_whole(self, node: SimNode, core: Core, partition: int) -> None:
        """Once that is durable, no start takes it for whole."""

        def durable() -> None:
            if node.core is core and not core.store.replicas[partition].whole:
                self._not_whole[node.number].add(partition)

        once_durable(core.store.wal, durable)
