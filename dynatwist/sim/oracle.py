"""Knows every record that was ever written, who held it durably, and what clients were told; judges the promises.

Some losses are nobody's fault: a write that reached one replica is gone when that disk is. *Custody* tells them apart:
for each record the nodes that have merged it durably and were not damaged since. While that is somebody, the write has
to be there.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from dynatwist.core import Core
from dynatwist.model.dots import Dot
from dynatwist.model.record import Draft, Key, Record
from dynatwist.model.replica import Merge
from dynatwist.model.ring import is_system_table, partition_of

from .cluster import SimCluster, SimNode
from .history import NO_EFFECT, STRICT_TABLE, Call, History, name_of
from .order import is_preferred
from .register import ABSENT, Op, check

LATEST_S = 6.0
"""After this a request is carried out no more, wherever it lies."""


@dataclass(slots=True, eq=False)
class Known:
    """What is known of one record.

    :ivar holders: numbers of the nodes in custody of it.
    :ivar held_by: numbers of all nodes that ever were.
    """

    key: Key
    record: Record
    born_s: float
    holders: set[int] = field(default_factory=set)
    held_by: set[int] = field(default_factory=set)


class Oracle:
    """See the module.

    :ivar violations: lines that name a promise and how it was broken.
    :ivar races: concurrent first creations of a key by different users, of which the merge order keeps one.
    :ivar excused: acknowledged writes whose every copy was damaged.
    """

    def __init__(self, cluster: SimCluster, history: History) -> None:
        self._cluster = cluster
        self._history = history
        self._records: dict[tuple[int, Dot], Known] = {}
        self._by_key: dict[Key, dict[Dot, Known]] = {}
        self._owner_of: dict[tuple[Key, object], str] = {}
        self._greatest: dict[tuple[int, Key], Record] = {}
        self._dropped: dict[Key, Record] = {}
        self._asked: dict[Key, list[Call]] = {}
        self._judged = 0
        self.violations: list[str] = []
        self.races = 0
        self.excused = 0

    # Witnessing

    def watch(self, node: SimNode, core: Core) -> None:
        """Have every record that a node writes or merges witnessed."""
        store = core.store
        merge, take, write, drop = store.merge, store.take, store.write, store.drop

        def merged(key: Key, record: Record) -> Merge:
            known = self._know(store.replica_of(key).number, key, record)
            outcome = merge(key, record)
            self._merged(known, node, core)
            return outcome

        def taken(key: Key, record: Record) -> None:
            known = self._know(store.replica_of(key).number, key, record)
            take(key, record)
            self._merged(known, node, core)

        def written(key: Key, draft: Draft, dot: Dot | None = None) -> Record:
            record = write(key, draft, dot)
            self._born(key, record)
            return record

        def dropped(partition: int, entries: Iterable[tuple[Key, Dot]], generation: int) -> None:
            entries = list(entries)
            for key, _ in entries:
                held = store.held(key)
                if held is not None and (key not in self._dropped or is_preferred(held, self._dropped[key])):
                    self._dropped[key] = held
            drop(partition, entries, generation)

        store.merge, store.take, store.write, store.drop = merged, taken, written, dropped  # type: ignore[method-assign]
        for name in ("reset", "cease_whole"):
            self._watch_reset(node, core, name)

    def _watch_reset(self, node: SimNode, core: Core, name: str) -> None:
        """What starts over may hold lesser records than before."""
        original = getattr(core.store, name)

        def starting_over(partition: int, **rest: bool) -> None:
            self._greatest = {
                (number, key): record
                for (number, key), record in self._greatest.items()
                if number != node.number or partition_of(*key) != partition
            }
            original(partition, **rest)

        setattr(core.store, name, starting_over)

    def _merged(self, known: Known, node: SimNode, core: Core) -> None:
        """A replica goes on, never back: not to what it had replaced, nor to what a collected tombstone had."""
        store, key, record = core.store, known.key, known.record
        if store.held(key) is record:
            before, buried = self._greatest.get((node.number, key)), self._dropped.get(key)
            if before is not None and is_preferred(before, record):
                self._say(f"P3: {node.host} goes back from {'/'.join(key)} {name_of(before)} to {name_of(record)}")
            if buried is not None and is_preferred(buried, record):
                self._say(f"P3: {'/'.join(key)} {name_of(record)} is back at {node.host}, buried by {name_of(buried)}")

        def durable() -> None:
            if node.core is core:
                known.holders.add(node.number)
                known.held_by.add(node.number)
                before = self._greatest.get((node.number, key))
                if store.held(key) is record and (before is None or is_preferred(record, before)):
                    self._greatest[node.number, key] = record

        store.wal.when_durable(store.wal.lsn, durable)

    def sent(self, call: Call) -> None:
        """A client asks for something."""
        if call.is_write:
            self._asked.setdefault(call.key, []).append(call)

    def _know(self, partition: int, key: Key, record: Record) -> Known:
        """P5: one dot, one record."""
        known = self._records.get((partition, record.dot))
        if known is None:
            known = self._records[partition, record.dot] = Known(key, record, self._cluster.world.now_s)
            self._by_key.setdefault(key, {})[record.dot] = known
        elif (known.key, known.record) != (key, record):
            self._say(f"P5: {name_of(record)} issued twice, for {known.key} {known.record!r} and for {key} {record!r}")
        return known

    def _born(self, key: Key, record: Record) -> None:
        """A node has just written a record: is it what the rules say, and did somebody ask for it?"""
        known = self._by_key[key]
        if not is_system_table(key[0]) and not any(self._explains(call, record) for call in self._asked.get(key, ())):
            self._say(f"P2: {key} {record.value!r} {name_of(record)} was written, though nobody asks for it now")
        for dot in record.vv:
            seen = known.get(dot)
            if seen is not None and not is_preferred(record, seen.record):
                self._say(f"P2: {key} {name_of(record)} does not beat {name_of(seen.record)}, which it had seen")
        lineage = record.lineage
        owner = self._owner_of.setdefault((key, lineage), record.owner)
        if owner != record.owner:
            self._say(f"P9: {key} {name_of(record)} went from {owner} to {record.owner} without a delete")
        if len(lineage.stamps) > 1:
            before = lineage._replace(stamps=lineage.stamps[:-1])
            if not any(one.record.lineage == before and _is_dead_by(one.record, record) for one in known.values()):
                self._say(f"P9: {key} {name_of(record)} was created again, though nobody had deleted it")

    def _explains(self, call: Call, record: Record) -> bool:
        """Whether a record can be what a call asked for: it was not answered yet, or not long ago and uncertainly."""
        now_s = self._cluster.world.now_s
        if (call.code or "uncertain") != "uncertain" or now_s > call.started_s + LATEST_S:
            return False
        if call.kind.value == "delete":
            return record.value is None
        return record.value is not None and f":{call.number}}}".encode() in record.value.replace(b",", b"}")

    def damaged(self, node: SimNode) -> None:
        """What a node held may be gone."""
        self._greatest = {at: record for at, record in self._greatest.items() if at[0] != node.number}
        for known in self._records.values():
            known.holders.discard(node.number)

    def answered(self, call: Call) -> None:
        """A client was told that a write is on so many replicas."""
        record = call.record
        if record is None:
            if call.kind.value == "get" and call.code == "ok":
                self._say(f"P6: {call.text()}: success without a record")
            return
        known = self._by_key.get(call.key, {}).get(record.dot)
        if known is None or known.record != record:
            self._say(f"P6: {call.text()}: nobody wrote that")
            return
        if not call.is_write:
            return
        if record.owner != call.user:
            self._say(f"P9: {call.user} wrote {call.key}, which is {record.owner}'s")
        least = {"majority": call.owners // 2 + 1, "all": call.owners}.get(call.level, 1)
        if len(known.held_by) < max(call.reached, least):
            self._say(f"P1: {call.text()}: only {len(known.held_by)} ever held it")

    def _say(self, text: str) -> None:
        if text not in self.violations:
            self._cluster.world.say(text)
            self.violations.append(text)

    # Judging, when everything has come to rest

    def judge(self, announced: dict[tuple[Key, Dot], Record]) -> None:
        """Compare what is held now with everything that clients were told.

        :param announced: what listeners heard, by key and dot.
        """
        final = self.final()
        calls = self._history.calls
        for call in calls:
            if call.is_acknowledged and call.record is not None:
                self._judge_write(call.key, call.record, final.get(call.key))
            elif call.is_write and call.code in NO_EFFECT:
                self._judge_refused(call)
            if call.kind.value == "get" and call.record is not None:
                self._judge_seen(call.key, call.record, "read")
        for (key, _), record in announced.items():
            self._judge_seen(key, record, "announced")
        for call in calls[self._judged :]:
            if not call.code and call.process.alive and self._cluster.world.now_s - call.started_s > 6.0:
                self._say(f"P10: {call.text()} was never answered")
        self._judged = len(calls)
        self._judge_strict()
        for name, times in self._history.registered.items():
            if times > 1:
                self._say(f"P9: user {name} was new {times} times")
        self._count_races()

    def final(self) -> dict[Key, Record]:
        """What the owners hold, once they agree: every key."""
        registry = self._cluster.registry()
        found: dict[Key, Record] = {}
        if registry is None:
            return found
        for node in self._cluster.nodes:
            if node.core is not None:
                for replica in node.core.store.replicas:
                    if node.core.identity.node_id in registry.owners(replica.number):
                        found.update(replica.records)
        return found

    def born_s(self) -> dict[tuple[Key, Dot], float]:
        """When each record was written, by key and dot."""
        return {(known.key, known.record.dot): known.born_s for known in self._records.values()}

    def _judge_write(self, key: Key, record: Record, final: Record | None) -> None:
        name = f"{'/'.join(key)} {record.value!r} {name_of(record)}"
        promise = "P3" if record.value is None else "P1"
        if final is not None and (final.dot == record.dot or is_preferred(final, record)):
            return
        if not self._by_key[key][record.dot].holders:
            self.excused += 1
        elif final is not None:
            self._say(f"{promise}: {name} gave way to {final.value!r} {name_of(final)}, which it beats")
        elif not any(
            self._is_dead(one.record) and (one.record == record or is_preferred(one.record, record))
            for one in self._by_key[key].values()
        ):
            self._say(f"P1: acknowledged {name} is gone")

    def _is_dead(self, record: Record) -> bool:
        return record.value is None or 0 < record.expires_ms <= self._cluster.latest_wall_ms

    def _judge_seen(self, key: Key, record: Record, how: str) -> None:
        """What was shown to anybody has not been forgotten, unless it lies in damage."""
        known = self._by_key.get(key, {}).get(record.dot)
        if known is None or not known.held_by:
            self._say(f"P1: {'/'.join(key)} {name_of(record)} was {how}, but nobody ever held it durably")
        if known is None or not known.holders:
            return
        for core in self._cluster.cores():
            replica = core.store.replica_of(key)
            owners = core.cluster.owners(replica.number)
            if core.cluster.me.node_id in owners and not replica.clock.covers(record.dot):
                self._say(f"P1: {'/'.join(key)} {name_of(record)} was {how}, but {core.cluster.me.host} forgot it")

    def _judge_refused(self, call: Call) -> None:
        value = b'{"n":%d}' % call.number
        if any(known.record.value == value for known in self._by_key.get(call.key, {}).values()):
            self._say(f"P6: {call.text()}, but it was written")

    def _judge_strict(self) -> None:
        """P6, by the checker that knows nothing of the store."""
        by_key: dict[Key, list[Op]] = {}
        refused: set[int] = set()
        for call in self._history.calls:
            if call.key[0] != STRICT_TABLE:
                continue
            ops = by_key.setdefault(call.key, [])
            if not call.is_write:
                if call.code in ("ok", "not_found"):
                    value = _number(call.record) if call.record is not None else ABSENT
                    ops.append(Op(True, value, call.started_s, call.ended_s))
                continue
            number = -call.number if call.kind.value == "delete" else call.number
            if call.code in NO_EFFECT:
                refused.add(number)
            else:
                end_s = call.ended_s if call.code == "ok" and self._is_kept(call) else float("inf")
                ops.append(Op(False, number, call.started_s, end_s))
        for key, ops in by_key.items():
            for fault in check(ops, frozenset(refused)):
                calls = [c.text() for c in self._history.calls if c.key == key and c.number in map(abs, fault.values)]
                self._say(f"P6: {'/'.join(key)}: {fault.text}: {'; '.join(calls) or fault.values}")

    def _is_kept(self, call: Call) -> bool:
        return call.record is not None and bool(self._by_key[call.key][call.record.dot].holders)

    def _count_races(self) -> None:
        self.races = 0
        for known in self._by_key.values():
            first: dict[int, set[tuple[object, str]]] = {}
            for one in known.values():
                lineage = one.record.lineage
                if len(lineage.stamps) == 1:
                    first.setdefault(lineage.generation, set()).add((lineage, one.record.owner))
            self.races += sum(len({owner for _, owner in made}) > 1 for made in first.values())


def _number(record: Record) -> int:
    value = record.value or b""
    return int(value[5:-1]) if value.startswith(b'{"n":') else -1


def _is_dead_by(record: Record, later: Record) -> bool:
    """Whether a record was deleted, or had expired, when a later one was written."""
    return record.value is None or 0 < record.expires_ms <= later.stamp.ms
