"""The data routes: put, patch, get, delete, keys, store, batch."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any, TypeVar

import msgspec
from twisted.internet.defer import Deferred

from dynatwist.auth.tokens import Identity
from dynatwist.calls import all_of
from dynatwist.errors import ApiError
from dynatwist.model.flaws import NOT_DECODED
from dynatwist.model.ring import partition_of
from dynatwist.replication.quorum import Level
from dynatwist.replication.request import Kind, Operation, Result, etag
from dynatwist.requests.listing import ListingUnavailable

from .batch import Batch
from .context import Context
from .folders import Folders
from .followed import id_of
from .limits import MAX_BATCH, check_key, check_table, parse_object
from .openapi.codes import READING, WRITING
from .openapi.described import Described, Who
from .openapi.parameters import AFTER, DELIMITER, PREFIX, TTL, R, W, whole
from .openapi.records import DELETING, GETTING, PATCHING, PUTTING
from .pieces import SHORT_BYTES, answer_in_pieces
from .record_door import Outcome, RecordDoor, Refused, terms_of
from .request import REPRESENTATION, Answer, Request, error_answer, json_answer
from .shapes.records import Deleted, Keys, Ops, Record, Results
from .views import record_json, refused_json, tag_of_written, version_of_written, written_json

LONG_BYTES = 64 << 10
"""Longer answers have to find room among those that are not read yet; what is shorter fits a socket's buffer."""
MOST_AT_ONCE = 64
"""Keys of one ``POST /{table}/keys`` that are read together, where their records are small."""

LIMIT = whole("limit", "So many at most; usually all.", low=1, high=1_000_000, default=0)
LEFT_OUT = (403, 404)
"""Of many keys, those that are others' and those that are not there."""

T = TypeVar("T")


class _Ops(msgspec.Struct):
    """`Ops`, each of them as it was sent: one that is malformed has an outcome of its own."""

    ops: list[msgspec.Raw]


_KEYS = msgspec.json.Decoder(list[str])
_BATCH = msgspec.json.Decoder(_Ops)


_NEEDED_TTL = msgspec.structs.replace(TTL, is_required=True)


class DataRoutes:
    """Records: one, many, or a table's. Every method may raise `ApiError`."""

    def __init__(self, context: Context) -> None:
        self.context = context
        self.door = RecordDoor(context)

    # One key

    @Described(who=Who.USER, **PUTTING)
    async def put(self, request: Request, table: str, key: str) -> Answer:
        """Put a record: 201 the record."""
        return await self._served(Kind.PUT, request, table, key)

    @Described(who=Who.USER, **PATCHING)
    async def patch(self, request: Request, table: str, key: str) -> Answer:
        """Merge into a record (RFC 7396): 200 the merged record."""
        return await self._served(Kind.PATCH, request, table, key)

    @Described(who=Who.USER, **PATCHING | {"takes": None, "parameters": (_NEEDED_TTL, *PATCHING["parameters"][1:])})
    async def touch(self, request: Request, table: str, key: str) -> Answer:
        """Give a record a new end: 200 the record, with the same value."""
        if request.query.get(_NEEDED_TTL.name) is None:
            raise ApiError(400, "bad_ttl", "say how long it is to live from now on: ?ttl=SECONDS")
        return await self._served(Kind.PATCH, msgspec.structs.replace(request, body=b"{}"), table, key)

    @Described(who=Who.USER, **DELETING)
    async def delete(self, request: Request, table: str, key: str) -> Answer:
        """Delete a record; 404 when it was not there."""
        return await self._served(Kind.DELETE, request, table, key)

    @Described(who=Who.READER, **GETTING)
    async def get(self, request: Request, table: str, key: str) -> Answer:
        """Read a record; 304 when ``If-None-Match`` names it."""
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
        context = self.context
        context.require_ready()
        identity = context.identify_reader(request, table) if kind is Kind.GET else context.identify(request)
        door = self.door
        if kind is Kind.GET:
            operation = door.read(table, key, request.level("r"), request.causal())
        else:
            assert identity is not None
            operation = door.write(identity, kind, table, key, request.body, terms_of(request))

        if request.trace or "x-request-id" in request.headers:
            operation = msgspec.structs.replace(operation, followed=id_of(request.headers), trace=request.trace)

        def done(outcome: Outcome) -> None:
            holder = identity.uid if identity is not None else ""
            try:
                if not isinstance(outcome, ApiError):
                    answer = self._answer_of(identity, request, operation, outcome)
                elif isinstance(outcome, Refused) and request.prefers_representation:
                    answer = _shown(outcome, request, operation, holder)
                else:
                    answer = error_answer(outcome, holder)
            except ApiError as error:
                answer = error_answer(error, holder)
            respond(answer)

        door.submit(identity, operation, done)

    def _answer_of(self, identity: Identity | None, request: Request, operation: Operation, result: Result) -> Answer:
        record, kind = result.record, operation.kind
        assert record is not None
        if kind is Kind.GET and record.value is not None and len(record.value) > LONG_BYTES:
            self.context.require_unread_room(self.context.holder_of(identity, request), len(record.value))
        holder = identity.uid if identity is not None else ""
        tag = tag_of_written(result)
        token = request.causal().render_with(partition_of(*operation.key), record.dot)
        headers = {"X-Replicas": result.replicas, "ETag": tag, "X-Causal-Token": token}
        if kind is Kind.GET and tag in request.etags("if-none-match"):
            return Answer(304, headers=headers, holder=holder)
        if kind is Kind.DELETE:
            return json_answer(200, Deleted(status="deleted", version=version_of_written(result)), headers)
        body = record_json(record, tag) if result.was is None else written_json(operation, result)
        return Answer(201 if kind is Kind.PUT else 200, body, headers=headers, holder=holder)

    # Many keys

    @Described(who=Who.READER, parameters=(PREFIX, DELIMITER, AFTER, LIMIT, R), gives={200: list[str]}, refuses=READING)
    async def keys(self, request: Request, table: str) -> Answer:
        """List the keys that the caller may read, in order of code points."""
        identity = self._enter_reading(request, table)
        limit = LIMIT.of(request)
        level = request.level("r")
        names = self._names(identity, table, request.query, level, limit)
        return await answer_in_pieces(b"[", names, b"]", self.context.holder_of(identity, request))

    async def _names(
        self, identity: Identity | None, table: str, query: Mapping[str, str], level: Level, limit: int
    ) -> AsyncIterator[list[bytes]]:
        left, prefix = limit or sys.maxsize, query.get("prefix", "")
        folders = Folders(prefix, query.get("delimiter", ""), self.context.limits.key_bytes)
        after = folders.start(query.get("after", ""))
        listing, uid = self.context.listing, identity.uid if identity is not None else ""
        while True:
            page = await _listed(listing.names(table, prefix, after, level, folders.at_once))
            access = self.context.rights.of(identity, table)
            readable = [name for name, owner in page.names if access.at(name).read.covers(owner, uid)]
            names = folders.take(readable)[:left]
            yield [msgspec.json.encode(name) for name in names]
            left -= len(names)
            if page.next_after is None or not left:
                return
            after = folders.behind(page.next_after)

    @Described(
        who=Who.READER,
        takes=Keys,
        example={"keys": ["profile", "settings"]},
        parameters=(R,),
        gives={200: dict[str, Record]},
        refuses=("bad_key", *READING),
    )
    async def get_many(self, request: Request, table: str) -> Answer:
        """Read many records: those that exist and the caller may read, by key."""
        identity = self._enter_reading(request, table)
        keys = _keys_of(parse_object(request.body, self.context.limits, *Keys.__struct_fields__))
        for key in keys:
            check_key(key, self.context.limits)
        records = self._records(identity, table, list(dict.fromkeys(keys)), request.level("r"))
        return await answer_in_pieces(b"{", records, b"}", self.context.holder_of(identity, request))

    async def _records(
        self, identity: Identity | None, table: str, keys: list[str], level: Level
    ) -> AsyncIterator[list[bytes]]:
        """A few at a time: the more, the smaller they turn out to be."""
        begun, at_once = 0, 4
        while begun < len(keys):
            some = keys[begun : begun + at_once]
            begun += at_once
            reads = [self.door.attempt(identity, self.door.read(table, key, level)) for key in some]
            piece: list[bytes] = []
            for key, outcome in zip(some, await all_of(reads), strict=True):
                if isinstance(outcome, ApiError):
                    if outcome.status not in LEFT_OUT:
                        raise outcome
                elif outcome.record is not None:
                    piece.append(msgspec.json.encode(key) + b":" + record_json(outcome.record))
            at_once = min(2 * at_once, MOST_AT_ONCE) if sum(map(len, piece)) < SHORT_BYTES else 1
            yield piece

    @Described(who=Who.READER, parameters=(R,), gives={200: dict[str, Record]}, refuses=READING)
    async def store(self, request: Request, table: str) -> Answer:
        """Read a whole table: all records that the caller may read, by key, streamed."""
        identity = self._enter_reading(request, table)
        records = self._store(identity, table, request.level("r"))
        return await answer_in_pieces(b"{", records, b"}", self.context.holder_of(identity, request))

    async def _store(self, identity: Identity | None, table: str, level: Level) -> AsyncIterator[list[bytes]]:
        after: str | None = ""
        while after is not None:
            page = await _listed(self.context.listing.page(table, "", after, level))
            yield [
                msgspec.json.encode(name) + b":" + record_json(record)
                for name, record in page.records
                if self.context.may_read(identity, (table, name), record)
            ]
            after = page.next_after

    def _enter_reading(self, request: Request, table: str) -> Identity | None:
        self.context.require_ready()
        identity = self.context.identify_reader(request, table)
        self.context.require_unread_room(self.context.holder_of(identity, request), LONG_BYTES)
        check_table(table, self.context.limits)
        return identity

    # Batches

    @Described(
        who=Who.USER,
        takes=Ops,
        example={"ops": [{"op": "put", "key": "profile", "value": {"level": 42}}, {"op": "delete", "key": "old"}]},
        parameters=(W,),
        gives={200: Results},
        refuses=WRITING,
    )
    async def batch(self, request: Request, table: str) -> Answer:
        """Carry out many operations: an outcome for each.

        They are independent of each other, and wait for log and peers together.
        """
        self.context.require_ready()
        identity = self.context.identify(request)
        check_table(table, self.context.limits)
        ops = _ops_of(request.body)
        batch = Batch(
            door=self.door,
            intake=self.context.intake,
            limits=self.context.limits,
            identity=identity,
            table=table,
            level=request.level("w"),
            ops=ops,
        )
        return Answer(200, b'{"results":[' + b",".join(await batch.results) + b"]}", holder=identity.uid)


def _shown(refused: Refused, request: Request, operation: Operation, holder: str) -> Answer:
    """A refusal with what is held (RFC 8144, section 3), so that whoever was refused need not read it."""
    held, headers = refused.held, {**refused.headers, "Preference-Applied": REPRESENTATION}
    if held is not None:
        if held.value is not None and len(held.value) > LONG_BYTES:
            return error_answer(refused, holder)
        headers["ETag"] = etag(held)
        headers["X-Causal-Token"] = request.causal().render_with(partition_of(*operation.key), held.dot)
    return Answer(refused.status, refused_json(refused, held), headers=headers, holder=holder)


async def _listed(page: Awaitable[T]) -> T:
    """A page of a listing; 503 when there is none."""
    try:
        return await page
    except ListingUnavailable:
        text = "some part of the table has no owner that answers; try again"
        raise ApiError(503, "unavailable", text, {"Retry-After": "1"}) from None


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
    except NOT_DECODED as error:
        raise ApiError(400, "malformed_json", f"the body is not valid JSON: {error}") from None
    if ops is None or len(ops) > MAX_BATCH:
        raise ApiError(400, "malformed", f'the body must be {{"ops": [...]}} with at most {MAX_BATCH} objects')
    return ops
