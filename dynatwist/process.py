"""The process that a node has to itself under twistd: settings that concern all of its threads."""

from __future__ import annotations

import gc
import resource
import signal
import sys
import time
from collections.abc import Callable
from typing import Any, NamedTuple

from dynatwist.budget import ADMIN_CONNECTIONS
from dynatwist.metrics import Durations
from dynatwist.runtime import Usage
from dynatwist.twisted_inside.reactor import at_each_turn, hand_on_plainly, time_by

SWITCH_INTERVAL_S = 300e-6
"""How long a thread that wants Python's lock waits before it demands it. The reactor gives the lock up at every system
call and is quicker in taking it back than another thread is in waking up: with the usual 5 ms the log's thread, which
writes and syncs, gets it only when the reactor has nothing to do."""

YOUNG_OBJECTS = 20_000
"""How many objects are made before Python looks for cycles among them; a millisecond's work."""
FILE_DESCRIPTORS = 64
"""Kept free of clients and peers, for the log, cold saves, ports and whatever else has to be opened; a quarter of a
limit that is small."""


def begin_loading() -> None:
    """Call before data is loaded: none of it is garbage, and the collector would walk over it again and again."""
    gc.disable()


def settle() -> None:
    """Call once all data is loaded; the collector leaves it alone from now on."""
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    gc.freeze()
    gc.enable()
    gc.set_threshold(YOUNG_OBJECTS, 20, 50)


def raise_descriptor_limit() -> None:
    """Allow as many open files and sockets as the system lets this process have."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def fit(reactor: Any) -> None:
    """Have a reactor's timers go by the clock that never jumps, and its events cost little; call it first of all.

    Twisted's own timers go by the wall clock: set back by an hour, it stops every timer for an hour; set ahead, all are
    due.

    :param reactor: that of this process.
    """
    time_by(reactor, time.monotonic)
    hand_on_plainly(reactor)


class Descriptors(NamedTuple):
    """How the descriptors of this process are shared out, so that nobody takes another's.

    :ivar files: for files and ports.
    :ivar peers: for connections between nodes.
    :ivar clients: for connections of clients; besides, the administrator has `ADMIN_CONNECTIONS`.
    """

    files: int
    peers: int
    clients: int


def descriptors(peers_wanted: int) -> Descriptors:
    """The shares as of now.

    :param peers_wanted: as many as connections between nodes may be; they get a quarter of all at most.
    """
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    limit = soft if soft != resource.RLIM_INFINITY else 1 << 20
    files, peers = min(FILE_DESCRIPTORS, limit // 4), min(peers_wanted, limit // 4)
    return Descriptors(files, peers, limit - files - peers - ADMIN_CONNECTIONS)


def max_connections(peers_wanted: int) -> int:
    """How many clients there is room for; see `descriptors`."""
    return descriptors(peers_wanted).clients


def usage() -> Usage:
    """What this process has of its machine."""
    try:
        with open("/proc/self/statm", "rb") as file:
            pages = int(file.read().split()[1])
    except OSError:  # no Linux
        pages = 0
    return Usage(pages * resource.getpagesize(), time.process_time())


def on_hangup(reactor: Any, call: Callable[[], None]) -> None:
    """Call in a turn of the reactor when this process gets SIGHUP, which would end it otherwise."""
    signal.signal(signal.SIGHUP, lambda number, frame: reactor.callFromThread(call))


class TurnMeter:
    """Measures the CPU time of every turn of a reactor, garbage collection included.

    :param reactor: whose turns are measured.
    """

    BOUNDS_S = (0.0005, 0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.02, 0.05, 0.1)

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._before_s = 0.0
        self._end: Callable[[], None] = lambda: None
        self.turns = Durations(self.BOUNDS_S)

    def start(self) -> None:
        """Begin to measure."""
        self._before_s = time.thread_time()
        self._end = at_each_turn(self._reactor, self._turn)

    def stop(self) -> None:
        """Measure no more."""
        self._end()

    def _turn(self) -> None:
        now_s = time.thread_time()
        self.turns.add(now_s - self._before_s)
        self._before_s = now_s
