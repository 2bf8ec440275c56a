"""Catching up with what a request's causal token names, before the request is carried out."""

from __future__ import annotations

from collections.abc import Callable

from dynatwist.cluster.cluster import Cluster
from dynatwist.model.ring import partition_of
from dynatwist.repair.rounds import RoundRun, summaries_of
from dynatwist.replication.request import Operation
from dynatwist.runtime import Timer, cancel

CATCH_UP_TIMEOUT_S = 0.5
"""Together with a read and a write, or a forwarded request, not much more than two seconds: nobody waits for longer."""
LOOK_S = 0.02
"""How often a request that waits for its causal token looks whether all of that has come."""


def has_seen(cluster: Cluster, operation: Operation) -> bool:
    """Whether this replica has merged what the request's causal token names."""
    clock = cluster.store.replica_of(operation.key).clock
    return all(clock.covers(dot) for dot in operation.seen)


class CatchUp:
    """A round with every reachable owner, until one of them has brought what is missing.

    Neither the slowest of them is waited for, nor this node's log, nor anybody for longer than a client may be.

    :param done: called once; what is missing may be missing still.
    """

    __slots__ = ("_cluster", "_done", "_is_over", "_operation", "_timer", "_until_s", "_waiting")

    def __init__(self, cluster: Cluster, operation: Operation, done: Callable[[], None]) -> None:
        self._cluster = cluster
        self._operation = operation
        self._done = done
        self._is_over = False
        self._timer: Timer | None = None
        self._until_s = cluster.runtime.monotonic_s() + CATCH_UP_TIMEOUT_S
        partition = partition_of(*operation.key)
        owners = [owner for owner in cluster.ownership.owners(partition) if cluster.links.is_reachable(owner)]
        self._waiting = len(owners)
        for owner in owners:
            RoundRun(cluster, owner, summaries_of(cluster, [partition]), self._round_over)
        self._look()

    def _round_over(self, ok: bool, whole: set[int]) -> None:
        self._waiting -= 1
        self._look()

    def _look(self) -> None:
        if self._is_over:
            return
        is_late = self._cluster.runtime.monotonic_s() >= self._until_s
        if not self._waiting or is_late or has_seen(self._cluster, self._operation):
            self._is_over = True
            cancel(self._timer)
            self._done()
        elif self._timer is None or not self._timer.active():
            self._timer = self._cluster.runtime.clock.callLater(LOOK_S, self._look)
