"""Registers: one value a key at a time, agreed by a majority of the key's owners. The acceptor's part.

CASPaxos (Rystsov, "CASPaxos: Replicated State Machines without logs", 2018): an acceptor keeps a *cell* for each key. A
proposer has a majority of every group of owners promise a ballot, applies a change to the value that was accepted under
the greatest ballot among them, and has a majority accept the outcome. The rules of an acceptor, each told only once it
is durable:

- A promise of a ballot refuses all lower ones, and answers with what was accepted last.
- A value is accepted under a ballot unless a higher one was promised. With the acceptance the proposer's next ballot is
  promised, so a proposer that stays the same needs one round trip.
- What is known to be chosen, from wherever it comes, replaces what its writer had not seen: that will not be chosen any
  more. It keeps the lower ballot, which does no harm: each majority has a member that accepted under the right one. For
  the same reason nothing is accepted, however late it arrives, whose writer had not seen the record that is held.
- A cell may be forgotten once its value is a tombstone that all owners have merged, or when it has none; then the
  partition's *floor* rises to what the cell had promised. Below the floor nobody promises or accepts, where there is no
  cell. The floor keeps the greatest version of what was forgotten, too: versions are fencing tokens, and grow.
- Where there is no cell, a record that is held counts as accepted before all ballots: a user of a former release, or a
  chosen value that came by a round.

A ballot is a stamp of the proposer's hybrid clock: no two are equal, of one node or over a restart. Values are records,
each written over the one before, so they win the usual merge in the order in which they were chosen.
"""

from __future__ import annotations

import msgspec

from dynatwist.model.clock import Stamp
from dynatwist.model.dots import Dot
from dynatwist.model.record import MAX_VV_ACTORS, Key, had_seen
from dynatwist.model.records import Packed, dot_of, unpack
from dynatwist.sometimes import sometimes

Ballot = Stamp
NEVER: Ballot = Stamp(0, 0, b"")
"""Before all ballots."""


class Cell(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What an acceptor keeps of one register.

    :ivar promised: the greatest ballot promised.
    :ivar accepted: the ballot under which `value` was accepted; `NEVER` when none was.
    :ivar value: a packed record; empty for none.
    """

    promised: Ballot = NEVER
    accepted: Ballot = NEVER
    value: Packed = b""

    def promise(self, ballot: Ballot) -> Cell:
        """The cell after a request to promise; the promise is given when ``promised == ballot``."""
        return self if ballot <= self.promised else Cell(ballot, self.accepted, self.value)

    def accept(self, ballot: Ballot, following: Ballot, value: Packed) -> Cell:
        """The cell after a request to accept; it is accepted when ``accepted == ballot``.

        :param following: the proposer's next ballot, which is promised at once.
        """
        return self if ballot < self.promised else Cell(max(ballot, following), ballot, value)

    def joined(self, other: Cell) -> Cell:
        """The greater promise and the later acceptance of both: what an owner knows that has forgotten its own."""
        later = max(self, other, key=lambda cell: (cell.accepted, bool(cell.value)))
        return Cell(max(self.promised, other.promised), later.accepted, later.value)

    def is_within(self, floor: Floor) -> bool:
        """Whether it says nothing beyond what is known of registers without a cell."""
        return self.promised <= floor.ballot and self.accepted == NEVER and not self.value

    def learn(self, value: Packed) -> Cell:
        """The cell once a record is known to be chosen."""
        if not self.value:
            return Cell(self.promised, self.accepted, value)
        return self if comes_after(self.value, value) else Cell(self.promised, self.accepted, value)


def comes_after(value: Packed, chosen: Packed) -> bool:
    """Whether a value may have been written over a chosen one, or is the same; else it will never be chosen.

    A version vector names sixteen actors: the writer of a much greater version may have seen more than it says. And who
    creates a key whose tombstone was collected knows that by the generation alone.
    """
    if dot_of(value) == dot_of(chosen):
        return True
    new, old = unpack(value), unpack(chosen)
    return (
        had_seen(new, old.dot)
        or new.version >= old.version + MAX_VV_ACTORS
        or new.lineage.generation > old.lineage.generation
    )


class Floor(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What is known of the registers of a partition that were forgotten.

    :ivar ballot: no lower one, nor this one, is promised or accepted where there is no cell.
    :ivar version: the greatest version among them; what is created has a greater one.
    """

    ballot: Ballot = NEVER
    version: int = 0

    def raised(self, other: Floor) -> Floor:
        """The greater of both, in each respect."""
        return Floor(max(self.ballot, other.ballot), max(self.version, other.version))


NO_FLOOR = Floor()
"""Nothing was forgotten yet."""


class Registers:
    """The cells of one partition at one acceptor.

    :ivar cells: by key.
    :ivar floor: of those that were forgotten.
    """

    __slots__ = ("cells", "floor")

    def __init__(self) -> None:
        self.cells: dict[Key, Cell] = {}
        self.floor = Floor()

    def cell(self, key: Key, held: Packed | None) -> Cell:
        """The cell of a key, also of one that there was none of yet.

        :param held: the record that is held for the key.
        """
        return self.cells.get(key) or Cell(self.floor.ballot, NEVER, held or b"")

    def keep(self, key: Key, cell: Cell) -> bool:
        """Keep a cell as it is now.

        :returns: whether that is a change.
        """
        if self.cells.get(key) == cell:
            return False
        self.cells[key] = cell
        return True

    def learn(self, key: Key, value: Packed) -> bool:
        """A record was merged: where there is a cell, it was chosen.

        :returns: whether the cell has changed.
        """
        cell = self.cells.get(key)
        return cell is not None and self.keep(key, cell.learn(value))

    def forget(self, keys: list[Key], floor: Floor) -> bool:
        """Forget cells that have promised nothing beyond a floor, and raise that of the partition.

        So are cells that say no more than the partition's own floor: where the log is replayed over a save of later,
        the first request to a register that was forgotten meanwhile makes one.

        :returns: whether anything changed.
        """
        before, count = self.floor, len(self.cells)
        self.floor = before.raised(floor)
        for key in keys:
            cell = self.cells.get(key)
            if cell is not None and (cell.promised <= floor.ballot or cell.is_within(self.floor)):
                sometimes("a register is forgotten, and the floor rises")
                del self.cells[key]
        return self.floor != before or len(self.cells) != count

    def start_over(self) -> None:
        """Know nothing any more, as the replica does that starts over; see `dynatwist.replication.filling`."""
        self.cells.clear()
        self.floor = Floor()

    def forgettable(self, entries: list[tuple[Key, Dot]]) -> tuple[list[Key], Floor]:
        """The cells of tombstones that are collected, and the floor that is needed to forget them.

        A cell that has accepted something else by now stays: what is being created may still be chosen.
        """
        keys: list[Key] = []
        floor = Floor()
        for key, dot in entries:
            cell = self.cells.get(key)
            if cell is not None and cell.value and dot_of(cell.value) == dot:
                keys.append(key)
                floor = floor.raised(Floor(cell.promised, unpack(cell.value).version))
        return keys, floor
