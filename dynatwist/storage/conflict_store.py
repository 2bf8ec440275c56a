"""The conflicts that this node has met, as the store's users see them; see `dynatwist.replication.conflicts`."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import msgspec

from dynatwist.model.record import Record
from dynatwist.model.records import Packed, pack
from dynatwist.model.ring import is_system_table
from dynatwist.replication.conflicts import Conflict, ConflictId, Winner
from dynatwist.sometimes import sometimes

from .effects import Held, Lost
from .entries import AnyEntry, Contested, Settled
from .state import State


class ConflictStore:
    """See the module. What changes is in the log, behind the merge that it comes from; it is durable once the log is.

    :param commit: has an entry carried out and logged.
    :ivar met: how many pairs of concurrent records met here since the start, whether or not they are kept.
    """

    def __init__(self, state: State, commit: Callable[[AnyEntry], object]) -> None:
        self._state = state
        self._commit = commit
        self.met = 0

    @property
    def size_bytes(self) -> int:
        """Memory that all of it takes, roughly."""
        return self._state.conflicts.size_bytes

    @property
    def dropped(self) -> int:
        """How many were not kept, or not any more, for want of room."""
        return self._state.conflicts.dropped

    def __len__(self) -> int:
        return len(self._state.conflicts)

    def get(self, conflict: ConflictId) -> Conflict | None:
        """A conflict by its id, if it is kept."""
        return self._state.conflicts.get(conflict)

    def newest(self, after: ConflictId = b"") -> Iterator[tuple[ConflictId, Conflict]]:
        """See `KeptConflicts.newest`; those whose value has ended by itself meanwhile are left out."""
        lapse_ms = self._state.lapse_ms
        for name, conflict in self._state.conflicts.newest(after):
            if not conflict.has_ended(lapse_ms):
                yield name, conflict

    def settled(self, after: ConflictId, upto: ConflictId) -> list[ConflictId]:
        """See `KeptConflicts.settled`."""
        return self._state.conflicts.settled(after, upto)

    def is_settled(self, conflict: ConflictId) -> bool:
        """Whether it is remembered that a conflict is settled."""
        return self._state.conflicts.is_settled(conflict)

    # Changes

    def bound(self, most_bytes: int) -> None:
        """Keep no more bytes than that, from now on."""
        self._state.conflicts.bound(most_bytes)

    def meet(self, effect: Held | Lost) -> None:
        """A merge has found two records neither of whose writers had seen the other: keep the one that lost.

        Not kept are records of system tables; one that had ended by itself; one that says the same as the other.
        """
        self.met += 1
        loser, packed, winner = self._pair(effect)
        if is_system_table(effect.key[0]) or winner is None or loser is None or loser.value == winner.value:
            return
        if loser.value is not None and loser.is_dead(self._state.lapse_ms):
            sometimes("a value that has ended loses a concurrent write")
            return
        self._commit(Contested(effect.key, msgspec.Raw(packed or pack(loser)), Winner.of(winner)))

    def _pair(self, effect: Held | Lost) -> tuple[Record | None, Packed | None, Record | None]:
        if type(effect) is Held:
            return effect.before, effect.before_packed, effect.record
        return effect.record, effect.packed, self._state.held(effect.key)

    def settle(self, partition: int, conflict: ConflictId) -> None:
        """Keep a conflict no more, and remember that.

        :param partition: of its key.
        """
        self._commit(Settled(partition, conflict))
