"""Stamps, and the hybrid logical clock that makes them (Kulkarni et al., "Logical Physical Clocks", 2014)."""

from __future__ import annotations

from typing import NamedTuple

from .dots import Actor


class Stamp(NamedTuple):
    """A point in hybrid time; compared field by field, so no two writes share one.

    :ivar ms: milliseconds since the epoch, never behind the wall clock of the writer.
    :ivar counter: order within the millisecond.
    :ivar actor: the writer, which breaks the last tie.
    """

    ms: int
    counter: int
    actor: Actor


class HybridClock:
    """Gives stamps greater than any given or seen before, close to the wall clock when that behaves."""

    __slots__ = ("_actor", "_counter", "_ms")

    def __init__(self, actor: Actor) -> None:
        self._actor = actor
        self._ms = 0
        self._counter = 0

    def next(self, wall_ms: int) -> Stamp:
        """A stamp for a new write.

        :param wall_ms: the wall clock now, in milliseconds.
        """
        if wall_ms > self._ms:
            self._ms, self._counter = wall_ms, 0
        else:
            self._counter += 1
        return Stamp(self._ms, self._counter, self._actor)

    def see(self, stamp: Stamp) -> None:
        """Take note of another's stamp: whatever is written after it is stamped later."""
        if (stamp.ms, stamp.counter) > (self._ms, self._counter):
            self._ms, self._counter = stamp.ms, stamp.counter

    def see_ms(self, ms: int) -> None:
        """Whatever is written next is stamped later than a time."""
        if ms > self._ms:
            self._ms, self._counter = ms, 0

    @property
    def mark(self) -> tuple[int, int]:
        """The high-water mark (ms, counter), to be kept over a restart."""
        return self._ms, self._counter

    def restore(self, mark: tuple[int, int]) -> None:
        """Start no lower than a mark kept earlier."""
        if mark > (self._ms, self._counter):
            self._ms, self._counter = mark
