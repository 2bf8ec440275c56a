"""Carries out what `dynatwist.replication.forwarding` decides about a request: asks owners, waits, answers."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

import msgspec

from dynatwist.cluster.cluster import Cluster
from dynatwist.model import lease
from dynatwist.model.clock import Stamp
from dynatwist.model.flaws import (
    BEYOND,
    MAX_OP_BYTES,
    MAX_OWNER_CHARS,
    NOT_DECODED,
    is_moment,
    key_flaw,
    record_flaw,
    value_flaw,
)
from dynatwist.model.named import is_name
from dynatwist.model.ring import partition_of
from dynatwist.net.messages import Forward, Outcome, Unable
from dynatwist.net.pulse import STALL_S
from dynatwist.net.replies import NoAnswer, Reply
from dynatwist.replication.forwarding import Ask, Forwarding, Wait
from dynatwist.replication.request import BEHIND, ENCODER, OPERATION, RESULT, Code, Kind, Operation, Result, is_followed
from dynatwist.runtime import Timer, cancel
from dynatwist.sometimes import sometimes
from dynatwist.tracing.tracer import is_traceparent

from .candidates import Candidates

FORWARDED_OP_BYTES = 16
"""Of the random id of a forwarded request: two are never equal."""


class Origin(msgspec.Struct, frozen=True, array_like=True):
    """What comes with a forwarded request; nothing, of one that was asked of its owner.

    :ivar op: id of the request; a repetition is the same write.
    :ivar created: stamp of creation, if it creates the key.
    :ivar in_doubt: whether another owner was asked before, and not heard of.
    :ivar after_ms: hybrid time that its stamp has to be beyond.
    :ivar until_s: monotonic time of the owner after which it is not to write any more.
    """

    op: bytes = b""
    created: Stamp | None = None
    in_doubt: bool = False
    after_ms: int = 0
    until_s: float = float("inf")


HERE = Origin()

OnResult = Callable[[Result], None]
CarryOut = Callable[[Operation, Origin, OnResult], None]


class ForwardRun:
    """One request, from now until it is answered.

    :param candidates: the owners that could carry it out; asked anew each time.
    :param carry_out: does it here, when this node is next.
    :param done: called once with the answer.
    """

    __slots__ = (
        "_began_s", "_candidates", "_carry_out", "_cluster", "_created", "_done", "_is_over",
        "_is_stepping", "_op", "_operation", "_partition", "_request", "_timer",
    )  # fmt: skip

    def __init__(
        self,
        *,
        cluster: Cluster,
        candidates: Candidates,
        carry_out: CarryOut,
        operation: Operation,
        done: OnResult,
    ) -> None:
        self._cluster = cluster
        self._candidates = candidates
        self._carry_out = carry_out
        self._operation = operation
        self._partition = partition_of(*operation.key)
        self._done = done
        self._op = cluster.runtime.randbytes(FORWARDED_OP_BYTES)
        self._created = cluster.store.clock.stamp() if operation.is_write else None
        self._began_s = cluster.runtime.monotonic_s()
        self._request = Forwarding(
            is_write=operation.is_write,
            is_conditional=operation.is_conditional,
            now_s=self._began_s,
            flight_s=STALL_S,
        )
        self._timer: Timer | None = None
        self._is_stepping = self._is_over = False
        self._step()

    def _step(self) -> None:
        """Do what is to be done now; what happens meanwhile is looked at before this returns."""
        if self._is_stepping or self._is_over:
            return
        self._is_stepping = True
        runtime, peers = self._cluster.runtime, self._cluster.peers
        while True:
            candidates = self._candidates.of(self._partition)
            todo = self._request.next(runtime.monotonic_s(), candidates, peers.is_reachable)
            if not isinstance(todo, Ask):
                break
            self._ask(todo)
        self._is_stepping = False
        cancel(self._timer)
        if isinstance(todo, Wait):
            if todo.answer_is_known:
                sometimes("an answer to a forwarded write waits for the fence of another attempt")
            self._timer = runtime.clock.callLater(max(0.0, todo.until_s - runtime.monotonic_s()), self._step)
        else:
            self._is_over = True
            self._done(todo.result)

    def _ask(self, ask: Ask) -> None:
        cluster, node = self._cluster, ask.node
        bound_ms = cluster.links.clock_bound_ms
        after_ms = max((bound_ms(other, self._began_s) for other in ask.after), default=0)
        if node == cluster.me.node_id:
            until_s = cluster.runtime.monotonic_s() + ask.attempt_s
            origin = Origin(self._op, self._created, ask.in_doubt, after_ms, until_s)
            self._carry_out(self._operation, origin, lambda result: self._answered_here(node, result))
            return
        message = Forward(
            cluster.version,
            int(1000 * ask.attempt_s),
            self._op,
            ENCODER.encode(self._operation),
            self._created,
            ask.in_doubt,
            after_ms,
        )
        cluster.links.call(node, message, lambda reply: self._replied(node, reply), self._step)

    def _answered(self, node: bytes, result: Result) -> None:
        self._request.answer(node, result, yields=self._candidates.others_go_first(self._partition, node))

    def _answered_here(self, node: bytes, result: Result) -> None:
        self._answered(node, result)
        self._step()

    def _replied(self, node: bytes, reply: Reply) -> None:
        result = self._result_of(node, reply) if isinstance(reply, Outcome) else None
        if result is not None:
            self._answered(node, result)
        elif reply in (NoAnswer.LOST, NoAnswer.LATE) or isinstance(reply, Outcome):
            self._request.lose(node)  # carried out perhaps, and nobody can tell how it went
        elif self._cluster.learn(reply):
            self._request.outdate(node)
        elif isinstance(reply, Unable) and reply.reason == BEHIND:
            self._answered(node, Result(Code.OVERLOADED, text=BEHIND))
        else:
            self._request.refuse(node)
        self._step()

    def _result_of(self, node: bytes, reply: Outcome) -> Result | None:
        """What a peer says that the request came to; ``None`` when that is no result, or has a record with a flaw."""
        flaw = "it is no result"
        with suppress(*NOT_DECODED):
            result = RESULT.decode(reply.result)
            flaw = record_flaw(self._operation.key, result.record) if result.record is not None else ""
            if not flaw:
                return result
        self._cluster.links.refuse_record(node, flaw)
        return None


def read_forwarded(message: Forward) -> tuple[Operation | None, str]:
    """What another node asks to have carried out; or ``None``, and why that is nothing to be done."""
    try:
        operation = OPERATION.decode(message.request)
    except NOT_DECODED:
        return None, "it does not say what is to be done"
    if not (0 <= operation.ttl_ms < BEYOND and 0 <= message.after_ms < BEYOND and len(message.op) <= MAX_OP_BYTES):
        return None, "its time to live, its stamp or its id is none"
    if len(operation.uid) > MAX_OWNER_CHARS or not (message.created is None or is_moment(message.created)):
        return None, "its user or its moment of creation is none"
    if operation.name and not is_name(operation.name):
        return None, "the name of its write is none"
    if operation.lease is not None and not (operation.makes and lease.is_flawless(operation.lease)):
        return None, "the lease of its record is none"
    if operation.followed and not is_followed(operation.followed):
        return None, "the id by which it is followed is none"
    if operation.trace and not is_traceparent(operation.trace):
        return None, "the span that it belongs to is none"
    restored = operation.restored
    if restored is not None and not (operation.kind is Kind.PUT and 0 <= restored.expires_ms < BEYOND):
        return None, "the end of what it brings back is none"
    flaw = key_flaw(operation.key)
    if not flaw and operation.kind in (Kind.PUT, Kind.PATCH, Kind.KEEP):
        flaw = value_flaw(operation.value)
    return (None, flaw) if flaw else (operation, "")
