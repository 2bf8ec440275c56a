"""Whether this node lets other owners go first, since its disk is full, stuck or slow.

Requests with a condition are exact where one owner decides them all: the first of the preference list that can. An
owner that took some of them and passed others on, by what each needs, would have two decide at once. So it *yields*: it
says so to all, and is the last in everybody's order, its own too, until its disk has been well for a while. Then only
the moments in which it begins and ends are like those in which an owner is lost and found.
"""

from __future__ import annotations

from collections.abc import Callable

from dynatwist.sometimes import sometimes
from dynatwist.storage.wal import Wal

YIELDS_S = 3.0
"""A slow disk is behind and well again with each group of its log, and room on a full one comes and goes with saves."""


class Yielding:
    """See the module.

    :param seconds: monotonic.
    :param changed: called when it begins or ends; all are to be told then.
    :ivar yields: whether others go first.
    """

    def __init__(self, wal: Wal, seconds: Callable[[], float], changed: Callable[[], None]) -> None:
        self._wal = wal
        self._seconds = seconds
        self._changed = changed
        self._until_s = 0.0
        self.yields = False

    def look(self) -> None:
        """See how the disk is; to be called every second, and whenever a write is refused for its sake."""
        now_s = self._seconds()
        if self._wal.is_behind or self._wal.refusal(adds=True):
            self._until_s = now_s + YIELDS_S
        yields = now_s < self._until_s
        if yields != self.yields:
            sometimes("a node lets other owners go first")
            self.yields = yields
            self._changed()
