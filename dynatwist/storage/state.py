"""The durable state of a node, and the only code that changes it.

Every change is an entry of the log. `State.apply` carries it out: while the node runs, before the entry is logged, and
at the next start, when the log is replayed. So a start comes to what the node had come to.

=============  ==================================================================================================
Entry          What `State.apply` does
=============  ==================================================================================================
`Merged`       merges a record; a dot that the clock covers wins nothing; takes the record from what is set aside
`Taken`        holds a record if it is the greater one, although the clock covers its dot
`Joined`       adds dots to the clock and raises G; or notes the dot of a record that lost
`Dropped`      forgets collected tombstones and raises G
`Reset`        empties a partition
`SetAside`     puts all records of a partition aside and empties it
`Wholeness`    counts a partition as whole, with nothing aside
`Hinted`       notes that a node missed a key
`Unhinted`     forgets hints
`MetaSet`      keeps a small named value
`Promised`     has a register promise a ballot
`Accepted`     has a register accept a value
`Learnt`       merges what a register has accepted
`Forgotten`    forgets registers, and raises their floor
`CellJoined`   joins what another owner's register holds
`Contested`    keeps a record that lost against another one whose writer had not seen it
`Settled`      forgets it, and remembers that it is settled
=============  ==================================================================================================

An entry may be applied to a state that has it already, or has later ones: a cold save goes on while records change, and
the log from its beginning on is replayed over it. Whether a record is carried over twice, dots tell.

One thing besides entries is durable: the lapse, the time that is over, which each group of entries notes (`pass_by`).
What a replica counts for this process only (`issued`, `resets`, `walks`) is not durable, and neither is which ended
records it counts among its tombstones by now: that follows from their ends and the lapse.
"""

from __future__ import annotations

from dynatwist import heart
from dynatwist.model.dots import DotSet
from dynatwist.model.record import Key, Record
from dynatwist.model.records import Packed, Records, dot_of, pack, unpack
from dynatwist.model.replica import Outcome, Replica
from dynatwist.model.ring import ALL_PARTITIONS, partition_of
from dynatwist.replication.conflicts import Conflict, KeptConflicts
from dynatwist.replication.hints import HintQueues
from dynatwist.replication.register import Cell, Floor, Registers

from .effects import Covered, Effect, Gone, Held, Lost, Noted, Plain, Unchanged
from .entries import (
    Accepted,
    AnyEntry,
    CellJoined,
    Contested,
    Dropped,
    Forgotten,
    Hinted,
    Joined,
    Learnt,
    Merged,
    MetaSet,
    Promised,
    Reset,
    SetAside,
    Settled,
    Taken,
    Unhinted,
    Wholeness,
)


class State:
    """See the module.

    :ivar replicas: by number of the partition.
    :ivar registers: the same; see `dynatwist.replication.register`.
    :ivar cells: how many registers there are.
    :ivar meta: small named values, as the registry.
    :ivar hints: which keys other nodes missed.
    :ivar conflicts: what lost against writes that had not seen it. They stay when a partition starts over: nobody else
        may have met the pair.
    :ivar lapse_ms: the time that is over, by which records expire; it never falls. See `dynatwist.replication.lapse`.
    """

    __slots__ = ("_changed", "cells", "conflicts", "hints", "lapse_ms", "meta", "registers", "replicas")

    def __init__(self) -> None:
        self.replicas = [Replica(number) for number in range(ALL_PARTITIONS)]
        self.registers = [Registers() for _ in range(ALL_PARTITIONS)]
        self.cells = 0
        self.meta: dict[str, bytes] = {}
        self.hints = HintQueues()
        self.conflicts = KeptConflicts()
        self.lapse_ms = 0
        self._changed: set[int] = set()

    def replica_of(self, key: Key) -> Replica:
        """The replica that a key falls into."""
        return self.replicas[partition_of(*key)]

    def held(self, key: Key) -> Record | None:
        """What is held for a key, tombstones included."""
        return self.replicas[partition_of(*key)].records.get(key)

    def cell(self, key: Key) -> Cell:
        """The register of a key."""
        number = partition_of(*key)
        return self.registers[number].cell(key, self.replicas[number].records.packed(key))

    def pass_by(self, lapse_ms: int) -> None:
        """So much time is over."""
        if lapse_ms > self.lapse_ms:
            self.lapse_ms = lapse_ms

    def apply(self, entry: AnyEntry, record: Record | None = None, packed: Packed | None = None) -> Effect:
        """Carry out an entry.

        :param record: that of a `Merged` entry, when somebody has unpacked it already.
        :param packed: the same record's bytes, when they are to be kept rather than a copy of them.
        :returns: what changed.
        """
        if type(entry) is Merged:
            effect = self._merge(self.replicas[entry.partition], entry.key, record, packed or bytes(entry.record))
        else:
            effect = self._apply(entry)
        if effect.is_change and effect.partition is not None:
            self._changed.add(effect.partition)
        return effect

    def _apply(self, entry: AnyEntry) -> Effect:
        match entry:  # the usual ones first
            case Accepted(partition, key, ballot, following, raw):
                return self._keep(partition, key, self.cell(key).accept(ballot, following, bytes(raw)))
            case Learnt():
                return self._learn(entry)
            case Taken():
                return self._take(entry)
            case Joined():
                return self._join(entry)
            case Dropped():
                return self._drop(entry)
            case Reset(partition, whole):
                self._forget_cells(partition)
                return Gone(partition, self.replicas[partition].reset(whole))
            case SetAside(partition):
                self._forget_cells(partition)
                return Gone(partition, self.replicas[partition].set_aside())
            case Wholeness(partition, whole):
                return _noted(partition, self.replicas[partition].count_as_whole(whole))
            case Hinted(node, key):
                return _noted(None, self.hints.add(node, key))
            case Unhinted():
                return self._unhint(entry)
            case MetaSet():
                return self._set_meta(entry)
            case Promised(partition, key, ballot):
                return self._keep(partition, key, self.cell(key).promise(ballot))
            case CellJoined(partition, key, cell):
                return self._keep(partition, key, self.cell(key).joined(cell))
            case Forgotten(partition, keys, floor):
                return self._forget(partition, keys, floor)
            case Contested(key, lost, won):
                return _noted(partition_of(*key), self.conflicts.add(Conflict(key, bytes(lost), won)))
            case Settled(partition, conflict):
                return _noted(partition, self.conflicts.settle(partition, conflict))
        raise TypeError(f"no entry: {entry!r}")

    def _merge(self, replica: Replica, key: Key, record: Record | None, packed: Packed) -> Effect:
        """Merge a record, which is unpacked only where the heart is not sure what comes of it."""
        records, registers = replica.records, self.registers[replica.number]
        before_packed = records.packed(key)
        if replica.whole:
            found = heart.succession(*key, packed, before_packed)
            if found is not None and replica.succeed(key, packed, found, record):
                if registers.cells:
                    registers.learn(key, packed)
                return Plain(replica.number, key, packed, before_packed, found[2], found[3], found[4])
        before, record = records.get(key), record or unpack(packed)
        outcome, loser = replica.merge(key, record, packed)
        came_back = not replica.whole and replica.comes_back(key, record.dot)
        if outcome is Outcome.WON:
            if registers.cells:
                registers.learn(key, packed)
            return Held(replica.number, key, record, packed, before, before_packed, loser is not None)
        if outcome is Outcome.LOST:
            return Lost(replica.number, key, record, packed, loser is not None)
        return Covered(replica.number, key, record, came_back)

    def _keep(self, partition: int, key: Key, cell: Cell) -> Effect:
        registers = self.registers[partition]
        before = len(registers.cells)
        is_change = registers.keep(key, cell)
        self.cells += len(registers.cells) - before
        return _noted(partition, is_change)

    def _forget(self, partition: int, keys: list[Key], floor: Floor) -> Effect:
        registers = self.registers[partition]
        before = len(registers.cells)
        is_change = registers.forget(keys, floor)
        self.cells += len(registers.cells) - before
        return _noted(partition, is_change)

    def _forget_cells(self, partition: int) -> None:
        self.cells -= len(self.registers[partition].cells)
        self.registers[partition].start_over()

    def count_cells(self) -> None:
        """Count the registers anew, where they came otherwise than by entries: from a cold save."""
        self.cells = sum(len(registers.cells) for registers in self.registers)

    def _learn(self, entry: Learnt) -> Effect:
        """Where the log is replayed over a save of later, the register has gone on, and so has the record."""
        replica, value = self.replicas[entry.partition], self.cell(entry.key).value
        if not value or dot_of(value) != entry.dot:
            return _noted(entry.partition, replica.lose(entry.key, entry.dot))
        return self._merge(replica, entry.key, None, value)

    def _take(self, entry: Taken) -> Effect:
        partition, key, record = entry.partition, entry.key, entry.record
        replica, packed = self.replicas[partition], pack(record)
        if not replica.clock.covers(record.dot):
            return self._merge(replica, key, record, packed)
        before, before_packed = replica.records.get(key), replica.records.packed(key)
        came_back = replica.comes_back(key, record.dot)
        if replica.take(key, record, packed):
            self.registers[partition].learn(key, packed)
            return Held(partition, key, record, packed, before, before_packed, False)
        return Covered(partition, key, record, came_back)

    def _join(self, entry: Joined) -> Effect:
        replica, dots = self.replicas[entry.partition], DotSet.from_wire(entry.clock)
        key = entry.lost_key
        if key is None:
            return _noted(entry.partition, replica.join(dots, entry.generation))
        is_new = False
        for dot in dots:
            is_new |= replica.lose(key, dot) | replica.comes_back(key, dot)
        return _noted(entry.partition, is_new)

    def _drop(self, entry: Dropped) -> Effect:
        replica, gone = self.replicas[entry.partition], Records()
        for key, dot in entry.entries:
            packed = replica.records.packed(key)
            if packed is not None and replica.drop(key, dot, entry.generation):
                gone.hold(key, unpack(packed), packed)
        is_raised = replica.join(DotSet(), entry.generation)
        return Gone(entry.partition, gone) if gone else _noted(entry.partition, is_raised)

    def _unhint(self, entry: Unhinted) -> Effect:
        if entry.keys:
            return _noted(None, self.hints.done(entry.node, entry.keys))
        return _noted(None, self.hints.forget(entry.node))

    def _set_meta(self, entry: MetaSet) -> Effect:
        if entry.value == self.meta.get(entry.name, b""):
            return Unchanged(None)
        if entry.value:
            self.meta[entry.name] = entry.value
        else:
            del self.meta[entry.name]
        return Noted(None)

    def take_changed(self) -> set[int]:
        """The partitions that changed since the last call; whoever asks has to save them, or to `give_back`."""
        changed, self._changed = self._changed, set()
        return changed

    def give_back(self, partitions: set[int]) -> None:
        """These partitions were not saved: they count as changed as before."""
        self._changed |= partitions


def _noted(partition: int | None, is_change: bool) -> Effect:
    return Noted(partition) if is_change else Unchanged(partition)
