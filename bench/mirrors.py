"""How soon mirrors are current again when their node dies: ``python -m bench.mirrors [--mirrors 10000]``.

Many websockets each keep a copy of one table at one node of three, begun with ``initial``. That node is killed with
``kill -9``; some records change while everybody is away; then all connect to another node with their last cursors.
Whoever is told ``reset`` or ``lagged`` begins anew with ``initial``; whoever is not hears what it missed as events. The
figure is the time from the first connection until the last copy holds the newest values, and the program fails unless
each does.
"""

from __future__ import annotations

import argparse
import json
import select
import socket
import statistics
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator

import msgspec

from .fanout import UPGRADE, WIDE, Writer, address_of, open_files, text_frame
from .servers import DynaTwist

TABLE = "bench"
HANDSHAKES = 64
"""Under way at once: clients that come back all together, and a node that takes in some each turn."""
TEXT, PING = 0x81, 0x89
LIMIT_S = 300.0
"""Of each phase; one that lasts longer has failed."""


class Told(msgspec.Struct):
    """What a node sends; see ``docs/api.rst``."""

    op: str = ""
    id: int | None = None
    error: str = ""
    key: str = ""
    type: str = ""
    cursor: str | None = None
    record: msgspec.Raw = msgspec.Raw(b"null")


class Value(msgspec.Struct):
    n: int


class Shown(msgspec.Struct):
    value: Value


_TOLD = msgspec.json.Decoder(Told)
_SHOWN = msgspec.json.Decoder(Shown)


class Ended(Exception):
    """A connection was refused, or has ended."""


class Mirror:
    """One copy of the table, over one connection after another.

    :ivar values: by key.
    :ivar is_synced: whether all there is was told, since it connected last.
    :ivar begun: how often it began with all there is.
    :ivar events: what it was told besides that, since it connected last.
    """

    __slots__ = ("_head", "_left", "_socket", "begun", "cursor", "events", "is_open", "is_synced", "values")

    def __init__(self) -> None:
        self.values: dict[str, int] = {}
        self.cursor = ""
        self.begun = 0
        self._left = b""

    def connect(self, address: tuple[str, int], head: bytes) -> socket.socket:
        """Begin a connection."""
        self.is_open = self.is_synced = False
        self.events = 0
        self._left, self._head = b"", head
        self._socket = socket.socket()
        self._socket.setblocking(False)
        self._socket.connect_ex(address)
        return self._socket

    def writable(self) -> None:
        """The connection stands: ask for a websocket."""
        self._socket.send(self._head)

    def readable(self) -> None:
        """There is something to read.

        :raises Ended: there is no more.
        """
        try:
            read = self._socket.recv(1 << 18)
        except ConnectionError:
            read = b""
        if not read:
            raise Ended("closed")
        data = self._left + read
        if not self.is_open:
            head, found, data = data.partition(b"\r\n\r\n")
            if not found:
                self._left = head
                return
            if b" 101 " not in head[:20]:
                raise Ended(head[9:12].decode())
            self.is_open = True
            self._subscribe()
        at = 0
        for kind, begin, end in _frames(data):
            if kind == TEXT:
                self._take(_TOLD.decode(data[begin:end]))
            elif kind == PING:
                self._socket.send(b"\x8a%c\0\0\0\0" % (0x80 | (end - begin)) + data[begin:end])
            at = end
        self._left = data[at:]

    def _subscribe(self) -> None:
        """Go on from the last cursor; without one, begin with all there is."""
        self.begun += not self.cursor
        where = {"from": self.cursor} if self.cursor else {"initial": True}
        self._send({"op": "subscribe", "id": self.begun, "table": TABLE, **where})

    def _send(self, message: dict[str, object]) -> None:
        self._socket.send(text_frame(json.dumps(message).encode()))

    def _take(self, told: Told) -> None:
        if told.error:
            sys.exit(f"bench: a mirror was told {told.error}")
        if told.op in ("reset", "lagged"):
            self._send({"op": "unsubscribe", "id": 0, "sub": self.begun})
            self.cursor = ""
            self._subscribe()
            return
        if told.op == "event":
            self.events += 1
            if told.type == "Updated":
                self.values[sys.intern(told.key)] = _SHOWN.decode(told.record).value.n
            else:
                self.values.pop(told.key, None)
        self.is_synced = self.is_synced or told.op == "synced"
        if told.cursor is not None and (told.op or self.cursor):
            self.cursor = told.cursor

    def close(self) -> None:
        """End it."""
        self._socket.close()


def _frames(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Of whole frames of a node in some bytes: what kind it is, where its payload begins, and where it ends."""
    at = 0
    while at + 2 <= len(data):
        size, begin = data[at + 1], at + 2
        if size == 126:
            size, begin = int.from_bytes(data[at + 2 : at + 4]), at + 4
        elif size == 127:
            size, begin = int.from_bytes(data[at + 2 : at + 10]), at + 10
        if begin > len(data) or begin + size > len(data):
            return
        yield data[at], begin, begin + size
        at = begin + size


class Mirrors:
    """All of them, driven by one epoll.

    :param token: of their user.
    :ivar again: connections that had to be made anew, by why.
    """

    def __init__(self, count: int, token: str) -> None:
        self._mirrors = [Mirror() for _ in range(count)]
        self._head = f"GET /ws HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {token}\r\n{UPGRADE}\r\n".encode()
        self._by_fd: dict[int, Mirror] = {}
        self.again: Counter[str] = Counter()

    def follow(self, url: str, is_current: Callable[[Mirror], bool]) -> list[float]:
        """Connect all to a node; answers after how many seconds each was current, in order."""
        poll = select.epoll()
        began_s = time.monotonic()
        waiting, greeting = list(self._mirrors), set[Mirror]()
        current: dict[Mirror, float] = {}
        while len(current) < len(self._mirrors):
            while waiting and len(greeting) < HANDSHAKES:
                mirror = waiting.pop()
                greeting.add(mirror)
                opened = mirror.connect(address_of(url), self._head)
                self._by_fd[opened.fileno()] = mirror
                poll.register(opened, select.EPOLLOUT)
            for fd, event in poll.poll(1.0):
                mirror = self._by_fd[fd]
                try:
                    if event & select.EPOLLOUT:
                        mirror.writable()
                        poll.modify(fd, select.EPOLLIN)
                        continue
                    mirror.readable()
                except (Ended, ConnectionError) as error:
                    self.again[str(error)] += 1
                    mirror.close()
                    greeting.discard(mirror)
                    waiting.append(mirror)
                    continue
                if mirror.is_open:
                    greeting.discard(mirror)
                    if mirror not in current and is_current(mirror):
                        current[mirror] = time.monotonic() - began_s
            if time.monotonic() > began_s + LIMIT_S:
                sys.exit(f"bench: only {len(current)} of {len(self._mirrors)} mirrors are current after {LIMIT_S:g} s")
        poll.close()
        return list(current.values())

    def leave(self) -> None:
        """End all connections."""
        for mirror in self._mirrors:
            mirror.close()

    def count(self, fits: Callable[[Mirror], bool]) -> int:
        """How many are so."""
        return sum(map(fits, self._mirrors))


def put_all(server: DynaTwist, node: int, values: dict[str, int]) -> None:
    """Write records, one after another, at one of the nodes."""
    writer = Writer(f"http://127.0.0.1:{server.cluster.nodes[node].port}", server.token)
    for key, value in values.items():
        writer.begin(key, value)
        writer.wait()
    writer.close()


def mirrors(server: DynaTwist, count: int, keys: int, changed: int) -> str:
    """One run, on a cluster of its own: what came of it, in a line."""
    first, second, _ = server.cluster.nodes
    values = {f"k{number}": 1 for number in range(keys)}
    put_all(server, 0, values)
    all_of_them = Mirrors(count, server.token)
    filled = all_of_them.follow(f"http://127.0.0.1:{first.port}", lambda one: one.is_synced and one.values == values)
    first.kill()
    all_of_them.leave()
    newest = values | {f"k{number}": 2 for number in range(changed)}
    put_all(server, 2, {key: value for key, value in newest.items() if value == 2})
    url = f"http://127.0.0.1:{second.port}"
    current = all_of_them.follow(url, lambda one: one.values == newest and (one.is_synced or one.events >= changed))
    anew = all_of_them.count(lambda one: one.begun > 1)
    events = all_of_them.count(lambda one: one.events < changed)
    if events:
        sys.exit(f"bench: {events} mirrors have not heard of everything")
    all_of_them.leave()
    return (
        f"{count} mirrors of {keys} records, {changed} changed: filled in {filled[-1]:.1f} s; current again after "
        f"{current[-1]:.1f} s, half of them after {statistics.median(current):.1f} s; {anew} began anew, "
        f"{count - anew} went on; connections that were made anew: {dict(all_of_them.again) or 'none'}"
    )


def main() -> None:
    """Start clusters, and measure."""
    parser = argparse.ArgumentParser(prog="python -m bench.mirrors", description=__doc__.splitlines()[0])
    parser.add_argument("--mirrors", type=int, default=10_000)
    parser.add_argument("--keys", type=int, default=100)
    parser.add_argument("--changed", type=int, default=20, help="records that change while all are away")
    parser.add_argument("--rounds", type=int, default=1)
    arguments = parser.parse_args()
    open_files()
    for _ in range(arguments.rounds):
        server = DynaTwist(3, *WIDE)
        try:
            print(mirrors(server, arguments.mirrors, arguments.keys, arguments.changed), flush=True)
        finally:
            server.close()


if __name__ == "__main__":
    main()
