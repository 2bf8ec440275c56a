"""The clock of what this node writes: it gives records their stamps and their ends.

It is a hybrid logical clock that asks for the time itself. At first that is the wall clock's; then the cluster has it
go by a time near that of a majority (`dynatwist.cluster.times`).
"""

from __future__ import annotations

from collections.abc import Callable

from dynatwist.model.clock import HybridClock, Stamp
from dynatwist.model.dots import Actor

from .state import State


class WriteClock(HybridClock):
    """See the module.

    :param near_ms: asked for the time.
    :param state: knows the lapse, which no new record ends before.
    """

    __slots__ = ("_near_ms", "_state")

    def __init__(self, actor: Actor, near_ms: Callable[[], int], state: State) -> None:
        super().__init__(actor)
        self._near_ms = near_ms
        self._state = state
        self.look()

    def go_by(self, near_ms: Callable[[], int]) -> None:
        """Stamp what is written by another time."""
        self._near_ms = near_ms

    def look(self) -> None:
        """See what time it is; to be called now and then."""
        self.notice(self._near_ms())

    def stamp(self, after: tuple[int, int] = (0, 0)) -> Stamp:
        """A stamp that was never given; see `HybridClock.next`."""
        return self.next(self._near_ms(), after)

    def end_after(self, ttl_ms: int) -> int:
        """When a record ends that is written now, to live for some time."""
        return max(self._near_ms(), self._state.lapse_ms) + ttl_ms
