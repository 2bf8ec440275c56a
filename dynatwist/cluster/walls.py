"""Is this node's wall clock right? Compared with what it was, and with the other members'.

A wrong clock breaks no promise, since stamps are hybrid and expiry needs a majority (`dynatwist.replication.lapse`);
but writes stamped by it would win, or lose, for as long as it is off. So a node whose clock is far off refuses client
writes and says so.

What the clock *was* is a mark, kept over restarts. It rises by readings that other members confirm, or that were steady
for a while: a clock that is ahead for a moment leaves none. And when most members agree with the clock, it is right,
whatever the mark says.
"""

from __future__ import annotations

from statistics import median_low

from dynatwist.model.registry import majority

TOLERANCE_MS = 10_000
"""NTP keeps clocks a thousand times closer; stamps may be so far ahead and drag nobody along (`FAR_MS`)."""
STALE_S = 10.0
"""A reading so old says nothing any more: peers tell theirs with every frame, at least twice a second."""
MEMBERS_NEEDED = 3
"""Of two clocks that differ nobody can tell which one is wrong."""
STEADY_S = 60.0
"""So long a clock has to keep pace with the monotonic one until it is believed without anybody's word."""
JUMP_MS = 1_000
"""More than this in one look, beyond what the monotonic clock says, was no drift; NTP daemons step from 128 ms on."""


class Walls:
    """See the module.

    :param mark_ms: the greatest reading that was believed and persisted here.
    :param wall_ms: what the clock says at the start.
    """

    def __init__(self, mark_ms: int, wall_ms: int = 0, now_s: float = 0.0) -> None:
        self._mark_ms = mark_ms
        self._offsets_ms: dict[bytes, tuple[int, float]] = {}
        self._believed = self._last = wall_ms, now_s
        self._steady_since_s = now_s

    @property
    def mark_ms(self) -> int:
        """The mark to persist."""
        return self._mark_ms

    def note(self, node: bytes, offset_ms: int, now_s: float) -> None:
        """How far ahead of this node's clock a peer's is, as it said just now."""
        self._offsets_ms[node] = offset_ms, now_s

    def refusal(self, wall_ms: int, now_s: float, members: int = MEMBERS_NEEDED) -> str:
        """Why clients may not write, or an empty string; to be asked every second.

        :param members: how many are registered.
        """
        self._watch(wall_ms, now_s)
        heard = [offset_ms for offset_ms, at_s in self._offsets_ms.values() if now_s - at_s < STALE_S]
        agreeing = sum(abs(offset_ms) <= TOLERANCE_MS for offset_ms in heard)
        if agreeing and agreeing + 1 >= majority(members):
            self._believe(wall_ms, now_s)
            self._mark_ms = wall_ms
            return ""
        if wall_ms < self._mark_ms - TOLERANCE_MS:
            return f"this node's clock is {(self._mark_ms - wall_ms) // 1000} s behind what it was; set it right"
        middle_ms = median_low([0, *heard])
        if len(heard) + 1 >= MEMBERS_NEEDED and abs(middle_ms) > TOLERANCE_MS:
            where = "behind" if middle_ms > 0 else "ahead of"
            return f"this node's clock is {abs(middle_ms) // 1000} s {where} most other members'; set it right"
        if now_s - self._steady_since_s >= STEADY_S:
            self._believe(wall_ms, now_s)
            self._mark_ms = max(self._mark_ms, wall_ms)
        return ""

    def steady_ms(self, wall_ms: int, now_s: float) -> int:
        """The clock, unless it has jumped ahead of what was believed last: then what that would be by now."""
        believed_ms, at_s = self._believed
        return min(wall_ms, believed_ms + int(1000 * (now_s - at_s)) + JUMP_MS)

    def _believe(self, wall_ms: int, now_s: float) -> None:
        self._believed = wall_ms, now_s

    def _watch(self, wall_ms: int, now_s: float) -> None:
        last_ms, at_s = self._last
        passed_ms = 1000 * (now_s - at_s)
        self._last = wall_ms, now_s
        if abs(wall_ms - last_ms - passed_ms) > JUMP_MS + passed_ms / 1000:
            self._steady_since_s = now_s
        elif self.steady_ms(wall_ms, now_s) == wall_ms:
            self._believe(wall_ms, now_s)
