"""Ten minutes, an hour and a day of a node's figures, each in a ring of its own: 84 KB for 28 series."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple

from .ring import Blends, Ring

TICK_S = 5
"""How often samples are taken: people see a change within a breath, and taking one costs a tenth of a millisecond."""


class Span(NamedTuple):
    """How far back a ring goes.

    :ivar step_s: seconds that a sample stands for.
    """

    step_s: int
    steps: int


SpanName = Literal["10m", "1h", "24h"]
SPANS: Mapping[SpanName, Span] = {"10m": Span(TICK_S, 120), "1h": Span(30, 120), "24h": Span(600, 144)}


def tick_at(wall_ms: int) -> int:
    """Which tick a moment is in: all nodes count them from 1970 on, so that their samples lie side by side."""
    return wall_ms // (1000 * TICK_S)


def end_ms(span: SpanName, tick: int) -> int:
    """When the step ends that a tick is in."""
    step_ms = 1000 * SPANS[span].step_s
    return (tick * TICK_S * 1000 // step_ms + 1) * step_ms


class History:
    """See the module. Each ring is given every sample, and blends those of a step."""

    def __init__(self, blends: Blends) -> None:
        self._rings = {name: Ring(blends, span.steps, span.step_s // TICK_S) for name, span in SPANS.items()}

    def add(self, tick: int, sample: Mapping[str, float]) -> None:
        """Take a sample in.

        :param tick: in which it was gathered.
        """
        for ring in self._rings.values():
            ring.add(tick, sample)

    def view(self, span: SpanName, tick: int) -> dict[str, list[float]]:
        """All series of a span up to a tick, the newest last; not a number where the node was not running."""
        return self._rings[span].view(tick)

    @property
    def size_bytes(self) -> int:
        """What all samples take."""
        return sum(ring.size_bytes for ring in self._rings.values())
