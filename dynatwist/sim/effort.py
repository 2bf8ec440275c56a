"""How much work a turn of the reactor does: records that are looked at, and bytes that are sent.

In simulated time code takes no time, so a turn that walks through all records of a partition looks as short as any.
Here it is counted. A *crowd* in one partition makes such a walk stand out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache, wraps
from itertools import count
from typing import Any

from dynatwist.model.record import Draft, Key
from dynatwist.model.records import Records
from dynatwist.model.replica import BucketWalk
from dynatwist.model.ring import partition_of
from dynatwist.storage.store import Store

from .cluster import SimCluster
from .history import CROWD_TABLE
from .progress import Progress
from .stream import SimStream
from .world import Process

CROWD = 600
MAX_RECORDS = 450
"""Looks at records in one turn: several for each of a few dozen; less than one for each of a crowd."""
WRITTEN_AT_ONCE = 20
_LOOKS = ("get", "__getitem__", "packed", "dot", "hold")
_WALKS = ("dots",)
START = ".boot"
"""The name of the turn in which a process starts."""
_EXCUSED = ("reset", "cease_whole", "become_whole")
"""A partition that starts over: rare, and in one go."""


@cache
def crowd() -> tuple[Key, ...]:
    """Keys of one table, all in one partition."""
    keys = ((CROWD_TABLE, f"c{number}") for number in count())
    return tuple(key for key, _ in zip((key for key in keys if partition_of(*key) == 0), range(CROWD), strict=False))


def gather_crowd(cluster: SimCluster, owner_of: Callable[[Key], str]) -> None:
    """Write the crowd at one node that owns it, some records a turn; the other owners get them by and by."""
    nodes = [node for node in cluster.ready_nodes() if node.core and node.core.cluster.standing.may_coordinate(0)]
    if not nodes:
        return
    node, keys = cluster.world.random.choice(nodes), list(crowd())
    core, process = node.core, node.process
    assert core is not None
    assert process is not None
    store = core.store

    def some() -> None:
        for key in keys[:WRITTEN_AT_ONCE]:
            if store.held(key) is None:
                store.write(key, Draft(b'{"n":0}', owner_of(key)))
        del keys[:WRITTEN_AT_ONCE]
        if keys and core.cluster.standing.may_coordinate(0):
            process.callLater(0.01, some)

    process.run(some)


class Effort:
    """Counts, while `counting`.

    :param say: told of a turn that does too much.
    :param max_sent_bytes: bound on what one turn sends to all peers.
    :ivar most_looks: at records in one turn, so far.
    """

    def __init__(self, say: Callable[[str], None], max_sent_bytes: int) -> None:
        self._say = say
        self._max_sent_bytes = max_sent_bytes
        self._turns = 0
        self._looks = 0
        self._sent_bytes = 0
        self.most_looks = 0

    @contextmanager
    def counting(self) -> Iterator[None]:
        """Have everything in this process counted."""
        places: list[tuple[type, str, Callable[[Any], Any]]] = [
            (Process, "run", self._turn),
            (SimStream, "write", self._sent),
        ]
        places += [(Records, name, self._look) for name in _LOOKS]
        places += [(Records, name, self._walk) for name in _WALKS]
        places += [(Store, name, self._excused) for name in _EXCUSED]
        places += [(BucketWalk, "note", self._look)]
        places += [(Progress, "is_held", self._excused)]  # the judge itself
        before = [(owner, name, owner.__dict__[name]) for owner, name, _ in places]
        for owner, name, wrap in places:
            setattr(owner, name, wrap(owner.__dict__[name]))
        try:
            yield
        finally:
            for owner, name, real in before:
                setattr(owner, name, real)

    def _turn(self, real: Callable[..., None]) -> Callable[..., None]:
        def run(process: Process, call: Callable[..., object], *args: object) -> None:
            if self._turns:  # a turn within a turn: part of it
                real(process, call, *args)
                return
            self._turns, self._looks, self._sent_bytes = 1, 0, 0
            try:
                real(process, call, *args)
            finally:
                self._turns = 0
            self.most_looks = max(self.most_looks, self._looks)
            if self._looks > MAX_RECORDS and not _name(call).endswith(START):
                self._say(f"P10: one turn of {process.name} looks at {self._looks} records, in {_name(call)}")
            if self._sent_bytes > self._max_sent_bytes:
                self._say(f"P10: one turn of {process.name} sends {self._sent_bytes} bytes, in {_name(call)}")

        return run

    def _look(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def looked(*args: Any) -> Any:
            self._looks += 1
            return real(*args)

        return looked

    def _walk(self, real: Callable[..., Iterator[Any]]) -> Callable[..., Iterator[Any]]:
        def walked(*args: Any) -> Iterator[Any]:
            for item in real(*args):
                self._looks += 1
                yield item

        return walked

    def _sent(self, real: Callable[..., None]) -> Callable[..., None]:
        def write(stream: SimStream, data: bytes) -> None:
            self._sent_bytes += len(data)
            real(stream, data)

        return write

    def _excused(self, real: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(real)
        def excused(*args: Any, **more: Any) -> Any:
            looks = self._looks
            try:
                return real(*args, **more)
            finally:
                self._looks = looks

        return excused


def _name(call: Callable[..., object]) -> str:
    return getattr(call, "__qualname__", repr(call))
