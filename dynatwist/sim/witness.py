"""Sees every record that any node writes, merges or drops, and who held it durably; judges each step by the rules.

Some losses are nobody's fault: a write that reached one replica is gone when that disk is. *Custody* tells them apart:
for each record the nodes that have merged it durably and were not damaged since. While that is somebody, the write has
to be there.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Callable, Iterator

from dynatwist.core import Core
from dynatwist.model.dots import Dot
from dynatwist.model.record import Key, Record
from dynatwist.model.ring import SYSTEM_PARTITION, is_system_table
from dynatwist.requests.deciding import SYSTEM_RESERVE_SHARE
from dynatwist.storage.effects import Covered, Effect, Gone, Held, Lost
from dynatwist.storage.entries import AnyEntry, Dropped, Reset, SetAside, Wholeness
from dynatwist.storage.requests import MAX_BYTES
from dynatwist.storage.store import Store

from .births import Births
from .cluster import SimCluster, SimNode
from .history import Call, name_of
from .known import Known
from .order import is_preferred

SLOWEST = 0.999
"""A second of a node's monotonic clock is at least so long."""


class Witness:
    """See the module.

    :ivar violations: lines that name a promise and how it was broken.
    :ivar by_majority: the records of which a client was told that a majority has them.
    :ivar on_whole: called when a replica has become whole.
    """

    def __init__(self, cluster: SimCluster, grace_s: float, store_bytes: int = 0) -> None:
        self._cluster = cluster
        self._grace_s = grace_s
        self._store_bytes = store_bytes or sys.maxsize
        self._records: dict[tuple[int, Dot], Known] = {}
        self._in: defaultdict[int, list[Known]] = defaultdict(list)
        self._of: defaultdict[Key, dict[Dot, Known]] = defaultdict(dict)
        self._greatest: dict[tuple[int, Key], Record] = {}
        self._dropped: dict[Key, tuple[Record, float]] = {}
        self._unmet: set[tuple[Key, Dot]] = set()
        self._brought_back: dict[Key, Record] = {}
        self._births = Births(cluster, self._of, self.say)
        self._unwhole_s: dict[tuple[int, int], float] = {}
        self._hurt: set[int] = set()
        self._aside: dict[int, set[Known]] = {}
        self._not_whole: defaultdict[int, set[int]] = defaultdict(set)
        self._may_be_told: set[int] = set()
        self.violations: list[str] = []
        self.by_majority: list[Known] = []
        self.on_whole: Callable[[], None] = lambda: None

    def of(self, key: Key) -> dict[Dot, Known]:
        """All records of a key."""
        return self._of[key]

    def all(self) -> Iterator[Known]:
        """All records."""
        return iter(self._records.values())

    def by_key(self) -> Iterator[dict[Dot, Known]]:
        """The records of each key."""
        return iter(self._of.values())

    def say(self, text: str) -> None:
        """A violation."""
        if text not in self.violations:
            self._cluster.world.say(text)
            self.violations.append(text)

    def _bound_bytes(self, key: Key) -> int:
        """The memory limit for a write of a key: users have some more."""
        return self._store_bytes + (self._store_bytes // SYSTEM_RESERVE_SHARE if is_system_table(key[0]) else 0)

    def sent(self, call: Call) -> None:
        """A client asks for something."""
        self._births.sent(call)

    def majority_has(self, known: Known, at_s: float) -> None:
        """A client was told so."""
        if known.by_majority_s == float("inf"):
            self.by_majority.append(known)
        known.by_majority_s = min(known.by_majority_s, at_s)

    def damaged(self, node: SimNode, unseen: bool) -> None:
        """What a node held may be gone.

        :param unseen: whether the node has to find out by itself, at its next start.
        """
        self._hurt.add(node.number)
        self._may_be_told.add(node.number)
        self._aside.pop(node.number, None)
        self._not_whole.pop(node.number, None)
        self._greatest = {at: record for at, record in self._greatest.items() if at[0] != node.number}
        for known in self._records.values():
            if node.number in known.holders:
                known.holders.discard(node.number)
                if unseen:
                    known.lost_by.add(node.number)

    # Watching a node

    def watch(self, node: SimNode, core: Core) -> None:
        """Stand beside the store of a node that is about to start, and see each entry and what it changed."""
        met: set[bytes] = set()  # ids of forwarded requests of which this process has met the record

        def observe(entry: AnyEntry, effect: Effect) -> None:
            if isinstance(effect, Held | Lost | Covered):
                self._arrived(node, core, effect, met)
                return
            match entry:
                case Dropped(partition) if isinstance(effect, Gone):
                    for key, record in effect.records.items():
                        self._drops(node, partition, key, record)
                case Reset(partition, whole):
                    self._was_reset(node, core, partition, whole)
                case SetAside(partition):
                    self._was_set_aside(node, core, partition)
                case Wholeness(partition, True):
                    self._became_whole(node, core, partition)

        core.store.observe(observe)
        self._started(node, core)

    def _arrived(self, node: SimNode, core: Core, effect: Held | Lost | Covered, met: set[bytes]) -> None:
        """A record came to a store: from a client, if nobody has seen it before, or else from a peer."""
        record, store = effect.record, core.store
        is_born = record.dot.actor == store.actor and (effect.partition, record.dot) not in self._records
        if is_born and record.op in met and store.requests.max_bytes == MAX_BYTES:  # else it may forget early
            self.say(f"P2: {node.host} writes {'/'.join(effect.key)} for a request that it has met the record of")
        if record.op:
            met.add(record.op)
        self._merged(self._know(effect.partition, effect.key, record), node, core)
        if is_born:
            self._births.judge(effect.key, record)
        if is_born and isinstance(effect, Held):
            self._written(node, store, effect)

    def _written(self, node: SimNode, store: Store, effect: Held) -> None:
        key, record = effect.key, effect.record
        buried = self._buried_by(store, effect)
        if buried is not None and not is_preferred(record, buried):
            self.say(f"P2: {'/'.join(key)} {name_of(record)} does not beat {name_of(buried)}, collected before it")
        if _takes_more(effect) and store.size_bytes > self._bound_bytes(key):
            self.say(f"P10: {node.host} writes {'/'.join(key)} beyond its memory limit: {store.size_bytes} bytes")

    def _was_reset(self, node: SimNode, core: Core, partition: int, whole: bool) -> None:
        self._starts_over(node, partition)
        self._merges_aside(node, partition)
        self._handed_off(node, partition)
        if whole:
            self._not_whole[node.number].discard(partition)
        else:
            self._ceases_whole(node, core, partition)

    def _was_set_aside(self, node: SimNode, core: Core, partition: int) -> None:
        if node.number not in self._may_be_told and not core.cluster.ownership.is_joining(partition):
            self.say(f"P12: {node.host} sets partition {partition} aside, though nothing of it was lost")
        self._starts_over(node, partition)
        if partition == SYSTEM_PARTITION:  # the last; one that dies before that is durable is told once more
            core.store.wal.when_durable(core.store.wal.lsn, lambda: self._may_be_told.discard(node.number))
        self._ceases_whole(node, core, partition)

    def _became_whole(self, node: SimNode, core: Core, partition: int) -> None:
        self._not_whole[node.number].discard(partition)
        self._merges_aside(node, partition)
        self._is_whole(node, core, partition)
        self.on_whole()

    def _started(self, node: SimNode, core: Core) -> None:
        """A start finds what the last process made durable, and notices what its disk lost.

        What was damaged once, and mended, counts as damaged no more, though the damaged file may still lie there.
        """
        if node.number not in self._hurt:
            self._started_unhurt(node, core, len(core.folder.recovered.damaged))
        for replica in core.store.replicas:
            for known in self._in[replica.number]:
                if replica.clock.covers(known.record.dot):
                    known.holders.add(node.number)
                    known.held_by.add(node.number)
            if not replica.whole:
                self._unwhole_s[node.number, replica.number] = self._cluster.world.now_s
                continue
            for known in self._in[replica.number]:
                if node.number in known.lost_by and not replica.clock.covers(known.record.dot):
                    self.say(f"P12: {node.host} starts as if whole, and has lost {known.name}")
        for known in self._records.values():
            known.lost_by.discard(node.number)

        aside = set(self._set_aside(core))

        def durable() -> None:
            if node.core is core:
                self._hurt.discard(node.number)
                self._not_whole[node.number] |= {one.number for one in core.store.replicas if not one.whole}
                self._aside[node.number] = {one for one in aside if core.store.replicas[one.partition].aside}

        core.store.wal.when_durable(core.store.wal.lsn, durable)

    def _ceases_whole(self, node: SimNode, core: Core, partition: int) -> None:
        """Once that is durable, no start takes it for whole."""

        def durable() -> None:
            if node.core is core and not core.store.replicas[partition].whole:
                self._not_whole[node.number].add(partition)

        core.store.wal.when_durable(core.store.wal.lsn, durable)

    def _set_aside(self, core: Core) -> Iterator[Known]:
        """What waits at a node for its partition to be whole."""
        for replica in core.store.replicas:
            for key, record in replica.aside.items():
                if record.dot in self._of[key]:
                    yield self._of[key][record.dot]

    def _merges_aside(self, node: SimNode, partition: int) -> None:
        aside = self._aside.get(node.number, set())
        aside -= {known for known in aside if known.partition == partition}

    def _started_unhurt(self, node: SimNode, core: Core, damaged: int) -> None:
        """P1: nothing happened to its disk since it was up: what it had is there, and counts as before."""
        if damaged and any(node.number in known.holders for known in self._records.values()):
            self.say(f"P1: {node.host} starts with {damaged} partitions damaged, though nothing was lost since")
        for number in sorted(self._not_whole[node.number]):
            if core.store.replicas[number].whole:
                self.say(f"P6: {node.host} starts as if partition {number} were whole, which it was not")
        aside_before = self._aside.get(node.number, set())
        for known in self._records.values():
            if node.number in known.holders or known in aside_before:
                replica = core.store.replicas[known.partition]
                aside = replica.aside.get(known.key)
                is_aside = aside is not None and not is_preferred(known.record, aside)
                if not replica.clock.covers(known.record.dot) and not is_aside and not self.is_superseded(known):
                    self.say(f"P1: {node.host} starts without {known.name}, which it had made durable")

    # What must hold of each step

    def _know(self, partition: int, key: Key, record: Record) -> Known:
        """P5: one dot, one record."""
        known = self._records.get((partition, record.dot))
        if known is None:
            known = Known(partition, key, record, self._cluster.world.now_s)
            self._records[partition, record.dot] = self._of[key][record.dot] = known
            self._in[partition].append(known)
        elif (known.key, known.record) != (key, record):
            self.say(f"P5: {name_of(record)} issued twice, for {known.key} {known.record!r} and for {key} {record!r}")
        return known

    def _merged(self, known: Known, node: SimNode, core: Core) -> None:
        """A replica goes on, never back: not to what it had replaced, nor to what a collected tombstone had.

        A damaged one that nobody reaches serves what verifies, however old (``--lone-after``); and who lost a partition
        before it was whole again hands off what was set aside, to owners that know better.
        """
        store, key, record = core.store, known.key, known.record
        if (key, record.dot) in self._unmet:
            self._begin_anew(key)
            if key in self._dropped:
                self._brought_back[key], _ = self._dropped[key]
        elif self._is_held(store, known):
            before = self._greatest.get((node.number, key))
            buried, buried_s = self._dropped.get(key, (None, 0.0))
            alone = not store.replica_of(key).whole and core.cluster.standing.is_left_alone(known.partition)
            registry = core.cluster.registry
            owns = registry is None or core.identity.node_id in registry.all_owners(known.partition)
            is_collected = before is not None and buried is not None and not is_preferred(before, buried)
            is_new = (
                is_collected and known.born_s >= buried_s
            )  # by one that had lost what it knew of that, and was alone
            if before is not None and is_preferred(before, record) and not is_new:
                self.say(f"P3: {node.host} goes back from {name_of(before)} to {known.name}")
            if buried is not None and owns and not alone and known.born_s < buried_s and is_preferred(buried, record):
                self.say(f"P3: {known.name} is back at {node.host}, though {name_of(buried)} had buried it")

        def durable() -> None:
            replica = store.replicas[known.partition]
            has_it = replica.clock.covers(record.dot) or key in replica.aside  # unless it was handed off meanwhile
            if node.core is core and has_it:
                known.holders.add(node.number)
                known.held_by.add(node.number)
                before = self._greatest.get((node.number, key))
                if self._is_held(store, known) and (before is None or is_preferred(record, before)):
                    self._greatest[node.number, key] = record

        store.wal.when_durable(store.wal.lsn, durable)

    def _begin_anew(self, key: Key) -> None:
        """What was collected counts no more."""
        for at in [at for at in self._greatest if at[1] == key]:
            del self._greatest[at]

    def is_outlived(self, known: Known) -> bool:
        """Whether a record was deleted and collected, and a struck-out node brought back one that nobody had met."""
        buried = self._brought_back.get(known.key)
        return buried is not None and (buried == known.record or is_preferred(buried, known.record))

    @staticmethod
    def _is_held(store: Store, known: Known) -> bool:
        held = store.held(known.key)
        return held is not None and held.dot == known.record.dot

    def _buried_by(self, store: Store, effect: Held) -> Record | None:
        """What a replica that held nothing of a key had met of it, and was collected."""
        buried, _ = self._dropped.get(effect.key, (None, 0.0))
        if buried is None or effect.before is not None:
            return None
        return buried if store.replicas[effect.partition].clock.covers(buried.dot) else None

    def _drops(self, node: SimNode, partition: int, key: Key, record: Record) -> None:
        """P3: a tombstone goes after the grace period, and when all owners have met whatever it beat.

        A member that was struck out while cut off is not waited for: what it alone has was written besides the delete,
        not before it, and is kept when it comes back.
        """
        buried, _ = self._dropped.get(key, (None, 0.0))
        if buried is None or is_preferred(record, buried):
            self._dropped[key] = record, self._cluster.world.now_s
        known = self._of[key]
        if self._cluster.world.now_s < known[record.dot].born_s + self._grace_s * SLOWEST:
            self.say(f"P3: {node.host} drops {known[record.dot].name} before its grace period is over")
        is_over = self._births.is_dead(record) or self.is_superseded(
            known[record.dot]
        )  # brought back by a node left alone
        if not is_over:
            self.say(f"P1: {node.host} drops {known[record.dot].name}, which ends at {record.expires_ms}")
        registry = self._cluster.registry()
        owners = registry.owners(partition) if registry is not None and not registry.changing else ()
        replicas = {
            core.cluster.me.host: core.store.replicas[partition]
            for core in self._cluster.cores()
            if core.identity.node_id in owners and core.store.replicas[partition].whole
        }
        members = {
            member.number
            for member in self._cluster.nodes
            if registry is not None and member.core is not None and member.core.identity.node_id in registry.ids
        }
        for one in known.values():
            if one.record.dot == record.dot or is_preferred(record, one.record):
                missing = [host for host, replica in replicas.items() if not replica.clock.covers(one.record.dot)]
                if missing and one.holders.isdisjoint(members):
                    self._unmet.add((key, one.record.dot))
                elif missing and len(missing) < len(replicas):
                    self.say(f"P3: {node.host} drops {name_of(record)}, and {missing} have not met {one.name} yet")

    # Starting over and being whole

    def _starts_over(self, node: SimNode, partition: int) -> None:
        """It may hold lesser records than before, for a while."""
        self._unwhole_s[node.number, partition] = self._cluster.world.now_s
        for known in self._in[partition]:
            self._greatest.pop((node.number, known.key), None)

    def _handed_off(self, node: SimNode, partition: int) -> None:
        """P1: who lets go of a partition is not the last to have something."""
        for known in self._in[partition]:
            if node.number in known.holders:
                known.holders.discard(node.number)
                if not known.holders and known.acknowledged and not self.is_superseded(known):
                    self.say(f"P1: {node.host} drops partition {partition}, and with it the last of {known.name}")

    def is_superseded(self, known: Known) -> bool:
        """Whether something that is in custody has replaced a record, or something that was collected."""
        buried, _ = self._dropped.get(known.key, (None, 0.0))
        if buried is not None and (buried == known.record or is_preferred(buried, known.record)):
            return True
        return any(one.holders and is_preferred(one.record, known.record) for one in self._of[known.key].values())

    def _is_whole(self, node: SimNode, core: Core, partition: int) -> None:
        """P6: a replica that counts again has met all that a majority had when it ceased to."""
        since_s = self._unwhole_s.pop((node.number, partition), 0.0)
        registry = core.cluster.registry
        if registry is None or core.identity.node_id not in registry.all_owners(partition):
            return  # what it holds is to be handed off
        clock = core.store.replicas[partition].clock
        for known in self._in[partition]:
            if known.by_majority_s < since_s and known.holders and not clock.covers(known.record.dot):
                self.say(f"P6: {node.host} counts as whole, and has not met {known.name}, which a majority had")


def _takes_more(effect: Held) -> bool:
    """Whether a value takes more room than what it replaced."""
    record, before = effect.record, effect.before
    return record.value is not None and (before is None or len(record.value) > len(before.value or b""))
