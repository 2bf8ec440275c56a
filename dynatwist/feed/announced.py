"""What was announced last of each key, as far as the merge order needs it: nothing older is to follow."""

from __future__ import annotations

from collections import OrderedDict

from dynatwist.model.record import Key, Record, beats
from dynatwist.model.records import NAME_BYTES, Packed, name_of, pack, unpack
from dynatwist.sometimes import sometimes

ANNOUNCED_BYTES = 8 << 20
"""Some 20,000 keys of usual length. It holds no values, so it need not grow with the store."""
ENTRY_OVERHEAD_BYTES = 300
"""Of an entry beside its bytes: the key's tuple and strings, and its place in an ordered dictionary."""
_SEQ_BYTES = 8


class Announced:
    """See the module.

    An entry is the number of the event, the name of the record (see `name_of`), and the record without its value. The
    keys announced longest ago are forgotten first.

    :ivar forgotten: the number of the newest event that is not remembered any more; 0 when all are.
    """

    def __init__(self, bound_bytes: int = ANNOUNCED_BYTES) -> None:
        self._bound_bytes = bound_bytes
        self._size_bytes = 0
        self._entries: OrderedDict[Key, bytes] = OrderedDict()
        self.forgotten = 0

    def bound(self, bound_bytes: int) -> None:
        """Remember no more than this from the next event on."""
        self._bound_bytes = bound_bytes

    def knows(self, key: Key) -> bool:
        """Whether what was announced last of a key is remembered."""
        return key in self._entries

    def is_news(self, key: Key, record: Record, replaced: Packed | None) -> bool:
        """Whether a record is newer than what was announced of its key, as far as that is remembered.

        :param replaced: what the record is known to beat, packed.
        """
        entry = self._entries.get(key)
        if entry is None:
            return True
        if replaced is not None and entry.startswith(name_of(replaced), _SEQ_BYTES):
            return True  # usually what was announced last is what the store had held
        return beats(record, unpack(entry[_SEQ_BYTES + NAME_BYTES :]))

    def note(self, key: Key, record: Record, packed: Packed, seq: int) -> None:
        """A record is announced.

        :param packed: the same record.
        :param seq: the number of its event, greater than any before.
        """
        entries = self._entries
        former = entries.pop(key, None)
        if former is not None:
            self._size_bytes -= _size(key, former)
        bare = pack(Record(record.dot, None, (), record.stamp, record.lineage, 0, ""))
        entry = b"".join((seq.to_bytes(_SEQ_BYTES), name_of(packed), bare))
        entries[key] = entry
        self._size_bytes += _size(key, entry)
        while self._size_bytes > self._bound_bytes and len(entries) > 1:
            oldest, entry = entries.popitem(last=False)
            self._size_bytes -= _size(oldest, entry)
            self.forgotten = int.from_bytes(entry[:_SEQ_BYTES])
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


def _size(key: Key, entry: bytes) -> int:
    return len(key[0]) + len(key[1]) + len(entry) + ENTRY_OVERHEAD_BYTES
