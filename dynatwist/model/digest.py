"""Incremental digests of a partition: what two replicas compare instead of their records.

Each key falls into one of 1,024 buckets; a bucket is the exclusive-or of a 64-bit hash of (key, dot) over its keys,
so a change costs two hashes. Equal dots mean equal records, therefore nothing else needs hashing.
"""

from __future__ import annotations

import sys
from array import array
from hashlib import blake2b

from .dots import Dot
from .record import Key

BUCKETS = 1024


def bucket_of(key: Key) -> int:
    """The bucket of a key, the same on every machine."""
    table, name = key
    return int.from_bytes(blake2b(f"{table}\0{name}".encode(), digest_size=2, person=b"bucket").digest()) % BUCKETS


def fingerprint(key: Key, dot: Dot) -> int:
    """The 64-bit hash of one entry."""
    table, name = key
    text = b"%b\0%b\0%b%d" % (table.encode(), name.encode(), dot.actor, dot.seq)
    return int.from_bytes(blake2b(text, digest_size=8, person=b"entry").digest())


class BucketDigests:
    """The digests of one partition; `root` sums up all of them."""

    __slots__ = ("_buckets", "root")

    def __init__(self) -> None:
        self._buckets: array[int] | None = None
        self.root = 0

    def toggle(self, key: Key, dot: Dot) -> None:
        """Add an entry that is absent, or take away one that is present."""
        if self._buckets is None:
            self._buckets = array("Q", bytes(8 * BUCKETS))
        mark = fingerprint(key, dot)
        self._buckets[bucket_of(key)] ^= mark
        self.root ^= mark

    def to_wire(self) -> bytes:
        """All buckets, eight bytes each, little-endian; empty when nothing was ever added."""
        return b"" if self._buckets is None else _swapped(self._buckets).tobytes()

    def differing(self, wire: bytes) -> list[int]:
        """The numbers of the buckets in which another replica differs.

        :param wire: the other's `to_wire`.
        """
        mine = self._buckets or array("Q", bytes(8 * BUCKETS))
        theirs = _swapped(array("Q", wire or bytes(8 * BUCKETS)))
        return [number for number, (one, other) in enumerate(zip(mine, theirs, strict=True)) if one != other]


def _swapped(buckets: array[int]) -> array[int]:
    """To or from little-endian, the order on the wire."""
    if sys.byteorder == "big":
        buckets = buckets[:]
        buckets.byteswap()
    return buckets
