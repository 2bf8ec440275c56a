"""What was announced last of each key, as far as the merge order needs it: nothing older is to follow."""

from __future__ import annotations

from collections import OrderedDict

from dynatwist.model.lease import ENDED_MS
from dynatwist.model.record import Key, Record, beats
from dynatwist.model.records import Packed, name_of, pack, unpack
from dynatwist.sometimes import sometimes

ANNOUNCED_BYTES = 8 << 20
"""Some 14,000 keys of usual length. It holds no long values, so it need not grow with the store."""
ENTRY_OVERHEAD_BYTES = 400
"""Of an entry beside its bytes: its tuple and number, the key's tuple and strings, and its place in an ordered
dictionary."""
LONG_BYTES = 512
"""A packed record longer than this is remembered without its value. Packing it again so takes longer than all the rest
of an announcement, and of a short record it spares little."""
Announcement = tuple[int, Packed, int, bool]
"""(number of the event, the record, packed, perhaps without its value, `Event.doubt`, `Event.is_over`)."""


class Announced:
    """See the module. The keys announced longest ago are forgotten first.

    :ivar forgotten: the number of the newest event that is not remembered any more; 0 when all are.
    """

    def __init__(self, bound_bytes: int = ANNOUNCED_BYTES) -> None:
        self._bound_bytes = bound_bytes
        self._size_bytes = 0
        self._entries: OrderedDict[Key, Announcement] = OrderedDict()
        self.forgotten = 0

    def bound(self, bound_bytes: int) -> None:
        """Remember no more than this from the next event on."""
        self._bound_bytes = bound_bytes

    def last(self, key: Key) -> Announcement | None:
        """What was announced last of a key, if that is remembered."""
        return self._entries.get(key)

    def note(self, key: Key, record: Record, packed: Packed, seq: int, doubt: int, *, is_over: bool = False) -> None:
        """A record is announced, or its end.

        :param packed: the same record.
        :param seq: the number of its event, greater than any before.
        :param doubt: see `Event`.
        """
        entries = self._entries
        former = entries.get(key)
        if len(packed) > LONG_BYTES:
            packed = pack(Record(record.dot, None, (), record.stamp, record.lineage, 0, ""))
        entries[key] = seq, packed, doubt, is_over
        if former is not None:
            entries.move_to_end(key)
            self._size_bytes += len(packed) - len(former[1])
        else:
            self._size_bytes += _size(key, packed)
        while self._size_bytes > self._bound_bytes and len(entries) > 1:
            oldest, (self.forgotten, packed, _, _) = entries.popitem(last=False)
            self._size_bytes -= _size(oldest, packed)
            sometimes("what was announced of a key is forgotten")

    def clear(self) -> None:
        """Nothing that was announced counts any more."""
        self._entries.clear()
        self._size_bytes = 0

    @property
    def size_bytes(self) -> int:
        """What it costs, about."""
        return self._size_bytes

    def __len__(self) -> int:
        return len(self._entries)


def is_news_of_an_end(last: Announcement, record: Record) -> bool:
    """Whether nobody was told that a record has ended, nor of anything newer of its key.

    A record whose lease has ended may be ended by two owners at once; that is one end.
    """
    announced = unpack(last[1])
    if announced.dot == record.dot:
        return not last[3]
    if last[3] and record.expires_ms == ENDED_MS and record.lineage == announced.lineage:
        sometimes("two owners end a record whose lease has ended")
        return False
    return beats(record, announced)


def is_news(last: Announcement, record: Record, replaced: Packed | None) -> bool:
    """Whether a record is newer than what was announced of its key.

    :param replaced: what the record is known to beat, packed; usually that is what was announced last.
    """
    announced = last[1]
    if announced is replaced or (replaced is not None and name_of(replaced) == name_of(announced)):
        return True
    return beats(record, unpack(announced))


def _size(key: Key, packed: Packed) -> int:
    return len(key[0]) + len(key[1]) + len(packed) + ENTRY_OVERHEAD_BYTES
