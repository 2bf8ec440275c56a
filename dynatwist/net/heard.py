"""What a peer says of itself in every frame: its clocks, how far its log is durable; and how old that is by now."""

from __future__ import annotations

from dynatwist.model.clock import FAR_MS

from .framing import Frame
from .ways import Ways

CLOCK_MARGIN_S = 0.5
"""By how much two monotonic clocks may drift apart, and a frame be delayed, on top of what was measured."""

Wall = tuple[int, float]
"""(what a peer's wall clock said in ms, at which monotonic time of ours)."""


class Heard:
    """See the module.

    :param began_s: when the connection began.
    :ivar sent_ms: when the peer sent its last frame, by its monotonic clock.
    :ivar position: how far the peer's log is durable.
    :ivar wall: what the peer's wall clock said last; ``None`` when it never did.
    """

    __slots__ = ("_at_s", "_clock_ms", "_ways", "position", "sent_ms", "wall")

    def __init__(self, began_s: float) -> None:
        self._ways = Ways(began_s)
        self._clock_ms = 0
        self._at_s = 0.0
        self.sent_ms = 0
        self.position = (0, 0)
        self.wall: Wall | None = None

    def arrived(self, frame: Frame, now_s: float) -> None:
        """The next frame."""
        self._ways.arrived(frame.sent_ms, now_s)
        self._clock_ms, self._at_s = frame.clock_ms, now_s
        self.sent_ms, self.position = frame.sent_ms, frame.position
        if frame.wall_ms:
            self.wall = frame.wall_ms, now_s

    def went_round(self, rtt_s: float) -> None:
        """The last frame answers one that was sent so long ago."""
        self._ways.went_round(rtt_s)

    @property
    def beyond_ms(self) -> int:
        """How much longer the last frame was under way than the fastest."""
        return self._ways.beyond_ms

    def age_ms(self, now_s: float) -> int:
        """How long the last frame was under way, at most."""
        return self._ways.age_ms(now_s)

    def clock_bound_ms(self, now_s: float) -> int:
        """What the peer's hybrid time cannot be beyond yet: what it last said that it is, or soon will be.

        A wall clock that was set ahead is told for a while before the peer believes it, and then no more of it than
        `FAR_MS`.
        """
        if not self._clock_ms:
            return 0
        wall_ms, _ = self.wall or (0, 0.0)
        told_ms = max(self._clock_ms, min(wall_ms, self._clock_ms + FAR_MS))
        return told_ms + self.age_ms(now_s) + int(1000 * (now_s - self._at_s + CLOCK_MARGIN_S))
