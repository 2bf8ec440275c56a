"""A batch: many operations of one request, begun as turns of the reactor allow, each with an outcome of its own."""

from __future__ import annotations

import msgspec
from msgspec import UNSET
from twisted.internet.defer import Deferred

from dynatwist.auth.tokens import Identity
from dynatwist.errors import ApiError
from dynatwist.model.flaws import NOT_DECODED
from dynatwist.replication.quorum import Level
from dynatwist.replication.request import Kind, Operation

from .intake import Intake
from .limits import MAX_TTL_S, Limits, check_depth
from .record_door import Outcome, RecordDoor, Terms
from .shapes.records import Op
from .views import tag_of_written, version_of_written

STEP = 16
"""Operations begun between two looks at the clock."""
STEP_BYTES = 64 << 10
"""And so much of them, or one that is longer."""


_OP = msgspec.json.Decoder(Op)
_SHAPE = (
    'an operation is {"op": "put" or "delete", "key": string, "value"?, "ttl"?: seconds, "if_none_match"?: true, '
    f'"idempotency_key"?}}; a ttl is at most {MAX_TTL_S}'
)


class Batch:
    """See the module.

    :param ops: JSON of each operation.
    :ivar results: fires with the JSON of their outcomes, in the same order; never fails.
    """

    def __init__(
        self,
        *,
        door: RecordDoor,
        intake: Intake,
        limits: Limits,
        identity: Identity,
        table: str,
        level: Level,
        ops: list[msgspec.Raw],
    ) -> None:
        self._door = door
        self._intake = intake
        self._limits = limits
        self._identity = identity
        self._table = table
        self._terms = Terms(level)
        self._ops = ops
        self._begun = 0
        self._left = len(ops)
        self._outcomes = [b""] * len(ops)
        self.results: Deferred[list[bytes]] = Deferred()
        if ops:
            self._go_on()
        else:
            self.results.callback([])

    def _go_on(self) -> None:
        """Begin as many as this turn has time for."""
        intake = self._intake
        while self._begun < len(self._ops):
            until, room_bytes = min(self._begun + STEP, len(self._ops)), STEP_BYTES
            while self._begun < until and room_bytes > 0:
                room_bytes -= memoryview(self._ops[self._begun]).nbytes
                self._begun += 1
                self._begin(self._begun - 1)
            if self._begun < len(self._ops) and not intake.has_time():
                intake.postpone(self._go_on)
                return

    def _begin(self, index: int) -> None:
        try:
            operation = self._operation(bytes(self._ops[index]))
        except ApiError as error:
            self._over(index, _failed(error))
        else:
            self._door.submit(self._identity, operation, lambda outcome: self._over(index, _told(operation, outcome)))

    def _operation(self, text: bytes) -> Operation:
        check_depth(text, self._limits)
        try:
            op = _OP.decode(text)
        except NOT_DECODED:
            raise ApiError(400, "malformed", _SHAPE) from None
        value = b"" if op.value is UNSET else bytes(op.value)
        if op.op == "put" and not value.startswith(b"{"):
            raise ApiError(400, "not_an_object", '"value" must be a JSON object')
        if op.op == "delete" and (op.ttl is not None or op.if_none_match):
            raise ApiError(400, "malformed", '"ttl" and "if_none_match" are for puts')
        terms = msgspec.structs.replace(self._terms, ttl_ms=(op.ttl or 0) * 1000, if_absent=op.if_none_match)
        terms = terms.named(op.idempotency_key)
        return self._door.write(self._identity, Kind(op.op), self._table, op.key, value, terms)

    def _over(self, index: int, outcome: bytes) -> None:
        self._outcomes[index] = outcome
        self._left -= 1
        if not self._left:
            self.results.callback(self._outcomes)


def _told(operation: Operation, outcome: Outcome) -> bytes:
    if isinstance(outcome, ApiError):
        return _failed(outcome)
    status = 200 if operation.kind is Kind.DELETE else 201
    tag = tag_of_written(outcome).encode()
    return b'{"status":%d,"version":%d,"etag":%b}' % (status, version_of_written(outcome), tag)


def _failed(error: ApiError) -> bytes:
    return msgspec.json.encode({"status": error.status, "error": error.text, "code": error.code})
