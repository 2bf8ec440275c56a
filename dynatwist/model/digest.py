"""Incremental digests of a partition: what two replicas compare instead of their records.

Each key falls into one of 1,024 buckets; a bucket is the exclusive-or of a 64-bit hash of (key, dot) over its keys,
so a change costs two hashes. Equal dots mean equal records, therefore nothing else needs hashing.
"""

from __future__ import annotations

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
        if self._buckets is None:
            return b""
        return b"".join(value.to_bytes(8, "little") for value in self._buckets)

    def differing(self, wire: bytes) -> list[int]:
        """The numbers of the buckets in which another replica differs.

        :param wire: the other's `to_wire`.
        """
        mine = self.to_wire() or bytes(8 * BUCKETS)
        theirs = wire or bytes(8 * BUCKETS)
        return [n for n in range(BUCKETS) if mine[8 * n : 8 * n + 8] != theirs[8 * n : 8 * n + 8]]
