"""What somebody has heard of, as a clock: whatever it covers was told, or something newer of the same key was.

A number of an event means something to one process only. What a listener has heard of a partition is a set of dots, as
what a replica has merged is; so any node can say what it has missed, from what is held (Almeida et al., "Scalable and
Accurate Causality Tracking for Eventually Consistent Stores", 2014). Two things are not in a clock: whether tombstones
were collected since, which the generation tells; and which records were over by themselves, which the lapse tells.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import msgspec

from dynatwist.model.dots import Actor, Dot, DotSet
from dynatwist.model.flaws import BEYOND
from dynatwist.model.record import Record
from dynatwist.model.ring import ALL_PARTITIONS

ACTOR_BYTES = 16


class Part(NamedTuple):
    """What was heard of one partition.

    :ivar clock: of what was told; nobody changes it any more.
    :ivar generation: G of the partition; see `dynatwist.model.replica`. Where it is greater somewhere, tombstones that
        the clock does not cover may be gone there.
    """

    clock: DotSet
    generation: int


class _Packed(msgspec.Struct, frozen=True, array_like=True):
    """As nodes tell it: actors are written once, partitions refer to them by their places.

    :ivar parts: (partition, generation, [(place of the actor, all up to here, exceptions beyond)]).
    """

    lapse_ms: int
    actors: list[bytes]
    parts: list[tuple[int, int, list[tuple[int, int, list[int]]]]]


_pack = msgspec.msgpack.Encoder().encode
_unpack = msgspec.msgpack.Decoder(_Packed).decode


class Heard:
    """See the module; never changes.

    :ivar lapse_ms: whatever has ended by itself until then, and is covered, was told to have ended.
    """

    __slots__ = ("_parts", "lapse_ms")

    def __init__(self, parts: Mapping[int, Part], lapse_ms: int) -> None:
        self._parts = parts
        self.lapse_ms = lapse_ms

    def of(self, partition: int) -> Part | None:
        """What was heard of a partition; ``None`` where that is not known."""
        return self._parts.get(partition)

    def parts(self) -> Iterable[tuple[int, Part]]:
        """All that is known, by partition."""
        return self._parts.items()

    def has(self, partition: int, dot: Dot) -> bool:
        """Whether a record was told, or something newer."""
        part = self._parts.get(partition)
        return part is not None and part.clock.covers(dot)

    def has_end(self, partition: int, record: Record) -> bool:
        """Whether a record was told to have ended by itself."""
        return record.expires_ms <= self.lapse_ms and self.has(partition, record.dot)

    def may_lack_delete(self, partition: int, floor: int, collected: Iterable[Dot]) -> bool:
        """Whether a tombstone that was not told of may be gone where the partition is held.

        :param floor: the generation up to which it is not known there which ones went.
        :param collected: those that went since.
        """
        part = self._parts.get(partition)
        if part is None or part.generation < floor:
            return floor > 0 or any(True for _ in collected)
        return not all(map(part.clock.covers, collected))

    def is_within(self, other: Heard, partitions: Iterable[int]) -> bool:
        """Whether another one has heard all of it, in some partitions."""
        if self.lapse_ms > other.lapse_ms:
            return False
        for partition in partitions:
            part, theirs = self._parts.get(partition), other._parts.get(partition)
            if part is None or theirs is None or part.generation > theirs.generation:
                return False
            if not theirs.clock.covers_all(part.clock):
                return False
        return True

    def pack(self) -> bytes:
        """Its bytes, for `unpacked`."""
        places: dict[Actor, int] = {}
        place = places.setdefault
        parts = [
            (
                partition,
                generation,
                [(place(actor, len(places)), upto, sorted(beyond)) for actor, upto, beyond in clock.spans()],
            )
            for partition, (clock, generation) in self._parts.items()
        ]
        return _pack(_Packed(self.lapse_ms, list(places), parts))


def unpacked(data: bytes) -> Heard | None:
    """What `Heard.pack` made; ``None`` for any other bytes."""
    try:
        packed = _unpack(data)
    except (msgspec.MsgspecError, RecursionError):
        return None
    if not all(len(actor) == ACTOR_BYTES for actor in packed.actors) or not 0 <= packed.lapse_ms < BEYOND:
        return None
    parts: dict[int, Part] = {}
    for partition, generation, entries in packed.parts:
        wire = {}
        for place, upto, beyond in entries:
            numbers_fit = 0 <= upto < BEYOND and all(upto < seq < BEYOND for seq in beyond)
            if not (0 <= place < len(packed.actors) and numbers_fit):
                return None
            wire[packed.actors[place]] = upto, beyond
        if not (0 <= partition < ALL_PARTITIONS and 0 <= generation < BEYOND):
            return None
        parts[partition] = Part(DotSet.from_wire(wire), generation)
    return Heard(parts, packed.lapse_ms)
