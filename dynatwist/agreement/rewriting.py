"""Changing a record that is agreed: what the change is tried on, and what came of it."""

from __future__ import annotations

from collections.abc import Callable

from dynatwist.model.dots import DotSet
from dynatwist.model.record import Draft, Key, Record, had_seen, write_over
from dynatwist.model.records import Packed, pack
from dynatwist.model.ring import partition_of
from dynatwist.sometimes import sometimes
from dynatwist.storage.store import Store

from .turns import Ended


class Rewriting:
    """A change of a register's record, which may be tried several times and is made once.

    :param draft: what is to be written over a record, or over nothing; ``None`` when all is to stay as it is.
    """

    def __init__(self, store: Store, key: Key, draft: Callable[[Record | None], Draft | None]) -> None:
        self._store = store
        self._key = key
        self._draft = draft
        self._made: list[tuple[Record, Packed]] = []
        self._drafted: list[tuple[Record, Packed]] = []

    def __call__(self, found: Packed, version: int) -> Packed | None:
        """See `dynatwist.replication.proposal.Change`."""
        held = self._store.registers.record(self._key, found) if found else None
        if held is not None and self.made_in(held) is not None:
            sometimes("a proposer finds that its change was chosen")
            return None
        draft = self._draft(held)
        if draft is None:
            return None
        record = self._write(held, draft, version)
        packed = pack(record)
        self._drafted.append((record, packed))
        return packed

    def proposed(self, value: Packed) -> None:
        """What was drafted last is about to be asked to be accepted: it may be chosen from now on."""
        drafted = self._drafted.pop()
        assert drafted[1] is value
        self._made.append(drafted)

    def _write(self, held: Record | None, draft: Draft, version: int) -> Record:
        store, replica = self._store, self._store.replica_of(self._key)
        dot = replica.next_dot(store.actor)
        stamp = store.clock.stamp(held.stamp[:2] if held is not None else (0, 0))
        generation, here = replica.generation, replica.records.get(self._key)
        if held is None and here is not None:  # others have collected what is still held here: it must not win
            sometimes("a key is created while its tombstone is collected")
            generation = max(generation, here.lineage.generation + 1)
        return write_over(held, (), generation, draft, dot, stamp, store.lapse_ms, store.exact_creations, version)

    def made_in(self, held: Record) -> Record | None:
        """What this change has made, if it is held, or was written over."""
        if not self._made:
            return None
        return next((record for record, _ in reversed(self._made) if had_seen(held, record.dot)), None)

    def result(self, ended: Ended) -> Record | None:
        """What this change has made that is chosen; the names of what it had made in vain are given up.

        What was asked to be accepted may be chosen as long as nothing is that is as new: an owner may have accepted it,
        of which the answer tells nothing, and the next proposer may find it there.
        """
        if ended.chosen is None:
            return None
        if len(self._made) == 1 and self._made[0][1] is ended.chosen.value:
            mine: Record | None = self._made[0][0]
        else:
            chosen = ended.record
            mine = self.made_in(chosen) if chosen is not None else None
        lost = [record.dot for record, _ in self._drafted]
        lost += [one.dot for one, _ in self._made if one is not mine and self._is_in_vain(one, ended.record)]
        if lost:
            self._store.join(partition_of(*self._key), DotSet(lost), 0)
        return mine

    @staticmethod
    def _is_in_vain(made: Record, chosen: Record | None) -> bool:
        if chosen is not None and chosen.version >= made.version:
            return True
        sometimes("what a change has made may be chosen yet, though its request is over")
        return False
