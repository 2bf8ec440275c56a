"""What is written to many connections in one turn of the reactor: two threads hand it to the kernel.

Most of an event's way to ten thousand listeners is ten thousand system calls, during which Python's lock is free. The
reactor hands half of them to another thread, does the other half, and waits for that thread: nothing else happens on
the reactor meanwhile, so no connection ends, and no descriptor becomes another connection's, under a thread that writes
to it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache

from twisted.internet import tcp

SHARED_FROM = 128
"""Connections from which on another thread takes half of them: to wake it takes as long as writing to ten."""

Write = tuple[tcp.Connection, bytes]

_gathered: dict[tcp.Connection, list[bytes]] | None = None


@contextmanager
def written_together() -> Iterator[None]:
    """Whatever `gather` takes inside goes to the kernel at the end, also where an exception ends this."""
    global _gathered
    if _gathered is not None:
        yield
        return
    _gathered = {}
    try:
        yield
    finally:
        gathered, _gathered = _gathered, None
        _write([(transport, b"".join(data)) for transport, data in gathered.items() if transport.connected])


def gather(transport: tcp.Connection, data: bytes) -> bool:
    """Keep what is to be written to a connection for which nothing else waits, if writes are gathered.

    :returns: whether that is so.
    """
    if _gathered is None:
        return False
    _gathered.setdefault(transport, []).append(data)
    return True


def handed_over(transport: tcp.Connection, data: bytes) -> int:
    """How many bytes the kernel takes at once. Where the connection is broken, `tcp.Connection.write` finds out."""
    try:
        return transport.socket.send(data)
    except OSError:
        return 0


def _write(writes: Sequence[Write]) -> None:
    if len(writes) < SHARED_FROM or not _has_processors():
        sent = _handed_over(writes)
    else:
        half = len(writes) // 2
        theirs = _other_thread().submit(_handed_over, writes[:half])
        own = _handed_over(writes[half:])
        sent = theirs.result() + own
    for (transport, data), count in zip(writes, sent, strict=True):
        if count < len(data):
            _write_first(transport, data[count:])


def _handed_over(writes: Sequence[Write]) -> list[int]:
    return [handed_over(transport, data) for transport, data in writes]


def _write_first(transport: tcp.Connection, data: bytes) -> None:
    """Write what comes before all that was written to a connection since its data was gathered."""
    since, transport._tempDataBuffer, transport._tempDataLen = transport._tempDataBuffer, [], 0
    transport.write(data)
    transport.writeSequence(since)


@cache
def _other_thread() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(1, "writes")


@cache
def _has_processors() -> bool:
    """Whether two threads can run at once."""
    return len(os.sched_getaffinity(0)) > 1 if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1) > 1
