"""Redis's protocol, RESP2: what is sent, and replies out of bytes as they come."""

from __future__ import annotations

from .rows import SourceError

MOST_LINE_BYTES = 64 << 10
"""Of a line that announces something, or is an error: Redis's own are far shorter."""
MOST_BULK_BYTES = 512 << 20
"""As Redis has it for a string, unless configured."""
MOST_ITEMS = 1 << 24
"""Of one array; more is no answer to what is asked here."""
MOST_DEPTH = 8
"""Arrays in arrays: those of streams take three."""


class RedisError(Exception):
    """An error that Redis answered."""


Reply = None | int | bytes | RedisError | list["Reply"]


def command(*words: bytes | str | int) -> bytes:
    """A command as it is sent."""
    parts = [word if isinstance(word, bytes) else str(word).encode() for word in words]
    return b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%b\r\n" % (len(part), part) for part in parts)


class _Open:
    """An array of which some items are missing yet."""

    def __init__(self, missing: int) -> None:
        self.items: list[Reply] = []
        self.missing = missing


class Replies:
    """Replies out of bytes, however they are cut.

    :param most_bytes: of one string at most.
    """

    def __init__(self, most_bytes: int = MOST_BULK_BYTES) -> None:
        self._most_bytes = most_bytes
        self._buffer = bytearray()
        self._bulk_bytes = -1
        self._open: list[_Open] = []

    def feed(self, data: bytes) -> list[Reply]:
        """The replies that are complete by now.

        :raises SourceError: this is not Redis's protocol.
        """
        self._buffer += data
        done: list[Reply] = []
        begin = 0
        while (step := self._step(begin)) is not None:
            begin, has_value, value = step
            if has_value:
                self._take(value, done)
        del self._buffer[:begin]
        if len(self._buffer) > MOST_LINE_BYTES and self._bulk_bytes < 0:
            raise SourceError("this is not Redis's protocol: a line without an end")
        return done

    def _step(self, begin: int) -> tuple[int, bool, Reply] | None:
        """Where the next step begins, and a value if there was one; ``None`` while more bytes are needed."""
        if self._bulk_bytes >= 0:
            end = begin + self._bulk_bytes
            if len(self._buffer) < end + 2:
                return None
            self._bulk_bytes = -1
            return end + 2, True, bytes(self._buffer[begin:end])
        end = self._buffer.find(b"\r\n", begin)
        if end < 0:
            return None
        has_value, value = self._line(bytes(self._buffer[begin:end]))
        return end + 2, has_value, value

    def _line(self, line: bytes) -> tuple[bool, Reply]:
        kind, rest = line[:1], line[1:]
        if kind == b"+":
            return True, rest
        if kind == b"-":
            return True, RedisError(rest.decode(errors="replace"))
        if kind == b":":
            return True, _number(rest, -(1 << 63), 1 << 63)
        if kind == b"$":
            self._bulk_bytes = _number(rest, -1, self._most_bytes)
            return self._bulk_bytes < 0, None
        if kind == b"*":
            return self._array(_number(rest, -1, MOST_ITEMS))
        raise SourceError(f"this is not Redis's protocol: {line[:40]!r}")

    def _array(self, count: int) -> tuple[bool, Reply]:
        if count <= 0:
            return True, [] if count == 0 else None
        if len(self._open) >= MOST_DEPTH:
            raise SourceError("this is no answer of Redis's: arrays in arrays without an end")
        self._open.append(_Open(count))
        return False, None

    def _take(self, value: Reply, done: list[Reply]) -> None:
        """A value is complete: it is a reply, or an item of what is open."""
        while self._open:
            last = self._open[-1]
            last.items.append(value)
            if len(last.items) < last.missing:
                return
            value = self._open.pop().items
        done.append(value)


def _number(text: bytes, least: int, most: int) -> int:
    if len(text) <= 20 and text.lstrip(b"-").isdigit():
        try:
            number = int(text)
        except ValueError:
            number = most + 1
        if least <= number <= most:
            return number
    raise SourceError(f"this is not Redis's protocol: the number {text[:40]!r}")
