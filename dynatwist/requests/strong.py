"""Requests on strong tables: each key is a register, so what clients see happens one after another.

A majority of the owners decides about each write and each read. So nothing is done where no majority can be reached,
and nothing that was acknowledged is lost as long as a majority of the owners keeps its disks.
"""

from __future__ import annotations

import msgspec

from dynatwist.agreement.registers import Registers
from dynatwist.agreement.rewriting import Rewriting
from dynatwist.agreement.run import Run
from dynatwist.agreement.turns import Ended
from dynatwist.cluster.cluster import Cluster
from dynatwist.model.record import Draft, Record
from dynatwist.model.ring import partition_of
from dynatwist.replication.quorum import Level
from dynatwist.replication.request import Code, Kind, Operation, Result
from dynatwist.sometimes import sometimes

from .deciding import FORGOTTEN, Deciding
from .forwarding import OnResult, Origin

TIMEOUT_S = 1.5
"""For one request: many round trips, and two groups of a log on a disk that takes half a second for each."""
NOT_EPHEMERAL = "ephemeral records are not for strong tables: that they end is not agreed on; use a lock, or a ttl"
NO_MAJORITY = "a majority of the key's owners cannot be reached, and the table is strong"


class Strong:
    """See the module."""

    def __init__(self, cluster: Cluster, registers: Registers, deciding: Deciding) -> None:
        self._cluster = cluster
        self._registers = registers
        self._deciding = deciding

    def carry_out(self, operation: Operation, origin: Origin, done: OnResult) -> None:
        """Carry out a request as an owner.

        :param done: called once.
        """
        if operation.is_write and operation.level in (Level.ONE, Level.ALL):
            text = f"w={operation.level.value} is not for a strong table, which is written by a majority; leave w out"
            done(Result(Code.MALFORMED, text=text))
        elif operation.lease is not None:
            done(Result(Code.MALFORMED, text=NOT_EPHEMERAL))
        elif operation.is_write:
            _Write(self._cluster, self._registers, self._deciding, operation, origin, done).begin()
        else:
            self._read(operation, done)

    def _read(self, operation: Operation, done: OnResult) -> None:
        cluster = self._cluster
        asked_ms = cluster.store.lapse_ms

        def ended(end: Ended) -> None:
            replicas = reach_of(cluster, operation, end)
            record = end.record
            if end.chosen is None:
                done(Result(Code.UNAVAILABLE, None, replicas, NO_MAJORITY))
            elif record is None or record.value is None:
                done(Result(Code.ABSENT, None, replicas))
            elif asked_ms < record.expires_ms <= cluster.times.lapse_ms():
                sometimes("a record of a strong table ended between the question and the answer")
                self._read(operation, done)
            elif record.is_dead(asked_ms):
                cluster.store.readable.when_over(record.expires_ms, lambda: done(Result(Code.ABSENT, None, replicas)))
            else:
                done(Result(Code.OK, record, replicas))

        self._registers.read(operation.key, cluster.runtime.monotonic_s() + TIMEOUT_S, ended)


class _Write:
    """One write, until it is chosen, refused by what is chosen, or nobody knows."""

    def __init__(
        self,
        cluster: Cluster,
        registers: Registers,
        deciding: Deciding,
        operation: Operation,
        origin: Origin,
        done: OnResult,
    ) -> None:
        self._cluster = cluster
        self._registers = registers
        self._deciding = deciding
        self._operation = operation
        self._origin = origin
        self._done = done
        self._refusal: Result | None = None
        self._asked_ms = 0
        self._run: Run | None = None
        self._rewriting: Rewriting | None = None

    def begin(self) -> None:
        """Ask the owners; what this node would refuse by what it knows is read first, which costs them less."""
        cluster, operation = self._cluster, self._operation
        self._asked_ms = cluster.store.lapse_ms
        known = self._known()
        is_plain = not operation.is_conditional and self._registers.is_steady(operation.key)  # hardly ever refused
        if self._origin.in_doubt or is_plain or self._draft(known) is not None:
            self._propose(known)
            return

        def looked(end: Ended) -> None:
            if end.chosen is not None and self._draft(end.record) is not None:
                sometimes("what an owner would refuse is granted by what is chosen")
                self._propose(self._known())
            else:
                self._answer(end, None)

        self._registers.read(operation.key, cluster.runtime.monotonic_s() + TIMEOUT_S, looked)

    def _known(self) -> Record | None:
        """What this node has accepted, which may be old."""
        registers, key = self._cluster.store.registers, self._operation.key
        value = registers.cell(key).value
        return registers.record(key, value) if value else None

    def _propose(self, known: Record | None) -> None:
        cluster, operation, origin = self._cluster, self._operation, self._origin
        self._rewriting = rewriting = Rewriting(cluster.store, operation.key, self._draft)
        until_s = cluster.runtime.monotonic_s() + TIMEOUT_S
        op = origin.op if origin.in_doubt else b""
        has_end = known is not None and known.expires_ms > 0  # whether it is over, others may know better
        self._run = self._registers.enter(operation.key, rewriting, until_s, self._ended, op=op, asks_first=has_end)
        self._run.begin()

    def _draft(self, held: Record | None) -> Draft | None:
        """What is to be written over what is held, by what a majority has; or nothing, and why."""
        origin = self._origin
        self._refusal = None
        if origin.op and held is not None and held.op == origin.op:
            self._refusal = Result(Code.OK, held)  # another proposer has made it
        elif (again := self._deciding.made_before(self._operation, held)) is not None:
            self._refusal = again
        elif self._run is not None and self._run.was_met:
            self._refusal = FORGOTTEN
        else:
            drafted = self._deciding.draft(self._operation, origin, held)
            if isinstance(drafted, Draft):  # the moments of creations go by what is agreed on, not by attempts
                return msgspec.structs.replace(drafted, created=None, may_have_created=False)
            self._refusal = drafted
        return None

    def _ended(self, end: Ended) -> None:
        assert self._rewriting is not None
        self._answer(end, self._rewriting.result(end))

    def _answer(self, end: Ended, mine: Record | None) -> None:
        """Answer by what is chosen.

        :param mine: what this request has made of it.
        """
        cluster, operation = self._cluster, self._operation
        replicas = reach_of(cluster, operation, end)
        if mine is not None:
            self._done(Result(Code.OK, mine, replicas))
            return
        found = end.record
        if end.chosen is None and end.in_doubt:
            self._done(Result(Code.UNCERTAIN, None, replicas, "no majority of the owners has answered in time; look"))
        elif end.chosen is None:
            self._done(Result(Code.UNAVAILABLE, None, replicas, NO_MAJORITY))
        elif found is not None and self._asked_ms < found.expires_ms <= cluster.times.lapse_ms():
            sometimes("what a write on a strong table was refused for has ended meanwhile")
            self.begin()
        else:
            refusal = self._refusal or Result(Code.UNAVAILABLE, text=NO_MAJORITY)
            self._done(msgspec.structs.replace(refusal, replicas=replicas))


def reach_of(cluster: Cluster, operation: Operation, end: Ended) -> str:
    """``REACHED/OWNERS``, for people."""
    groups = cluster.ownership.groups(partition_of(*operation.key))
    return f"{end.reached}/{len(groups[-1]) if groups else 0}"


def is_for_one(operation: Operation) -> bool:
    """Whether a request asks for what one owner has, perhaps old."""
    return operation.kind is Kind.GET and operation.level is Level.ONE
