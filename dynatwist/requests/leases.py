"""Ends the records whose process is not heard of any more, as an owner; and says who may have leases at all.

The first of a key's owners that can be reached does it, the next one some seconds later if the record is still there,
and so on. Each asks for a conditional write like any other, so it goes through the owner that decides about the key: it
ends the record as it was put, and nothing that a client has written since. Whoever took a living process for gone, on
the other side of a partition say, has ended what that process keeps; it puts it again when it hears of that.
"""

from __future__ import annotations

from collections.abc import Iterator

from dynatwist.cluster.cluster import Cluster
from dynatwist.model.record import Key, Record
from dynatwist.model.ring import partition_of
from dynatwist.replication.request import Kind, Operation, Result, etag
from dynatwist.sometimes import sometimes

from .coordinator import Coordinator
from .releases import require_release

A_TURN = 32
"""Records that one turn of the reactor begins to end: three milliseconds, of a node that had thousands of sockets."""
NEXT_OWNER_S = 3.0
"""So much later the next owner ends what is still there: time for the one before to find out, and to be heard of."""


def require_leases(cluster: Cluster) -> None:
    """Every member that is linked has to know leases.

    :raises ApiError: 503 where one does not: it would keep for ever what is to end.
    """
    require_release(cluster, cluster.peers.lacks_leases)


def end_of(key: Key, held: Record) -> Operation:
    """What ends a record whose lease has ended, if nobody has written since."""
    return Operation(Kind.END, key, any_owner=True, if_match=(etag(held),))


class LeaseEnds:
    """See the module; `look` is to be called every second."""

    def __init__(self, cluster: Cluster, coordinator: Coordinator) -> None:
        self._cluster = cluster
        self._coordinator = coordinator
        self._due: Iterator[Key] = iter(())
        self._is_ending = False
        self._under_way: set[Key] = set()

    def look(self) -> None:
        """End what is due, some in each turn."""
        leases, processes = self._cluster.store.leases, self._cluster.processes
        processes.look(leases.actors(), leases.take_news())
        if not self._is_ending and not self._cluster.standing.is_stopping:
            self._is_ending = True
            self._due = self._over()
            self._step()

    def _over(self) -> Iterator[Key]:
        leases, processes = self._cluster.store.leases, self._cluster.processes
        for actor in sorted(leases.actors()):
            yield from leases.over(actor, processes.silent_s(actor))

    def _step(self) -> None:
        for count, key in enumerate(self._due, 1):
            self._end(key)
            if count == A_TURN:
                sometimes("many records end with their process")
                self._cluster.runtime.in_steps(self._step)
                return
        self._is_ending = False

    def _end(self, key: Key) -> None:
        cluster = self._cluster
        held, partition = cluster.store.held(key), partition_of(*key)
        if held is None or held.lease is None or key in self._under_way:
            return
        owners = self._coordinator.candidates.of(partition)
        me = cluster.me.node_id
        if me not in owners:
            return
        wait_s = NEXT_OWNER_S * owners.index(me)
        if cluster.processes.silent_s(held.lease.actor) < held.lease.ttl_s + wait_s:
            return
        if wait_s:
            sometimes("an owner ends a record that the one before it has left")
        self._under_way.add(key)

        def ended(result: Result) -> None:
            self._under_way.discard(key)

        self._coordinator.submit(end_of(key, held), ended)
