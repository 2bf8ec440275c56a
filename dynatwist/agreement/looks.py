"""Reads of registers that all owners agree on, as nearly all do: one digest asks about all keys of a turn.

Where a majority of the owners has accepted the same under the same ballots as this node, durably, that is chosen (see
LOOK in `dynatwist.replication.proposal`). Where an owner differs, or too few answer, the key is read by itself.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from hashlib import blake2b

from dynatwist.calls import call_safely
from dynatwist.cluster.cluster import Cluster
from dynatwist.cluster.switchboard import Respond
from dynatwist.model.record import Key
from dynatwist.model.records import Packed, name_of
from dynatwist.model.registry import is_majority_of_each
from dynatwist.model.ring import partition_of
from dynatwist.net.arrival import Arrival
from dynatwist.net.messages import CompareCells, Done, Held, Unable
from dynatwist.net.replies import Reply
from dynatwist.replication.register import Cell
from dynatwist.runtime import cancel
from dynatwist.sometimes import sometimes

from .voting import Voting

TIMEOUT_S = 0.4
"""For the short way; a read has more than a second, and goes the long way then."""
MAX_KEYS = 256
"""In one message: whoever gets it is busy with it for less than a millisecond."""

Groups = tuple[tuple[bytes, ...], ...]
OnLooked = Callable[[Packed | None, frozenset[bytes]], None]
"""(what is chosen, empty for nothing, or ``None`` when that is to be asked the long way; who said so)."""


def cell_name(cell: Cell) -> bytes:
    """A few bytes that are equal for cells with the same value, accepted under the same ballot."""
    ms, counter, actor = cell.accepted
    return b"%b%b%b%b" % (ms.to_bytes(8), counter.to_bytes(8), actor.ljust(16, b"\0"), name_of(cell.value or None))


def digest_of(names: list[bytes]) -> bytes:
    """Sixteen bytes that are equal for equal lists of names."""
    hashed = blake2b(digest_size=16)
    for name in names:
        hashed.update(len(name).to_bytes(2))
        hashed.update(name)
    return hashed.digest()


class Looks:
    """Gathers the reads of a turn; answers those of peers."""

    def __init__(self, cluster: Cluster, voting: Voting) -> None:
        self._cluster = cluster
        self._voting = voting
        self._open: dict[Groups, _LookRun] = {}
        cluster.peers.on_call(CompareCells, self._on_compare)

    def look(self, key: Key, looked: OnLooked) -> None:
        """Read a register.

        :param looked: called once.
        """
        partition = partition_of(*key)
        if not self._voting.votes_on(partition):
            looked(None, frozenset())
            return
        groups = self._cluster.ownership.groups(partition)
        run = self._open.get(groups)
        if run is None:
            if not self._open:
                self._cluster.runtime.at_turn_end(self._begin)
            run = self._open[groups] = _LookRun(self._cluster, groups)
        run.add(key, looked)
        if len(run) >= MAX_KEYS:
            del self._open[groups]
            run.begin()

    def _begin(self) -> None:
        runs, self._open = self._open, {}
        for run in runs.values():
            run.begin()

    def _on_compare(self, arrival: Arrival, message: CompareCells, respond: Respond) -> None:
        """What is accepted now, once it is durable."""
        store = self._cluster.store
        if not all(self._voting.votes_on(partition_of(*key)) for key in message.keys):
            respond(Unable("does not vote on all of them"))
            return
        names = [cell_name(store.registers.cell(key)) for key in message.keys]
        answer = Done() if digest_of(names) == message.digest else Held(list(names))
        store.wal.when_durable(store.wal.lsn, lambda: respond(answer))


class _LookRun:
    """Some reads of one set of owners."""

    __slots__ = (
        "_cluster", "_groups", "_is_over", "_names", "_same", "_timer", "_values", "_version", "_waited", "reads",
    )  # fmt: skip

    def __init__(self, cluster: Cluster, groups: Groups) -> None:
        self._cluster = cluster
        self._groups = groups
        self._version = cluster.version
        self.reads: list[tuple[Key, OnLooked] | None] = []
        self._names: list[bytes] = []
        self._values: list[Packed] = []
        self._same: set[bytes] = set()
        self._waited: set[bytes] = set()
        self._is_over = False
        self._timer = cluster.runtime.clock.callLater(TIMEOUT_S, self._leave_all)

    def __len__(self) -> int:
        return len(self.reads)

    def add(self, key: Key, looked: OnLooked) -> None:
        """One more, before it begins."""
        self.reads.append((key, looked))

    def begin(self) -> None:
        """Note what is accepted here, and ask who has accepted the same."""
        cluster = self._cluster
        if cluster.version != self._version:
            self._leave_all()
            return
        keys = [read[0] for read in self.reads if read is not None]
        cells = [cluster.store.registers.cell(key) for key in keys]
        self._names, self._values = [cell_name(cell) for cell in cells], [cell.value for cell in cells]
        message = CompareCells(cluster.version, keys, digest_of(self._names))
        me = cluster.me.node_id
        for owner in sorted({owner for group in self._groups for owner in group}):
            if owner == me or cluster.links.is_reachable(owner):
                self._waited.add(owner)
        for owner in sorted(self._waited - {me}):
            cluster.links.call(owner, message, self._heard_of(owner), partial(self._lost, owner), TIMEOUT_S)
        wal = cluster.store.wal
        wal.when_durable(wal.lsn, lambda: self._agrees(me))
        self._check()

    def _heard_of(self, owner: bytes) -> Callable[[Reply], None]:
        def heard(reply: Reply) -> None:
            if self._is_over:
                return
            if self._version != self._cluster.version:
                self._leave_all()
            elif isinstance(reply, Done):
                self._agrees(owner)
            elif isinstance(reply, Held) and len(reply.names) == len(self.reads):
                self._leave([index for index, name in enumerate(reply.names) if name != self._names[index]])
                self._agrees(owner)
            else:
                self._cluster.learn(reply)
                self._lost(owner)

        return heard

    def _lost(self, owner: bytes) -> None:
        self._waited.discard(owner)
        self._check()

    def _agrees(self, owner: bytes) -> None:
        self._same.add(owner)
        self._check()

    def _check(self) -> None:
        if self._is_over:
            return
        if is_majority_of_each(self._same, self._groups):
            self._finish()
        elif not is_majority_of_each(self._waited | self._same, self._groups):
            self._leave_all()

    def _finish(self) -> None:
        self._end()
        acceptors = frozenset(self._same)
        for read, value in zip(self.reads, self._values, strict=True):
            if read is not None:
                call_safely(read[1], value, acceptors)

    def _leave(self, indices: list[int]) -> None:
        """Read these the long way."""
        for index in indices:
            read, self.reads[index] = self.reads[index], None
            if read is not None:
                sometimes("a register is read the long way")
                call_safely(read[1], None, frozenset())

    def _leave_all(self) -> None:
        if not self._is_over:
            self._end()
            self._leave(list(range(len(self.reads))))

    def _end(self) -> None:
        self._is_over = True
        cancel(self._timer)
