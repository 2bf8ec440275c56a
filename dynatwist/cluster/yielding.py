"""Whether this node lets other owners go first, since its disk is full, stuck or slow.

Requests with a condition are exact where one owner decides them all: the first of the preference list that can. An
owner that took some of them and passed others on, by what each needs, would have two decide at once. So it *yields*: it
says so to all, and is behind all that yield less in everybody's order, its own too, until its disk has been well for a
while. Where all yield alike the order is the usual one, and the first owner's refusal is the answer.

What is left are the moments in which an owner begins or ends to yield, as those in which one is lost or found (a disk
that becomes slow is noticed within a second); and owners that are all too slow, see docs/architecture.rst.
"""

from __future__ import annotations

from collections.abc import Callable

from dynatwist.replication.forwarding import ATTEMPT_S
from dynatwist.sometimes import sometimes
from dynatwist.storage.wal import Wal

WELL, SLOW, FULL = range(3)
"""How far an owner yields: one that is slow can still do all that is asked of it, one that is full cannot."""
YIELDS_S = 3.0
"""A slow disk is behind and well again with each group of its log, and room on a full one comes and goes with saves."""
SLOW_S = ATTEMPT_S / 2
"""An owner whose log takes so long may not have done in time what was forwarded, and the next one is asked besides."""


class Yielding:
    """See the module.

    :param seconds: monotonic.
    :param changed: called when it begins or ends; all are to be told then.
    :ivar yields: how far.
    """

    def __init__(self, wal: Wal, seconds: Callable[[], float], changed: Callable[[], None]) -> None:
        self._wal = wal
        self._seconds = seconds
        self._changed = changed
        self._full_until_s = self._slow_until_s = 0.0
        self._asked_s: float | None = None
        self._took_s = 0.0
        self.yields = WELL

    def look(self) -> None:
        """See how the disk is; to be called every second, and whenever a client's write is refused for its sake."""
        now_s = self._seconds()
        if self._wal.refusal(adds=True):
            self._full_until_s = now_s + YIELDS_S
        if self._wal.is_behind or self._is_slow(now_s):
            self._slow_until_s = now_s + YIELDS_S
        yields = FULL if now_s < self._full_until_s else SLOW if now_s < self._slow_until_s else WELL
        if yields != self.yields:
            sometimes("a node lets other owners go first")
            self.yields = yields
            self._changed()

    def try_log(self) -> None:
        """See how long the log takes for what it has now; to be called every second."""
        if self._asked_s is None:
            self._asked_s, self._took_s = self._seconds(), 0.0
            self._wal.when_durable(self._wal.lsn, self._is_written)

    def _is_written(self) -> None:
        assert self._asked_s is not None
        self._took_s, self._asked_s = self._seconds() - self._asked_s, None
        if self._took_s > SLOW_S:
            self.look()

    def _is_slow(self, now_s: float) -> bool:
        return self._took_s > SLOW_S or (self._asked_s is not None and now_s - self._asked_s > SLOW_S)
