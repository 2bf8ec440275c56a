"""Somebody at the peer port of a real node: with the cluster's key or another, as a member or as nobody special."""

from __future__ import annotations

import contextlib
import os
import select
import socket
import time
from collections.abc import Iterator
from functools import partial

from OpenSSL import SSL

from dynatwist.model.registry import Member, Registry
from dynatwist.net.framing import FrameReader, encode
from dynatwist.net.messages import WIRE_VERSION, AnyMessage, Done, Hello, Ping, Unable
from dynatwist.net.tls import peer_context
from dynatwist.storage.keyfile import parse
from dynatwist.storage.keyring import ClusterKeys

from .real import Node, RealCluster

STATE = (0, (0, 0), 0, 0)


def keys_of(cluster: RealCluster) -> ClusterKeys:
    return parse((cluster.folder / "cluster.key").read_text(), "")


def connection(node: Node, source: str = "127.0.0.1") -> socket.socket:
    """A TCP connection to the peer port."""
    return socket.create_connection((node.host, node.port + 10_000), timeout=10, source_address=(source, 0))


class RawPeer:
    """A link, made by hand.

    :ivar is_unwilling: whether calls are refused rather than not answered.
    """

    def __init__(self, node: Node, keys: ClusterKeys, node_id: bytes | None = None, source: str = "127.0.0.1") -> None:
        self.node_id = node_id or os.urandom(8)
        self._socket = connection(node, source)
        self._tls = SSL.Connection(peer_context(keys, self.node_id), self._socket)
        self._tls.set_connect_state()
        self._until_s = time.monotonic() + 10
        self._socket.setblocking(False)
        self._repeat(self._tls.do_handshake)
        self._reader = FrameReader()
        self._count = 0
        self.is_unwilling = False
        self._frames: list[tuple[int, AnyMessage]] = []

    def _repeat(self, act):
        while True:
            try:
                return act()
            except (SSL.WantReadError, SSL.WantWriteError) as want:
                left_s = self._until_s - time.monotonic()
                if left_s <= 0:
                    raise TimeoutError from None
                isw = isinstance(want, SSL.WantWriteError)
                select.select([] if isw else [self._socket], [self._socket] if isw else [], [], min(left_s, 0.1))

    def write(self, data: bytes) -> None:
        self._until_s = time.monotonic() + 10
        while data:
            data = data[self._repeat(partial(self._tls.send, data[:16384])) :]

    def send(self, message: AnyMessage, call_id: int = 0) -> None:
        self.write(encode(int(time.monotonic() * 1000), STATE, [(call_id, message)]))

    def messages(self, limit_s: float = 10) -> Iterator[tuple[int, AnyMessage]]:
        """What arrives; pings are answered. Ends when the other side closes."""
        self._until_s = time.monotonic() + limit_s
        while True:
            try:
                data = self._repeat(lambda: self._tls.recv(65536))
            except (SSL.Error, OSError) as error:
                if isinstance(error, TimeoutError):
                    raise
                return
            for frame in self._reader.feed(data):
                for call_id, message in frame.messages:
                    if isinstance(message, Ping):
                        until_s, self._until_s = self._until_s, time.monotonic() + 5
                        self.send_done(call_id)
                        self._until_s = until_s
                    elif self.is_unwilling and call_id > 0:
                        self.send(Unable("captured"), -call_id)
                    else:
                        yield call_id, message

    def send_done(self, call_id: int) -> None:
        with contextlib.suppress(SSL.Error, OSError):
            self.send(Done(), -call_id)

    def greet(self, registry: Registry | None = None, claims: bytes | None = None, starts: int = 1) -> Hello:
        """Say who this is; answers the greeting of the other side."""
        cluster_id = registry.cluster_id if registry is not None else b""
        me = Member(claims or self.node_id, "127.0.0.1", 1, 2)
        self.send(Hello(WIRE_VERSION, cluster_id, me, os.urandom(8), starts, registry))
        for _, message in self.messages():
            if isinstance(message, Hello):
                return message
        raise AssertionError("closed before a greeting")

    def ask(self, message: AnyMessage, limit_s: float = 10) -> AnyMessage | None:
        """The reply to a call; ``None`` when the link is closed instead."""
        self._count += 1
        number = 1000 + self._count
        self.send(message, number)
        for call_id, reply in self.messages(limit_s):
            if call_id == -number:
                return reply
        return None

    def closed_within_s(self, limit_s: float) -> float | None:
        """How long it took until the other side closed; ``None`` when it did not."""
        began_s = time.monotonic()
        try:
            for _ in self.messages(limit_s):
                pass
        except TimeoutError:
            return None
        return time.monotonic() - began_s

    def close(self) -> None:
        self._socket.close()
