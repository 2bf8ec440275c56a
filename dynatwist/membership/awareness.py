"""Local health awareness (Lifeguard, section IV.A): how far this node trusts its own timing."""

from __future__ import annotations


class Awareness:
    """A score from 0, healthy, upwards; what depends on timing takes 1 + score times as long.

    :param greatest: the score never exceeds this; 0 switches it off.
    """

    __slots__ = ("_greatest", "score")

    def __init__(self, greatest: int) -> None:
        self._greatest = greatest
        self.score = 0

    def worse(self, by: int = 1) -> None:
        """An answer was missed, this node had to refute, or its timers are late."""
        self.score = min(self._greatest, self.score + by)

    def better(self) -> None:
        """A probe was answered in time."""
        self.score = max(0, self.score - 1)

    def stretched(self, duration_s: float) -> float:
        """A duration, as this node should use it now."""
        return duration_s * (self.score + 1)
