"""The pure heart: the definition of what both hearts give, readable, and without anything to build.

All functions take and give plain values. Their arguments are by position only, as those of compiled functions are.
"""

from __future__ import annotations

from hashlib import blake2b
from zlib import crc32

BUCKETS = 1024
"""Of a partition: what differs is found by comparing eight kilobytes, and then the entries of few buckets."""
TAG_BYTES = 12
"""Of the hash that tells records apart."""


def _text_of(table: str, name: str) -> bytes:
    return b"%b\0%b" % (table.encode(), name.encode())


def bucket_of(table: str, name: str, /) -> int:
    """The bucket of a key, the same on every machine."""
    return crc32(_text_of(table, name)) % BUCKETS


def change_of(
    table: str, name: str, before: tuple[bytes, int] | None, after: tuple[bytes, int] | None, /
) -> tuple[int, int]:
    """The dot held for a key was one and is another; ``None`` stands for nothing held.

    :returns: the bucket of the key, and the 64 bits that the change turns over in it.
    """
    text = _text_of(table, name)
    mark = 0
    if before is not None:
        mark = _fingerprint(text, before)
    if after is not None:
        mark ^= _fingerprint(text, after)
    return crc32(text) % BUCKETS, mark


def _fingerprint(text: bytes, dot: tuple[bytes, int]) -> int:
    actor, seq = dot
    return int.from_bytes(blake2b(b"%b\0%b%d" % (text, actor, seq), digest_size=8).digest())


def tag_of(actor: bytes, seq: int, ms: int, counter: int, /) -> bytes:
    """Tells a record from all others: dots alone are numbered per partition.

    :param actor: of the dot, as `seq` is.
    :param ms: of the stamp, as `counter` is.
    :raises OverflowError: where a number is negative or has more than 64 bits.
    """
    text = actor + seq.to_bytes(8) + ms.to_bytes(8) + counter.to_bytes(8)
    return blake2b(text, digest_size=TAG_BYTES).digest()


def etag_of(actor: bytes, seq: int, ms: int, counter: int, /) -> str:
    """The same as an ETag: hexadecimal, in quotes."""
    return f'"{tag_of(actor, seq, ms, counter).hex()}"'
