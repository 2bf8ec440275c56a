"""How long a frame was under way, from two monotonic clocks that have nothing in common, and drift apart.

The *way* of a frame is the receiver's clock at its arrival less the sender's at its sending: the time under way plus an
offset that nobody knows. The least way of some frames belongs to one of the fastest, and the fastest round trip of the
same time says how long that one took at most. So ``way - least way + fastest round trip`` is never less than the truth,
and more by a round trip at most.

The offset changes, since clocks drift apart (100 ppm are 0.36 s in an hour). So both minima are renewed: they are those
of the present window of time and of the one before. A window ends only once it has had a round trip of its own, or its
least way would have no bound.
"""

from __future__ import annotations

WINDOW_S = 20.0
"""Long enough for forty pings, of which one meets no queue; so short that clocks 1,000 ppm apart, twice what quartz is
allowed, are off by 40 ms after two windows: less than the 100 ms that attempts to write are kept apart."""


class Ways:
    """The estimate of one connection; see the module.

    :param began_s: the receiver's monotonic time at which the connection began.
    """

    __slots__ = ("_began_s", "_former", "_former_rtt_ms", "_least", "_rtt_ms", "_window_s", "beyond_ms")

    def __init__(self, began_s: float) -> None:
        self._began_s = self._window_s = began_s
        self._least: int | None = None
        self._rtt_ms: float | None = None
        self._former: int | None = None
        self._former_rtt_ms: float | None = None
        self.beyond_ms = 0
        """How much longer the last frame was under way than the fastest."""

    def arrived(self, sent_ms: int, now_s: float) -> None:
        """A frame arrived.

        :param sent_ms: the sender's monotonic clock, as the frame says.
        """
        way = int(now_s * 1000) - sent_ms
        if now_s - self._window_s >= WINDOW_S and self._rtt_ms is not None:
            self._former, self._former_rtt_ms = self._least, self._rtt_ms
            self._least = self._rtt_ms = None
            self._window_s = now_s
        if self._least is None or way < self._least:
            self._least = way
        least = self._least if self._former is None else min(self._least, self._former)
        self.beyond_ms = way - least

    def went_round(self, rtt_s: float) -> None:
        """The frame that arrived last answers one that was sent so long ago."""
        rtt_ms = rtt_s * 1000
        if self._rtt_ms is None or rtt_ms < self._rtt_ms:
            self._rtt_ms = rtt_ms

    def age_ms(self, now_s: float) -> int:
        """How long the last frame was under way, at most; before any round trip, as long as there is a connection."""
        rtt_ms, former_ms = self._rtt_ms, self._former_rtt_ms
        if rtt_ms is None or (former_ms is not None and former_ms < rtt_ms):
            rtt_ms = former_ms
        return self.beyond_ms + int(1000 * (now_s - self._began_s) if rtt_ms is None else rtt_ms)
