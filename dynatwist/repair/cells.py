"""Registers on their way to an owner that may have forgotten some, or has never had them.

A round brings records; what else acceptors keep, a round does not bring. So a partition that is to become whole counts
as fetched from a peer only once the peer's registers of it are joined here as well: see `dynatwist.replication.filling`
for from how many that has to be, so that each majority that has promised or accepted something has one among them.
"""

from __future__ import annotations

from collections.abc import Callable

from dynatwist.cluster.cluster import Cluster
from dynatwist.cluster.switchboard import Respond
from dynatwist.model.record import Key
from dynatwist.model.ring import partition_of
from dynatwist.net.arrival import Arrival
from dynatwist.net.messages import CellsAre, PullCells, Unable
from dynatwist.net.replies import Reply
from dynatwist.replication.register import Cell
from dynatwist.replication.register_flaws import cell_flaw, floor_flaw
from dynatwist.sometimes import sometimes

from .answers import PAGE_BYTES, PAGE_RECORDS

PULL_TIMEOUT_S = 10.0
"""For a page; as for those of rounds."""
CELL_BYTES = 150
"""Of a register on the wire, beside its value."""


class CellPages:
    """Answers those that ask for registers; of one partition at a time for each peer."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._count = 0
        self._page_bytes, self._page_records = PAGE_BYTES, PAGE_RECORDS
        self._walks: dict[bytes, tuple[int, int, list[Key]]] = {}
        cluster.peers.on_call(PullCells, self._on_pull)
        cluster.peers.on_linked.append(self._on_linked)

    def bound(self, page_bytes: int, page_records: int) -> None:
        """Send pages of another size than the usual one, from now on."""
        self._page_bytes, self._page_records = page_bytes, page_records

    def _on_linked(self, node: bytes) -> None:
        """A new connection: what was asked on the one before is over."""
        self._walks.pop(node, None)

    def _on_pull(self, arrival: Arrival, message: PullCells, respond: Respond) -> None:
        cluster, partition = self._cluster, message.partition
        registers, resets = cluster.store.registers, cluster.store.replicas[partition].resets
        if not message.walk:
            self._count += 1
            self._walks[arrival.node] = self._count, resets, registers.keys(partition)
        number, before, keys = self._walks.get(arrival.node, (0, 0, []))
        if (message.walk and message.walk != number) or before != resets or message.at < 0:
            respond(Unable("that walk is over"))
            return
        at, room, cells = message.at, self._page_bytes, list[tuple[Key, Cell]]()
        while at < len(keys) and room > 0 and len(cells) < self._page_records:
            cell = registers.kept(keys[at])
            if cell is not None:
                cells.append((keys[at], cell))
                room -= len(cell.value) + CELL_BYTES
            at += 1
        if at >= len(keys):
            del self._walks[arrival.node]
            at = -1
        is_whole = cluster.store.replicas[partition].whole
        reply = CellsAre(cells, registers.floor(partition), number, at, is_whole)
        wal = cluster.store.wal
        wal.when_durable(wal.lsn, lambda: respond(reply))


class CellPull:
    """Joins a peer's registers of some partitions, one after another.

    :param done: called once, with the partitions of which the peer has told all that its registers hold; and with those
        among them that it did not hold all of by then, though it may have done so when its records were fetched.
    """

    def __init__(
        self, cluster: Cluster, peer: bytes, partitions: list[int], done: Callable[[set[int], set[int]], None]
    ) -> None:
        self._cluster = cluster
        self._peer = peer
        self._left = partitions[::-1]
        self._done = done
        self._pulled: set[int] = set()
        self._damaged: set[int] = set()
        self._version = cluster.version
        self._next()

    def _next(self) -> None:
        if not self._left:
            self._done(self._pulled, self._damaged)
        else:
            self._pull(self._left[-1], self._cluster.store.replicas[self._left[-1]].resets, 0, 0)

    def _pull(self, partition: int, resets: int, walk: int, at: int) -> None:
        def replied(reply: Reply) -> None:
            is_same = self._cluster.store.replicas[partition].resets == resets
            if not isinstance(reply, CellsAre) or not is_same or self._version != self._cluster.version:
                self._cluster.learn(reply)
                self._done(set(), set())
                return
            if not reply.is_whole:
                sometimes("registers come from an owner that does not hold all of them")
                self._damaged.add(partition)
            self._join(partition, reply)
            if reply.at > at:
                sometimes("registers come in several pages")
                self._pull(partition, resets, reply.walk, reply.at)
            else:
                if reply.at < 0:
                    self._pulled.add(partition)
                self._left.pop()
                self._next()

        message = PullCells(self._cluster.version, partition, walk, at)
        self._cluster.links.call(self._peer, message, replied, timeout_s=PULL_TIMEOUT_S)

    def _join(self, partition: int, reply: CellsAre) -> None:
        store = self._cluster.store
        if not floor_flaw(reply.floor):
            store.registers.raise_floor(partition, reply.floor)
        for key, cell in reply.cells:
            flaw = cell_flaw(key, cell) or ("" if partition_of(*key) == partition else "it is of another partition")
            if flaw:
                self._cluster.links.refuse_record(self._peer, flaw)
            else:
                sometimes("a register is joined from another owner")
                store.registers.join(key, cell)
