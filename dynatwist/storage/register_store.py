"""This node's cells of registers, as its log and cold saves keep them; see `dynatwist.replication.register`."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import msgspec

from dynatwist.model.dots import Dot
from dynatwist.model.record import Key, Record
from dynatwist.model.records import Packed, dot_of, unpack, value_of
from dynatwist.model.ring import partition_of
from dynatwist.replication.register import Ballot, Cell, Floor
from dynatwist.sometimes import sometimes

from .entries import Accepted, AnyEntry, CellJoined, Forgotten, Learnt, Promised
from .state import State


class RegisterStore:
    """See the module. What changes is in the log; it is durable once the log is.

    :param commit: has an entry carried out and logged.
    """

    def __init__(self, state: State, commit: Callable[[AnyEntry], object]) -> None:
        self._state = state
        self._commit = commit

    def cell(self, key: Key) -> Cell:
        """The cell of a key, also of one that there was none of yet."""
        return self._state.cell(key)

    def floor(self, partition: int) -> Floor:
        """What is known of the registers that were forgotten."""
        return self._state.registers[partition].floor

    def keys(self, partition: int) -> list[Key]:
        """The registers of which there is a cell."""
        return list(self._state.registers[partition].cells)

    def kept(self, key: Key) -> Cell | None:
        """The cell of a key, if there is one."""
        return self._state.registers[partition_of(*key)].cells.get(key)

    def record(self, key: Key, value: Packed) -> Record:
        """What a register of this node holds as a record; mostly it is the one that is held for the key."""
        records = self._state.replica_of(key).records
        held = records.get(key) if records.packed(key) is value else None
        return held or unpack(value)

    def is_merged(self, key: Key) -> bool:
        """Whether what a cell has accepted is a record by now, or it has accepted nothing."""
        value = self.cell(key).value
        return not value or self._state.replica_of(key).clock.covers(dot_of(value))

    def unmerged(self) -> Iterator[Key]:
        """The keys of cells that have accepted what is no record here."""
        for registers in self._state.registers:
            yield from (key for key in registers.cells if not self.is_merged(key))

    # Changes

    def promise(self, key: Key, ballot: Ballot) -> None:
        """Promise a ballot."""
        self._commit(Promised(partition_of(*key), key, ballot))

    def accept(self, key: Key, ballot: Ballot, following: Ballot, value: Packed) -> None:
        """Accept a value under a ballot, and promise the next one."""
        self._commit(Accepted(partition_of(*key), key, ballot, following, msgspec.Raw(value)))

    def learn(self, key: Key, dot: Dot) -> None:
        """What was accepted is chosen: merge it, if it is still there."""
        cell = self.cell(key)
        if not cell.value or dot_of(cell.value) != dot:
            return
        self._commit(Learnt(partition_of(*key), key, dot))
        if self._state.held(key) is None and value_of(cell.value) is None:
            sometimes("a tombstone that was collected here is accepted again, and forgotten again")
            floor = Floor(cell.promised, unpack(cell.value).version)
            self._commit(Forgotten(partition_of(*key), [key], floor))

    def join(self, key: Key, cell: Cell) -> None:
        """Join what another owner's cell holds."""
        self._commit(CellJoined(partition_of(*key), key, cell))

    def raise_floor(self, partition: int, floor: Floor) -> None:
        """Another owner's floor is higher, perhaps."""
        self._commit(Forgotten(partition, [], floor))

    def follow_drop(self, partition: int, entries: list[tuple[Key, Dot]]) -> None:
        """Forget the cells of tombstones that are about to be dropped.

        The floor rises to their stamps, too: where there is no cell of one, since this node has it from a round, what
        was proposed before it may still be under way. A proposer's stamps go beyond the ballots that it has met.
        """
        keys, floor = self._state.registers[partition].forgettable(entries)
        records = self._state.replicas[partition].records
        stamps = [record.stamp for key, _ in entries if (record := records.get(key)) is not None]
        if stamps:
            self._commit(Forgotten(partition, keys, floor.raised(Floor(max(stamps)))))
