"""Incremental digests of a partition: what two replicas compare instead of their records.

Each key falls into one of 1,024 buckets; a bucket is the exclusive-or of a 64-bit hash of (key, dot) over its keys,
so a change costs two hashes. Equal dots mean equal records, therefore nothing else needs hashing.
"""

from __future__ import annotations

import sys
from array import array

from dynatwist import heart
from dynatwist.heart.pure import BUCKETS

from .dots import Dot
from .record import Key

__all__ = ("BUCKETS", "BucketDigests", "bucket_of", "fingerprint")


def bucket_of(key: Key) -> int:
    """The bucket of a key, the same on every machine."""
    return heart.bucket_of(*key)


def fingerprint(key: Key, dot: Dot) -> int:
    """The 64-bit hash of one entry."""
    return heart.change_of(*key, None, dot)[1]


class BucketDigests:
    """The digests of one partition; `root` sums up all of them."""

    __slots__ = ("_buckets", "root")

    def __init__(self) -> None:
        self._buckets: array[int] | None = None
        self.root = 0

    def change(self, key: Key, before: Dot | None, after: Dot | None) -> None:
        """The dot held for a key was one and is another; ``None`` stands for nothing held."""
        self.turn(*heart.change_of(*key, before, after))

    def turn(self, bucket: int, mark: int) -> None:
        """Some bits of a bucket are turned over, as `heart.change_of` says."""
        if self._buckets is None:
            self._buckets = array("Q", bytes(8 * BUCKETS))
        self._buckets[bucket] ^= mark
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
