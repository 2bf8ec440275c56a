"""The records of one replica, packed: one bytes object a record, exactly as log, cold saves and peers get it.

A record is encoded once, where it is written, and decoded where somebody looks at it. In memory it costs a third of
what its objects would, and Python's garbage collector has nothing to walk through.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, MutableMapping
from typing import NamedTuple

import msgspec

from dynatwist import heart

from .clock import Stamp
from .dots import Dot
from .lease import Lease
from .record import Key, Record

Packed = bytes
"""msgpack of a `Record`."""

pack = msgspec.msgpack.Encoder().encode
unpack = msgspec.msgpack.Decoder(Record).decode


class _Head(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The beginning of a record; the rest is skipped."""

    dot: Dot


class _Moment(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A record of which only its names are looked at."""

    dot: Dot
    value: msgspec.Raw
    vv: msgspec.Raw
    stamp: Stamp


class _Value(msgspec.Struct, frozen=True, array_like=True, gc=False):
    dot: msgspec.Raw
    value: bytes | None


class Brief(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What can be said of a record without its value.

    :ivar size_bytes: of the record, packed.
    """

    size_bytes: int
    is_deleted: bool
    owner: str
    expires_ms: int

    def is_dead(self, now_ms: int) -> bool:
        """See `Record.is_dead`."""
        return self.is_deleted or (self.expires_ms != 0 and now_ms >= self.expires_ms)


class _Outline(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A record of which nothing long is copied."""

    dot: Dot
    value: msgspec.Raw
    vv: msgspec.Raw
    stamp: msgspec.Raw
    lineage: msgspec.Raw
    version: int
    owner: str
    expires_ms: int = 0


class _Tail(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A record of which the value, and what stands at its end, is wanted."""

    dot: msgspec.Raw
    value: bytes | None
    vv: msgspec.Raw
    stamp: msgspec.Raw
    lineage: msgspec.Raw
    version: int
    owner: msgspec.Raw
    expires_ms: int = 0
    op: bytes = b""
    named: tuple[msgspec.Raw, ...] = ()
    lease: Lease | None = None


_tail = msgspec.msgpack.Decoder(_Tail).decode
_outline = msgspec.msgpack.Decoder(_Outline).decode
_NOTHING = b"\xc0"
_value = msgspec.msgpack.Decoder(_Value).decode
_head = msgspec.msgpack.Decoder(_Head).decode
_moment = msgspec.msgpack.Decoder(_Moment).decode
NAME_BYTES = 29
"""Up to here: two array headers, sixteen bytes of actor with theirs, and the longest number."""


def dot_of(packed: Packed) -> Dot:
    """The dot of a packed record, without all the rest."""
    return _head(packed).dot


def stamp_of(packed: Packed) -> tuple[Dot, Stamp]:
    """The dot and the stamp of a packed record, without all the rest."""
    moment = _moment(packed)
    return moment.dot, moment.stamp


def op_of(packed: Packed) -> bytes:
    """The id of the request that a packed record was written by; may be empty."""
    return _tail(packed).op


class Weight(NamedTuple):
    """What an index has to know of a record.

    :ivar value_bytes: 0 for a tombstone.
    :ivar named: how many named writes it remembers.
    :ivar lease: whose life it depends on.
    """

    value_bytes: int
    named: int
    lease: Lease | None


def weight_of(packed: Packed) -> Weight:
    """What an index has to know of a packed record, without all the rest."""
    sure = heart.weight(packed)
    if sure is not None:
        return Weight(*sure, None)
    tail = _tail(packed)
    return Weight(len(tail.value or b""), len(tail.named), tail.lease)


def name_of(packed: Packed | None) -> bytes:
    """A few bytes that are equal for equal dots and only for these; empty for nothing held.

    They are the beginning of the packed record: its dot, and, where that is short, what follows. Equal dots mean equal
    records, so what follows is then equal too. The first byte is left out: it says how many fields there are, and
    former releases pack fewer.
    """
    return b"" if packed is None else packed[1:NAME_BYTES]


def value_of(packed: Packed) -> bytes | None:
    """The value of a packed record, without all the rest."""
    return _value(packed).value


def brief_of(packed: Packed) -> tuple[Dot, Brief]:
    """The dot of a packed record, and what else can be said of it without its value."""
    outline = _outline(packed)
    is_deleted = memoryview(outline.value) == _NOTHING
    return outline.dot, Brief(len(packed), is_deleted, outline.owner, outline.expires_ms)


class Records(MutableMapping[Key, Record]):
    """A mapping from keys to records; see the module."""

    __slots__ = ("_packed", "_seen", "_seen_packed")

    def __init__(self) -> None:
        self._packed: dict[Key, Packed] = {}
        self._seen_packed: Packed | None = None
        self._seen: Record | None = None

    def __getitem__(self, key: Key) -> Record:
        return unpack(self._packed[key])

    def get(self, key: Key, default: Record | None = None) -> Record | None:  # type: ignore[override]
        """What is held for a key."""
        packed = self._packed.get(key)
        if packed is None:
            return default
        if packed is not self._seen_packed:  # one request looks at the same record several times
            self._seen_packed, self._seen = packed, unpack(packed)
        return self._seen

    def packed(self, key: Key) -> Packed | None:
        """What is held for a key, as it is kept."""
        return self._packed.get(key)

    def hold(self, key: Key, record: Record, packed: Packed) -> None:
        """Hold a record that is packed already."""
        self._packed[key] = self._seen_packed = packed
        self._seen = record

    def keep(self, key: Key, packed: Packed) -> None:
        """Hold a record that nobody has unpacked."""
        self._packed[key] = packed

    def dot(self, key: Key) -> Dot | None:
        """The dot held for a key."""
        packed = self._packed.get(key)
        return None if packed is None else _head(packed).dot

    def all_packed(self) -> Iterable[tuple[Key, Packed]]:
        """All keys with what is held for them, as it is kept."""
        return self._packed.items()

    def dots(self) -> Iterator[tuple[Key, Dot]]:
        """All keys with their dots."""
        for key, packed in self._packed.items():
            yield key, _head(packed).dot

    def __setitem__(self, key: Key, record: Record) -> None:
        self._packed[key] = pack(record)

    def __delitem__(self, key: Key) -> None:
        del self._packed[key]

    def __contains__(self, key: object) -> bool:
        return key in self._packed

    def __iter__(self) -> Iterator[Key]:
        return iter(self._packed)

    def __len__(self) -> int:
        return len(self._packed)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Records) and self._packed == other._packed

    def __repr__(self) -> str:
        return f"Records({dict(self)!r})"

    __hash__ = None  # type: ignore[assignment]

    def copy(self) -> Records:
        """An independent copy."""
        twin = Records()
        twin._packed = dict(self._packed)
        return twin

    def update_packed(self, other: Records) -> None:
        """Hold all of another mapping's records too, instead of what is held for the same keys."""
        self._packed.update(other._packed)

    def clear(self) -> None:
        """Forget everything."""
        self._seen_packed = self._seen = None
        self._packed.clear()
