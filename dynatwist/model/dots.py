"""Dots, and sets of dots with gaps.

A *dot* names one write forever: the actor that issued it and that actor's running number within one partition
(Almeida et al., "Scalable and Accurate Causality Tracking for Eventually Consistent Stores", 2014). An actor is a
node id together with the epoch of one process start, so no dot is ever issued twice, whatever a disk lost.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from typing import NamedTuple

Actor = bytes
"""Sixteen bytes: eight of node id, eight of boot epoch."""

NODE_ID_BYTES = 8
"""Random: two of a million nodes are equal once in thirty million clusters."""
EPOCH_BYTES = 8
"""Random, for each process start of a node."""


class Dot(NamedTuple):
    """The name of one write.

    :ivar actor: who issued it.
    :ivar seq: its number, from 1, among that actor's writes in that partition.
    """

    actor: Actor
    seq: int


def actor_of(node_id: bytes, epoch: bytes) -> Actor:
    """The actor that a node is between one start and the next."""
    return node_id + epoch


def actor_text(actor: Actor) -> str:
    """An actor as people and JSON see it: ``NODEID.EPOCH`` in hexadecimal."""
    return f"{actor[:NODE_ID_BYTES].hex()}.{actor[NODE_ID_BYTES:].hex()}"


WireDots = dict[bytes, tuple[int, list[int]]]
"""A `DotSet` as it is written to disk and wire: actor to (all up to here, sorted exceptions beyond)."""


class DotSet:
    """A set of dots, compact where it is contiguous: per actor everything up to a number, and exceptions beyond it.

    Unlike a version vector it can have gaps, so it never claims a write that was not merged.
    """

    __slots__ = ("_beyond", "_upto")

    def __init__(self, dots: Iterable[Dot] = ()) -> None:
        self._upto: dict[Actor, int] = {}
        self._beyond: dict[Actor, set[int]] = {}
        for dot in dots:
            self.add(dot)

    def add(self, dot: tuple[Actor, int]) -> bool:
        """Add one dot.

        :returns: whether it was new.
        """
        actor, seq = dot
        upto = self._upto.get(actor, 0)
        if seq <= upto:
            return False
        if seq == upto + 1:
            self._upto[actor] = seq
            if actor in self._beyond:
                self._absorb(actor)
            return True
        beyond = self._beyond.setdefault(actor, set())
        if seq in beyond:
            return False
        beyond.add(seq)
        return True

    def _absorb(self, actor: Actor) -> None:
        """Move exceptions that have become contiguous, or are already below, into the contiguous part."""
        upto, beyond = self._upto.get(actor, 0), self._beyond[actor]
        while upto + 1 in beyond:
            upto += 1
        self._upto[actor] = upto
        rest = {seq for seq in beyond if seq > upto}
        if rest:
            self._beyond[actor] = rest
        else:
            del self._beyond[actor]

    def covers(self, dot: Dot) -> bool:
        """Whether the dot is in the set."""
        actor, seq = dot
        if seq <= self._upto.get(actor, 0):
            return True
        beyond = self._beyond.get(actor)
        return beyond is not None and seq in beyond

    def join(self, other: DotSet) -> bool:
        """Add every dot of another set.

        :returns: whether anything was new.
        """
        changed = False
        for actor, upto in other._upto.items():
            if upto > self._upto.get(actor, 0):
                changed = True
                self._upto[actor] = upto
                if actor in self._beyond:
                    self._absorb(actor)
        for actor, beyond in other._beyond.items():
            for seq in beyond:
                changed |= self.add(Dot(actor, seq))
        return changed

    def covers_all(self, other: DotSet) -> bool:
        """Whether this is a superset of the other."""
        for actor, upto in other._upto.items():
            mine = self._upto.get(actor, 0)
            if upto > mine and not all(self.covers(Dot(actor, seq)) for seq in range(mine + 1, upto + 1)):
                return False
        return all(self.covers(Dot(actor, seq)) for actor, beyond in other._beyond.items() for seq in beyond)

    def top(self, actor: Actor) -> int:
        """The greatest number held of an actor, 0 when none is."""
        return max(self._beyond.get(actor, ()), default=self._upto.get(actor, 0))

    def copy(self) -> DotSet:
        """An independent copy."""
        twin = DotSet()
        twin._upto = dict(self._upto)
        twin._beyond = {actor: set(beyond) for actor, beyond in self._beyond.items()}
        return twin

    def spans(self) -> Iterator[tuple[Actor, int, Collection[int]]]:
        """(actor, all up to here, exceptions beyond), in no particular order: half as long as `to_wire`."""
        beyond = self._beyond
        for actor, upto in self._upto.items():
            yield actor, upto, beyond.get(actor, ())
        for actor in sorted(beyond.keys() - self._upto.keys()):
            yield actor, 0, beyond[actor]

    def to_wire(self) -> WireDots:
        """The canonical form: equal sets give equal values, actors in order."""
        return {
            actor: (self._upto.get(actor, 0), sorted(self._beyond.get(actor, ())))
            for actor in sorted(self._upto.keys() | self._beyond.keys())
        }

    @classmethod
    def from_wire(cls, wire: WireDots) -> DotSet:
        """The set that `to_wire` described."""
        made = cls()
        for actor, (upto, beyond) in wire.items():
            if upto:
                made._upto[actor] = upto
            for seq in beyond:
                made.add(Dot(actor, seq))
        return made

    def __iter__(self) -> Iterator[Dot]:
        for actor, (upto, beyond) in self.to_wire().items():
            yield from (Dot(actor, seq) for seq in range(1, upto + 1))
            yield from (Dot(actor, seq) for seq in beyond)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, DotSet) and self._upto == other._upto and self._beyond == other._beyond

    __hash__ = None  # type: ignore[assignment]

    @property
    def entries(self) -> int:
        """How many numbers it takes on the wire, about: one for each actor, and for each dot beyond a gap."""
        return len(self._upto) + sum(map(len, self._beyond.values()))

    def __bool__(self) -> bool:
        return bool(self._upto or self._beyond)

    def __repr__(self) -> str:
        return f"DotSet({self.to_wire()!r})"
