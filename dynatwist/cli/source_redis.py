"""Reading Redis where it runs, key by key, by the commands that any Redis since 2.8 knows."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import unquote, urlsplit

from dynatwist.importing import redis
from dynatwist.importing.resp import RedisError, Replies, Reply, command
from dynatwist.importing.rows import Item, Refused, SourceError, shown

from .sources import Source, now_ms

TIMEOUT_S = 30.0
"""For Redis to say anything more: it does one thing at a time, which may be somebody's long one."""
PAGE = 500
"""Keys that are asked about together."""
ANSWER_BYTES = 1 << 20
"""Of values that are asked for together, about; one is always among them."""
USUAL_PORT = 6379
NO_END, GONE = -1, -2
"""What PTTL says instead of a time."""


class RedisServer(Source):
    """What is written meanwhile may be in it or not, each key as it was at one moment."""

    def __init__(self, url: str) -> None:
        try:
            parts = urlsplit(url)
            self._host, self._port = parts.hostname or "127.0.0.1", parts.port or USUAL_PORT
            self._database = int(parts.path.strip("/") or 0)
        except ValueError:
            raise SourceError("write redis://[:PASSWORD@]HOST:PORT/DB; the port and DB are numbers") from None
        self._user = unquote(parts.username or "")
        self._password = unquote(parts.password or "") or os.environ.get("REDISCLI_AUTH", "")
        self._socket: socket.socket | None = None
        self._replies = Replies()

    @property
    def _where(self) -> str:
        return f"Redis at {self._host}:{self._port}"

    def items(self) -> Iterator[Item]:
        """See `Source`."""
        cursor: Reply = b"0"
        while True:
            found = self._asked(command("SCAN", cursor if isinstance(cursor, bytes) else b"0", "COUNT", PAGE))
            if not isinstance(found, list) or len(found) != 2 or not isinstance(found[1], list):
                raise SourceError(f"{self._where} answers SCAN in a way that is not known")
            cursor = found[0]
            yield from self._rows(dict.fromkeys(key for key in found[1] if isinstance(key, bytes)))
            if cursor == b"0":
                return

    def count(self) -> int | None:
        """See `Source`."""
        size = self._asked(command("DBSIZE"))
        return size if isinstance(size, int) else None

    # Keys

    def _rows(self, keys: dict[bytes, None]) -> Iterator[Item]:
        kinds = self._all(command("TYPE", key) for key in keys)
        known: dict[bytes, bytes] = {}
        for key, kind in zip(keys, kinds, strict=True):
            if isinstance(kind, bytes) and kind in redis.SIZES:
                known[key] = kind
            elif kind != b"none":
                of_kind = kind.decode(errors="replace") if isinstance(kind, bytes) else str(kind)
                yield Refused(shown(key), f"there is no counterpart of Redis's type {of_kind} here")
        sizes = self._all(redis.size_question(key, kind) for key, kind in known.items())
        together: list[tuple[bytes, bytes]] = []
        room_bytes = ANSWER_BYTES
        for (key, kind), size in zip(known.items(), sizes, strict=True):
            if redis.is_too_large(kind, size):
                yield Refused(shown(key), f"the {kind.decode()} is too large for a record: {size!r}")
                continue
            together.append((key, kind))
            room_bytes -= redis.bytes_of(kind, size)
            if room_bytes < 0:
                yield from self._values(together)
                together, room_bytes = [], ANSWER_BYTES
        yield from self._values(together)

    def _values(self, keys: list[tuple[bytes, bytes]]) -> Iterator[Item]:
        """The time that is left is asked for with each value, and before it: nothing lives longer here."""
        replies = self._all(sent for key, kind in keys for sent in (command("PTTL", key), redis.question(key, kind)))
        for (key, kind), left_ms, value in zip(keys, replies[::2], replies[1::2], strict=True):
            if not isinstance(left_ms, int) or left_ms == GONE:
                continue
            end_ms = None if left_ms == NO_END else now_ms() + left_ms
            item = redis.row_of_key(key, kind, value, end_ms)
            if item is not None:
                yield item

    # Protocol

    def _all(self, commands: Iterator[bytes]) -> list[Reply]:
        """The replies to some commands that are sent together."""
        sent = list(commands)
        self._send(b"".join(sent))
        return self._received(len(sent))

    def _asked(self, sent: bytes) -> Reply:
        self._send(sent)
        reply = self._received(1)[0]
        if isinstance(reply, RedisError) and str(reply).startswith(("NOAUTH", "NOPERM", "LOADING", "MASTERDOWN")):
            raise SourceError(f"{self._where} answers: {reply}")
        return reply

    def _connected(self) -> socket.socket:
        if self._socket is None:
            try:
                self._socket = socket.create_connection((self._host, self._port), TIMEOUT_S)
            except (OSError, UnicodeError) as error:
                raise SourceError(f"{self._where} cannot be reached: {error}") from None
            if self._password:
                self._greet(command("AUTH", *([self._user] if self._user else []), self._password))
            self._greet(command("SELECT", self._database))
        return self._socket

    def _greet(self, sent: bytes) -> None:
        self._send(sent)
        reply = self._received(1)[0]
        if isinstance(reply, RedisError):
            raise SourceError(f"{self._where} answers: {reply}")

    def _send(self, data: bytes) -> None:
        connected = self._connected()
        with self._told():
            connected.sendall(data)

    def _received(self, count: int) -> list[Reply]:
        connected = self._connected()
        found: list[Reply] = []
        while len(found) < count:
            with self._told():
                data = connected.recv(1 << 16)
            if not data:
                raise self._closed()
            found += self._replies.feed(data)
        if len(found) > count:
            raise SourceError(f"{self._where} answers more than it was asked")
        return found

    @contextmanager
    def _told(self) -> Iterator[None]:
        """What goes wrong with the connection is a `SourceError`."""
        try:
            yield
        except ConnectionError:
            raise self._closed() from None
        except OSError as error:
            raise SourceError(f"{self._where} cannot be read: {error}") from None

    def _closed(self) -> SourceError:
        return SourceError(f"{self._where} has closed the connection")
