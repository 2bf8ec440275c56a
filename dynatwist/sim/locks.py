"""Locks: keys that are created if absent, deleted, and created again, without end, as fast as the answers come.

Nothing else makes such long histories of creations, and so many tombstones of one key, also while members are away.
"""

from __future__ import annotations

from collections.abc import Callable

from dynatwist.replication.request import Kind

from .clients import Clients
from .cluster import SimCluster
from .history import Call

LOCK_TABLE = "things"
PAUSE_S = (0.01, 0.1)
"""Between an answer and the next request of a session."""
PATIENCE_S = 6.0
"""After this a request is not going to be answered: its node died."""


class Locks:
    """Sessions that take and release one lock each.

    :param count: of sessions; each has a key of its own, which other clients may write too.
    :ivar violations: what no user of a lock expects.
    """

    def __init__(self, cluster: SimCluster, clients: Clients, count: int) -> None:
        self._cluster = cluster
        self._clients = clients
        self._count = count
        self._storm = 0
        self._running = False
        self.violations: list[str] = []

    def start(self) -> None:
        """Begin to take locks."""
        self._running = True
        self._storm += 1
        for number in range(self._count):
            self._next(number, Kind.PUT)

    def stop(self) -> None:
        """No more requests."""
        self._running = False

    def _soon(self, delay_s: float, call: Callable[[], None]) -> None:
        """Later in this storm."""
        storm = self._storm

        def due() -> None:
            if self._running and storm == self._storm:
                call()

        self._cluster.world.later(delay_s, due)

    def _next(self, number: int, kind: Kind) -> None:
        random = self._cluster.world.random
        nodes = self._cluster.ready_nodes()
        if not nodes:
            self._soon(1.0, lambda: self._next(number, kind))
            return
        key = LOCK_TABLE, f"lock{number}"
        answered: list[Call] = []

        def then(call: Call) -> None:
            answered.append(call)
            self._judge(call)
            done = call.code in ("ok", "not_found", "precondition_failed")
            next_kind = kind if not done else Kind.DELETE if kind is Kind.PUT else Kind.PUT
            self._soon(random.uniform(*PAUSE_S), lambda: self._next(number, next_kind))

        def give_up() -> None:
            if not answered:
                self._next(number, kind)

        if_absent = kind is Kind.PUT and random.random() < 0.5
        self._clients.ask(random.choice(nodes), "lock", kind, key, "quorum", if_absent=if_absent, then=then)
        self._soon(PATIENCE_S, give_up)

    def _judge(self, call: Call) -> None:
        if call.code == "conflict":
            self.violations.append(f"P10: {call.text()}: a lock may be taken and released as often as anybody likes")
