"""What is held, in the ways in which it is looked for: names in order, live keys by table, ends in time, bytes.

All of it follows from the records. It is made once, at a start, and follows the effects of entries from then on.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator

from sortedcontainers import SortedList

from dynatwist.model.ends import Ends
from dynatwist.model.record import Key, Record
from dynatwist.model.records import weight_of
from dynatwist.model.ring import is_system_table

from .effects import Gone, Held, Plain
from .leases import Leases
from .state import State
from .tables import LiveCounts

RECORD_OVERHEAD_BYTES = 400
"""A record's dot, stamps and names, and its share of dictionaries and lists, roughly."""
NAMED_BYTES = 70
"""The name of a write, as records remember it."""
TABLE_OVERHEAD_BYTES = 1000
"""A table costs an ordered list of its keys, also one with a single key."""


class Index:
    """See the module.

    :ivar live: live keys by table.
    :ivar ends: of the records that end by themselves.
    :ivar leases: those that depend on the life of a process.
    :ivar size_bytes: memory that the records take, roughly.
    """

    def __init__(self, state: State) -> None:
        self._state = state
        self._names: dict[str, SortedList] = {}
        self.live = LiveCounts()
        self.ends = Ends()
        self.leases = Leases()
        self.size_bytes = 0
        self._index_all()

    def keys(self, table: str, prefix: str = "", after: str = "") -> Iterator[str]:
        """The keys of a table in order, tombstones included.

        :param after: only keys greater than this one.
        """
        names = self._names.get(table)
        if names is None:
            return
        for name in names.irange(max(prefix, after)):
            if not name.startswith(prefix):
                return
            if not after or name > after:
                yield name

    def tables(self) -> list[str]:
        """The tables that hold a key or a tombstone, system tables left out."""
        return sorted(table for table in self._names if not is_system_table(table))

    def has_room_for(
        self, key: Key, value: bytes, held: Record | None, most_bytes: int, *, has_name: bool = False
    ) -> bool:
        """Whether a value may be held within a bound of `size_bytes`; or it takes no more than what it replaces.

        :param held: what is held for the key.
        :param has_name: whether the write has one, to be remembered beside those of before.
        """
        left_bytes = most_bytes - self.size_bytes
        size_bytes = len(key[1]) + len(value) + RECORD_OVERHEAD_BYTES
        size_bytes += NAMED_BYTES * (has_name + (len(held.named) if held is not None else 0))
        if key[0] not in self._names:
            size_bytes += _table_size(key[0])
        return size_bytes <= left_bytes or size_bytes - _size(key[1], held) <= max(0, left_bytes)

    def bury(self, limit: int) -> list[Key]:
        """Count records that are over among the tombstones; answers which, in the order of their ends.

        :param limit: how many at most.
        """
        over = self.ends.take_over(self._state.lapse_ms, limit)
        for key in over:
            self._state.replica_of(key).end(key)
            self.live.add(key[0], -1)
        return over

    def is_over(self, key: Key, record: Record) -> bool:
        """Whether a record that ends by itself counts among the tombstones already."""
        return self.ends.is_over(key, record.expires_ms)

    def held(self, effect: Held) -> None:
        """A record is held now; most replace a value by a value, and change nothing but the account of bytes."""
        before, record = effect.before, effect.record
        old, new = before.value if before is not None else None, record.value
        if record.lease is not None or (before is not None and before.lease is not None):
            self._change_lease(effect.key, before, record)
        if before is None or old is None or new is None or before.expires_ms or record.expires_ms:
            self._change(effect.key, before, record)
        elif before.named or record.named:
            self.size_bytes += _size("", record) - _size("", before)
        else:
            self.size_bytes += len(new) - len(old)

    def plain(self, effect: Plain) -> None:
        """A record is held now, as usually: little changes but the account of bytes."""
        self.size_bytes += effect.grown_bytes + NAMED_BYTES * effect.named
        if effect.before_packed is None:
            table, name = effect.key
            self.size_bytes += len(name) + RECORD_OVERHEAD_BYTES
            self._add_name(table, name)
            self.live.add(table, 1)

    def gone(self, effect: Gone) -> None:
        """Some records are not held any more."""
        for key, record in effect.records.items():
            self._change_lease(key, record, None)
            self._change(key, record, None)

    def _index_all(self) -> None:
        """What was recovered, at once: sorting is quicker than inserting one by one."""
        names: dict[str, list[str]] = defaultdict(list)
        live: Counter[str] = Counter()
        size_bytes = 0
        for replica in self._state.replicas:
            tombstones = replica.tombstones
            for key, packed in replica.records.all_packed():
                table, name = key
                names[table].append(name)
                value_bytes, named, lease = weight_of(packed)
                size_bytes += len(name) + value_bytes + NAMED_BYTES * named
                if key not in tombstones:
                    live[table] += 1
                    if lease is not None and key not in replica.ends:
                        self.leases.add(key, lease)
            size_bytes += len(replica.records) * RECORD_OVERHEAD_BYTES
            self.ends.add_all(list(replica.ends.items()))
        for table, count in live.items():
            self.live.add(table, count)
        self._names = {table: SortedList(found) for table, found in names.items()}
        self.size_bytes += size_bytes + sum(map(_table_size, names))

    def _change(self, key: Key, before: Record | None, after: Record | None) -> None:
        table, name = key
        self.size_bytes += _size(name, after) - _size(name, before)
        if before is None:
            self._add_name(table, name)
        elif after is None:
            self._remove_name(table, name)
        self.live.add(table, self._count(key, after, 1) + self._count(key, before, -1))

    def _change_lease(self, key: Key, before: Record | None, after: Record | None) -> None:
        if before is not None and before.lease is not None:
            self.leases.discard(key, before.lease)
        if after is not None and after.lease is not None and after.value is not None and not after.expires_ms:
            self.leases.add(key, after.lease)

    def _add_name(self, table: str, name: str) -> None:
        if table not in self._names:
            self._names[table] = SortedList()
            self.size_bytes += _table_size(table)
        self._names[table].add(name)

    def _remove_name(self, table: str, name: str) -> None:
        self._names[table].remove(name)
        if not self._names[table]:
            del self._names[table]
            self.size_bytes -= _table_size(table)

    def _count(self, key: Key, record: Record | None, one: int) -> int:
        """What a record adds to the count of live ones, now that it is held (`one` is 1) or no more (-1)."""
        if record is None or record.value is None:
            return 0
        if not record.expires_ms:
            return one
        if self.ends.is_over(key, record.expires_ms):
            if one > 0:
                self._state.replica_of(key).end(key)
            return 0
        (self.ends.add if one > 0 else self.ends.discard)(key, record.expires_ms)
        return one


def _size(name: str, record: Record | None) -> int:
    """A record's share of memory, roughly."""
    if record is None:
        return 0
    return len(name) + len(record.value or b"") + RECORD_OVERHEAD_BYTES + NAMED_BYTES * len(record.named)


def _table_size(table: str) -> int:
    """A table's share of memory, roughly."""
    return len(table) + TABLE_OVERHEAD_BYTES
