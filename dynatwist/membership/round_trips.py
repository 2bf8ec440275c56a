"""Measured round trips of probes, and how long to wait for the next (RFC 6298)."""

from __future__ import annotations

ALPHA = 1 / 8
BETA = 1 / 4
"""How far a measurement moves the mean, and the variation: RFC 6298, section 2."""


class RoundTrips:
    """Smoothed round trip and variation, by member, and of all together, for members not measured yet."""

    __slots__ = ("_measured", "_usual")

    def __init__(self) -> None:
        self._measured: dict[bytes, tuple[float, float]] = {}
        self._usual: tuple[float, float] | None = None

    def add(self, node: bytes, rtt_s: float) -> None:
        """One more measurement."""
        self._measured[node] = _smoothed(self._measured.get(node), rtt_s)
        self._usual = _smoothed(self._usual, rtt_s)

    @property
    def usual_s(self) -> float | None:
        """The usual round trip to anybody; ``None`` before the first was measured."""
        return None if self._usual is None else self._usual[0]

    def smoothed_s(self, node: bytes) -> float | None:
        """The usual round trip; ``None`` before the first was measured."""
        known = self._measured.get(node)
        return None if known is None else known[0]

    def timeout_s(self, node: bytes, least_s: float, most_s: float) -> float:
        """How long to wait for a member's answer."""
        known = self._measured.get(node, self._usual)
        return most_s if known is None else min(most_s, max(least_s, known[0] + 4 * known[1]))

    def forget(self, node: bytes) -> None:
        """The member is gone."""
        self._measured.pop(node, None)


def _smoothed(known: tuple[float, float] | None, rtt_s: float) -> tuple[float, float]:
    if known is None:
        return rtt_s, rtt_s / 2
    smoothed_s, variation_s = known
    variation_s += BETA * (abs(smoothed_s - rtt_s) - variation_s)
    return smoothed_s + ALPHA * (rtt_s - smoothed_s), variation_s
