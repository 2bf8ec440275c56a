"""Which time is over, though every single wall clock may lie: the *lapse* L, by which records expire.

L is a time that the wall clocks of a majority of the members have passed. What one clock says moves nothing: the
greatest time that a majority has passed lies between the readings of clocks that are right, as long as a majority is.
A record is dead once its end is not beyond L. So records may live longer than they were to, where clocks are not heard
of or stand back, and never shorter.

L never falls, and whoever hears of a greater one takes it over, since it is a fact that a majority has passed it. A
node that hears of no majority goes on from the last time that it knew a majority to have passed, by its monotonic
clock, which may be slow and is never quick (`SLOWEST`), and no further than its own wall clock.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from dynatwist.model.registry import majority

FRESH_S = 3.0
"""A reading older than this does not count: frames come twice a second, and a clock that was wrong when its node was
lost must not count beside another one that goes wrong later."""
SLOWEST = 0.999
"""Two quartz clocks are off by 500 ppm each at most; a second of ours is at least so much of one of theirs."""

Reading = tuple[int, float]
"""(what a wall clock said in ms, at which monotonic time of ours in seconds)."""


def passed_ms(readings_ms: Iterable[int], count: int) -> int:
    """The greatest time that a majority of `count` clocks has passed, of which only some are heard of; 0 for none."""
    ordered = sorted(readings_ms, reverse=True)
    needed = majority(count)
    return ordered[needed - 1] if len(ordered) >= needed else 0


class Lapse:
    """One node's knowledge of the lapse; see the module.

    :param lapse_ms: what was durable at the start.
    :param now_s: monotonic time of the start.
    :ivar ms: the lapse.
    """

    __slots__ = ("_base", "_is_heard", "ms")

    def __init__(self, lapse_ms: int, now_s: float) -> None:
        self.ms = lapse_ms
        self._base: Reading = lapse_ms, now_s
        self._is_heard = False

    def learn(self, lapse_ms: int) -> None:
        """Take over what is durable here, or what a peer has told."""
        if lapse_ms > self.ms:
            self.ms = lapse_ms

    def look(
        self, groups: Collection[Collection[bytes]], walls: dict[bytes, Reading], own_ms: int, now_s: float
    ) -> int:
        """What is over by now.

        :param groups: the members; while they change, the old and the new ones. Of each a majority has to have passed.
        :param walls: what was heard of members last, this node's own reading included.
        :param own_ms: this node's wall clock.
        """
        passed = min((passed_ms(self._readings(group, walls, now_s), len(group)) for group in groups), default=0)
        if passed:
            self._base, self._is_heard = (passed, now_s), True
        else:
            passed = min(own_ms, self._since_base(SLOWEST, now_s))
        self.learn(passed)
        return self.ms

    @staticmethod
    def _readings(group: Collection[bytes], walls: dict[bytes, Reading], now_s: float) -> Iterable[int]:
        for node in group:
            reading = walls.get(node)
            if reading is not None and now_s - reading[1] <= FRESH_S:
                yield reading[0] + int(1000 * SLOWEST * (now_s - reading[1]))

    def _since_base(self, rate: float, now_s: float) -> int:
        base_ms, at_s = self._base
        return base_ms + int(1000 * rate * (now_s - at_s))

    def near(self, own_ms: int, now_s: float, far_ms: int) -> int:
        """This node's wall clock, no further from the last time that a majority had passed than some milliseconds.

        Before a majority was heard of, whatever the clock says.
        """
        if not self._is_heard:
            return own_ms
        return max(
            self._since_base(SLOWEST, now_s) - far_ms, min(own_ms, self._since_base(2 - SLOWEST, now_s) + far_ms)
        )
