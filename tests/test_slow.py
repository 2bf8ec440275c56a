"""Clients that take their time, over TCP and over TLS: each is ended in time, and leaves nothing behind."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import ssl
import struct
import time

import pytest

from .real import RealCluster, certificate, check_logs, wait_until
from .test_doors import head, rss_mb
from .test_websocket_rfc import CLOSE, RIGHT, frame

pytestmark = pytest.mark.processes

CROWD = 30
LIMIT_S = 1.0
"""Of heads, bodies, idle connections and unread answers alike."""
ENDED_S = 3 * LIMIT_S + 5.0
"""The limit, a second or two to hear the refusal and to say goodbye, and what a busy machine adds."""
SHARE = 60
LIMITS = ("--max-address-connections", str(SHARE), "--max-user-connections", str(SHARE))
TIMES = (f"--{what}-timeout" for what in ("head", "body", "idle", "unread"))
OPTIONS = (*LIMITS, *(text for option in TIMES for text in (option, str(LIMIT_S))))


class Door:
    """A node with small limits; its clients come over TCP or over TLS."""

    def __init__(self, folder, is_tls):
        self.is_tls = is_tls
        self.cluster = RealCluster(folder)
        self.node = self.cluster.add(*OPTIONS, *(certificate(folder) if is_tls else ()))
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self.context.check_hostname, self.context.verify_mode = False, ssl.CERT_NONE
        wait_until(lambda: self.try_ask(head("GET", "/readyz")).startswith(b"HTTP/1.1 200 "), 20)
        body = b'{"secret": "a long secret"}'
        answer = self.ask(head("POST", "/auth/alice", Content_Length=len(body)) + body)
        self.token = json.loads(answer.partition(b"\r\n\r\n")[2])["token"]
        long = b'{"v": "%b"}' % (b"x" * 900_000)
        answer = self.ask(head("PUT", "/t/key/long", self.token, Content_Length=len(long)) + long)
        assert answer.startswith(b"HTTP/1.1 201 ")

    def tcp(self, receive_bytes=0):
        client = socket.socket()
        if receive_bytes:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        client.settimeout(10)
        client.connect(("127.0.0.1", self.node.port))
        return client

    def connect(self, receive_bytes=0):
        client = self.tcp(receive_bytes)
        return self.context.wrap_socket(client) if self.is_tls else client

    def ask(self, data):
        """One answer, small enough for one packet."""
        with self.connect() as client:
            client.sendall(data)
            return client.recv(65536)

    def try_ask(self, data):
        try:
            return self.ask(data)
        except OSError:
            return b""

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.node.process.pid}/fd"))


@pytest.fixture(scope="module", params=[False, True], ids=["tcp", "tls"])
def door(request, tmp_path_factory):
    found = Door(tmp_path_factory.mktemp("slow"), request.param)
    yield found
    check_logs(found.cluster)
    found.cluster.close()


@pytest.fixture(autouse=True)
def unharmed(door):
    """Whatever was done: within some seconds, while no client has closed anything, the node is as it was."""
    wait_until(lambda: door.descriptors() <= getattr(door, "before", 1000), ENDED_S)
    door.before = door.descriptors()
    yield
    wait_until(lambda: door.descriptors() <= door.before, ENDED_S, "the node has closed what was opened")
    assert door.ask(head("GET", "/readyz")).startswith(b"HTTP/1.1 200 ")


def drip(crowd, data):
    """Send byte by byte on each connection until the node has ended all of them; what it answered."""
    answers = dict.fromkeys(crowd, b"")
    left, begun_s, sent = set(crowd), time.monotonic(), 0
    for client in crowd:
        client.settimeout(0.001)
    while left:
        assert time.monotonic() - begun_s < ENDED_S
        for client in list(left):
            try:
                client.sendall(data[sent % len(data) : sent % len(data) + 1])
                part = client.recv(4096)
            except TimeoutError:
                continue
            except OSError:
                part = b""
            answers[client] += part
            if not part:
                left.discard(client)
        sent += 1
    return list(answers.values())


# In three kinds


def test_heads_that_drip(door):
    crowd = [door.connect() for _ in range(CROWD)]
    for answer in drip(crowd, b"GET / HTTP/1.1\r\n" + b"X-More: and more\r\n" * 1000):
        assert not answer or b"--head-timeout" in answer, answer


def test_bodies_that_drip(door):
    crowd = [door.connect() for _ in range(CROWD)]
    for client in crowd:
        client.sendall(head("PUT", "/t/key/k", door.token, Content_Length=100_000))
    for answer in drip(crowd, b" "):
        assert not answer or b"--body-timeout" in answer, answer


def ask_and_read_little(door, more, reads):
    crowd = [door.connect(4096) for _ in range(CROWD)]
    for client in crowd:
        client.sendall(head("GET", "/t/key/long", door.token, **more) * 8)
        client.settimeout(0.001)
    begun_s = time.monotonic()
    while door.descriptors() > door.before:
        assert time.monotonic() - begun_s < ENDED_S
        for client in crowd if reads else ():
            with contextlib.suppress(OSError):
                client.recv(100)


@pytest.mark.parametrize("more", [{}, {"Connection": "close"}])
def test_answers_that_are_read_in_drips(door, more):
    ask_and_read_little(door, more, True)


@pytest.mark.parametrize("more", [{}, {"Connection": "close"}])
def test_answers_that_are_not_read_leave_no_memory_behind(door, more):
    """Not for the collection of garbage either: each connection has a megabyte that could not be sent."""
    for _ in range(2):
        ask_and_read_little(door, more, False)
    memory_mb = rss_mb(door.node)
    for _ in range(2):
        ask_and_read_little(door, more, False)
    assert rss_mb(door.node) - memory_mb < 25  # twice 30 if it stayed


@pytest.mark.parametrize("opened", [head("GET", "/ws", **RIGHT), head("GET", "/t/subscribe/long")])
def test_events_that_are_not_read(door, opened):
    opened = opened.replace(b"Host: x", b"Host: x\r\nAuthorization: Bearer " + door.token.encode())
    crowd = [door.connect(4096) for _ in range(CROWD // 3)]
    for client in crowd:
        client.sendall(opened)
        if b"Upgrade" in opened:
            client.sendall(frame(1, json.dumps({"op": "subscribe", "id": 1, "table": "t", "key": "long"}).encode()))
    wait_until(lambda: door.descriptors() >= door.before + len(crowd))
    long = b'{"v": "%b"}' % (b"x" * 900_000)
    begun_s = time.monotonic()
    while door.descriptors() > door.before + 1:  # the last writer's may not be closed yet
        assert time.monotonic() - begun_s < ENDED_S
        with door.connect() as writer:
            writer.sendall(head("PUT", "/t/key/long", door.token, Content_Length=len(long)) + long)
            writer.recv(4096)


# Connections that do not end


def test_connections_on_which_nothing_is_asked(door):
    fresh = [door.connect() for _ in range(CROWD // 2)]
    used = [door.connect() for _ in range(CROWD // 2)]
    for client in used:
        client.sendall(head("GET", "/heartbeat"))
    wait_until(lambda: door.descriptors() <= door.before, ENDED_S)
    assert len(fresh) == len(used)


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"\x16\x03\x01\xff\xff" + bytes(100),
        b"\x15\x03\x03\0\2\1\0",
    ],
)
def test_handshakes_of_tls_that_do_not_end(door, sent):
    crowd = [door.tcp() for _ in range(CROWD)]
    for client in crowd:
        client.sendall(sent)
    wait_until(lambda: door.descriptors() <= door.before, ENDED_S)


@pytest.mark.parametrize(
    "last",
    [
        head("GET", "/heartbeat", Connection="close"),
        head("GET", "/heartbeat").replace(b"1.1", b"1.0"),
        b"nonsense\r\n\r\n",
        head("GET", "/ws", **RIGHT) + frame(CLOSE, struct.pack(">H", 1000)),
        head("GET", "/ws", **RIGHT) + frame(3, b"no frame"),
        head("GET", "/ws", **(RIGHT | {"Sec_WebSocket_Protocol": "one, one"})),
    ],
)
def test_goodbyes_that_are_not_answered(door, last):
    """TLS wants one from either side; here only the node says its own."""
    crowd = [door.connect() for _ in range(CROWD)]
    for client in crowd:
        client.sendall(last)
    wait_until(lambda: door.descriptors() <= door.before, ENDED_S)


def test_whoever_finds_no_room_and_does_not_hear_that(door):
    """All room is a user's, so that nobody can be dismissed for strangers; they are refused, and do not go."""
    users = [door.connect() for _ in range(SHARE)]
    for client in users:
        client.sendall(head("GET", "/t/key/none", door.token))
        client.recv(4096)
    refused = [door.tcp() for _ in range(300)]
    wait_until(lambda: door.descriptors() <= door.before, ENDED_S)
    for client in (*users, *refused):
        with contextlib.suppress(OSError):
            client.close()
