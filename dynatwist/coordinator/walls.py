"""Is this node's wall clock right? Compared with what it was, and with the other members'.

A wrong clock breaks no promise, since stamps are hybrid; but writes stamped by it would win, or lose, for as long as it
is off. So a node whose clock is far off refuses client writes and says so.
"""

from __future__ import annotations

from statistics import median_low

TOLERANCE_MS = 10_000
STALE_S = 10.0
MEMBERS_NEEDED = 3


class Walls:
    """See the module.

    :param mark_ms: the greatest wall reading that this node ever persisted.
    """

    def __init__(self, mark_ms: int) -> None:
        self._mark_ms = mark_ms
        self._offsets_ms: dict[bytes, tuple[int, float]] = {}

    def note(self, node: bytes, offset_ms: int, now_s: float) -> None:
        """How far ahead of this node's clock a peer's is, as it said just now."""
        self._offsets_ms[node] = offset_ms, now_s

    def refusal(self, wall_ms: int, now_s: float) -> str:
        """Why clients may not write, or an empty string."""
        if wall_ms < self._mark_ms - TOLERANCE_MS:
            return f"this node's clock is {(self._mark_ms - wall_ms) // 1000} s behind what it was; set it right"
        self._mark_ms = max(self._mark_ms, wall_ms)
        heard = [offset_ms for offset_ms, at_s in self._offsets_ms.values() if now_s - at_s < STALE_S]
        if len(heard) + 1 < MEMBERS_NEEDED:
            return ""
        middle_ms = median_low([0, *heard])
        if abs(middle_ms) <= TOLERANCE_MS:
            return ""
        where = "behind" if middle_ms > 0 else "ahead of"
        return f"this node's clock is {abs(middle_ms) // 1000} s {where} most other members'; set it right"
