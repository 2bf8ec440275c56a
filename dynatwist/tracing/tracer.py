"""What the rest of a node knows of traces: a span begins, may name itself to another node, and ends.

One trace goes over all nodes that have a part in a request. Its spans belong together by W3C's ``traceparent``, which a
client may send, and which an owner is told with a request that is forwarded to it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Protocol

Told = Mapping[str, str | int]
"""What is said of a span; never a key, a value or a user."""
TRACEPARENT = "traceparent"

_TRACEPARENT = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]([0-9a-f])")


def is_traceparent(text: str) -> bool:
    """Whether a text names a span of a trace: it goes between nodes."""
    return _TRACEPARENT.fullmatch(text) is not None


def is_sampled(traceparent: str) -> bool | None:
    """Whether the trace that is named is kept; ``None`` where the text names none."""
    found = _TRACEPARENT.fullmatch(traceparent)
    return bool(int(found[1], 16) & 1) if found is not None else None


class Span(Protocol):
    """A part of a request, under way."""

    @property
    def traceparent(self) -> str:
        """By which what it causes elsewhere belongs to it."""

    def end(self, told: Told, *, is_failure: bool) -> None:
        """It is over; to be called once."""


class Tracer(Protocol):
    """Where spans go."""

    is_on: bool
    """Whether it is worth asking for spans."""

    @property
    def dropped(self) -> int:
        """Spans that nobody took: the collector is away, or too slow."""

    def begin(self, name: str, headers: Mapping[str, str]) -> Span | None:
        """A part of a request begins; ``None`` where it is not sampled.

        :param headers: by names in lower case, with the ``traceparent`` that it belongs to, if there is one.
        """

    def start(self, node_id: str) -> None:
        """Spans may come from now on; it is a daemon's process by now, where threads stay."""

    def stop(self) -> None:
        """Give away what is left. This may take as long as the collector, so it is for a thread of its own."""


class NoTracer:
    """There is nobody to tell; nothing is asked of it but whether it is on."""

    is_on = False
    dropped = 0

    def begin(self, name: str, headers: Mapping[str, str]) -> Span | None:
        """See `Tracer`."""
        return None

    def start(self, node_id: str) -> None:
        """See `Tracer`."""

    def stop(self) -> None:
        """See `Tracer`."""


NO_TRACER = NoTracer()
