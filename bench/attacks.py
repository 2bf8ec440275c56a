"""What honest clients notice of attacks on one node of three: ``python -m bench attacks``.

The node has few descriptors. Honest clients put and get throughout, from an address of their own; strangers and one
greedy user do their worst from others. All of them share the machine, so that the attackers' own work counts as well.
"""

from __future__ import annotations

import base64
import contextlib
import json
import multiprocessing
import os
import resource
import socket
import ssl
import struct
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.client import HTTPConnection

from tests.real import Node

from .servers import DynaTwist

DESCRIPTORS = 4096
CONNECTIONS = 10_000
HONEST = "127.0.0.9"
"""All of 127.0.0.0/8 is this machine; addresses of their own keep attackers and honest clients apart."""
HONEST_CLIENTS = 4
BEFORE_S = 3.0
ATTACK_S = 10.0


@dataclass(frozen=True)
class Noticed:
    """What honest clients saw in some time.

    :ivar errors: answers other than 200 and 201, and none.
    """

    rate: float
    p99_ms: float
    errors: int


def honest(port: int, token: str, over_s: float, results: multiprocessing.Queue[tuple[list[float], int]]) -> None:
    """One honest client, until a time: puts and gets in turn on one connection."""
    took: list[float] = []
    errors = 0
    connection = HTTPConnection("127.0.0.1", port, timeout=10, source_address=(HONEST, 0))
    headers = {"Authorization": f"Bearer {token}"}
    number = 0
    while time.monotonic() < over_s:
        number += 1
        begun_s = time.monotonic()
        try:
            method, body = ("PUT", b'{"n":1}') if number % 2 else ("GET", None)
            connection.request(method, f"/honest/key/{os.getpid()}", body, headers)
            answer = connection.getresponse()
            answer.read()
            errors += answer.status not in (200, 201)
        except OSError:
            connection.close()
            errors += 1
        took.append(time.monotonic() - begun_s)
    results.put((took, errors))


def notice(port: int, token: str, seconds: float) -> Noticed:
    """Run honest clients for a while."""
    results: multiprocessing.Queue[tuple[list[float], int]] = multiprocessing.Queue()
    over_s = time.monotonic() + seconds
    clients = [
        multiprocessing.Process(target=honest, args=(port, token, over_s, results)) for _ in range(HONEST_CLIENTS)
    ]
    for client in clients:
        client.start()
    found = [results.get() for _ in clients]
    for client in clients:
        client.join()
    took = sorted(one for some, _ in found for one in some)
    p99_ms = 1000 * took[int(0.99 * (len(took) - 1))]
    return Noticed(len(took) / seconds, p99_ms, sum(errors for _, errors in found))


def connect(port: int, source: str = "127.0.0.1") -> socket.socket:
    """A connection from an address."""
    return socket.create_connection(("127.0.0.1", port), timeout=5, source_address=(source, 0))


# Attacks: each goes on until it is stopped


def hold_connections(port: int, token: str) -> None:
    """Thousands from one address: idle, with heads and bodies that drip, and answers that are not read."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    begun = (
        b"",
        b"GET /heartbeat HTTP/1.1\r\n",
        b"PUT /t/key/k HTTP/1.1\r\nHost: x\r\nContent-Length: 4000\r\n\r\n",
        b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n" * 50,
    )
    drips = (b"", b"X-Drip: 1\r\n", b" ", b"")
    held: list[tuple[socket.socket, int]] = []
    while True:
        while len(held) < CONNECTIONS:
            kind = len(held) % len(begun)
            with contextlib.suppress(OSError):
                one = connect(port)
                one.setblocking(False)
                held.append((one, kind))
                one.sendall(begun[kind])
        left = []
        for one, kind in held:
            try:
                if drips[kind]:
                    one.send(drips[kind])
                left.append((one, kind))
            except OSError:
                one.close()
        held = left
        time.sleep(0.2)


def come_and_go(port: int, token: str) -> None:
    """Websockets, peer connections and TLS handshakes that are opened and closed."""
    key = base64.b64encode(bytes(16)).decode()
    upgrade = (
        "GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n"
    ).encode()
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    while True:
        with contextlib.suppress(OSError), connect(port) as one:
            one.sendall(upgrade)
            one.recv(100)
        with contextlib.suppress(OSError):
            connect(port + 10_000).close()
        with contextlib.suppress(OSError), connect(port + 10_000) as one:
            context.wrap_socket(one).close()


def take_all(port: int, token: str) -> None:
    """One user with a token: subscriptions without end, streams that are not read, the largest batches and patches."""
    value = json.dumps({"v": "x" * 900_000}).encode()
    headers = {"Authorization": f"Bearer {token}"}
    connection = HTTPConnection("127.0.0.1", port, timeout=10)
    for number in range(8):
        connection.request("PUT", f"/greedy/key/k{number}", value, headers)
        connection.getresponse().read()
    held = []
    for _ in range(100):
        with contextlib.suppress(OSError):
            one = connect(port)
            one.sendall(f"GET /greedy/store HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\r\n".encode())
            held.append(one)
    sockets = [subscriber(port, token) for _ in range(20)]
    number = 0
    while True:
        for one in sockets:
            for _ in range(50):
                number += 1
                text = json.dumps({"op": "subscribe", "id": number, "table": "honest"}).encode()
                with contextlib.suppress(OSError):
                    one.send(b"\x81" + struct.pack(">BH", 254, len(text)) + bytes(4) + text)
        with contextlib.suppress(OSError, Exception):
            connection.request("PATCH", f"/greedy/key/k{number % 8}", value, headers)
            connection.getresponse().read()
        ops = [{"op": "put", "key": f"k{number % 8}", "value": {"v": "x" * 900_000}} for _ in range(4)]
        with contextlib.suppress(OSError, Exception):
            connection.request("POST", "/greedy/batch", json.dumps({"ops": ops}).encode(), headers)
            connection.getresponse().read()


def subscriber(port: int, token: str) -> socket.socket:
    """A websocket of a user's, which reads nothing."""
    one = connect(port)
    key = base64.b64encode(bytes(16)).decode()
    one.sendall(
        f"GET /ws HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
    )
    one.recv(4096)
    one.setblocking(False)
    return one


def guess(port: int, token: str) -> None:
    """Guesses for one account, from a hundred addresses."""
    number = 0
    while True:
        number += 1
        connection = HTTPConnection("127.0.0.1", port, timeout=10, source_address=(f"127.0.1.{number % 100 + 1}", 0))
        with contextlib.suppress(OSError):
            connection.request("POST", "/auth/honest", json.dumps({"secret": f"guess number {number}"}))
            connection.getresponse().read()
        connection.close()


Attack = Callable[[int, str], None]
ATTACKS: dict[str, tuple[Attack, int]] = {
    "connections": (hold_connections, 1),
    "churn": (come_and_go, 2),
    "greedy user": (take_all, 2),
    "guesses": (guess, 4),
}
"""What is done, and by how many processes."""


def rss_mb(node: Node) -> float:
    """Memory of a node."""
    assert node.process is not None
    with open(f"/proc/{node.process.pid}/status") as status:
        return next(int(line.split()[1]) / 1024 for line in status if line.startswith("VmRSS"))


def attacks(folder: str | None) -> Iterator[str]:
    """All attacks, one after the other, each on a cluster of its own; a line each."""
    heads = ("before", "p99 ms", "during", "p99 ms", "errors", "RSS +MB", "after +MB")
    yield "attack        " + "".join(f"{head:>10}" for head in heads)
    for name, (attack, processes) in ATTACKS.items():
        server = DynaTwist(folder=folder)
        try:
            node = server.cluster.nodes[0]
            node.stop()
            node.before = ("prlimit", f"--nofile={DESCRIPTORS}:{DESCRIPTORS}")
            node.start()
            server.cluster.wait_ready()
            yield _line(name, node, attack, processes)
        finally:
            server.close()


def _line(name: str, node: Node, attack: Attack, processes: int) -> str:
    token, other = node.register("honest", "a long secret"), node.register("greedy", "a long secret")
    before = notice(node.port, token, BEFORE_S)
    begun_mb = rss_mb(node)
    attackers = [multiprocessing.Process(target=attack, args=(node.port, other), daemon=True) for _ in range(processes)]
    for one in attackers:
        one.start()
    during = notice(node.port, token, ATTACK_S)
    grown_mb = rss_mb(node) - begun_mb
    for one in attackers:
        one.kill()
        one.join()
    after = [notice(node.port, token, 2.0) for _ in range(3)][-1]
    left_mb = rss_mb(node) - begun_mb
    errors = during.errors + after.errors
    return (
        f"{name:14}{before.rate:>8,.0f}/s{before.p99_ms:>8.1f}{during.rate:>8,.0f}/s{during.p99_ms:>8.1f}{errors:>8}"
        f"{grown_mb:>9.0f}{left_mb:>11.0f}"
    )
