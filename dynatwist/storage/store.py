"""The store: every partition's replica in memory, each change logged, nothing shown before it is durable."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from itertools import islice

import msgspec
from sortedcontainers import SortedList

from dynatwist.calls import call_safely
from dynatwist.model.clock import HybridClock, Stamp
from dynatwist.model.dots import Actor, Dot, DotSet
from dynatwist.model.ends import Ends
from dynatwist.model.lineage import EXACT_CREATIONS
from dynatwist.model.record import Draft, Key, Record, write_over
from dynatwist.model.records import Packed, Records, pack, unpack, value_of
from dynatwist.model.replica import Merge, Outcome, Replica
from dynatwist.model.ring import SYSTEM_PARTITION, is_system_table, partition_of
from dynatwist.sometimes import sometimes

from .entries import Dropped, Hinted, Joined, Merged, MetaSet, Reset, SetAside, Taken, Unhinted, Wholeness
from .recovery import Recovered
from .requests import Requests
from .tables import LiveCounts
from .wal import Wal

Announce = Callable[[Key, Record, Packed, Packed | None], None]
"""Told of each record that wins here, once it is durable, and of what it replaced."""


class Store:
    """See the module.

    :param actor: this process's actor; issues the dots of local writes.
    :param announce: hears of each winning record, in order, once durable.
    :param withdraw: called when what was announced may not be what is held any more: a partition was set aside.
    :ivar exact_creations: how many moments of a history of creations are kept apart; see `dynatwist.model.lineage`.
    :ivar lapse_ms: the time that is over, by which records expire; it never falls. See `dynatwist.replication.lapse`.
    """

    def __init__(
        self,
        recovered: Recovered,
        wal: Wal,
        actor: Actor,
        wall_ms: Callable[[], int],
        announce: Announce,
        withdraw: Callable[[], None] = lambda: None,
    ) -> None:
        self.replicas = recovered.replicas
        self.meta = recovered.meta
        self.hints = recovered.hints
        self.wal = wal
        self.actor = actor
        self.wall_ms = wall_ms
        self._announce = announce
        self._withdraw = withdraw
        self._near_ms = wall_ms
        self.clock = HybridClock(actor)
        self.notice_time()
        self.clock.restore(recovered.mark)
        self.exact_creations = EXACT_CREATIONS
        self.lapse_ms = wal.durable_lapse_ms = recovered.lapse_ms
        wal.lapse_ms = lambda: self.lapse_ms
        self.conflicts = 0
        self.alarms = 0
        self.size_bytes = 0
        self.changed: set[int] = recovered.damaged | recovered.changed
        self._tables: dict[str, SortedList] = {}
        self.live = LiveCounts()
        self._ends = Ends()
        self._undurable: dict[Key, int] = {}
        self._winners: deque[tuple[int, Key, Record, Packed, Packed | None]] = deque()
        wal.on_durable = self._durable
        self._ops = Requests(self.held)
        self._index_all()
        for number in sorted(recovered.damaged):
            self._log_new_start(SetAside(number))

    # What is held

    def replica_of(self, key: Key) -> Replica:
        """The replica that a key falls into."""
        return self.replicas[partition_of(*key)]

    def held(self, key: Key) -> Record | None:
        """What is held for a key, tombstones included, durable or not."""
        return self.replica_of(key).records.get(key)

    @property
    def requests(self) -> Requests:
        """What forwarded requests became, whose records were merged here lately."""
        return self._ops

    def remember(self, key: Key, record: Record) -> None:
        """Know from another owner what a request became."""
        held = self.held(key)
        self._ops.note(key, record, None if held is not None and held.dot == record.dot else pack(record))

    def name_flaw(self, key: Key, record: Record) -> str:
        """Why a record that a peer sends cannot bear the name it bears; empty when it can."""
        actor, seq = record.dot
        if actor == self.actor and seq > self.replica_of(key).issued:
            sometimes("a record bears the name of this process, which has not written it")
            return "it bears this process's name, and another one wrote it: does a copy of this machine run?"
        return ""

    def has_room_for(self, key: Key, value: bytes, most_bytes: int) -> bool:
        """Whether a value may be held within a bound of `size_bytes`; or it takes no more than what it replaces."""
        left_bytes = most_bytes - self.size_bytes
        size_bytes = len(key[1]) + len(value) + RECORD_OVERHEAD_BYTES
        if key[0] not in self._tables:
            size_bytes += _table_size(key[0])
        return size_bytes <= left_bytes or size_bytes - _size(key[1], self.held(key)) <= max(0, left_bytes)

    def when_readable(self, key: Key, call: Callable[[], None]) -> None:
        """Call once the record held for a key is durable; usually at once."""
        self.when_keys_readable((key,), call)

    def is_key_readable(self, key: Key) -> bool:
        """Whether the record held for a key is durable."""
        return key not in self._undurable

    @property
    def is_readable(self) -> bool:
        """Whether everything held now is durable."""
        return not self._undurable

    def when_keys_readable(self, keys: Iterable[Key], call: Callable[[], None]) -> None:
        """Call once the records held for some keys are durable; usually at once."""
        if self._has_undurable_end() and any(map(self._is_end_undurable, keys)):
            self.wal.note_lapse()
        elif not self._undurable or not any(key in self._undurable for key in keys):
            call()
            return
        self.wal.when_durable(self.wal.lsn, call)

    def when_all_readable(self, call: Callable[[], None]) -> None:
        """Call once everything held now is durable."""
        if self._has_undurable_end():
            self.wal.note_lapse()
        self.wal.when_durable(self.wal.lsn, call)

    def _has_undurable_end(self) -> bool:
        """Whether a record may be over by a lapse that a crash would take back."""
        return self._ends.passed_ms > self.wal.durable_lapse_ms or self._ends.next_ms <= self.lapse_ms

    def _is_end_undurable(self, key: Key) -> bool:
        held = self.held(key)
        return held is not None and self.wal.durable_lapse_ms < held.expires_ms <= self.lapse_ms

    def when_over(self, end_ms: int, call: Callable[[], None]) -> None:
        """Call once a lapse beyond an end is durable: who is told that it is over is not to be told otherwise later."""
        if end_ms > self.wal.durable_lapse_ms:
            self.wal.note_lapse()
            self.wal.when_durable(self.wal.lsn, call)
        else:
            call()

    def keys(self, table: str, prefix: str = "", after: str = "") -> Iterator[str]:
        """The keys of a table in order, tombstones included.

        :param after: only keys greater than this one.
        """
        names = self._tables.get(table)
        if names is None:
            return
        for name in names.irange(max(prefix, after)):
            if not name.startswith(prefix):
                return
            if not after or name > after:
                yield name

    def tables(self) -> list[str]:
        """The tables that hold a key or a tombstone, system tables left out."""
        return sorted(table for table in self._tables if not is_system_table(table))

    # Time

    def go_by(self, near_ms: Callable[[], int]) -> None:
        """Stamp what is written by another time than the wall clock's."""
        self._near_ms = near_ms

    def notice_time(self) -> None:
        """Tell the hybrid clock what time it is; to be called now and then."""
        self.clock.notice(self._near_ms())

    def stamp(self, after: tuple[int, int] = (0, 0)) -> Stamp:
        """A stamp that was never given; see `HybridClock.next`."""
        return self.clock.next(self._near_ms(), after)

    def end_after(self, ttl_ms: int) -> int:
        """When a record ends that is written now, to live for some time."""
        return max(self._near_ms(), self.lapse_ms) + ttl_ms

    def pass_by(self, lapse_ms: int) -> None:
        """So much time is over."""
        if lapse_ms > self.lapse_ms:
            self.lapse_ms = lapse_ms

    def bury(self, limit: int) -> bool:
        """Count records that are over among the tombstones.

        :param limit: how many at most.
        :returns: whether there are more.
        """
        over = self._ends.take_over(self.lapse_ms, limit)
        for key in over:
            self.replica_of(key).end(key)
            self.live.add(key[0], -1)
        return len(over) == limit

    # Changes; each is logged, and durable once the log is

    def write(self, key: Key, draft: Draft, dot: Dot | None = None, after_ms: int = 0) -> Record:
        """Write on top of what is held, as the coordinator.

        :param after_ms: hybrid time that the stamp has to be beyond, besides that of what is held.
        """
        replica = self.replica_of(key)
        held = replica.records.get(key)
        after = (after_ms, 0) if held is None else max((after_ms, 0), held.stamp[:2])
        record = write_over(
            held,
            replica.seen.get(key, ()),
            replica.generation,
            draft,
            dot or replica.next_dot(self.actor),
            self.stamp(after),
            self.lapse_ms,
            self.exact_creations,
        )
        self.merge(key, record)
        return record

    def merge(self, key: Key, record: Record, packed: Packed | None = None) -> Merge:
        """Merge a record, from wherever it comes.

        :param packed: the same record, when it is packed already.
        """
        replica = self.replica_of(key)
        held, replaced = replica.records.get(key), replica.records.packed(key)
        packed = packed or pack(record)
        merge = replica.merge(key, record, packed)
        if merge.outcome is Outcome.COVERED:
            return merge
        self.clock.see(record.stamp)
        self.changed.add(replica.number)
        if record.op:
            self._ops.note(key, record, packed if merge.outcome is Outcome.LOST else None)
        if merge.loser is not None:
            self.conflicts += 1
        if merge.outcome is Outcome.WON:
            lsn = self.wal.append(Merged(replica.number, key, msgspec.Raw(packed)))
            self._won(key, held, record, packed, replaced, lsn)
        else:
            self._log_dot(replica.number, record.dot)
        return merge

    def _log_dot(self, partition: int, dot: Dot) -> None:
        """Log that a record has lost, and not what it was.

        A cold save may leave out what beat it, a tombstone that is collected before the save comes to its key. Then
        nothing would beat it when the log is replayed, and a deleted key would be back.
        """
        lost = DotSet()
        lost.add(dot)
        self.wal.append(Joined(partition, lost.to_wire(), 0))

    def take(self, key: Key, record: Record) -> None:
        """Hold the greater of a record and what is held, whatever the clock covers."""
        replica = self.replica_of(key)
        held, replaced = replica.records.get(key), replica.records.packed(key)
        packed = pack(record)
        if replica.take(key, record, packed):
            self.clock.see(record.stamp)
            lsn = self.wal.append(Taken(replica.number, key, record))
            self.changed.add(replica.number)
            self._won(key, held, record, packed, replaced, lsn)

    def join(self, partition: int, clock: DotSet, generation: int) -> None:
        """Adopt a peer's clock and G."""
        if self.replicas[partition].join(clock, generation):
            self.wal.append(Joined(partition, clock.to_wire(), generation))
            self.changed.add(partition)

    def drop(self, partition: int, entries: Iterable[tuple[Key, Dot]], generation: int) -> None:
        """Forget collected tombstones and raise G, in one log entry."""
        replica = self.replicas[partition]
        gone: list[tuple[Key, Dot]] = []
        for key, dot in entries:
            held, packed = replica.records.get(key), replica.records.packed(key)
            if replica.drop(key, dot, generation):
                gone.append((key, dot))
                self._lets_go(key, held, packed)
        if gone:
            self.wal.append(Dropped(partition, gone, generation))
            self.changed.add(partition)

    def reset(self, partition: int, whole: bool) -> None:
        """Start a partition over, empty: handed off, or newly taken over."""
        replica = self.replicas[partition]
        for key, record in replica.records.items():
            self._lets_go(key, record, replica.records.packed(key))
        replica.reset(whole)
        self._log_new_start(Reset(partition, whole))
        self.changed.add(partition)

    def become_whole(self, partition: int) -> None:
        """All that other owners hold is here: merge what is still set aside, under the usual rules."""
        replica = self.replicas[partition]
        self.merge_aside(partition, len(replica.aside))
        replica.whole, replica.aside = True, Records()
        self.wal.append(Wholeness(partition, True))
        self.changed.add(partition)

    def merge_aside(self, partition: int, limit: int) -> int:
        """Merge some of what was set aside after damage; the replica stays not whole.

        :returns: how many records; when that is less than `limit`, nothing is set aside any more.
        """
        aside = self.replicas[partition].aside
        keys = list(islice(aside, limit))
        for key in keys:
            packed = aside.packed(key)
            assert packed is not None
            del aside[key]
            self.merge(key, unpack(packed), packed)
        return len(keys)

    def cease_whole(self, partition: int) -> None:
        """A replica that may be older than what it acknowledged, for example from a backup: keep it aside."""
        replica = self.replicas[partition]
        for key, record in replica.records.items():
            self._lets_go(key, record, replica.records.packed(key))
        replica.set_aside()
        self._log_new_start(SetAside(partition))
        self.changed.add(partition)
        self._withdraw()

    def _log_new_start(self, entry: Reset | SetAside) -> None:
        """Log that a partition starts over: what was damaged before concerns it no more (see `Recovered.start_over`).

        Behind that of the system's partition all votes are logged again: a start counts on them as soon as it counts on
        the partition, and those logged before may be in what was damaged.
        """
        self.wal.append(entry)
        if entry.partition == SYSTEM_PARTITION:
            for name, value in self.meta.items():
                self.wal.append(MetaSet(name, value))

    def burn_dot(self, partition: int) -> Dot:
        """A dot that names something other than a record; noted in the clock, so that it leaves no gap."""
        dot = self.replicas[partition].next_dot(self.actor)
        noted = DotSet()
        noted.add(dot)
        self.join(partition, noted, 0)
        return dot

    def hint(self, node: bytes, key: Key) -> None:
        """Note that a node missed a key."""
        if self.hints.add(node, key):
            self.wal.append(Hinted(node, key))

    def unhint(self, node: bytes, keys: list[Key]) -> None:
        """A node has these keys; an empty list drops all its hints."""
        if keys:
            self.hints.done(node, keys)
        else:
            self.hints.forget(node)
        self.wal.append(Unhinted(node, keys))

    def set_meta(self, name: str, value: bytes) -> None:
        """Keep a small named value; empty removes it."""
        if value:
            self.meta[name] = value
        else:
            self.meta.pop(name, None)
        self.wal.append(MetaSet(name, value))

    def _won(
        self, key: Key, held: Record | None, record: Record, packed: Packed, replaced: Packed | None, lsn: int
    ) -> None:
        self._index(key, held, record)
        if held is not None and held.op and replaced is not None:
            self._ops.keep(held.op, held.dot, replaced)
        self._undurable[key] = lsn
        self._winners.append((lsn, key, record, packed, replaced))

    def _lets_go(self, key: Key, held: Record | None, packed: Packed | None) -> None:
        """A record is not held any more, and none in its place."""
        self._index(key, held, None)
        if held is not None and held.op and packed is not None:
            self._ops.keep(held.op, held.dot, packed)

    def _durable(self, upto: int) -> None:
        """The log is durable up to a number: what won may be read, and is announced."""
        winners, undurable = self._winners, self._undurable
        while winners and winners[0][0] <= upto:
            lsn, key, record, packed, replaced = winners.popleft()
            if undurable.get(key) == lsn:
                del undurable[key]
            call_safely(self._announce, key, record, packed, replaced)

    def _index_all(self) -> None:
        """What was recovered, at once: sorting is quicker than inserting one by one."""
        names: dict[str, list[str]] = {}
        for replica in self.replicas:
            for key in replica.records:
                table, name = key
                if table in names:
                    names[table].append(name)
                else:
                    names[table] = [name]
                packed = replica.records.packed(key)
                assert packed is not None
                self.size_bytes += len(name) + len(value_of(packed) or b"") + RECORD_OVERHEAD_BYTES
                if key not in replica.tombstones:
                    self.live.add(table, 1)
            self._ends.add_all(list(replica.ends.items()))
        self._tables = {table: SortedList(found) for table, found in names.items()}
        self.size_bytes += sum(map(_table_size, names))

    def _index(self, key: Key, held: Record | None, record: Record | None) -> None:
        table, name = key
        if held is None and record is not None:
            if table not in self._tables:
                self._tables[table] = SortedList()
                self.size_bytes += _table_size(table)
            self._tables[table].add(name)
        elif held is not None and record is None:
            self._tables[table].remove(name)
            if not self._tables[table]:
                del self._tables[table]
                self.size_bytes -= _table_size(table)
        elif _stays_alive(held, record):
            self.size_bytes += _size(name, record) - _size(name, held)
            return
        change = self._count(key, record, 1) + self._count(key, held, -1)
        self.live.add(table, change)
        self.size_bytes += _size(name, record) - _size(name, held)

    def _count(self, key: Key, record: Record | None, one: int) -> int:
        """What a record adds to the count of live ones, now that it is held (`one` is 1) or no more (-1)."""
        if record is None or record.value is None:
            return 0
        if not record.expires_ms:
            return one
        if self._ends.is_over(key, record.expires_ms):
            if one > 0:
                self.replica_of(key).end(key)
            return 0
        (self._ends.add if one > 0 else self._ends.discard)(key, record.expires_ms)
        return one


def _stays_alive(held: Record | None, record: Record | None) -> bool:
    """Whether neither of two records is deleted, nor ends by itself."""
    return (
        held is not None
        and record is not None
        and held.value is not None
        and record.value is not None
        and not held.expires_ms
        and not record.expires_ms
    )


RECORD_OVERHEAD_BYTES = 400
TABLE_OVERHEAD_BYTES = 1000
"""A table costs an ordered list of its keys, also one with a single key."""


def _size(name: str, record: Record | None) -> int:
    """A record's share of memory, roughly."""
    return 0 if record is None else len(name) + len(record.value or b"") + RECORD_OVERHEAD_BYTES


def _table_size(table: str) -> int:
    """A table's share of memory, roughly."""
    return len(table) + TABLE_OVERHEAD_BYTES
