"""The fast lane of `dynatwist.api.lane` on real sockets."""

from __future__ import annotations

from typing import Any

from twisted.internet.tcp import Connection

from dynatwist.api.lane import FastLane, parse_headers, rendered

__all__ = ["FastLane", "parse_headers", "rendered", "write_now"]


def write_now(transport: Any, data: bytes) -> None:
    """Write to a TCP transport at once if nothing waits before it, without a turn through the reactor's poller."""
    sent = 0
    if isinstance(transport, Connection) and not transport.TLS:  # TLS transports pass attributes on to what they wrap
        waits = transport.dataBuffer or transport._tempDataBuffer or transport.disconnecting
        if transport.connected and not waits:
            written = transport.writeSomeData(data)
            sent = written if isinstance(written, int) else 0  # a broken connection: `write` finds out in its own way
    if sent < len(data):
        transport.write(data[sent:])
