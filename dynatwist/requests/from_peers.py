"""What other nodes ask of an owner: to keep a record, to say what it holds, to carry a request out for them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping

import msgspec
from twisted.logger import Logger

from dynatwist.calls import call_each
from dynatwist.cluster.cluster import Cluster
from dynatwist.cluster.fetch import answer_fetch
from dynatwist.cluster.switchboard import Respond
from dynatwist.metrics import LAG_BUCKETS_S, Durations
from dynatwist.model.record import Key
from dynatwist.model.records import Packed, value_of
from dynatwist.model.ring import is_system_table, partition_of
from dynatwist.net.arrival import Arrival
from dynatwist.net.messages import Done, DotHeld, Fetch, Forward, Outcome, ReadDot, Replicate, Unable
from dynatwist.replication.followed import Followed
from dynatwist.replication.forwarding import FORWARD_TIMEOUT_S, NOTHING_DONE
from dynatwist.replication.request import BEHIND, ENCODER, Code, Operation, Result
from dynatwist.sometimes import sometimes
from dynatwist.tracing.tracer import TRACEPARENT

from .candidates import Candidates
from .deciding import FORGOTTEN
from .forwarding import CarryOut, OnResult, Origin, read_forwarded
from .traced import in_traces
from .writes import records_of

RECENT_OPS = 20_000
"""Answers that are remembered, without their records: a megabyte or two."""
RECENT_S = 2 * FORWARD_TIMEOUT_S
"""Nobody asks again after that."""
FAILURES = (*NOTHING_DONE, Code.UNCERTAIN)
"""What clients are told of by 5xx."""


class FromPeers:
    """See the module.

    :param candidates: who else could carry it out.
    :param carry_out: carries out what is forwarded.
    :ivar lag: how old writes were when they came here.
    """

    log = Logger()

    def __init__(self, cluster: Cluster, candidates: Candidates, carry_out: CarryOut) -> None:
        self._cluster = cluster
        self._candidates = candidates
        self._carry_out = carry_out
        self.lag = Durations(LAG_BUCKETS_S)
        self._followed = Followed()
        self._recent: OrderedDict[bytes, tuple[float, list[OnResult] | Result]] = OrderedDict()
        cluster.peers.on_call(Replicate, self._on_replicate)
        cluster.peers.on_call(ReadDot, self._on_read_dot)
        cluster.peers.on_call(Fetch, lambda arrival, message, respond: answer_fetch(cluster, message, respond))
        cluster.peers.on_call(Forward, self._on_forward)

    def _on_replicate(self, arrival: Arrival, message: Replicate, respond: Respond) -> None:
        cluster = self._cluster
        respond = in_traces(cluster.runtime.tracer, "owner.replicate", message.traces, respond)
        if arrival.is_late(message.deadline_ms):
            respond(Unable("too late"))
            return
        if not all(cluster.ownership.owns(partition_of(*key)) for key, _ in message.writes):
            respond(Unable("not an owner"))
            return
        records, flaw = records_of(message, cluster.store)
        if flaw:
            cluster.links.refuse_record(arrival.node, flaw)
            respond(Unable(f"a record is refused: {flaw}"))
            return
        if cluster.store.wal.is_behind:
            sometimes("a replicated write is refused since this node's log is behind")
            respond(Unable(BEHIND))
            return
        wal = cluster.store.wal
        full = wal.refusal(adds=True)
        if full and (wal.stuck or any(_takes_room(key, packed) for key, packed in message.writes)):
            sometimes("a peer's write is refused for want of room on the disk")
            respond(Unable(full))
            return
        now_ms = cluster.store.wall_ms()
        for (key, packed), (record, written_ms) in zip(message.writes, records, strict=True):
            self.lag.add(max(0, now_ms - written_ms) / 1000)
            cluster.store.merge(key, record, packed)
        cluster.store.wal.when_durable(cluster.store.wal.lsn, lambda: respond(Done()))

    def _on_read_dot(self, arrival: Arrival, message: ReadDot, respond: Respond) -> None:
        """What is held now, once it is durable; what comes meanwhile may not be."""
        store = self._cluster.store
        held = store.held(message.key)
        written = store.requests.became(message.op) if message.op else None
        has_met = bool(message.op) and store.requests.knows(message.op)
        whole = store.replica_of(message.key).whole
        answer = DotHeld(held.dot if held is not None else None, whole, written, has_met)
        store.readable.when_key(message.key, lambda: respond(answer))

    def _on_forward(self, arrival: Arrival, message: Forward, respond: Respond) -> None:
        if arrival.is_late(message.deadline_ms):
            respond(Unable("too late"))
            return
        operation, flaw = read_forwarded(message)
        if operation is None:
            respond(Unable(f"a request is refused: {flaw}"))
            return
        partition, me = partition_of(*operation.key), self._cluster.me.node_id
        if not self._cluster.standing.may_coordinate(partition):
            respond(Unable("not ready"))
            return
        if operation.is_conditional and self._candidates.others_go_first(partition, me):
            respond(Unable("others go first"))  # the asker has not heard of it, or is of an older release
            return
        _, known = self._recent.get(message.op, (0.0, None))
        if isinstance(known, Result):
            respond(Outcome(ENCODER.encode(self._again(message.op, known))))
            return

        def respond_with(result: Result) -> None:
            if result.code is Code.OVERLOADED:  # nothing was done; nodes of the release before know no such code
                respond(Unable(BEHIND))
            else:
                respond(Outcome(ENCODER.encode(result)))

        answer = self._telling(operation, arrival.node, respond_with) if operation.followed else respond_with
        if operation.trace and self._cluster.runtime.tracer.is_on:
            operation, answer = self._tracing(operation, answer)
        if known is not None:
            known.append(answer)
            return
        now_s = self._cluster.runtime.monotonic_s()
        until_s = now_s + message.deadline_ms / 1000 - arrival.age_ms / 1000
        origin = Origin(message.op, message.created, message.in_doubt, message.after_ms, until_s)
        answering = self._remembering(message.op, now_s, answer) if operation.is_write else answer
        self._carry_out(operation, origin, answering)

    def _telling(self, operation: Operation, asker: bytes, answer: OnResult) -> OnResult:
        """Say in the log what becomes of a request that is followed."""
        began_s = self._cluster.runtime.monotonic_s()

        def told(result: Result) -> None:
            now_s, is_failure = self._cluster.runtime.monotonic_s(), result.code in FAILURES
            took_s = now_s - began_s
            if self._followed.is_logged(operation.followed, is_failure=is_failure, took_s=took_s, now_s=now_s):
                self.log.info(
                    "request {request}: {kind} for {asker} is {code} after {took_ms:.1f} ms",
                    request=operation.followed,
                    kind=operation.kind.value,
                    asker="{}:{}".format(*(self._cluster.links.address(asker) or ("?", "?"))),
                    code=result.code.value,
                    took_ms=1000 * took_s,
                )
            answer(result)

        return told

    def _tracing(self, operation: Operation, answer: OnResult) -> tuple[Operation, OnResult]:
        """Have what is done here for a request be a part of its trace, and what others do for that a part of this."""
        name = f"owner.{operation.kind.value}"
        span = self._cluster.runtime.tracer.begin(name, {TRACEPARENT: operation.trace})
        if span is None:
            return operation, answer
        told = {"dynakv.table": operation.key[0], "dynakv.level": operation.level.value}
        if operation.followed:
            told["dynakv.request_id"] = operation.followed

        def ended(result: Result) -> None:
            span.end({**told, "dynakv.code": result.code.value}, is_failure=result.code in FAILURES)
            answer(result)

        return msgspec.structs.replace(operation, trace=span.traceparent), ended

    def _again(self, op: bytes, known: Result) -> Result:
        """The answer to a request that was answered already; it was remembered without its record."""
        if known.code not in (Code.OK, Code.UNCERTAIN):
            return known
        record = self._cluster.store.requests.became(op)
        return FORGOTTEN if record is None else Result(known.code, record, known.replicas, known.text)

    @property
    def answers(self) -> Mapping[bytes, tuple[float, list[OnResult] | Result]]:
        """Of forwarded requests, by their ids: when they came, and who waits or what was answered."""
        return self._recent

    def sweep(self) -> None:
        """Forget the answers that nobody can ask for again; to be called every second."""
        oldest_s = self._cluster.runtime.monotonic_s() - RECENT_S
        recent = self._recent
        while recent and (len(recent) > RECENT_OPS or next(iter(recent.values()))[0] < oldest_s):
            recent.popitem(last=False)

    def _remembering(self, op: bytes, now_s: float, answer: OnResult) -> OnResult:
        """Whoever asks again with the same id gets the same answer."""
        waiting = [answer]
        recent = self._recent
        recent[op] = (now_s, waiting)
        if len(recent) > RECENT_OPS:
            self.sweep()

        def finished(result: Result) -> None:
            if op in recent:
                recent[op] = (now_s, msgspec.structs.replace(result, record=None))
            call_each(waiting, result)

        return finished


def _takes_room(key: Key, packed: Packed) -> bool:
    """Whether a write that another owner coordinates takes room on the disk for good: not a user's change."""
    return not is_system_table(key[0]) and value_of(packed) is not None
