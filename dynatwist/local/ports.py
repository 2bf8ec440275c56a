"""Ports for nodes on this machine."""

from __future__ import annotations

import socket

UNSAFE_PORTS = frozenset({*range(6665, 6670), 6000, 6566, 6697, 5060, 5061, 10080})
"""Ports above 5,000 that browsers refuse to open."""


def is_free(port: int) -> bool:
    """Whether a node may use a port: for clients, gossip and peers."""
    for kind, number in ((socket.SOCK_STREAM, port), (socket.SOCK_DGRAM, port), (socket.SOCK_STREAM, port + 10_000)):
        with socket.socket(socket.AF_INET, kind) as probe:
            if kind == socket.SOCK_STREAM:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", number))
            except OSError:
                return False
    return True


def choose_ports(count: int, first: int) -> list[int]:
    """Free ports from `first` on that browsers open; fewer where there are not so many."""
    ports: list[int] = []
    port = first
    while len(ports) < count and port + 10_000 <= 65535:
        if port not in UNSAFE_PORTS and is_free(port):
            ports.append(port)
        port += 1
    return ports
