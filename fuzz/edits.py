"""Edits of something valid, described by bytes: where a seal covers everything, plain bytes never get far."""

from __future__ import annotations

from collections.abc import Iterator

_STEP = 5


def edited(whole: bytes, script: bytes) -> bytes:
    """Something after the edits of a script: bits flipped, bytes set, pieces cut out, doubled, or put in."""
    data = bytearray(whole)
    for kind, at, size, value in _steps(script):
        at = at % len(data) if data else 0
        size = min(size, len(data) - at)
        match kind % 6:
            case 0:
                if data:
                    data[at] ^= 1 << value % 8
            case 1:
                if data:
                    data[at] = value
            case 2:
                del data[at : at + size]
            case 3:
                data[at:at] = data[at : at + size]
            case 4:
                data[at:at] = bytes((value,)) * size
            case 5:
                del data[at:]
    return bytes(data)


def _steps(script: bytes) -> Iterator[tuple[int, int, int, int]]:
    """Kind, place, length, value."""
    for start in range(0, len(script) - _STEP + 1, _STEP):
        kind, high, low, size, value = script[start : start + _STEP]
        yield kind, high << 8 | low, size, value
