"""The coordinator: carries out requests on keys as one of their owners, or forwards them to one (see `forwarding`).

PATCH and conditional writes go through the first reachable owner: exact while owners agree on who that is;
otherwise both may succeed, and one of them loses the merge.
"""

from __future__ import annotations

import msgspec
from twisted.internet.defer import Deferred, succeed

from dynatwist.agreement.registers import Registers
from dynatwist.cluster.cluster import Cluster
from dynatwist.model.named import Named
from dynatwist.model.record import Key, Record
from dynatwist.model.records import Packed, pack
from dynatwist.model.registry import majority
from dynatwist.model.ring import partition_of
from dynatwist.replication.forwarding import FORWARD_TIMEOUT_S
from dynatwist.replication.quorum import Level, Reach
from dynatwist.replication.request import Code, Operation, Result
from dynatwist.sometimes import sometimes

from .candidates import Candidates
from .catch_up import CatchUp, has_seen
from .compare import Compares
from .deciding import Deciding
from .forwarding import HERE, ForwardRun, OnResult, Origin
from .from_peers import FromPeers
from .reads import READ_TIMEOUT_S, OnRead, ReadRun
from .strong import Strong, is_for_one
from .tables import Consistency, Tables
from .writes import Writes

SPREAD_S = 0.25
"""For others to hear of a user, a group, a token: a few round trips and syncs. Who does not, hears a little later."""
LOG_PATIENCE_S = 0.1
"""For as long ``r=one`` waits for this node's own log, before it asks any owner that has the record durably."""


class Coordinator:
    """See the module.

    :param max_value_bytes: bounds the result of a patch.
    :param max_store_bytes: bound on memory, beyond which writes that add are refused.
    :ivar tables: how records are kept.
    :ivar deciding: what a write becomes.
    :ivar candidates: who can be asked, in which order.
    :ivar from_peers: what other nodes ask.
    """

    def __init__(self, cluster: Cluster, registers: Registers, max_value_bytes: int, max_store_bytes: int) -> None:
        self.cluster = cluster
        self.tables = Tables(cluster.store)
        self._writes = Writes(cluster)
        self._compares = Compares(cluster)
        self.deciding = Deciding(cluster, self.tables, max_value_bytes, max_store_bytes)
        self._strong = Strong(cluster, registers, self.deciding)
        self.candidates = Candidates(cluster)
        self.from_peers = FromPeers(cluster, self.candidates, self._carry_out)

    def spread(self, key: Key) -> Deferred[None]:
        """Have all owners that can be reached hold what is held here; fires when they do, or after `SPREAD_S`."""
        spread: Deferred[None] = Deferred()
        packed = self.cluster.store.replica_of(key).records.packed(key)
        if packed is None:
            return succeed(None)
        until_s = self.cluster.runtime.monotonic_s() + SPREAD_S
        self._writes.replicate(key, packed, Level.ALL, lambda reach: spread.callback(None), until_s)
        return spread

    # Where a request goes

    def execute(self, operation: Operation) -> Deferred[Result]:
        """Carry out a request, here or at another owner. The Deferred never fails."""
        result: Deferred[Result] = Deferred()
        self.submit(operation, result.callback)
        return result

    def submit(self, operation: Operation, done: OnResult) -> None:
        """Carry out a request, here or at another owner.

        :param done: called once, perhaps before this returns.
        """
        partition = partition_of(*operation.key)
        if self.cluster.standing.may_coordinate(partition) and not self._is_for_others(operation, partition):
            self._carry_out(operation, HERE, done)
        else:
            ForwardRun(
                cluster=self.cluster,
                candidates=self.candidates,
                carry_out=self._carry_out,
                operation=operation,
                done=done,
            )

    def _is_for_others(self, operation: Operation, partition: int) -> bool:
        """Whether another owner has to be asked before this one, or this one cannot take in more."""
        if self.cluster.store.wal.is_behind and operation.is_write:
            sometimes("a write is forwarded since this node's log is behind")
            self.cluster.yielding.look()
            return True
        return operation.is_conditional and self.candidates.of(partition)[:1] != [self.cluster.me.node_id]

    # Carrying out

    def _carry_out(self, operation: Operation, origin: Origin, done: OnResult) -> None:
        consistency = self.tables.consistency(operation.key[0])
        # What this node knows to be closing may be open by now, as a strong table: reads go by what is agreed on.
        is_agreed = consistency is Consistency.STRONG or (consistency is Consistency.CLOSING and not operation.is_write)
        if is_agreed and not is_for_one(operation):
            self._strong.carry_out(operation, origin, done)
            return
        if consistency is Consistency.CLOSING and operation.is_write:
            done(Result(Code.UNAVAILABLE, text="the table is about to become strong; try again in a moment"))
            return
        if not operation.seen or has_seen(self.cluster, operation):
            self._carry_out_now(operation, origin, done)
            return

        def caught_up() -> None:
            if has_seen(self.cluster, operation):
                self._carry_out_now(operation, origin, done)
            else:
                text = "what the causal token names is on no replica that can be reached"
                done(Result(Code.UNAVAILABLE, text=text))

        CatchUp(self.cluster, operation, caught_up)

    def _carry_out_now(self, operation: Operation, origin: Origin, done: OnResult) -> None:
        if not operation.is_write:
            self._get(operation, done)
            return
        store = self.cluster.store
        if store.wal.stuck:
            self.cluster.yielding.look()
            done(Result(Code.FULL, text=store.wal.refusal(adds=False)))
            return
        held = store.held(operation.key)
        asked_ms = self._lapse_ms(held)
        fresh = held is not None and not held.is_dead(asked_ms)
        if fresh and not operation.is_conditional and not operation.name and not origin.in_doubt:
            self._write(operation, origin, held, done)
            return
        if origin is HERE:  # the read may wait for a log that is stuck, or slow
            origin = Origin(until_s=self.cluster.runtime.monotonic_s() + FORWARD_TIMEOUT_S)
        # Nothing is held, or a condition, a name or a doubt depends on it: a stale replica must not decide alone. What
        # a majority is to have is decided by what a majority has: what was acknowledged so before is seen.
        level = Level.MAJORITY if operation.level in (Level.MAJORITY, Level.ALL) else Level.QUORUM

        def read(reach: Reach, found: Record | None) -> None:
            if level is Level.MAJORITY and not reach.is_enough:
                done(Result(Code.UNAVAILABLE, None, str(reach), "not enough replicas can be reached to decide it"))
            elif self._is_over_only_now(store.held(operation.key), asked_ms):
                self._carry_out_now(operation, origin, done)
            else:
                knows_most = origin.in_doubt and self._is_of_a_majority(operation, reach)
                self._write(operation, origin, store.held(operation.key), done, knows_most=knows_most)

        if origin.in_doubt:
            ReadRun(cluster=self.cluster, key=operation.key, level=level, done=read, op=origin.op)
        else:
            self._read(operation.key, level, read, operation.trace)

    def _read(self, key: Key, level: Level, done: OnRead, trace: str) -> None:
        if not self.cluster.store.replica_of(key).whole:
            ReadRun(cluster=self.cluster, key=key, level=level, done=done)
        elif level is Level.ONE:
            self._read_here(key, done)
        else:
            self._compares.read(key, level, done, trace)

    def _read_here(self, key: Key, done: OnRead) -> None:
        """The owner's own replica, once what it holds now is durable; or is at another owner, if this log is slow."""
        store = self.cluster.store
        held = store.held(key)
        reach = Reach(True, 1, len(self.cluster.ownership.groups(partition_of(*key))[-1]))
        if store.readable.has(key):
            done(reach, held)
            return
        until_s = self.cluster.runtime.monotonic_s() + READ_TIMEOUT_S

        def late() -> None:
            sometimes("a read of one replica does not wait for its own log any longer")
            ReadRun(cluster=self.cluster, key=key, level=Level.ONE, done=done, until_s=until_s)

        timer = self.cluster.runtime.clock.callLater(LOG_PATIENCE_S, late)

        def readable() -> None:
            if timer.active():
                timer.cancel()
                done(reach, held)

        store.readable.when_key(key, readable)

    def _lapse_ms(self, record: Record | None) -> int:
        """The lapse, as new as it has to be to judge a record."""
        return (
            self.cluster.times.lapse_ms() if record is not None and record.expires_ms else self.cluster.store.lapse_ms
        )

    def _is_over_only_now(self, found: Record | None, asked_ms: int) -> bool:
        """Whether a record is over by what is known now, and not by what the replicas that were asked for it knew.

        The frame that carried the question told them a lapse; what is over by that one is over for every later read
        that asks a majority. What is over only by a later one is not yet: they have to be asked again.
        """
        if found is None or not asked_ms < found.expires_ms <= self._lapse_ms(found):
            return False
        sometimes("a record ended between the question and the answer")
        return True

    def _get(self, operation: Operation, done: OnResult) -> None:
        store = self.cluster.store
        asked_ms = store.lapse_ms

        def read(reach: Reach, found: Record | None) -> None:
            replicas = str(reach)
            if not reach.is_enough:
                done(Result(Code.UNAVAILABLE, None, replicas, "not enough replicas can be reached"))
            elif found is None or found.value is None:
                done(Result(Code.ABSENT, None, replicas))
            elif self._is_over_only_now(found, asked_ms):
                self._get(operation, done)
            elif found.is_dead(asked_ms):
                store.readable.when_over(found.expires_ms, lambda: done(Result(Code.ABSENT, None, replicas)))
            else:
                done(Result(Code.OK, found, replicas))

        self._read(operation.key, operation.level, read, operation.trace)

    def _is_of_a_majority(self, operation: Operation, reach: Reach) -> bool:
        """Whether a read has reached a majority of the owners; while they change, nobody counts that here."""
        groups = self.cluster.ownership.groups(partition_of(*operation.key))
        return len(groups) == 1 and reach.answered >= majority(reach.owners)

    def _write(
        self, operation: Operation, origin: Origin, held: Record | None, done: OnResult, *, knows_most: bool = False
    ) -> None:
        """Check and write in one go: nothing can come between, since `held` was looked up.

        :param knows_most: whether a majority of the owners was asked for what is held.
        """
        store = self.cluster.store
        written = self.deciding.decide(operation, origin, held, knows_most=knows_most)
        if isinstance(written, Record):
            self._replicate(operation, written, done)
        elif written.was is not None and held is not None:  # that many have it is promised anew
            self._replicate(operation, held, done, was=written.was)
        elif held is not None and 0 < held.expires_ms <= store.lapse_ms:
            store.readable.when_over(held.expires_ms, lambda: done(written))
        elif written.record is not None and not store.readable.has(operation.key):  # a crash might take it back
            done(msgspec.structs.replace(written, record=None, is_shown=False))
        else:
            done(written)

    def _replicate(self, operation: Operation, record: Record, done: OnResult, was: Named | None = None) -> None:
        def written(reach: Reach) -> None:
            if reach.is_enough:
                done(Result(Code.OK, record, str(reach), was=was))
            else:
                text = "written, but not known to be on enough replicas; it may still take effect"
                done(Result(Code.UNCERTAIN, record, str(reach), text))

        packed = self._packed(operation.key, record)
        self._writes.replicate(operation.key, packed, operation.level, written, trace=operation.trace)

    def _packed(self, key: Key, record: Record) -> Packed:
        """A record that was just written, or is held, or was superseded."""
        records = self.cluster.store.replica_of(key).records
        packed = records.packed(key)
        return packed if packed is not None and records.get(key) is record else pack(record)
