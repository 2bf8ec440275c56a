"""How long an event takes to reach many listeners of one node: ``python -m bench.fanout [--listeners 10000]``.

One process holds all the connections, raw sockets under epoll, and writes a key; the time is from before the write
until the last listener has its event. ``--prefixes 1000`` has ten listeners to each of so many prefixes instead: what a
write costs that matches one of them, and one that matches none, beside a node that nobody listens to.
"""

from __future__ import annotations

import argparse
import json
import resource
import select
import socket
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count as count_up
from urllib.parse import quote, urlsplit

UPGRADE = (
    "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)
AT_ONCE = 100
"""Connections that are opened together: a node's port has room for a few more that wait to be taken."""
LISTENERS_A_PREFIX = 10
WRITES_A_ROUND = 200
WIDE = [
    *(f"--max-{what}=100000" for what in ("streams", "user-streams", "user-subscriptions")),
    "--max-address-connections=100000", "--max-user-connections=100000",
]  # fmt: skip
"""Options of a node on which all listeners are one user's, from one address."""
_numbers = count_up(10**6)
"""Each write of a run has another number, of as many digits, by which its event is known."""


@dataclass(frozen=True)
class Wanted:
    """What one listener listens to, in the table ``bench``."""

    key: str = ""
    prefix: str = ""

    def path(self) -> str:
        """Of an event stream."""
        return f"/bench/subscribe/{self.key}" if self.key else f"/bench/subscribe?prefix={quote(self.prefix)}"

    def frame(self) -> bytes:
        """Of a websocket."""
        where = {"key": self.key} if self.key else {"prefix": self.prefix}
        return text_frame(json.dumps({"op": "subscribe", "id": 1, "table": "bench", **where}).encode())


def text_frame(text: bytes) -> bytes:
    """A client's websocket frame of less than 64 KiB, under a mask of zeros."""
    size = len(text)
    head = b"\x81%c" % (0x80 | size) if size < 126 else b"\x81\xfe" + size.to_bytes(2)
    return head + b"\0\0\0\0" + text


def open_files() -> None:
    """Have as many descriptors as there may be."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def address_of(url: str) -> tuple[str, int]:
    """Where a URL leads."""
    parts = urlsplit(url)
    return parts.hostname or "127.0.0.1", parts.port or 80


class Writer:
    """One connection that writes, one request after another.

    :param url: of a node that speaks the contract.
    """

    def __init__(self, url: str, token: str) -> None:
        self._token = token
        self._socket = socket.create_connection(address_of(url), 30)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def begin(self, key: str, number: int) -> None:
        """Send a write."""
        body = json.dumps({"n": number}).encode()
        line = f"PUT /bench/key/{quote(key, safe='')} HTTP/1.1\r\nHost: bench\r\n"
        head = f"{line}Authorization: Bearer {self._token}\r\nContent-Length: {len(body)}\r\n\r\n"
        self._socket.sendall(head.encode() + body)

    def wait(self) -> None:
        """Until it is answered."""
        answer = self._socket.recv(65536)
        if b" 201 " not in answer[:20]:
            sys.exit(f"bench: a write was answered {answer[:200]!r}")

    def took(self, key: str) -> float:
        """Seconds from a write to its answer."""
        started_s = time.monotonic()
        self.begin(key, next(_numbers))
        self.wait()
        return time.monotonic() - started_s

    def close(self) -> None:
        """End it."""
        self._socket.close()


class Listeners:
    """Many connections that listen, by SSE or by websocket.

    :param url: of a node that speaks the contract.
    :param wanted: what each listens to.
    """

    def __init__(self, url: str, token: str, wanted: Sequence[Wanted], *, websocket: bool = False) -> None:
        self._poll = select.epoll()
        self._sockets: dict[int, socket.socket] = {}
        self._wanted: dict[int, Wanted] = {}
        self._writer = Writer(url, token)
        more = f"Authorization: Bearer {token}\r\n{UPGRADE if websocket else ''}"
        for first in range(0, len(wanted), AT_ONCE):
            some: dict[int, Wanted] = {}
            for one in wanted[first : first + AT_ONCE]:
                opened = socket.create_connection(address_of(url), 30)
                path = "/ws" if websocket else one.path()
                opened.sendall(f"GET {path} HTTP/1.1\r\nHost: bench\r\n{more}\r\n".encode())
                some[opened.fileno()] = one
                self._sockets[opened.fileno()] = opened
                self._poll.register(opened, select.EPOLLIN)
            self._wanted.update(some)
            self._await(set(some), b"\r\n\r\n")
            if websocket:
                for fd, one in some.items():
                    self._sockets[fd].sendall(one.frame())
                self._await(set(some), b'"ok":true')

    def _await(self, waiting: set[int], what: bytes, limit_s: float = 60.0) -> float:
        """Until all of them have read something; answers when that was."""
        end_s = time.monotonic() + limit_s
        read: dict[int, bytes] = {}
        while waiting:
            if time.monotonic() > end_s:
                sys.exit(f"bench: {len(waiting)} listeners have not heard after {limit_s} s")
            for fd, _ in self._poll.poll(1.0):
                data = read.get(fd, b"") + self._sockets[fd].recv(65536)
                read[fd] = data
                if what in data:
                    waiting.discard(fd)
        return time.monotonic()

    def measure(self, key: str) -> float:
        """Seconds from a write until everybody has heard who listens to its key."""
        number = next(_numbers)
        hear = {fd for fd, one in self._wanted.items() if one.key == key or (one.prefix and key.startswith(one.prefix))}
        started_s = time.monotonic()
        self._writer.begin(key, number)
        took_s = self._await(hear, b'"n":%d' % number) - started_s
        self._writer.wait()
        return took_s

    def close(self) -> None:
        """End all."""
        self._writer.close()
        for one in self._sockets.values():
            one.close()


def fanout(url: str, token: str, count: int, rounds: int = 5, websocket: bool = False) -> list[float]:
    """Seconds until the last of `count` listeners heard, of several writes."""
    open_files()
    listeners = Listeners(url, token, [Wanted(key="fan")] * count, websocket=websocket)
    try:
        listeners.measure("fan")
        return [listeners.measure("fan") for _ in range(rounds)]
    finally:
        listeners.close()


def prefixes(
    url: str, token: str, beside: tuple[str, str], count: int, rounds: int = 5
) -> Iterator[tuple[str, list[float]]]:
    """What writes cost where ten listen to each of `count` prefixes: names of figures, and their seconds.

    :param beside: URL and token of a node that nobody listens to, to be asked in turns.
    """
    open_files()
    wanted = [Wanted(prefix=f"p{number}/") for number in range(count) for _ in range(LISTENERS_A_PREFIX)]
    listeners, writer, other = Listeners(url, token, wanted), Writer(url, token), Writer(*beside)
    try:
        yield "a write that matches, to the last of ten", [listeners.measure(f"p{n}/k") for n in range(rounds * 20)]
        matching: list[float] = []
        matches_nothing: list[float] = []
        nobody: list[float] = []
        for _ in range(rounds):
            for number in range(WRITES_A_ROUND):
                matching.append(writer.took(f"p{number % count}/k"))
                matches_nothing.append(writer.took("nobody listens"))
                nobody.append(other.took("nobody listens"))
        yield "its answer", matching
        yield "the answer to one that matches nothing", matches_nothing
        yield "the answer of a node that nobody listens to", nobody
    finally:
        for one in (listeners, writer, other):
            one.close()


def told(what: str, found: list[float]) -> str:
    """A line for people."""
    least, median, worst = (1000 * one for one in (min(found), statistics.median(found), max(found)))
    return f"{what:45}least {least:8.2f} ms, median {median:8.2f}, worst {worst:8.2f}"


def main() -> None:
    """Start a cluster, and measure it."""
    from .servers import DynaTwist

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--listeners", type=int, default=10_000)
    parser.add_argument("--prefixes", type=int, help="measure so many prefixes, with ten listeners each")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--websocket", action="store_true")
    arguments = parser.parse_args()
    server, beside = DynaTwist(1 if arguments.prefixes else 3, *WIDE), None
    try:
        if arguments.prefixes:
            beside = DynaTwist(1)
            where = beside.url, beside.token
            for what, found in prefixes(server.url, server.token, where, arguments.prefixes, arguments.rounds):
                print(told(what, found), flush=True)
        else:
            found = fanout(server.url, server.token, arguments.listeners, arguments.rounds, arguments.websocket)
            print(told(f"{arguments.listeners} listeners", found))
    finally:
        for one in (server, beside):
            if one is not None:
                one.close()


if __name__ == "__main__":
    main()
