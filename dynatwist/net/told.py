"""What members have told of themselves on connections that have ended."""

from __future__ import annotations

from collections.abc import Callable

from .link import PeerLink


class Told:
    """See the module."""

    def __init__(self) -> None:
        self._clock_bounds_ms: dict[bytes, tuple[int, float]] = {}
        self._positions: dict[bytes, tuple[int, int]] = {}

    def keep(self, node: bytes, link: PeerLink, now_s: float) -> None:
        """A connection of a member ends."""
        self._clock_bounds_ms[node] = link.heard.clock_bound_ms(now_s), now_s
        self._positions[node] = max(self.position(node), link.heard.position)

    def keep_members(self, is_member: Callable[[bytes], bool]) -> None:
        """Forget what nodes told that are no members any more."""
        for node in [node for node in self._positions if not is_member(node)]:
            del self._positions[node], self._clock_bounds_ms[node]

    def position(self, node: bytes) -> tuple[int, int]:
        """How far a node's log was durable."""
        return self._positions.get(node, (0, 0))

    def clock_bound_ms(self, node: bytes, since_s: float) -> int:
        """What a node's hybrid time could not be beyond, if a connection to it has ended since; otherwise 0."""
        bound_ms, ended_s = self._clock_bounds_ms.get(node, (0, 0.0))
        return bound_ms if ended_s >= since_s else 0
