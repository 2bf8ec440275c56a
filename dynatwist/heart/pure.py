"""The pure heart: the definition of what both hearts give, readable, and without anything to build.

All functions take and give plain values. Their arguments are by position only, as those of compiled functions are.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from functools import lru_cache
from hashlib import blake2b
from zlib import crc32

import msgspec

from .plain import apart as apart
from .plain import headers_of as headers_of
from .plain import request_of as request_of

BUCKETS = 1024
"""Of a partition: what differs is found by comparing eight kilobytes, and then the entries of few buckets."""
TAG_BYTES = 12
"""Of the hash that tells records apart."""
NAME_BYTES = 16
"""Of the hash of a user and a name: two are never equal by chance."""
BODY_BYTES = 8
"""Of the hash of what is written: a client that uses a name twice by mistake is told, nobody is to be kept out."""
NODE_ID_BYTES = 8
"""Of an actor, that are the node's; the rest is of its start."""

_Dot = tuple[bytes, int]
_Succession = tuple[_Dot, int, tuple[int, int], int, int, int, int]
_pack = msgspec.msgpack.Encoder().encode


def _text_of(table: str, name: str) -> bytes:
    return b"%b\0%b" % (table.encode(), name.encode())


def bucket_of(table: str, name: str, /) -> int:
    """The bucket of a key, the same on every machine."""
    return crc32(_text_of(table, name)) % BUCKETS


def change_of(table: str, name: str, before: _Dot | None, after: _Dot | None, /) -> tuple[int, int]:
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


def _fingerprint(text: bytes, dot: _Dot) -> int:
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


def name_of(uid: str, name: str, body: tuple[bytes, ...], /) -> bytes:
    """The name of a write, as records keep it: that of its user and name, and that of what it writes.

    :param body: all that makes the write what it is.
    """
    who = b"%d %b%b" % (len(uid), uid.encode(), name.encode())
    what = b"".join([len(part).to_bytes(8) + part for part in body])
    named = blake2b(who, digest_size=NAME_BYTES, person=b"name").digest()
    return named + blake2b(what, digest_size=BODY_BYTES, person=b"body").digest()


def minified(body: bytes, most_levels: int, /) -> bytes | None:
    """A value as `dynatwist.api.limits.parse_value` has it kept, or ``None``: that function is to look at it itself.

    :param most_levels: how deeply it may be nested.
    """
    return None


def sound(table: str, name: str, packed: bytes, /) -> tuple[_Dot, int] | None:
    """What a record that a peer sends is called, where it surely decodes and has no flaw.

    :param packed: the record.
    :returns: its dot, and the milliseconds of its stamp. ``None``: it is to be unpacked, and
        `dynatwist.model.flaws.record_flaw` is to look at it.
    """
    return None


def succession(table: str, name: str, packed: bytes, held: bytes | None, /) -> _Succession | None:
    """What changes in a replica where a record comes to be held, in the place of what is held of its key.

    So it surely does where that is what usually happens: the same history of creations, a later stamp, a writer that
    had seen the other record; two values, none of which ends by itself, has a lease or the id of a forwarded request.

    :param packed: the record.
    :param held: the other one, packed; ``None`` where nothing is held.
    :returns: its dot; its generation; (ms, counter) of its stamp; by how many bytes the value is longer than what is
        held, and how many names more are remembered; the bucket of the key, and the 64 bits that are turned over in it
        (see `change_of`). ``None``: the model is to unpack both, and to look at every rule.
    """
    return None


def weight(packed: bytes, /) -> tuple[int, int] | None:
    """What a record weighs that surely has no lease.

    :returns: the length of its value, 0 for a tombstone, and how many names it remembers. ``None``:
        `dynatwist.model.records.weight_of` is to look at it.
    """
    return None


@lru_cache(maxsize=1024)
def _actor_json(actor: bytes) -> bytes:
    return f'"{actor[:NODE_ID_BYTES].hex()}.{actor[NODE_ID_BYTES:].hex()}"'.encode()


def record_json(
    value: bytes | None,
    dot: _Dot,
    seen: tuple[_Dot, ...],
    version: int,
    ms: int,
    owner: bytes,
    tag: str,
    rest: bytes,
    /,
) -> bytes:
    """A record as clients see it.

    :param value: JSON, or ``None`` of a tombstone.
    :param seen: its version vector, newest first.
    :param owner: JSON.
    :param tag: JSON.
    :param rest: members that few records have, each behind its comma.
    """
    clock: dict[bytes, int] = {}
    for actor, seq in reversed(seen):
        clock[actor] = seq
    clock[dot[0]] = dot[1]
    dots = b",".join([b"%b:%d" % (_actor_json(actor), seq) for actor, seq in clock.items()])
    return b'{"value":%b,"vector_clock":{%b},"version":%d,"timestamp":%d,"owner":%b,"etag":%b%b}' % (
        value or b"null", dots, version, ms, owner, tag.encode(), rest,
    )  # fmt: skip


def token_of(dots: list[tuple[int, _Dot]], /) -> str:
    """A causal token, as clients get it.

    :param dots: with their partitions, oldest first. A client may have named any partition.
    :raises OverflowError: for a number that msgpack has not.
    """
    wire = [(partition, actor, seq) for partition, (actor, seq) in dots]
    return base64.urlsafe_b64encode(_pack(wire)).decode()


def answer_of(
    status_line: bytes, shared: bytes, content_type: str, headers: Mapping[str, str], body: bytes, /
) -> bytes:
    """An answer with its head, as it goes to the client.

    :param shared: lines by which a page of another origin may read it; perhaps empty.
    """
    lines = [f"{name}: {value}\r\n" for name, value in headers.items()]
    lines.append(f"Content-Length: {len(body)}\r\n\r\n")
    named = f"Content-Type: {content_type}\r\n{''.join(lines)}"
    return status_line + shared + named.encode("latin-1", "replace") + body
