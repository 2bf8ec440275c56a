"""How long an event takes to reach many listeners of one node: ``python -m bench.fanout [--listeners 10000]``.

One process holds all the connections, raw sockets under epoll, and writes a key; the time is from before the write
until the last listener has its event.
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
from urllib.parse import urlsplit

UPGRADE = (
    "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)
SUBSCRIBE = b'{"op":"subscribe","id":1,"table":"bench","key":"fan"}'


class Listeners:
    """Many connections that listen to one key, by SSE or by websocket.

    :param url: of a node that speaks the contract.
    """

    def __init__(self, url: str, token: str, count: int, websocket: bool) -> None:
        parts = urlsplit(url)
        self._address = (parts.hostname or "127.0.0.1", parts.port or 80)
        self._token = token
        self._poll = select.epoll()
        self._sockets: dict[int, socket.socket] = {}
        path = "/ws" if websocket else "/bench/subscribe/fan"
        more = f"Authorization: Bearer {token}\r\n{UPGRADE if websocket else ''}"
        head = f"GET {path} HTTP/1.1\r\nHost: bench\r\n{more}\r\n".encode()
        for first in range(0, count, 100):
            some: dict[int, socket.socket] = {}
            for _ in range(min(100, count - first)):
                one = socket.create_connection(self._address, 30)
                one.sendall(head)
                some[one.fileno()] = one
                self._poll.register(one, select.EPOLLIN)
            self._sockets.update(some)
            self._await(set(some), b"\r\n\r\n")
            if websocket:
                for one in some.values():
                    one.sendall(b"\x81%c\0\0\0\0" % (0x80 | len(SUBSCRIBE)) + SUBSCRIBE)
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

    def measure(self, table: str, key: str, number: int) -> float:
        """Seconds from a write until everybody has heard."""
        body = json.dumps({"n": number}).encode()
        head = f"PUT /{table}/key/{key} HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {self._token}\r\n"
        with socket.create_connection(self._address, 30) as writer:
            writer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            started_s = time.monotonic()
            writer.sendall(head.encode() + b"Content-Length: %d\r\n\r\n" % len(body) + body)
            took_s = self._await(set(self._sockets), b'"n":%d' % number) - started_s
            writer.recv(65536)
        return took_s

    def close(self) -> None:
        """End all."""
        for one in self._sockets.values():
            one.close()


def fanout(url: str, token: str, count: int, rounds: int = 5, websocket: bool = False) -> list[float]:
    """Seconds until the last of `count` listeners heard, of several writes."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    listeners = Listeners(url, token, count, websocket)
    try:
        listeners.measure("bench", "fan", 10**6)
        return [listeners.measure("bench", "fan", 10**6 + 1 + number) for number in range(rounds)]
    finally:
        listeners.close()


def main() -> None:
    """Start a cluster, or take a URL and a token."""
    from tests.real import RealCluster

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--listeners", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--websocket", action="store_true")
    arguments = parser.parse_args()
    cluster = RealCluster.start(3)
    try:
        node = cluster.nodes[0]
        token = node.register("bench", "a long secret")
        url = f"http://127.0.0.1:{node.port}"
        found = fanout(url, token, arguments.listeners, arguments.rounds, arguments.websocket)
        print(f"{arguments.listeners} listeners: median {statistics.median(found):.3f} s, worst {max(found):.3f} s")
    finally:
        cluster.close()


if __name__ == "__main__":
    main()
