"""How large things are: in some seeds all bounds in bytes are low, so that values of a few kilobytes are large.

What is bounded, and whether it is: what the tables of a node hold is counted here by looking at all of it, whatever the
node itself says that it is.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from typing import Any

import msgspec

from dynatwist.core import Core
from dynatwist.model.record import Record
from dynatwist.net.framing import FRAME_SIZES, FrameSizes
from dynatwist.replication.conflicts import CONFLICT_BYTES, SETTLED_BYTES, Conflict
from dynatwist.storage.index import NAMED_BYTES, RECORD_OVERHEAD_BYTES, TABLE_OVERHEAD_BYTES
from dynatwist.storage.store import CELL_BYTES

SMALL_ENTRY_BYTES = 600
"""Of a request that is remembered without its record: id, answer, and its text."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """The bounds of a seed; none, in most.

    :ivar value_bytes: of the largest values that clients write, about; 0 for the usual ten.
    :ivar bound_bytes: instead of each bound of about a megabyte; 0 for the bounds as they are shipped.
    :ivar store_bytes: of records in one node, beyond which writes that add are refused; 0 for the shipped limit.
    :ivar bytes_per_s: of one way between two nodes.
    :ivar has_crowd: whether one partition holds many records; see `dynatwist.sim.effort`.
    """

    value_bytes: int = 0
    bound_bytes: int = 0
    store_bytes: int = 0
    bytes_per_s: float = float("inf")
    has_crowd: bool = False

    @property
    def frames(self) -> FrameSizes:
        """How long frames are."""
        low = self.bound_bytes
        return FrameSizes(low, MAX_FRAME_BYTES) if low else FRAME_SIZES

    def give(self, core: Core) -> None:
        """Let a node go by these bounds; to be called before it starts."""
        low = self.bound_bytes
        if self.has_crowd:
            core.repair.answers.bound(core.repair.answers.page_bytes, 10)
            core.cluster.bound(40, core.cluster.answer_bytes)
        if not low:
            return
        core.cluster.links.bound(self.frames)
        core.cluster.bound(core.cluster.step_records, low)
        core.handlers.context.listing.bound(low, low)
        core.handlers.conflicts.conflicts.bound(low, low)
        core.store.conflicts.bound(8 * low)
        core.repair.hints.bound(core.repair.hints.batch, low)
        core.repair.answers.bound(min(core.repair.answers.page_bytes, low), core.repair.answers.page_records)
        core.repair.cell_pages.bound(low, 10)
        core.store.requests.bound(8 * low)
        core.folder.wal.bound(8 * self.value_bytes)
        core.relays.announcing.bound(4 * low)


MAX_FRAME_BYTES = 40 << 10
"""Where bounds are low: several values, and no more than a few."""


def draw_sizes(seed: int) -> Sizes:
    """The sizes of a seed."""
    random = Random(f"sizes {seed}")
    if random.random() < 0.1:
        return Sizes(has_crowd=True)
    if random.random() < 0.6:
        return Sizes()
    value_bytes = random.choice((2_000, 6_000, 10_000))
    return Sizes(
        value_bytes,
        random.choice((1_000, 4_000)),
        random.choice((0, 0, 0, 4 * value_bytes, 8 * value_bytes)),
        random.choice((float("inf"), 5e6, 1e6)),
    )


def size_of(name: str, record: Record | None) -> int:
    """What a record counts for against the memory limit, from its definition."""
    if record is None:
        return 0
    return len(name) + len(record.value or b"") + RECORD_OVERHEAD_BYTES + NAMED_BYTES * len(record.named)


def stored_bytes(core: Core) -> int:
    """What all records of a node count for, their tables, its registers and its conflicts."""
    held = [item for replica in core.store.replicas for item in replica.records.items()]
    tables = {table for (table, _), _ in held}
    cells = sum(len(registers.cells) for registers in core.store.state.registers)
    records = sum(size_of(key[1], record) for key, record in held)
    conflicts = sum(conflict_bytes(conflict) for _, conflict in core.store.state.conflicts.newest())
    conflicts += SETTLED_BYTES * len(core.store.state.conflicts.settled())
    return records + sum(len(table) + TABLE_OVERHEAD_BYTES for table in tables) + CELL_BYTES * cells + conflicts


def conflict_bytes(conflict: Conflict) -> int:
    """What a conflict counts for, from its definition."""
    return len(conflict.key[0]) + len(conflict.key[1]) + len(conflict.lost) + CONFLICT_BYTES


def held_bytes(root: Any) -> int:
    """The bytes of all strings behind an object, each counted once: containers and plain values are followed, methods,
    functions and the parts of the node are not."""
    seen: set[int] = set()
    left, total = [root], 0
    while left:
        one = left.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        if isinstance(one, bytes | bytearray | str):
            total += len(one)
        else:
            left += _inside(one)
    return total


def _inside(one: Any) -> Iterator[Any]:
    if isinstance(one, dict):
        yield from one.keys()
        yield from one.values()
    elif isinstance(one, msgspec.Struct):
        yield from (getattr(one, name) for name in one.__struct_fields__)
    elif isinstance(one, list | tuple | set | frozenset) or type(one).__module__ == "collections":
        yield from one
    elif type(one).__module__ in FOLLOWED:
        slots = getattr(type(one), "__slots__", ())
        yield from (getattr(one, name) for name in slots if hasattr(one, name))
        yield from getattr(one, "__dict__", {}).values()


FOLLOWED = (
    "dynatwist.storage.requests",
    "dynatwist.replication.hints",
    "dynatwist.replication.conflicts",
    "dynatwist.feed.hub",
)
"""Modules whose objects are tables, or in tables."""


def overfull(core: Core, sizes: Sizes) -> Iterator[str]:
    """Tables of a node that hold more bytes than they may, and accounts that are wrong."""
    store, host = core.store, core.cluster.me.host
    counted = stored_bytes(core)
    if store.size_bytes != counted:
        yield f"P10: {host} says that its records have {store.size_bytes} bytes; it is {counted}"
    most = sizes.value_bytes + 2 * SMALL_ENTRY_BYTES
    for name, table, bound in (
        ("requests that became records", store.requests, store.requests.max_bytes + most),
        (
            "answers to forwarded requests",
            core.coordinator.from_peers.answers,
            len(core.coordinator.from_peers.answers) * SMALL_ENTRY_BYTES,
        ),
        ("conflicts", store.state.conflicts, 2 * store.state.conflicts.most_bytes),
        ("hints", store.hints, len(store.hints) * SMALL_ENTRY_BYTES),
    ):
        if (held := held_bytes(table)) > bound:
            yield f"P10: {host}: {name} hold {held} bytes; {bound} would do"
