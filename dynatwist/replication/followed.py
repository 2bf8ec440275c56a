"""Which requests that have an id leave a line in the log.

Somebody who gives an id wants to see what becomes of the request. Our clients give an id to each request
(`dynatwist.sansio.trail`); of these only those are of interest that went wrong.
"""

from __future__ import annotations

MADE = "dk-"
"""The ids that clients make begin so."""
LONG_S = 1.0
"""Hundreds of times what is usual: somebody may look for the reason."""
MOST_LINES = 50
"""A second, of ids that clients made. Where more fails than that, all does, and a line takes longer than a refusal."""


class Followed:
    """See the module; one for each place that logs."""

    __slots__ = ("_lines", "_second")

    def __init__(self) -> None:
        self._second = self._lines = 0

    def is_logged(self, request_id: str, *, is_failure: bool, took_s: float, now_s: float) -> bool:
        """Whether what became of a request is logged; it counts as logged then.

        :param now_s: monotonic time.
        """
        if not request_id.startswith(MADE):
            return True
        if not is_failure and took_s < LONG_S:
            return False
        if int(now_s) != self._second:
            self._second, self._lines = int(now_s), 0
        self._lines += 1
        return self._lines <= MOST_LINES
