"""The records that won here, and those that ended, until the log has that: nobody reads or hears of them before."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import msgspec

from dynatwist.calls import call_safely
from dynatwist.model.record import Key, Record
from dynatwist.model.records import Packed

from .effects import Won
from .wal import Wal

Announce = Callable[[Won], None]
"""Told of each record that wins here, once it is durable."""
AnnounceEnd = Callable[[Key, Record, Packed], None]
"""Told of each record that ended by itself, behind the record, once it is durable that its time is over."""


class Over(msgspec.Struct, frozen=True, gc=False):
    """A record has ended by itself."""

    key: Key
    record: Record
    packed: Packed


class Winners:
    """See the module.

    :ivar undurable: for keys whose record is not durable yet, its number in the log.
    """

    def __init__(self, wal: Wal) -> None:
        self._wal = wal
        self._announce: Announce = lambda *news: None
        self._announce_end: AnnounceEnd = lambda *news: None
        self.undurable: dict[Key, int] = {}
        self._waiting: deque[tuple[int, Won | Over]] = deque()
        wal.tell_first(self._durable)

    def announce_to(self, announce: Announce, announce_end: AnnounceEnd) -> None:
        """Have each winning record told there, and each end, in order, once it is durable."""
        self._announce, self._announce_end = announce, announce_end

    @property
    def waits(self) -> int:
        """How many records and ends wait for the log."""
        return len(self._waiting)

    def over(self, ended: list[Over]) -> None:
        """These have ended, by the present lapse."""
        if max(one.record.expires_ms for one in ended) > self._wal.durable_lapse_ms:
            self._wal.note_lapse()
        self._waiting.extend((self._wal.lsn, one) for one in ended)
        if self._wal.lsn <= self._wal.durable_lsn:
            self._durable(self._wal.durable_lsn)

    def held(self, effect: Won, lsn: int) -> None:
        """A record is held now, and has a number in the log."""
        self.undurable[effect.key] = lsn
        self._waiting.append((lsn, effect))

    def _durable(self, upto: int) -> None:
        """The log is durable up to a number: what won may be read, and is announced, in order with what ended."""
        waiting, undurable = self._waiting, self.undurable
        while waiting and waiting[0][0] <= upto:
            lsn, held = waiting.popleft()
            key = held.key
            if type(held) is Over:
                call_safely(self._announce_end, key, held.record, held.packed)
                continue
            assert not isinstance(held, Over)
            if undurable.get(key) == lsn:
                del undurable[key]
            call_safely(self._announce, held)
