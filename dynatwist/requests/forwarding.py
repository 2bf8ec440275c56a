"""A request on its way from a node that cannot carry it out to an owner, and to the next one if need be.

The trouble is an owner that was asked and is not heard of: it may have written, and frozen. So:

- An attempt is carried out within `ATTEMPT_S` of its sending or never (`IN_DOUBT_S` for all but the first), and the
  next owner is asked only after that: two executions of one request never overlap in time, and none comes late.
- All attempts carry the id of the request. One that is asked in doubt asks the other owners first: when one of them has
  met the record that the request became already, superseded or not, that is the answer.
- All attempts carry one stamp of creation, so that a key created twice by one request was created once; and later ones
  carry a bound on the clocks of the owners asked before, so that what is written now is newer. Whatever supersedes it
  then supersedes the forgotten execution too, when that turns up.
- An answer waits until no other attempt can be carried out any more, also one whose connection was lost meanwhile.
- If all owners refuse, but one of those asked was not heard of, the truth is that nobody knows. One that hangs is
  waited for until it may not carry the request out any more, and no longer: a client does not wait for a frozen node.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

import msgspec

from dynatwist.cluster.cluster import Cluster
from dynatwist.model.clock import Stamp
from dynatwist.model.flaws import record_flaw
from dynatwist.net.link import STALL_S
from dynatwist.net.messages import AnyMessage, Forward, Outcome, Unable
from dynatwist.runtime import Timer, cancel
from dynatwist.sometimes import sometimes

from .request import BEHIND, ENCODER, RESULT, Code, Kind, Operation, Result

FORWARD_TIMEOUT_S = 1.9
"""Every client hears something within two seconds."""
ATTEMPT_S = 0.25
"""With the fence behind it, and the second owner's work, less than the half second for which a client waits at most
while one owner does not answer."""
IN_DOUBT_S = 0.5
"""An owner asked in doubt asks the others first, and has to find out by itself who of them is frozen."""
FORWARDED_OP_BYTES = 16


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


class Forwarding:
    """See the module.

    :param candidates: the owners that could carry out requests on the partition, best first, asked anew each time.
    :param carry_out: does it here, when this node is next.
    :param done: called once with the answer.
    """

    def __init__(
        self,
        cluster: Cluster,
        candidates: Callable[[], list[bytes]],
        carry_out: CarryOut,
        operation: Operation,
        done: OnResult,
    ) -> None:
        self._cluster = cluster
        self._candidates = candidates
        self._carry_out = carry_out
        self._operation = operation
        self._done = done
        self._finished = False
        runtime, store = cluster.runtime, cluster.store
        self._op = runtime.randbytes(FORWARDED_OP_BYTES)
        self._is_write = operation.kind is not Kind.GET
        self._created = store.stamp() if self._is_write else None
        self._tried: set[bytes] = set()
        self._asked: set[bytes] = set()
        self._fences: dict[bytes, float] = {}
        self._is_in_doubt = False
        self._refusal: Result | None = None
        self._answer: Result | None = None
        self._until_s = runtime.monotonic_s() + FORWARD_TIMEOUT_S
        self._timer = runtime.clock.callLater(FORWARD_TIMEOUT_S, self._give_up)
        self._pause: Timer | None = None
        self._next()

    def _next(self) -> None:
        if self._finished or self._answer is not None:
            return
        left = [node for node in self._candidates() if node not in self._tried]
        if not left and not self._asked:
            self._give_up()
            return
        if not left and (not self._is_write or any(map(self._cluster.peers.is_reachable, self._asked))):
            return  # whoever was asked will answer
        now_s = self._cluster.runtime.monotonic_s()
        fence_s = max(self._fences.values(), default=0.0) if self._is_write else 0.0
        if now_s < fence_s:
            cancel(self._pause)
            self._pause = self._cluster.runtime.clock.callLater(fence_s - now_s, self._next)
        elif left:
            self._attempt(left[0], now_s)
        else:
            sometimes("all that can be asked refused a write, and an owner that hangs is not waited for any longer")
            self._give_up()

    def _attempt(self, node: bytes, now_s: float) -> None:
        cluster = self._cluster
        after_ms = max((cluster.links.clock_bound_ms(one) for one in self._fences), default=0)
        in_doubt = bool(self._fences)
        left_s = self._until_s - now_s
        attempt_s = min(left_s, IN_DOUBT_S if in_doubt else ATTEMPT_S) if self._is_write else left_s
        self._tried.add(node)
        self._asked.add(node)
        self._fences[node] = now_s + attempt_s + STALL_S
        if node == cluster.me.node_id:
            origin = Origin(self._op, self._created, in_doubt, after_ms, now_s + attempt_s)
            self._carry_out(self._operation, origin, lambda result: self._answered(node, result))
            return
        message = Forward(
            cluster.version,
            int(1000 * attempt_s),
            self._op,
            ENCODER.encode(self._operation),
            self._created,
            in_doubt,
            after_ms,
        )
        cluster.links.call(node, message, lambda reply: self._replied(node, reply), self._next)

    def _replied(self, node: bytes, reply: AnyMessage | None) -> None:
        if isinstance(reply, Outcome):
            result = self._result_of(node, reply)
            if result is not None:
                self._answered(node, result)
                return
            reply = None  # it may have been carried out, and nobody knows how it went
        self._asked.discard(node)
        if reply is None:
            self._is_in_doubt = True
        else:
            self._fences.pop(node, None)
            if isinstance(reply, Unable) and reply.reason == BEHIND:
                self._refusal = Result(Code.OVERLOADED, text=BEHIND)
        if self._cluster.learn(reply):
            self._tried.discard(node)
        if self._answer is not None and not self._finished:
            self._answer_when_safe()
        self._next()

    def _result_of(self, node: bytes, reply: Outcome) -> Result | None:
        """What a peer says that the request came to; ``None`` when that is no result, or has a record with a flaw."""
        flaw = "it is no result"
        with suppress(msgspec.MsgspecError, RecursionError):
            result = RESULT.decode(reply.result)
            flaw = record_flaw(self._operation.key, result.record) if result.record is not None else ""
            if not flaw:
                return result
        self._cluster.links.refuse_record(node, flaw)
        return None

    def _answered(self, node: bytes, result: Result) -> None:
        self._asked.discard(node)
        self._fences.pop(node, None)
        if self._finished:
            return
        if self._answer is not None:
            if result.code is Code.OK:  # the first answer may have been a refusal; this attempt has written
                self._answer = result
            self._answer_when_safe()
        elif result.code in (Code.UNAVAILABLE, Code.OVERLOADED, Code.FULL):
            # nothing was done there; another owner may be better off
            self._refusal = result
            self._next()
        else:
            self._answer = result
            self._answer_when_safe()

    def _answer_when_safe(self) -> None:
        assert self._answer is not None
        now_s = self._cluster.runtime.monotonic_s()
        fence_s = max(self._fences.values(), default=0.0)
        cancel(self._pause)
        if self._is_write and now_s < fence_s:
            sometimes("an answer to a forwarded write waits for the fence of another attempt")
            self._pause = self._cluster.runtime.clock.callLater(fence_s - now_s, self._answer_when_safe)
        else:
            self._finish(self._answer)

    def _give_up(self) -> None:
        if not self._finished:
            nobody = Result(Code.UNAVAILABLE, text="no owner of the key can be reached and is ready")
            self._finish(self._answer or self._refusal or nobody)

    def _finish(self, result: Result) -> None:
        cancel(self._timer)
        cancel(self._pause)
        if self._is_write and result.code is not Code.OK and (self._asked or self._is_in_doubt):
            text = "an owner of the key did not answer in time; the write may still take effect"
            result = Result(Code.UNCERTAIN, None, result.replicas, text)
        self._finished = True
        self._done(result)
