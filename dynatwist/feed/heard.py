"""What somebody has heard of, as a clock: whatever it covers was told, or something newer of the same key was.

A number of an event means something to one process only. What a listener has heard of a partition is a set of dots, as
what a replica has merged is; so any node can say what it has missed, from what is held (Almeida et al., "Scalable and
Accurate Causality Tracking for Eventually Consistent Stores", 2014). Which records were over by themselves is not in a
clock: that the lapse tells.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

import msgspec

from dynatwist.model.dots import Actor, Dot, DotSet
from dynatwist.model.flaws import BEYOND, NOT_DECODED
from dynatwist.model.record import Record
from dynatwist.model.ring import ALL_PARTITIONS

from .collected import Floor, Gone

ACTOR_BYTES = 16


class _Packed(msgspec.Struct, frozen=True, array_like=True):
    """As nodes tell it: actors are written once, partitions refer to them by their places.

    :ivar parts: (partition, [(place of the actor, all up to here, exceptions beyond)]).
    """

    lapse_ms: int
    actors: list[bytes]
    parts: list[tuple[int, list[tuple[int, int, list[int]]]]]


_pack = msgspec.msgpack.Encoder().encode
_unpack = msgspec.msgpack.Decoder(_Packed).decode


class Heard:
    """See the module; never changes.

    :param parts: by partition, the clock of what was told; nobody changes it any more.
    :ivar lapse_ms: whatever has ended by itself until then, and is covered, was told to have ended.
    """

    __slots__ = ("_parts", "lapse_ms")

    def __init__(self, parts: Mapping[int, DotSet], lapse_ms: int) -> None:
        self._parts = parts
        self.lapse_ms = lapse_ms

    def of(self, partition: int) -> DotSet | None:
        """What was heard of a partition; ``None`` where that is not known."""
        return self._parts.get(partition)

    def parts(self) -> Iterable[tuple[int, DotSet]]:
        """All that is known, by partition."""
        return self._parts.items()

    def has(self, partition: int, dot: Dot) -> bool:
        """Whether a record was told, or something newer."""
        clock = self._parts.get(partition)
        return clock is not None and clock.covers(dot)

    def has_end(self, partition: int, record: Record) -> bool:
        """Whether a record was told to have ended by itself."""
        return record.expires_ms <= self.lapse_ms and self.has(partition, record.dot)

    def may_lack_delete(self, partition: int, floor: Floor, gone: Collection[Gone]) -> bool:
        """Whether a tombstone, or an end, that was not told of may be gone where the partition is held.

        :param floor: see `dynatwist.feed.collected`.
        :param gone: what went since.
        """
        clock = self._parts.get(partition)
        if clock is None:
            return bool(floor.clock) or bool(gone)
        if floor.clock and not (clock.covers_all(floor.clock) and floor.lapse_ms <= self.lapse_ms):
            return True
        return not all(clock.covers(dot) and end_ms <= self.lapse_ms for dot, end_ms in gone)

    def is_within(self, other: Heard, partitions: Iterable[int]) -> bool:
        """Whether another one has heard all of it, in some partitions."""
        if self.lapse_ms > other.lapse_ms:
            return False
        for partition in partitions:
            mine, theirs = self._parts.get(partition), other._parts.get(partition)
            if mine is None or theirs is None or not theirs.covers_all(mine):
                return False
        return True

    def pack(self) -> bytes:
        """Its bytes, for `unpacked`."""
        places: dict[Actor, int] = {}
        place = places.setdefault
        parts = []
        for partition, clock in self._parts.items():
            spans = [(place(actor, len(places)), upto, sorted(beyond)) for actor, upto, beyond in clock.spans()]
            parts.append((partition, spans))
        return _pack(_Packed(self.lapse_ms, list(places), parts))


def unpacked(data: bytes) -> Heard | None:
    """What `Heard.pack` made; ``None`` for any other bytes."""
    try:
        packed = _unpack(data)
    except NOT_DECODED:
        return None
    if not all(len(actor) == ACTOR_BYTES for actor in packed.actors) or not 0 <= packed.lapse_ms < BEYOND:
        return None
    parts: dict[int, DotSet] = {}
    for partition, entries in packed.parts:
        wire = {}
        for place, upto, beyond in entries:
            numbers_fit = 0 <= upto < BEYOND and all(upto < seq < BEYOND for seq in beyond)
            if not (0 <= place < len(packed.actors) and numbers_fit):
                return None
            wire[packed.actors[place]] = upto, beyond
        if not 0 <= partition < ALL_PARTITIONS:
            return None
        parts[partition] = DotSet.from_wire(wire)
    return Heard(parts, packed.lapse_ms)
