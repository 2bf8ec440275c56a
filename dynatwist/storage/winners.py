"""The records that won here, until the log has them: they are neither read nor announced before."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from dynatwist.calls import call_safely
from dynatwist.model.record import Key, Record
from dynatwist.model.records import Packed

from .effects import Held
from .wal import Wal

Announce = Callable[[Key, Record, Packed, Packed | None], None]
"""Told of each record that wins here, once it is durable, and of what it replaced."""


class Winners:
    """See the module.

    :ivar undurable: for keys whose record is not durable yet, its number in the log.
    """

    def __init__(self, wal: Wal) -> None:
        self._announce: Announce = lambda *news: None
        self.undurable: dict[Key, int] = {}
        self._waiting: deque[tuple[int, Held]] = deque()
        wal.tell_first(self._durable)

    def announce_to(self, announce: Announce) -> None:
        """Have each winning record told there, in order, once it is durable."""
        self._announce = announce

    def held(self, effect: Held, lsn: int) -> None:
        """A record is held now, and has a number in the log."""
        self.undurable[effect.key] = lsn
        self._waiting.append((lsn, effect))

    def _durable(self, upto: int) -> None:
        """The log is durable up to a number: what won may be read, and is announced."""
        waiting, undurable = self._waiting, self.undurable
        while waiting and waiting[0][0] <= upto:
            lsn, held = waiting.popleft()
            key = held.key
            if undurable.get(key) == lsn:
                del undurable[key]
            call_safely(self._announce, key, held.record, held.packed, held.before_packed)
