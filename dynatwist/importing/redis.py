"""What is asked of Redis about a key, by its type, and the value that its answer becomes."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from .resp import RedisError, Reply, command
from .rows import Item, Refused, row_of, shown, text_of, value_of, wrapped

MOST_ITEMS = 200_000
"""Of a list, set or hash: in JSON as many take more than the mebibyte that a record's value may have."""
ITEM_BYTES = 100
"""Of one item, at a guess: of collections Redis tells how many there are, and not how large they are."""
MOST_BYTES = 16 << 20
"""Of a string: more than a node takes, unless it is configured to take far more than usual."""

SIZES = {b"string": "STRLEN", b"hash": "HLEN", b"list": "LLEN", b"set": "SCARD", b"zset": "ZCARD", b"stream": "XLEN"}
"""By type, the command that tells how large it is."""


def size_question(key: bytes, kind: bytes) -> bytes:
    """The command that tells how large a key is."""
    return command(SIZES[kind], key)


def is_too_large(kind: bytes, size: Reply) -> bool:
    """Whether a key is left out for its size."""
    return isinstance(size, int) and size > (MOST_BYTES if kind == b"string" else MOST_ITEMS)


def bytes_of(kind: bytes, size: Reply) -> int:
    """How much a key's value takes, roughly."""
    known = size if isinstance(size, int) else 0
    return known if kind == b"string" else known * ITEM_BYTES


def question(key: bytes, kind: bytes) -> bytes:
    """The command that tells a key's value."""
    words: dict[bytes, tuple[bytes | str | int, ...]] = {
        b"string": ("GET", key),
        b"hash": ("HGETALL", key),
        b"list": ("LRANGE", key, 0, -1),
        b"set": ("SMEMBERS", key),
        b"zset": ("ZRANGE", key, 0, -1, "WITHSCORES"),
        b"stream": ("XRANGE", key, "-", "+"),
    }
    return command(*words[kind])


def row_of_key(key: bytes, kind: bytes, reply: Reply, ends_ms: int | None) -> Item | None:
    """A row, why there is none, or ``None`` where the key has ended meanwhile.

    :param reply: to the `question`.
    """
    if isinstance(reply, RedisError):
        return Refused(shown(key), str(reply))
    if reply is None or reply == []:
        return None
    try:
        value = _VALUES[kind](reply)
    except (ValueError, TypeError, IndexError) as error:
        return Refused(shown(key), str(error))
    return row_of(key, value, ends_ms=ends_ms)


def _string(reply: Reply) -> bytes:
    return value_of(_bytes(reply))


def _hash(reply: Reply) -> bytes:
    fields = _pairs(reply)
    return msgspec.json.encode({_name(name): text_of(value) for name, value in fields})


def _list(reply: Reply) -> bytes:
    return wrapped([text_of(one) for one in _all_bytes(reply)])


def _set(reply: Reply) -> bytes:
    return wrapped([text_of(one) for one in sorted(_all_bytes(reply))])


def _zset(reply: Reply) -> bytes:
    return wrapped([{"member": text_of(member), "score": _score(score)} for member, score in _pairs(reply)])


def _stream(reply: Reply) -> bytes:
    entries = []
    for entry in reply if isinstance(reply, list) else []:
        if not isinstance(entry, list) or len(entry) != 2:
            raise ValueError("what Redis answers is no stream")
        fields = {_name(name): text_of(value) for name, value in _pairs(entry[1])}
        entries.append({"id": text_of(_bytes(entry[0])), "fields": fields})
    return wrapped(entries)


_VALUES: dict[bytes, Callable[[Reply], bytes]] = {
    b"string": _string,
    b"hash": _hash,
    b"list": _list,
    b"set": _set,
    b"zset": _zset,
    b"stream": _stream,
}


def _bytes(reply: Reply) -> bytes:
    if not isinstance(reply, bytes):
        raise ValueError("what Redis answers is no string")
    return reply


def _all_bytes(reply: Reply) -> list[bytes]:
    if not isinstance(reply, list):
        raise ValueError("what Redis answers is no array")
    return [_bytes(one) for one in reply]


def _pairs(reply: Reply) -> list[tuple[bytes, bytes]]:
    found = _all_bytes(reply)
    return list(zip(found[::2], found[1::2], strict=True))


def _name(name: bytes) -> str:
    try:
        return name.decode()
    except UnicodeDecodeError:
        raise ValueError(f"the name of the field {shown(name)} is no valid UTF-8") from None


def _score(text: bytes) -> float | str:
    """A score; JSON has no infinite ones, which stay text."""
    score = float(text)
    return score if abs(score) != float("inf") else text.decode()
