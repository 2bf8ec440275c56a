"""Stamps, and the hybrid logical clock that makes them (Kulkarni et al., "Logical Physical Clocks", 2014)."""

from __future__ import annotations

from typing import NamedTuple

from dynatwist.sometimes import sometimes

from .dots import Actor


class Stamp(NamedTuple):
    """A point in hybrid time; compared field by field, so no two writes share one.

    :ivar ms: milliseconds since the epoch, not behind what the writer took for the time.
    :ivar counter: order within the millisecond.
    :ivar actor: the writer, which breaks the last tie.
    """

    ms: int
    counter: int
    actor: Actor


FAR_MS = 10_000
"""A stamp further ahead than this is no clock's usual error: a node whose clock is off by more refuses to write."""


class HybridClock:
    """Gives stamps close to the time of this node, each greater than those before unless that time was set back.

    A stamp that is not far ahead of this node's time is taken note of, and whatever is written later is stamped later.
    A stamp that is far ahead counts for its own key alone: what is written over it gets a greater one, and nothing else
    does (see `next`). Otherwise a single write by a clock ten years ahead would set everybody's stamps for ten years.

    No stamp is given twice: where the millisecond is not beyond all that were given, the counter is.
    """

    __slots__ = ("_actor", "_counter", "_limit_ms", "_ms", "_running", "_top_ms")

    def __init__(self, actor: Actor) -> None:
        self._actor = actor
        self._ms = 0
        self._counter = 0
        self._limit_ms = FAR_MS
        self._top_ms = -1
        self._running = -1

    def notice(self, now_ms: int) -> None:
        """What this node takes for the time; a clock that had run far ahead comes back to it."""
        self._limit_ms = now_ms + FAR_MS
        if self._ms > self._limit_ms:
            sometimes("the hybrid clock comes back from far ahead")
            self._ms, self._counter = now_ms, 0

    def next(self, now_ms: int, after: tuple[int, int] = (0, 0)) -> Stamp:
        """A stamp for a new write.

        :param now_ms: what this node takes for the time.
        :param after: (ms, counter) of what is written over: the stamp is greater, however far ahead that is.
        """
        self.notice(now_ms)
        self.see_mark(*after)
        if after[0] > self._limit_ms:
            sometimes("a write over a stamp far ahead")
            return self._give(*after)
        if now_ms > self._ms:
            self._ms, self._counter = now_ms, -1
        stamp = self._give(self._ms, self._counter)
        self._counter = stamp.counter
        return stamp

    def _give(self, ms: int, counter: int) -> Stamp:
        """A stamp of a millisecond, with a greater counter, that was never given before."""
        if ms > self._top_ms:
            self._top_ms = ms
        elif counter < self._running:
            counter = self._running
        counter += 1
        if counter > self._running:
            self._running = counter
        return Stamp(ms, counter, self._actor)

    def see(self, stamp: Stamp) -> None:
        """Take note of another's stamp, unless it is far ahead."""
        self.see_mark(stamp.ms, stamp.counter)

    def see_mark(self, ms: int, counter: int) -> None:
        """The same of a stamp of which nothing else is known."""
        if ms <= self._limit_ms and (ms, counter) > (self._ms, self._counter):
            self._ms, self._counter = ms, counter

    @property
    def mark(self) -> tuple[int, int]:
        """The high-water mark (ms, counter), to be kept over a restart."""
        return self._ms, self._counter

    def restore(self, mark: tuple[int, int]) -> None:
        """Start no lower than a mark kept earlier, unless that is far ahead."""
        self.see_mark(*mark)
