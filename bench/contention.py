"""One key that many clients raise by compare-and-set: how many raises a second, each by a read and a write that has to
find what was read.

A client that fails is shown what is held, and waits as `dynatwist.sansio.contention` says, at every server alike; or
not at all.
"""

from __future__ import annotations

import asyncio
import base64
import json
import time
from dataclasses import dataclass
from random import Random
from typing import Any, Protocol

from dynatwist.sansio.contention import Contention

from .clients import Measured


@dataclass(frozen=True)
class Read:
    """What was read.

    :ivar number: the value.
    :ivar tag: what the write names.
    """

    number: int
    tag: str


class Dialect(Protocol):
    """How a server is asked."""

    def reading(self) -> tuple[str, str, bytes]:
        """Method with path, further head lines, and body of a read."""

    def read(self, head: str, body: bytes) -> Read:
        """What it was answered."""

    def writing(self, read: Read) -> tuple[str, str, bytes]:
        """The same of a write of one more than was read, if nobody has written since."""

    def shown(self, head: str, body: bytes) -> Read | None:
        """What is held instead, if the answer to a write says so; it was not made then."""

    def is_written(self, head: str, body: bytes) -> bool:
        """Whether it was."""


class Contract:
    """Servers that speak DynaTwist's contract."""

    def __init__(self, token: str, path: str) -> None:
        self._auth = f"Authorization: Bearer {token}\r\n"
        self._path = path

    def reading(self) -> tuple[str, str, bytes]:
        """See `Dialect`."""
        return f"GET {self._path}", self._auth, b""

    def read(self, head: str, body: bytes) -> Read:
        """See `Dialect`."""
        return _read_of(json.loads(body))

    def writing(self, read: Read) -> tuple[str, str, bytes]:
        """See `Dialect`."""
        lines = f'{self._auth}If-Match: "{read.tag}"\r\nPrefer: return=representation\r\n'
        return f"PUT {self._path}", lines, b'{"n":%d}' % (read.number + 1)

    def shown(self, head: str, body: bytes) -> Read | None:
        """See `Dialect`."""
        return None if self.is_written(head, body) else _read_of(json.loads(body)["record"])

    def is_written(self, head: str, body: bytes) -> bool:
        """See `Dialect`."""
        status = head.split(" ", 2)[1]
        assert status in ("201", "412"), (head, body)
        return status == "201"


def _read_of(record: dict[str, Any]) -> Read:
    return Read(record["value"]["n"], record["etag"])


class EtcdGateway:
    """etcd's transactions, by its HTTP gateway."""

    KEY = base64.b64encode(b"counter").decode()

    def reading(self) -> tuple[str, str, bytes]:
        """See `Dialect`."""
        return "POST /v3/kv/range", "", json.dumps({"key": self.KEY}).encode()

    def read(self, head: str, body: bytes) -> Read:
        """See `Dialect`."""
        (found,) = json.loads(body)["kvs"]
        return Read(int(base64.b64decode(found["value"])), found["mod_revision"])

    def writing(self, read: Read) -> tuple[str, str, bytes]:
        """See `Dialect`."""
        value = base64.b64encode(str(read.number + 1).encode()).decode()
        transaction = {
            "compare": [{"key": self.KEY, "target": "MOD", "result": "EQUAL", "mod_revision": read.tag}],
            "success": [{"request_put": {"key": self.KEY, "value": value}}],
            "failure": [{"request_range": {"key": self.KEY}}],
        }
        return "POST /v3/kv/txn", "", json.dumps(transaction).encode()

    def shown(self, head: str, body: bytes) -> Read | None:
        """See `Dialect`."""
        if self.is_written(head, body):
            return None
        return self.read(head, json.dumps(json.loads(body)["responses"][0]["response_range"]).encode())

    def is_written(self, head: str, body: bytes) -> bool:
        """See `Dialect`."""
        return bool(json.loads(body).get("succeeded"))


def contended(port: int, dialect: Dialect, seconds: int, clients: int, *, waits: bool) -> Measured:
    """Let so many clients raise one number, and measure how long each raise took, all tries included."""
    return asyncio.run(_contended(port, dialect, seconds, clients, waits))


async def _contended(port: int, dialect: Dialect, seconds: int, clients: int, waits: bool) -> Measured:
    until_s = time.monotonic() + seconds
    tooks_s: list[float] = []
    first = await _read_once(port, dialect)
    await asyncio.gather(*(_client(port, dialect, until_s, waits, tooks_s) for _ in range(clients)))
    last = await _read_once(port, dialect)
    assert last.number - first.number == len(tooks_s), "a raise is lost, or made twice"
    tooks_s.sort()
    return Measured(len(tooks_s) / seconds, 1000 * tooks_s[len(tooks_s) // 2], 1000 * tooks_s[len(tooks_s) * 99 // 100])


async def _read_once(port: int, dialect: Dialect) -> Read:
    connection = await asyncio.open_connection("127.0.0.1", port)
    found = dialect.read(*await _ask(connection, *dialect.reading()))
    connection[1].close()
    return found


async def _client(port: int, dialect: Dialect, until_s: float, waits: bool, tooks_s: list[float]) -> None:
    connection, random = await asyncio.open_connection("127.0.0.1", port), Random()
    while time.monotonic() < until_s:
        contention, began_s, is_done = Contention(random), time.monotonic(), False
        read = dialect.read(*await _ask(connection, *dialect.reading()))
        while not is_done and time.monotonic() < until_s:
            try_s = time.monotonic()
            shown = dialect.shown(*await _ask(connection, *dialect.writing(read)))
            is_done = shown is None
            wait_s = contention.failed(time.monotonic() - try_s) if not is_done and waits else 0.0
            if wait_s:
                await asyncio.sleep(wait_s)
                shown = dialect.read(*await _ask(connection, *dialect.reading()))
            read = shown or read
        if is_done:
            tooks_s.append(time.monotonic() - began_s)
    connection[1].close()


async def _ask(
    connection: tuple[asyncio.StreamReader, asyncio.StreamWriter], what: str, lines: str, body: bytes
) -> tuple[str, bytes]:
    """Head and body of an answer; both servers say how long it is."""
    reader, writer = connection
    writer.write(f"{what} HTTP/1.1\r\nHost: bench\r\n{lines}Content-Length: {len(body)}\r\n\r\n".encode() + body)
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    lengths = [line for line in head.lower().split("\r\n") if line.startswith("content-length:")]
    return head, await reader.readexactly(int(lengths[0].split(":")[1]))
