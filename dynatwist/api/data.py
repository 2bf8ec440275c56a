"""The data routes: put, patch, get, delete, keys, store, batch."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import msgspec
from twisted.internet.defer import Deferred

from dynatwist.auth.tokens import Identity
from dynatwist.coordinator.listing import PAGE_KEYS, ListingUnavailable, Page
from dynatwist.coordinator.request import Code, Kind, Operation, Result, etag
from dynatwist.errors import ApiError
from dynatwist.model.record import Record
from dynatwist.model.ring import partition_of
from dynatwist.replication.quorum import Level

from .batch import Batch
from .causal import CausalToken
from .context import Context
from .limits import MAX_BATCH, check_key, check_table, parse_object, parse_value
from .request import JSON, Answer, Request, error_answer, json_answer
from .views import failure_of, record_json

MAX_TTL_S = 10 * 365 * 24 * 3600


class _Ops(msgspec.Struct):
    ops: list[msgspec.Raw]


_KEYS = msgspec.json.Decoder(list[str])
_BATCH = msgspec.json.Decoder(_Ops)


class DataRoutes:
    """See the module. Every method may raise `ApiError`."""

    def __init__(self, context: Context) -> None:
        self._context = context

    # One key

    async def put(self, request: Request, table: str, key: str) -> Answer:
        """201 the record."""
        return await self._served(Kind.PUT, request, table, key)

    async def patch(self, request: Request, table: str, key: str) -> Answer:
        """200 the merged record (RFC 7396)."""
        return await self._served(Kind.PATCH, request, table, key)

    async def delete(self, request: Request, table: str, key: str) -> Answer:
        """200; 404 when it was not there."""
        return await self._served(Kind.DELETE, request, table, key)

    async def get(self, request: Request, table: str, key: str) -> Answer:
        """200 the record; 304 when ``If-None-Match`` names it."""
        return await self._served(Kind.GET, request, table, key)

    def _served(self, kind: Kind, request: Request, table: str, key: str) -> Deferred[Answer]:
        answered: Deferred[Answer] = Deferred()
        self.serve(kind, request, table, key, answered.callback)
        return answered

    def serve(self, kind: Kind, request: Request, table: str, key: str, respond: Callable[[Answer], None]) -> None:
        """Carry out a request on one key.

        :param respond: called once with the answer, perhaps before this returns.
        :raises ApiError: what is refused at once; nothing is answered then.
        """
        context = self._context
        context.require_ready()
        identity = context.identify_reader(request) if kind is Kind.GET else context.identify(request)
        check_table(table, context.limits)
        check_key(key, context.limits)
        if kind is Kind.GET:
            seen = request.causal().dots(partition_of(table, key))
            operation = Operation(Kind.GET, (table, key), request.level("r"), seen=seen)
        else:
            assert identity is not None
            value = b"" if kind is Kind.DELETE else parse_value(request.body, context.limits)
            operation = self._write_operation(identity, request, kind, table, key, value)

        def done(result: Result) -> None:
            try:
                answer = self._answer_of(identity, request, operation, result)
            except ApiError as error:
                answer = error_answer(error)
            respond(answer)

        context.coordinator.submit(operation, done)

    def _answer_of(self, identity: Identity | None, request: Request, operation: Operation, result: Result) -> Answer:
        record = result.record
        if result.code is not Code.OK or record is None:
            raise failure_of(result)
        kind = operation.kind
        if kind is Kind.GET and not self._context.may_read(identity, record):
            raise ApiError(403, "forbidden", "the key belongs to another user")
        tag = etag(record)
        token = request.causal().with_dot(partition_of(*operation.key), record.dot)
        headers = {"X-Replicas": result.replicas, "ETag": tag, "X-Causal-Token": token.render()}
        if kind is Kind.GET and tag in request.etags("if-none-match"):
            return Answer(304, headers=headers)
        if kind is Kind.DELETE:
            return json_answer(200, {"status": "deleted", "version": record.version}, headers)
        return Answer(201 if kind is Kind.PUT else 200, record_json(record, tag), headers=headers)

    async def read(
        self, identity: Identity | None, table: str, key: str, level: Level, causal: CausalToken | None = None
    ) -> Result:
        """A record that the caller may read."""
        seen = causal.dots(partition_of(table, key)) if causal else ()
        operation = Operation(Kind.GET, (table, key), level, seen=seen)
        result = await self._context.coordinator.execute(operation)
        if result.code is not Code.OK or result.record is None:
            raise failure_of(result)
        if not self._context.may_read(identity, result.record):
            raise ApiError(403, "forbidden", "the key belongs to another user")
        return result

    async def write(
        self, identity: Identity, request: Request, kind: Kind, table: str, key: str, value: bytes
    ) -> Result:
        """Carry out a write with the conditions of a request."""
        operation = self._write_operation(identity, request, kind, table, key, value)
        result = await self._context.coordinator.execute(operation)
        if result.code is not Code.OK:
            raise failure_of(result)
        return result

    def _write_operation(
        self, identity: Identity, request: Request, kind: Kind, table: str, key: str, value: bytes
    ) -> Operation:
        none_match = request.etags("if-none-match")
        if none_match and none_match != ("*",):
            raise ApiError(400, "bad_condition", "If-None-Match on a write takes only *")
        return Operation(
            kind,
            (table, key),
            request.level("w"),
            value,
            identity.uid,
            identity.is_admin,
            request.integer("ttl", 0, 1, MAX_TTL_S) * 1000,
            request.etags("if-match"),
            bool(none_match),
            request.causal().dots(partition_of(table, key)),
        )

    # Many keys

    async def keys(self, request: Request, table: str) -> Answer:
        """The keys that the caller may read, in order."""
        identity = self._enter_reading(request, table)
        limit = request.integer("limit", 0, 1, 1_000_000)
        level = request.level("r")
        prefix, after = request.query.get("prefix", ""), request.query.get("after", "")
        names: list[str] = []
        async for name, _ in self._readable(identity, table, prefix, after, level):
            names.append(name)
            if limit and len(names) >= limit:
                break
        return json_answer(200, names)

    async def get_many(self, request: Request, table: str) -> Answer:
        """``{key: record}`` of those that exist and the caller may read."""
        identity = self._enter_reading(request, table)
        keys = _keys_of(parse_object(request.body, self._context.limits, "keys"))
        parts: list[bytes] = []
        for key in dict.fromkeys(keys):
            check_key(key, self._context.limits)
        level = request.level("r")
        for key in dict.fromkeys(keys):
            result = await self._context.coordinator.execute(Operation(Kind.GET, (table, key), level))
            if result.code not in (Code.OK, Code.ABSENT):
                raise failure_of(result)
            if result.record is not None and self._context.may_read(identity, result.record):
                parts.append(msgspec.json.encode(key) + b":" + record_json(result.record))
        return Answer(200, b"{" + b",".join(parts) + b"}")

    async def store(self, request: Request, table: str) -> Answer:
        """``{key: record}`` of all that the caller may read, streamed."""
        identity = self._enter_reading(request, table)
        level = request.level("r")
        first = await self._page(table, "", "", level)
        return Answer(200, content_type=JSON, stream=self._stream(identity, table, level, first))

    async def _stream(self, identity: Identity | None, table: str, level: Level, page: Page) -> AsyncIterator[bytes]:
        lead = b"{"
        while True:
            parts = [
                msgspec.json.encode(name) + b":" + record_json(record)
                for name, record in page.records
                if self._context.may_read(identity, record)
            ]
            if parts:
                yield lead + b",".join(parts)
                lead = b","
            if page.next_after is None:
                break
            page = await self._page(table, "", page.next_after, level)
        yield b"{}" if lead == b"{" else b"}"

    async def _readable(
        self, identity: Identity | None, table: str, prefix: str, after: str, level: Level
    ) -> AsyncIterator[tuple[str, Record]]:
        while True:
            page = await self._page(table, prefix, after, level)
            for name, record in page.records:
                if self._context.may_read(identity, record):
                    yield name, record
            if page.next_after is None:
                return
            after = page.next_after

    async def _page(self, table: str, prefix: str, after: str, level: Level) -> Page:
        try:
            return await self._context.listing.page(table, prefix, after, level, PAGE_KEYS)
        except ListingUnavailable:
            text = "some part of the table has no owner that answers; try again"
            raise ApiError(503, "unavailable", text, {"Retry-After": "1"}) from None

    def _enter_reading(self, request: Request, table: str) -> Identity | None:
        self._context.require_ready()
        identity = self._context.identify_reader(request)
        check_table(table, self._context.limits)
        return identity

    # Batches

    async def batch(self, request: Request, table: str) -> Answer:
        """An outcome for each operation; they are independent of each other, and wait for log and peers together."""
        self._context.require_ready()
        identity = self._context.identify(request)
        check_table(table, self._context.limits)
        ops = _ops_of(request.body)
        batch = Batch(self._context, identity, table, request.level("w"), ops)
        return Answer(200, b'{"results":[' + b",".join(await batch.results) + b"]}")


def _keys_of(fields: dict[str, Any]) -> list[str]:
    try:
        keys = _KEYS.decode(fields.get("keys", b""))
    except (msgspec.DecodeError, TypeError):
        keys = None
    if keys is None or len(keys) > MAX_BATCH:
        raise ApiError(400, "malformed", f'the body must be {{"keys": [...]}} with at most {MAX_BATCH} strings')
    return keys


def _ops_of(body: bytes) -> list[msgspec.Raw]:
    try:
        body.decode()
        ops = _BATCH.decode(body).ops
    except msgspec.ValidationError:
        ops = None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ApiError(400, "malformed_json", f"the body is not valid JSON: {error}") from None
    if ops is None or len(ops) > MAX_BATCH:
        raise ApiError(400, "malformed", f'the body must be {{"ops": [...]}} with at most {MAX_BATCH} objects')
    return ops
