"""What a cold save takes of a partition: its keys, one after another, what is held of each, and its conflicts."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from dynatwist.model.record import Key
from dynatwist.model.records import Records
from dynatwist.model.replica import Replica
from dynatwist.replication.conflicts import Conflict, ConflictId, KeptConflicts
from dynatwist.replication.register import Cell, Registers

from .manifest import NOTHING, Item, Slice


def walk(replica: Replica, registers: Registers) -> Iterator[tuple[Records, Key]]:
    """All that is held, with its register; then registers of keys that were not held; then all that is set aside.

    A record may have come from a register since the first of these was listed: then both are saved with the second.
    """
    held = list(replica.records)
    for key in held:
        yield replica.records, key
    listed = set(held)
    for key in [key for key in registers.cells if key not in listed]:
        yield replica.records, key
    aside = replica.aside
    for key in list(aside):
        yield aside, key


def item_of(replica: Replica, registers: Registers, records: Records, key: Key) -> Item | None:
    """What is to be saved of a key, if there still is anything."""
    packed = records.packed(key)
    if records is not replica.records:
        return Item(key, msgspec.Raw(packed), (), True) if packed is not None else None
    cell = registers.cells.get(key)
    if cell is not None and cell.value == packed:
        cell = Cell(cell.promised, cell.accepted)
    if packed is None:
        return Item(key, NOTHING, cell=cell) if cell is not None else None
    return Item(key, msgspec.Raw(packed), replica.seen.get(key, ()), False, cell)


def contested(conflicts: KeptConflicts, partition: int, most: int, most_bytes: int) -> Iterator[Slice]:
    """The conflicts of a partition, and those that are settled. Whatever changes meanwhile is in the log.

    :param most: so many in a slice.
    :param most_bytes: and no more, or one.
    """
    kept: list[Conflict] = []
    settled: list[ConflictId] = []
    size_bytes = 0
    for name in conflicts.of_partition(partition):
        if len(kept) + len(settled) >= most or size_bytes > most_bytes:
            yield Slice(partition, [], kept, settled)
            kept, settled, size_bytes = [], [], 0
        conflict = conflicts.get(name)
        if conflict is not None:
            kept.append(conflict)
            size_bytes += conflict.size_bytes
        elif conflicts.is_settled(name):
            settled.append(name)
    if kept or settled:
        yield Slice(partition, [], kept, settled)
