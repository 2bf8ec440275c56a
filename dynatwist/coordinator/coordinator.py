"""The coordinator: carries out requests on keys as one of their owners, or forwards them to one (see `forwarding`).

PATCH and conditional writes go through the first reachable owner: exact while owners agree on who is reachable;
otherwise both may succeed, and one of them loses the merge.
"""

from __future__ import annotations

from collections import OrderedDict

from twisted.internet.defer import Deferred, succeed

from dynatwist.model.record import Draft, LineageFull, Record
from dynatwist.model.ring import partition_of
from dynatwist.net.messages import (
    Done,
    DotHeld,
    Fetch,
    Fetched,
    Forward,
    Outcome,
    ReadDot,
    Replicate,
    Unable,
)
from dynatwist.replication.quorum import Level, Tally
from dynatwist.runtime import cancel

from .cluster import Cluster, Respond
from .forwarding import FORWARD_TIMEOUT_S, HERE, Forwarding, Origin
from .mergepatch import patched
from .reads import ReadRun
from .request import ENCODER, OPERATION, Code, Kind, Operation, Result, etag
from .rounds import Round, summaries_of
from .writes import WriteRun

RECENT_OPS = 20_000
CATCH_UP_TIMEOUT_S = 2.0
RECENT_S = 2 * FORWARD_TIMEOUT_S


class Coordinator:
    """See the module.

    :param max_value_bytes: bounds the result of a patch.
    :param max_store_bytes: bound on memory, beyond which writes that add are refused.
    """

    def __init__(self, cluster: Cluster, max_value_bytes: int, max_store_bytes: int) -> None:
        self.cluster = cluster
        self._max_value_bytes = max_value_bytes
        self._max_store_bytes = max_store_bytes
        self._recent: OrderedDict[bytes, tuple[float, Deferred[Result] | Result]] = OrderedDict()
        cluster.on_call(Replicate, self._on_replicate)
        cluster.on_call(ReadDot, self._on_read_dot)
        cluster.on_call(Fetch, self._on_fetch)
        cluster.on_call(Forward, self._on_forward)

    # Where a request goes

    def execute(self, operation: Operation) -> Deferred[Result]:
        """Carry out a request, here or at another owner. The Deferred never fails."""
        partition = partition_of(*operation.key)
        cluster = self.cluster
        if cluster.may_coordinate(partition) and not self._somebody_is_before(operation, partition):
            return self._carry_out(operation, HERE)
        return Forwarding(cluster, lambda: self.candidates(partition), self._carry_out, operation).result

    def _somebody_is_before(self, operation: Operation, partition: int) -> bool:
        return operation.is_conditional and self.candidates(partition)[:1] != [self.cluster.me.node_id]

    def candidates(self, partition: int) -> list[bytes]:
        """The owners that can carry out a request now, in the order of the preference list."""
        cluster = self.cluster
        registry = cluster.registry
        if registry is None:
            return []
        able: list[bytes] = []
        for owner in registry.old_owners(partition) or registry.owners(partition):
            if owner == cluster.me.node_id:
                if cluster.may_coordinate(partition):
                    able.append(owner)
            elif cluster.is_whole_at(owner, partition) and cluster.peer_status[owner].ready:
                able.append(owner)
        return able

    # Carrying out

    def _carry_out(self, operation: Operation, origin: Origin) -> Deferred[Result]:
        if self._has_seen(operation):
            return self._carry_out_now(operation, origin)

        def caught_up(_: None) -> Result | Deferred[Result]:
            if self._has_seen(operation):
                return self._carry_out_now(operation, origin)
            return Result(Code.UNAVAILABLE, text="what the causal token names is on no replica that can be reached")

        return self._catch_up(partition_of(*operation.key)).addCallback(caught_up)

    def _has_seen(self, operation: Operation) -> bool:
        """Whether this replica has merged what the request's causal token names."""
        clock = self.cluster.store.replica_of(operation.key).clock
        return all(clock.covers(dot) for dot in operation.seen)

    def _catch_up(self, partition: int) -> Deferred[None]:
        """A round with every reachable owner; not longer than a client may be kept waiting."""
        cluster = self.cluster
        done: Deferred[None] = Deferred()
        owners = [owner for owner in cluster.owners(partition) if cluster.links.is_reachable(owner)]
        waiting = len(owners)

        def over() -> None:
            cancel(timer)
            if not done.called:
                done.callback(None)

        def finished(ok: bool, whole: set[int]) -> None:
            nonlocal waiting
            waiting -= 1
            if not waiting:
                over()

        timer = cluster.runtime.clock.callLater(CATCH_UP_TIMEOUT_S, over)
        if not owners:
            over()
        for owner in owners:
            Round(cluster, owner, summaries_of(cluster, [partition]), finished)
        return done

    def _carry_out_now(self, operation: Operation, origin: Origin) -> Deferred[Result]:
        if operation.kind is Kind.GET:
            return self._get(operation)
        held = self.cluster.store.held(operation.key)
        fresh = held is not None and not held.is_dead(self.cluster.store.wall_ms())
        if fresh and not operation.is_conditional and not origin.in_doubt:
            return self._write(operation, origin)
        # Nothing is held, or a condition or a doubt depends on it: a stale replica must not decide alone.
        refreshed: Deferred[Result] = Deferred()

        def read(reached: bool, replicas: str, found: Record | None) -> None:
            self._write(operation, origin).chainDeferred(refreshed)

        ReadRun(self.cluster, operation.key, Level.QUORUM, read, origin.op if origin.in_doubt else b"")
        return refreshed

    def _get(self, operation: Operation) -> Deferred[Result]:
        done: Deferred[Result] = Deferred()

        def read(reached: bool, replicas: str, found: Record | None) -> None:
            if not reached:
                done.callback(Result(Code.UNAVAILABLE, None, replicas, "not enough replicas can be reached"))
            elif found is None or found.is_dead(self.cluster.store.wall_ms()):
                done.callback(Result(Code.ABSENT, None, replicas))
            else:
                done.callback(Result(Code.OK, found, replicas))

        ReadRun(self.cluster, operation.key, operation.level, read)
        return done

    def _write(self, operation: Operation, origin: Origin) -> Deferred[Result]:
        """Check and write in one go: nothing can come between."""
        store = self.cluster.store
        done: Deferred[Result] = Deferred()
        held = store.held(operation.key)
        if origin.op and held is not None and held.op == origin.op:
            return self._replicate(operation, held, done)
        written = store.written_by(origin.op) if origin.in_doubt else None
        if written is not None:
            return self._replicate(operation, written, done)
        if held is not None and held.is_dead(store.wall_ms()):
            held = None
        if self.cluster.runtime.monotonic_s() > origin.until_s:
            return succeed(Result(Code.UNAVAILABLE, text="the request came too late to be carried out"))
        refusal = self._refusal(operation, held)
        if refusal is not None:
            return succeed(refusal)
        value: bytes | None = operation.value
        if operation.kind is Kind.PATCH:
            assert held is not None
            value = patched(held.value or b"{}", operation.value)
            if len(value) > self._max_value_bytes:
                return succeed(Result(Code.TOO_LARGE, text=f"the merged value exceeds {self._max_value_bytes} bytes"))
        elif operation.kind is Kind.DELETE:
            value = None
        elif store.size_bytes + len(operation.value) > self._max_store_bytes:
            return succeed(Result(Code.FULL, text="this node's memory limit is reached; delete something first"))
        expires_ms = store.wall_ms() + operation.ttl_ms if operation.ttl_ms and value is not None else 0
        if operation.kind is Kind.PATCH and held is not None and not operation.ttl_ms:
            expires_ms = held.expires_ms
        try:
            store.clock.see_ms(origin.after_ms)
            record = store.write(operation.key, Draft(value, operation.uid, expires_ms, origin.op, origin.created))
        except LineageFull:
            text = "the key was deleted and created too often in a short time; try again later"
            return succeed(Result(Code.CONFLICT, text=text))
        return self._replicate(operation, record, done)

    def _refusal(self, operation: Operation, held: Record | None) -> Result | None:
        """Why a write is refused before anything is done, or ``None``."""
        cluster = self.cluster
        if cluster.wall_refusal:
            return Result(Code.UNAVAILABLE, text=cluster.wall_refusal)
        if not cluster.may_coordinate(partition_of(*operation.key)):
            return Result(Code.UNAVAILABLE, text="this node is not ready to write")
        if held is not None and not operation.any_owner and held.owner != operation.uid:
            return Result(Code.FORBIDDEN, text="the key belongs to another user")
        if held is None and operation.kind is not Kind.PUT:
            code = Code.PRECONDITION if operation.if_match else Code.ABSENT
            return Result(code, text="there is no such key")
        if operation.if_none_match and held is not None:
            return Result(Code.PRECONDITION, held, text="the key exists")
        if operation.if_match and (held is None or not {etag(held), "*"}.intersection(operation.if_match)):
            return Result(Code.PRECONDITION, held, text="the record is not the one named by If-Match")
        tally = Tally(operation.level, cluster.groups(partition_of(*operation.key)), cluster.is_reachable)
        reachable = {owner for owner in cluster.owners(partition_of(*operation.key)) if cluster.is_reachable(owner)}
        if not tally.can_be_reached(reachable):
            tally.answered = reachable
            return Result(
                Code.UNAVAILABLE, None, tally.text(), f"w={operation.level.value} needs more replicas than answer now"
            )
        return None

    def _replicate(self, operation: Operation, record: Record, done: Deferred[Result]) -> Deferred[Result]:
        def written(reached: bool, replicas: str) -> None:
            if reached:
                done.callback(Result(Code.OK, record, replicas))
            else:
                text = "written, but not known to be on enough replicas; it may still take effect"
                done.callback(Result(Code.UNCERTAIN, record, replicas, text))

        WriteRun(self.cluster, operation.key, record, operation.level, written)
        return done

    # Answering peers

    def _on_replicate(self, node: bytes, message: Replicate, respond: Respond) -> None:
        cluster = self.cluster
        if cluster.links.arrived_late(message.deadline_ms):
            respond(Unable("too late"))
            return
        if cluster.me.node_id not in cluster.owners(partition_of(*message.key)):
            respond(Unable("not an owner"))
            return
        cluster.store.merge(message.key, message.record)
        cluster.store.wal.when_durable(cluster.store.wal.lsn, lambda: respond(Done()))

    def _on_read_dot(self, node: bytes, message: ReadDot, respond: Respond) -> None:
        """What is held now, once it is durable; what comes meanwhile may not be."""
        store = self.cluster.store
        held = store.held(message.key)
        written = store.written_by(message.op) if message.op else None
        whole = store.replica_of(message.key).whole
        answer = DotHeld(held.dot if held is not None else None, whole, written)
        store.when_readable(message.key, lambda: respond(answer))

    def _on_fetch(self, node: bytes, message: Fetch, respond: Respond) -> None:
        store = self.cluster.store
        found = [(key, record) for key in message.keys if (record := store.held(key)) is not None]
        store.when_all_readable(lambda: respond(Fetched(found)))

    def _on_forward(self, node: bytes, message: Forward, respond: Respond) -> None:
        if self.cluster.links.arrived_late(message.deadline_ms):
            respond(Unable("too late"))
            return
        operation = OPERATION.decode(message.request)
        if not self.cluster.may_coordinate(partition_of(*operation.key)):
            respond(Unable("not ready"))
            return
        _, known = self._recent.get(message.op, (0.0, None))
        if isinstance(known, Result):
            respond(Outcome(ENCODER.encode(known)))
            return
        if known is None:
            until_s = self.cluster.runtime.monotonic_s() + message.deadline_ms / 1000
            origin = Origin(message.op, message.created, message.in_doubt, message.after_ms, until_s)
            known = self._remember(message.op, self._carry_out(operation, origin))

        def answer(result: Result) -> Result:
            respond(Outcome(ENCODER.encode(result)))
            return result

        known.addCallback(answer)

    def _remember(self, op: bytes, running: Deferred[Result]) -> Deferred[Result]:
        shared: Deferred[Result] = Deferred()
        now_s = self.cluster.runtime.monotonic_s()
        self._recent[op] = (now_s, shared)
        while len(self._recent) > RECENT_OPS or next(iter(self._recent.values()))[0] < now_s - RECENT_S:
            self._recent.popitem(last=False)

        def finished(result: Result) -> None:
            if op in self._recent:
                self._recent[op] = (now_s, result)
            shared.callback(result)

        running.addCallback(finished)
        return shared
