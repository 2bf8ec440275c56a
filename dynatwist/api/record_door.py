"""The one way to a record. By whatever door a request came (REST, fast lane, batch, websocket, administrator), it
becomes an `Operation` here, and what came of it a `Result` or the `ApiError` that says why there is none.

A value travels as the bytes that were sent: it is checked here, and never decoded and encoded again.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec
from twisted.internet.defer import Deferred

from dynatwist.auth.rights import EVERYTHING
from dynatwist.auth.tokens import Identity
from dynatwist.errors import ApiError
from dynatwist.model.named import name_for
from dynatwist.model.record import Record
from dynatwist.model.ring import partition_of
from dynatwist.replication.quorum import Level
from dynatwist.replication.request import Code, Kind, Operation, Result

from .causal import NOTHING_SEEN, CausalToken
from .context import Context
from .limits import check_idempotency_key, check_key, check_table, parse_value
from .openapi.parameters import TTL
from .request import Request
from .views import failure_of

Outcome = Result | ApiError
Done = Callable[[Outcome], None]


class Refused(ApiError):
    """412: what is held is not what a write's condition asks for.

    :ivar held: what is; ``None`` where nothing is.
    """

    def __init__(self, error: ApiError, held: Record | None) -> None:
        super().__init__(error.status, error.code, error.text, error.headers)
        self.held = held if held is not None and held.value is not None else None


class Terms(msgspec.Struct, frozen=True):
    """On what terms something is written.

    :ivar ttl_ms: life of what is written; 0 for ever.
    :ivar if_match: ETags of which one must be held; empty for no condition.
    :ivar if_absent: the key must be absent.
    :ivar causal: what its writer has seen.
    :ivar name: its Idempotency-Key, by which it is made once; empty for none.
    """

    level: Level
    ttl_ms: int = 0
    if_match: tuple[str, ...] = ()
    if_absent: bool = False
    causal: CausalToken = NOTHING_SEEN
    name: str = ""

    def named(self, given: object) -> Terms:
        """The same with an Idempotency-Key, if one was given.

        :raises ApiError: 400 for one that is none.
        """
        return self if given is None else msgspec.structs.replace(self, name=check_idempotency_key(given))


_USUAL = Terms(Level.QUORUM)
_CONDITIONS = frozenset(("if-match", "if-none-match", "x-causal-token"))
"""Headers without which, where nothing is in the query, the terms are the usual ones."""


def terms_of(request: Request) -> Terms:
    """The terms that a request names.

    :raises ApiError: 400 for a condition that there is not, or an Idempotency-Key that is none.
    """
    is_usual = not request.query and _CONDITIONS.isdisjoint(request.headers)
    terms = _USUAL if is_usual else _conditions_of(request)
    return terms.named(request.headers.get("idempotency-key"))


def _conditions_of(request: Request) -> Terms:
    none_match, match = request.etags("if-none-match"), request.etags("if-match")
    if none_match != ("*",) and "if-none-match" in request.headers:
        raise ApiError(400, "bad_condition", "If-None-Match on a write takes only *")
    if not match and "if-match" in request.headers:
        raise ApiError(400, "bad_condition", "If-Match names no ETag; leave it out to write whatever is held")
    return Terms(request.level("w"), TTL.of(request) * 1000, match, bool(none_match), request.causal())


def _without_value(result: Result) -> Result:
    """What a patch has made, for somebody who may change it and not read it."""
    assert result.record is not None
    return msgspec.structs.replace(result, record=msgspec.structs.replace(result.record, value=b"null"))


class RecordDoor:
    """See the module."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._limits = context.limits

    # What is asked for

    def read(self, table: str, key: str, level: Level, causal: CausalToken = NOTHING_SEEN) -> Operation:
        """To read a record.

        :raises ApiError: 400 for a name that is none.
        """
        check_table(table, self._limits)
        check_key(key, self._limits)
        return Operation(Kind.GET, (table, key), level, seen=causal.dots(partition_of(table, key)))

    def write(self, identity: Identity, kind: Kind, table: str, key: str, body: bytes, terms: Terms) -> Operation:
        """To write a record.

        :param body: JSON of a value or patch; nothing is made of it for a delete.
        :raises ApiError: 400 or 413 for a name or a value that is none.
        """
        context = self._context
        check_table(table, self._limits)
        check_key(key, self._limits)
        access = context.rights.of(identity, table)
        settings = context.coordinator.tables.settings(table)
        value = b"" if kind is Kind.DELETE else parse_value(body, self._limits, settings.max_value)
        ttl_ms = terms.ttl_ms or (settings.default_ttl * 1000 if kind is Kind.PUT else 0)
        name = b""
        if terms.name:
            name = name_for(identity.uid, terms.name, kind.value.encode(), value, b"%d" % terms.ttl_ms)
        return Operation(
            kind,
            (table, key),
            terms.level,
            value,
            identity.uid,
            access is EVERYTHING,
            ttl_ms,
            terms.if_match,
            terms.if_absent,
            terms.causal.dots(partition_of(table, key)),
            name,
            access.at(key).may,
        )

    # What comes of it

    def submit(self, identity: Identity | None, operation: Operation, done: Done) -> None:
        """Carry an operation out for somebody.

        :param identity: whose records may be read; ``None`` for nobody's in particular.
        :param done: called once, perhaps before this returns; a result is OK and has a record, a tombstone of a delete.
        """

        def over(result: Result) -> None:
            if result.code is not Code.OK or result.record is None:
                done(self._refusal(identity, operation, result))
            elif operation.kind is Kind.GET and not self._context.may_read(identity, operation.key, result.record):
                done(ApiError(403, "forbidden", "the key belongs to another user"))
            elif operation.kind is Kind.PATCH and not self._may_see(identity, operation, result.record):
                done(_without_value(result))
            else:
                done(result)

        self._context.coordinator.submit(operation, over)

    def _refusal(self, identity: Identity | None, operation: Operation, result: Result) -> ApiError:
        error = failure_of(result)
        if result.code is Code.PRECONDITION and result.is_shown and self._may_see(identity, operation, result.record):
            return Refused(error, result.record)
        return error

    def _may_see(self, identity: Identity | None, operation: Operation, held: Record | None) -> bool:
        return held is None or self._context.may_read(identity, operation.key, held)

    def attempt(self, identity: Identity | None, operation: Operation) -> Deferred[Outcome]:
        """The same, for those who wait. The Deferred never fails."""
        outcome: Deferred[Outcome] = Deferred()
        self.submit(identity, operation, outcome.callback)
        return outcome

    async def carry_out(self, identity: Identity | None, operation: Operation) -> Result:
        """The same.

        :raises ApiError: why there is no result.
        """
        outcome = await self.attempt(identity, operation)
        if isinstance(outcome, ApiError):
            raise outcome
        return outcome
