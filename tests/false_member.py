"""A registered member that has been taken over: it has the cluster's secret, and sends what it likes over real TLS."""

from __future__ import annotations

import os
import select
import socket
import time

from OpenSSL import SSL

from dynatwist.model.registry import Member, Registry
from dynatwist.net.framing import FrameReader, encode
from dynatwist.net.messages import WIRE_VERSION, AnyMessage, Done, Hello, Ping
from dynatwist.net.tls import peer_context
from dynatwist.storage.files import RealFileSystem
from dynatwist.storage.identity import IdentityFile
from dynatwist.storage.keyfile import parse

from .real import Node

PATIENCE_S = 10.0


class FalseMember:
    """Takes the place of a node that does not run any more, on a link with one that does.

    :ivar registry: the newest one that the real member had heard of.
    """

    def __init__(self, dead: Node, target: Node) -> None:
        keys = parse((dead.folder / "cluster.key").read_text(), "")
        identity, _ = IdentityFile(RealFileSystem(), str(dead.data), keys, os.urandom).load()
        assert identity is not None
        assert identity.registry is not None
        self.node_id = identity.node_id
        self.registry: Registry = identity.registry
        self._reader = FrameReader()
        self._replies: dict[int, AnyMessage] = {}
        self._next_id = 1
        raw = socket.create_connection((target.host, target.port + 10_000), PATIENCE_S)
        raw.setblocking(True)
        self._tls = SSL.Connection(peer_context(keys, self.node_id), raw)
        self._tls.set_connect_state()
        self._tls.do_handshake()
        self._socket = raw
        member = Member(self.node_id, dead.host, dead.port, dead.port + 10_000)
        starts = identity.starts + 1
        self.tell(
            Hello(WIRE_VERSION, self.registry.cluster_id, member, os.urandom(8), starts, self.registry, (1 << 40, 0))
        )

    def tell(self, message: AnyMessage, call_id: int = 0) -> None:
        """Send a message."""
        self._tls.sendall(encode(int(time.monotonic() * 1000), (1, (1 << 40, 0)), [(call_id, message)]))

    def call(self, message: AnyMessage) -> AnyMessage | None:
        """Send a call; answers the reply, or ``None`` when the connection ends instead."""
        self._next_id += 1
        self.tell(message, self._next_id)
        end_s = time.monotonic() + PATIENCE_S
        while self._next_id not in self._replies:
            assert time.monotonic() < end_s, "no answer"
            if not self._receive():
                return None
        return self._replies.pop(self._next_id)

    def _receive(self) -> bool:
        """What has come; answers whether the connection goes on."""
        if not self._tls.pending():
            select.select([self._socket], [], [], 1)
        try:
            data = self._tls.recv(1 << 16)
        except (SSL.Error, OSError):
            return False
        for frame in self._reader.feed(data):
            for call_id, message in frame.messages:
                if isinstance(message, Ping):
                    self.tell(Done(), -call_id)
                elif call_id < 0:
                    self._replies[-call_id] = message
        return True

    def close(self) -> None:
        """End the connection."""
        self._socket.close()
