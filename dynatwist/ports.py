"""The ports that a node uses, and whether it could have them now."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from dataclasses import dataclass

from dynatwist.config.node import NodeConfig


@dataclass(frozen=True, slots=True)
class Port:
    """One of them.

    :ivar kind: of its sockets.
    :ivar option: that chooses it.
    """

    kind: socket.SocketKind
    number: int
    interface: str
    option: str

    @property
    def name(self) -> str:
        """For people."""
        name = "TCP" if self.kind == socket.SOCK_STREAM else "UDP"
        return f"{name} port {self.number} on {self.interface}"

    def obstacle(self) -> OSError | None:
        """Why it cannot be had; it is bound for that, and left at once."""
        family = socket.AF_INET6 if ":" in self.interface else socket.AF_INET
        with socket.socket(family, self.kind) as probe:
            if self.kind == socket.SOCK_STREAM:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((self.interface, self.number))
                if self.kind == socket.SOCK_STREAM:
                    probe.listen(1)
            except OSError as error:
                return error
        return None


def ports_of(config: NodeConfig) -> Iterator[Port]:
    """For clients, for gossip, and for links between nodes."""
    yield Port(socket.SOCK_STREAM, config.port, config.interface, "--port")
    yield Port(socket.SOCK_DGRAM, config.port, config.interface, "--port")
    yield Port(socket.SOCK_STREAM, config.actual_peer_port, config.interface, "--peer-port")
