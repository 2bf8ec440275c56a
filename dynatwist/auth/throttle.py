"""Slowing down whoever guesses passwords: after a few failures each further try has to wait, ever longer."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

from dynatwist.errors import ApiError

FREE_FAILURES = 10
FIRST_WAIT_S = 1.0
MAX_WAIT_S = 60.0
FORGET_AFTER_S = 300.0
MAX_TRACKED = 10_000


class Throttle:
    """Failures per (who, from where), in bounded memory."""

    def __init__(self, monotonic_s: Callable[[], float]) -> None:
        self._now_s = monotonic_s
        self._failures: OrderedDict[tuple[str, str], tuple[int, float]] = OrderedDict()

    def check(self, who: str, address: str) -> None:
        """Raise 429 while the next try has to wait."""
        count, last_s = self._failures.get((who, address), (0, 0.0))
        if count < FREE_FAILURES:
            return
        wait_s = min(MAX_WAIT_S, FIRST_WAIT_S * 2 ** (count - FREE_FAILURES))
        left_s = last_s + wait_s - self._now_s()
        if left_s > 0:
            retry = {"Retry-After": str(int(left_s) + 1)}
            raise ApiError(429, "slow_down", "too many failed logins; wait before the next try", retry)

    def failed(self, who: str, address: str) -> None:
        """A try failed."""
        count, last_s = self._failures.pop((who, address), (0, 0.0))
        if self._now_s() - last_s > FORGET_AFTER_S:
            count = 0
        self._failures[who, address] = (min(count + 1, 30), self._now_s())
        while len(self._failures) > MAX_TRACKED:
            self._failures.popitem(last=False)

    def succeeded(self, who: str, address: str) -> None:
        """A try succeeded: all is forgiven."""
        self._failures.pop((who, address), None)
