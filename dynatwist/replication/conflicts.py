"""Conflicts: values that lost against another one whose writer had not seen them, nor been seen by theirs.

The merge keeps the greater record of such a pair. Its client was told that the other one was written, too, so the
loser is kept here until somebody settles the matter: looks at it, takes over what is worth it, and says so.

A conflict has the same id wherever the pair was met, and ids are in the order of the lost writes: they begin with the
time of the loser's stamp. So every node lists its conflicts in one order, a page of all nodes is put together from
theirs, and a page goes on behind an id whether or not that conflict is still there.

What is settled is remembered by its id, so that a node which was away and still has the conflict is told.
"""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import blake2b

import msgspec
from sortedcontainers import SortedDict

from dynatwist.model.dots import Dot
from dynatwist.model.record import Key, Record
from dynatwist.model.records import Packed, brief_of, stamp_of
from dynatwist.model.ring import partition_of

ConflictId = bytes
TIME_BYTES = 7
"""Milliseconds, as far as a stamp may go."""
ID_BYTES = TIME_BYTES + 13
"""With so much of a hash no two are equal by chance, and nobody makes two that are."""
MAX_CONFLICTS = 10_000
"""As the contract with clients has it."""
MAX_BYTES = 16 << 20
"""Of a node. Usual values are so short that the count is met first; of the largest ones it has sixteen."""
MEMORY_SHARE = 16
"""And of a node with little memory no more than one part in so many: writes have the rest."""
MAX_SETTLED = 10_000
"""Ids, of twenty bytes: as many as a node that was away can have kept."""
CONFLICT_BYTES = 600
"""What a conflict takes beside its key and its value: the rest of the record, the id, a place in three tables."""
SETTLED_BYTES = 250
"""What the id of one that is settled takes."""


class Winner(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What a value lost against, as far as clients are told.

    :ivar ms: wall milliseconds of its write.
    """

    version: int
    ms: int
    owner: str

    @classmethod
    def of(cls, record: Record) -> Winner:
        """What is told of a record that won."""
        return cls(record.version, record.stamp.ms, record.owner)


class Conflict(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A pair of records of one key, neither of whose writers had seen the other.

    :ivar lost: the record that is not held.
    """

    key: Key
    lost: Packed
    won: Winner

    @property
    def id(self) -> ConflictId:
        """See the module."""
        return id_of(self.key, self.lost)

    def has_ended(self, now_ms: int) -> bool:
        """Whether the value that lost is over by itself: its writer did not want it for longer."""
        _, brief = brief_of(self.lost)
        return not brief.is_deleted and brief.is_dead(now_ms)

    @property
    def size_bytes(self) -> int:
        """Memory that it takes, roughly."""
        return len(self.lost) + len(self.key[0]) + len(self.key[1]) + CONFLICT_BYTES


def id_of(key: Key, lost: Packed) -> ConflictId:
    """The id of the conflict that a record of a key has lost."""
    (actor, seq), (ms, counter, writer) = stamp_of(lost)
    text = msgspec.msgpack.encode((key, Dot(actor, seq), counter, writer))
    digest = blake2b(text, digest_size=ID_BYTES - TIME_BYTES, person=b"conflict").digest()
    return ms.to_bytes(TIME_BYTES) + digest


def millis_of(conflict: ConflictId) -> int:
    """Wall milliseconds of the write that lost."""
    return int.from_bytes(conflict[:TIME_BYTES])


def just_above(conflict: ConflictId) -> ConflictId:
    """Where a listing begins whose first one may be this one; empty for the very beginning."""
    number = int.from_bytes(conflict) + 1
    return number.to_bytes(ID_BYTES) if number < 1 << 8 * ID_BYTES else b""


class KeptConflicts:
    """The conflicts that a node keeps, and the ids of those that are settled; bounded in count and in bytes.

    Beyond a bound the oldest ones go.

    :ivar size_bytes: memory that all of it takes, roughly.
    :ivar dropped: how many went, or were not kept in the first place, for want of room.
    """

    def __init__(self, most: int = MAX_CONFLICTS, most_bytes: int = MAX_BYTES, most_settled: int = MAX_SETTLED) -> None:
        self.most, self.most_bytes, self.most_settled = most, most_bytes, most_settled
        self._kept: SortedDict[ConflictId, Conflict] = SortedDict()
        self._settled: SortedDict[ConflictId, int] = SortedDict()
        self._ids: dict[int, set[ConflictId]] = {}
        self._kept_bytes = 0
        self.dropped = 0

    def bound(self, most_bytes: int) -> None:
        """Keep so many bytes of them, and a quarter of that in ids, from now on."""
        self.most_bytes = most_bytes
        self.most_settled = min(MAX_SETTLED, most_bytes // 4 // SETTLED_BYTES)
        self._shrink()

    @property
    def size_bytes(self) -> int:
        """See the class."""
        return self._kept_bytes + SETTLED_BYTES * len(self._settled)

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, conflict: ConflictId) -> Conflict | None:
        """A conflict by its id, if it is kept."""
        found: Conflict | None = self._kept.get(conflict)
        return found

    def is_settled(self, conflict: ConflictId) -> bool:
        """Whether it is remembered that a conflict is settled."""
        return conflict in self._settled

    # Changes

    def add(self, conflict: Conflict) -> bool:
        """Keep a conflict, unless it is kept or settled already, or older than all that there is room for.

        :returns: whether anything changed.
        """
        name = conflict.id
        if name in self._kept or name in self._settled:
            return False
        self._kept[name] = conflict
        self._kept_bytes += conflict.size_bytes
        self._note(partition_of(*conflict.key), name)
        return self._shrink() != 1 or name in self._kept

    def settle(self, partition: int, conflict: ConflictId) -> bool:
        """A conflict is settled: it is kept no more, and whoever brings it again brings nothing new.

        :param partition: of its key.
        :returns: whether anything changed.
        """
        was_kept = self._let_go(conflict)
        if conflict in self._settled:
            return was_kept
        self._settled[conflict] = partition
        self._note(partition, conflict)
        self._shrink()
        return was_kept or conflict in self._settled

    # Looks

    def newest(self, after: ConflictId = b"") -> Iterator[tuple[ConflictId, Conflict]]:
        """All that are kept, the newest first; nothing may be changed meanwhile.

        :param after: only those behind this id, that is older ones; empty for all.
        """
        kept = self._kept
        for name in kept.irange(None, after or None, (True, False), reverse=True):
            yield name, kept[name]

    def settled(self, after: ConflictId = b"", upto: ConflictId = b"") -> list[ConflictId]:
        """The ids of those that are settled, the newest first.

        :param after: only those behind this id; empty for all.
        :param upto: and no older ones than this; empty for all.
        """
        return list(self._settled.irange(upto or None, after or None, (True, False), reverse=True))

    def is_part_of(self, others: KeptConflicts) -> bool:
        """Whether others have all of these, and of those that are settled the ids."""
        is_kept = all(others.get(name) == conflict for name, conflict in self._kept.items())
        return is_kept and all(map(others.is_settled, self._settled))

    def of_partition(self, partition: int) -> list[ConflictId]:
        """The ids of all that are kept, and of those that are settled, of the keys of a partition: for a cold save."""
        return sorted(self._ids.get(partition, ()))

    def _shrink(self) -> int:
        """Let the oldest go, down to the bounds; answers how many conflicts went."""
        gone = 0
        while len(self._kept) > self.most or self._kept_bytes > self.most_bytes:
            self._let_go(self._kept.peekitem(0)[0])
            gone += 1
        while len(self._settled) > self.most_settled:
            conflict, partition = self._settled.popitem(0)
            self._forget(partition, conflict)
        self.dropped += gone
        return gone

    def _note(self, partition: int, conflict: ConflictId) -> None:
        self._ids.setdefault(partition, set()).add(conflict)

    def _forget(self, partition: int, conflict: ConflictId) -> None:
        ids = self._ids[partition]
        ids.discard(conflict)
        if not ids:
            del self._ids[partition]

    def _let_go(self, conflict: ConflictId) -> bool:
        """Keep a conflict no more; answers whether it was kept."""
        kept = self._kept.pop(conflict, None)
        if kept is None:
            return False
        self._kept_bytes -= kept.size_bytes
        self._forget(partition_of(*kept.key), conflict)
        return True
