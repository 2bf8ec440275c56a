"""A budget of bytes, so that one kind of traffic never crowds out the others (a token bucket)."""

from __future__ import annotations


class Budget:
    """So many bytes a second, and at once no more than a second's worth.

    :param rate_bytes_s: bytes a second.
    """

    __slots__ = ("_at_s", "_left", "_rate")

    def __init__(self, rate_bytes_s: int) -> None:
        self._rate = self._left = float(rate_bytes_s)
        self._at_s = 0.0

    def take(self, now_s: float, size_bytes: int) -> bool:
        """Spend some, if there is that much left."""
        self._left = min(self._rate, self._left + self._rate * (now_s - self._at_s))
        self._at_s = now_s
        if size_bytes > self._left:
            return False
        self._left -= size_bytes
        return True
