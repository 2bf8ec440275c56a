"""What forwarded requests became, for as long as one may be repeated.

A request that is repeated is the same write. What it became is told by its key and dot as long as the store holds that
record; only of what was superseded the record itself is kept here. Both are bounded in bytes, and both are forgotten
once no repetition can come any more.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable

import msgspec

from dynatwist.model.dots import Dot
from dynatwist.model.record import Key, Record
from dynatwist.model.records import Packed, unpack
from dynatwist.sometimes import sometimes

from .effects import Gone, Held, Lost

MAX_BYTES = 64 << 20
"""Two hundred thousand requests, or sixty of the largest values superseded, within the time of a repetition."""
ENTRY_BYTES = 300
"""What it costs to know one request: id, key and dot."""


class _Became(msgspec.Struct):
    """What a request became.

    :ivar packed: the record, once the store does not hold it any more; ``None`` before, or when it was too much.
    :ivar is_gone: whether the store does not hold it any more.
    """

    key: Key
    dot: Dot
    packed: Packed | None = None
    is_gone: bool = False


class Requests:
    """See the module.

    :param held: what the store holds for a key.
    :ivar max_bytes: bound on what is kept; beyond, the oldest are forgotten, their records first.
    """

    def __init__(self, held: Callable[[Key], Record | None]) -> None:
        self._held = held
        self._young: OrderedDict[bytes, _Became] = OrderedDict()
        self._old: OrderedDict[bytes, _Became] = OrderedDict()
        self.max_bytes = MAX_BYTES
        self.size_bytes = 0

    def bound(self, max_bytes: int) -> None:
        """Another `max_bytes` than the usual one, from now on."""
        self.max_bytes = max_bytes

    def held(self, effect: Held) -> None:
        """A record arrived, and is held now; what it replaced is not held any more."""
        record, before = effect.record, effect.before
        if record.op:
            self.note(effect.key, record)
        if before is not None and before.op and effect.before_packed is not None:
            self.keep(before.op, before.dot, effect.before_packed)

    def lost(self, effect: Lost) -> None:
        """A record arrived, and is not held."""
        if effect.record.op:
            self.note(effect.key, effect.record, effect.packed)

    def gone(self, effect: Gone) -> None:
        """Some records are not held any more."""
        for key, record in effect.records.items():
            packed = effect.records.packed(key)
            if record.op and packed is not None:
                self.keep(record.op, record.dot, packed)

    def note(self, key: Key, record: Record, superseded: Packed | None = None) -> None:
        """Know what a request became.

        :param superseded: the record, when the store does not hold it.
        """
        if self._find(record.op) is not None:
            if superseded is not None:
                self.keep(record.op, record.dot, superseded)
            return
        self._young[record.op] = _Became(key, record.dot)
        self.size_bytes += ENTRY_BYTES
        if superseded is not None:
            self.keep(record.op, record.dot, superseded)
        elif self.size_bytes > self.max_bytes:
            self._shrink()

    def keep(self, op: bytes, dot: Dot, packed: Packed) -> None:
        """The store does not hold what a request became any more."""
        became = self._find(op)
        if became is None or became.dot != dot or became.is_gone:
            return
        became.is_gone, became.packed = True, packed
        self.size_bytes += len(packed)
        if self.size_bytes > self.max_bytes:
            self._shrink()

    def note_lost(self, op: bytes, key: Key) -> None:
        """Another owner knows that a request became a record, and not which any more."""
        if self._find(op) is None:
            self._young[op] = _Became(key, Dot(b"", 0), None, True)
            self.size_bytes += ENTRY_BYTES

    def _shrink(self) -> None:
        """Well below the bound, so that this is rare."""
        sometimes("what requests became is forgotten early, for its bytes")
        enough_bytes = self.max_bytes * 3 // 4
        for some in (self._old, self._young):
            for became in some.values():
                if self.size_bytes <= enough_bytes:
                    return
                if became.packed is not None:
                    self.size_bytes -= len(became.packed)
                    became.packed = None
        while self.size_bytes > enough_bytes:
            (self._old or self._young).popitem(last=False)
            self.size_bytes -= ENTRY_BYTES

    def knows(self, op: bytes) -> bool:
        """Whether a request has become a record, be that kept or not."""
        return self._find(op) is not None

    def became(self, op: bytes) -> Record | None:
        """The record that a request became, superseded or not, if it is still known."""
        became = self._find(op)
        if became is None:
            return None
        if became.is_gone:
            return unpack(became.packed) if became.packed is not None else None
        held = self._held(became.key)
        return held if held is not None and held.dot == became.dot else None

    def _find(self, op: bytes) -> _Became | None:
        return self._young.get(op) or self._old.get(op)

    def age(self) -> None:
        """A while has passed: what was young is old, and what was old is forgotten."""
        for became in self._old.values():
            self.size_bytes -= ENTRY_BYTES + len(became.packed or b"")
        self._old, self._young = self._young, OrderedDict()

    def values(self) -> Iterable[Record]:
        """The records that are kept here."""
        for some in (self._old, self._young):
            for became in some.values():
                if became.packed is not None:
                    yield unpack(became.packed)

    def __len__(self) -> int:
        return len(self._young) + len(self._old)
