"""Locks on keys of strong tables: taken, renewed and released by what is agreed on, so that never two hold one.

A lock is a record that ends by itself. Who takes it creates the record; renewing and releasing name its ETag. The
record's version is the fencing number: it grows with each holder, for ever. A holder counts its own time and stops
before the end, since others take the lock as soon as a majority of the clocks has passed it.

Those who wait for one lock at one node wait in a line: only the first one tries, when the lock is released or ends.

With an ``Idempotency-Key`` each step is made once, and is answered again as it was: whoever did not hear that it has
taken the lock asks once more, and has it.
"""

from __future__ import annotations

from collections import deque
from itertools import islice
from typing import Any

import msgspec
from twisted.internet.defer import Deferred

from dynatwist.auth.tokens import Identity
from dynatwist.auth.user import owner_name
from dynatwist.budget import Charge
from dynatwist.errors import ApiError
from dynatwist.feed.hub import Hub, Subscription
from dynatwist.feed.sight import EVERYTHING
from dynatwist.model.access import May, Scope
from dynatwist.model.named import name_for
from dynatwist.model.record import Key, Record
from dynatwist.net.messages.insight import MOST_IN_LINE, MOST_WAITING
from dynatwist.replication.quorum import Level
from dynatwist.replication.request import Code, Kind, Operation, Result, etag
from dynatwist.runtime import Clock, cancel

from .context import Context
from .limits import check_idempotency_key, check_key, check_table, parse_object
from .openapi.codes import WRITING
from .openapi.described import Described, Who
from .openapi.parameters import ETAG_OF_LOCK, IDEMPOTENCY_KEY, whole
from .request import Answer, Request, json_answer
from .shapes.records import Held, Holder, Released, Terms
from .shapes.records import Record as ShownRecord
from .views import failure_of, record_json, version_of_written

USUAL_TTL_S = 15
"""A holder that dies keeps others waiting so long at most."""
MAX_TTL_S = 3600
_TERMS = Terms.__struct_fields__
MAX_WAIT_S = 60
"""Proxies give up on a request after a minute, as a rule; whoever waits longer asks again."""
LOOK_EVERY_S = 1.0
"""The first in line looks by itself, too: news of a release may be lost with the node that had it."""
AFTER_END_S = 0.02
"""A lock ends when a majority of the clocks has passed its end; they are a few milliseconds apart."""
WAIT = whole("wait", "Seconds to wait in line for a lock that is held.", low=0, high=MAX_WAIT_S, default=0)
_HEADERS = ("ETag", "X-Replicas")


class LockRoutes:
    """Locks on keys of strong tables. Every method may raise `ApiError`."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._lines: dict[Key, deque[_News]] = {}

    @Described(
        who=Who.USER,
        takes=Terms,
        is_optional=True,
        example={"ttl": 15, "note": "nightly build"},
        parameters=(WAIT, IDEMPOTENCY_KEY),
        gives={201: ShownRecord, 409: Held},
        headers=_HEADERS,
        refuses=("locked", "lock_ended", "not_strong", "bad_ttl", "too_many", *WRITING),
    )
    async def take(self, request: Request, table: str, key: str) -> Answer:
        """Take a lock: 201 the record, or 409 and the holder, when ``?wait=`` is over.

        The record's ``version`` is the fencing number.
        """
        identity = self._enter(request, table, key)
        self._context.require_strong(table)
        given = parse_object(request.body, self._context.limits, *_TERMS) if request.body else {}
        value = msgspec.json.encode({"note": given.get("note")})
        granted = self._context.rights.at(identity, (table, key)).may
        operation = Operation(
            Kind.PUT,
            (table, key),
            Level.MAJORITY,
            value,
            identity.uid,
            ttl_ms=_ttl_ms(given),
            if_none_match=True,
            name=_name(request, identity, b"take", value, b"%d" % _ttl_ms(given)),
            may=May(granted.create, Scope.ANY, Scope.NONE),  # whoever's it is: a lock that is held is not written over
        )
        wait_s = WAIT.of(request)
        until_s = self._context.cluster.runtime.monotonic_s() + wait_s
        result = await self._context.coordinator.execute(operation)
        if result.code is Code.PRECONDITION and wait_s:
            result = await self._in_line(identity, operation, until_s)
        if result.code is Code.PRECONDITION and result.record is not None:
            holder = self._holder(identity, operation.key, result.record)
            return json_answer(409, Held(error="the lock is held", code="locked", holder=holder))
        return self._answer(201, result)

    @Described(
        who=Who.USER,
        takes=Terms,
        is_optional=True,
        example={"ttl": 15},
        parameters=(ETAG_OF_LOCK, IDEMPOTENCY_KEY),
        gives={200: ShownRecord, 409: Held},
        headers=_HEADERS,
        refuses=("lock_ended", "not_strong", "bad_ttl", *WRITING),
    )
    async def renew(self, request: Request, table: str, key: str) -> Answer:
        """Renew a lock: 200 the record, with another ETag and a new end.

        412 when the lock is not held by what the ETag names any more. The note stays unless another one is given.
        """
        identity = self._enter(request, table, key)
        asked = parse_object(request.body, self._context.limits, *_TERMS) if request.body else {}
        given, tags = asked, _tags(request)
        self._context.require_strong(table)
        held = await self._context.coordinator.execute(Operation(Kind.GET, (table, key), Level.MAJORITY))
        if held.code is Code.OK and held.record is not None and "note" not in given:
            given = {**asked, "note": msgspec.Raw(_note(held.record))}
        value = msgspec.json.encode({"note": given.get("note")})
        may = self._context.rights.at(identity, (table, key)).may
        told = msgspec.json.encode(given["note"]) if "note" in asked else b""
        operation = Operation(
            Kind.PUT,
            (table, key),
            Level.MAJORITY,
            value,
            identity.uid,
            ttl_ms=_ttl_ms(given),
            if_match=tags,
            name=_name(request, identity, b"renew", told, b"%d" % _ttl_ms(given), *map(str.encode, tags)),
            may=may,
        )
        return self._answer(200, await self._context.coordinator.execute(operation))

    @Described(
        who=Who.USER,
        parameters=(ETAG_OF_LOCK, IDEMPOTENCY_KEY),
        gives={200: Released, 409: Held},
        refuses=("not_strong", "not_found", *WRITING),
    )
    async def release(self, request: Request, table: str, key: str) -> Answer:
        """Release a lock; 412 when it is not held by what the ETag names any more."""
        identity = self._enter(request, table, key)
        may, tags = self._context.rights.at(identity, (table, key)).may, _tags(request)
        self._context.require_strong(table)
        operation = Operation(
            Kind.DELETE,
            (table, key),
            Level.MAJORITY,
            uid=identity.uid,
            if_match=tags,
            name=_name(request, identity, b"release", *map(str.encode, tags)),
            may=may,
        )
        result = await self._context.coordinator.execute(operation)
        if result.code is not Code.OK or result.record is None:
            raise failure_of(result)
        return json_answer(200, Released(status="released", version=version_of_written(result)))

    def waiting(self, table: str) -> dict[str, list[str]]:
        """Who waits here for locks of a table, by key, the first in line first; as many as may be told."""
        lines = ((key[1], line) for key, line in self._lines.items() if key[0] == table)
        return {key: [one.who for one in islice(line, MOST_IN_LINE)] for key, line in islice(lines, MOST_WAITING)}

    def _enter(self, request: Request, table: str, key: str) -> Identity:
        context = self._context
        context.require_ready()
        check_table(table, context.limits)
        check_key(key, context.limits)
        return context.identify(request)

    def _holder(self, identity: Identity, key: Key, record: Record) -> Holder:
        """Who holds a lock, for those who find it held; where rules say who may read, for these only."""
        holder: Holder = {"version": record.version, "expires_at": record.expires_ms}
        context = self._context
        if context.coordinator.tables.settings(key[0]).access is None or context.may_read(identity, key, record):
            holder |= {"owner": owner_name(record.owner), "note": msgspec.Raw(_note(record))}
        return holder

    def _answer(self, status: int, result: Result) -> Answer:
        """The lock as its holder has it now; 409 when what was done under a name before is over."""
        if result.code is not Code.OK or result.record is None:
            raise failure_of(result)
        if result.was is not None or result.record.is_dead(self._context.cluster.times.lapse_ms()):
            raise ApiError(409, "lock_ended", "the lock was taken under this name, and has ended since")
        tag = etag(result.record)
        return Answer(status, record_json(result.record, tag), headers={"ETag": tag, "X-Replicas": result.replicas})

    # Waiting

    async def _in_line(self, identity: Identity, operation: Operation, until_s: float) -> Result:
        """Try again when it is this one's turn, and the lock may be free."""
        context, key = self._context, operation.key
        charge = Charge(context.budget.subscriptions, identity.uid)
        charge.take()
        news = _News(context.hub, key, context.cluster.runtime.clock, identity.name)
        line = self._lines.setdefault(key, deque())
        line.append(news)
        try:
            while True:
                left_s = until_s - context.cluster.runtime.monotonic_s()
                wait_s = left_s
                if line[0] is news or left_s <= 0:
                    result = await self._try(identity, operation)
                    if result.code is not Code.PRECONDITION or left_s <= 0:
                        return result
                    wait_s = min(left_s, LOOK_EVERY_S, self._ends_in_s(result.record))
                await news.wait(wait_s)
        finally:
            news.end()
            charge.give_back()
            line.remove(news)
            if line:
                line[0].wake()
            else:
                del self._lines[key]

    async def _try(self, identity: Identity, operation: Operation) -> Result:
        if not self._context.users.still_counts(identity):
            raise ApiError(401, "bad_token", "the token is not valid any more; log in again")
        return await self._context.coordinator.execute(operation)

    def _ends_in_s(self, record: Record | None) -> float:
        if record is None or not record.expires_ms:
            return LOOK_EVERY_S
        left_ms = record.expires_ms - self._context.cluster.runtime.wall_ms()
        return max(AFTER_END_S, left_ms / 1000 + AFTER_END_S)


class _News:
    """Hears that something has happened to a key.

    :ivar who: waits for that, by name.
    """

    def __init__(self, hub: Hub, key: Key, clock: Clock, who: str) -> None:
        self.who = who
        self._hub = hub
        self._clock = clock
        self._waiting: Deferred[None] | None = None
        self._has_news = False
        self._subscription = Subscription(table=key[0], key=key[1], prefix="", sight=EVERYTHING, wake=self._heard)
        hub.subscribe(self._subscription, None)

    def _heard(self) -> None:
        while self._subscription.take() is not None:
            pass
        self.wake()

    def wake(self) -> None:
        """There is news: somebody looks."""
        self._has_news = True
        self._go_on()

    def _go_on(self) -> None:
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            waiting.callback(None)

    async def wait(self, limit_s: float) -> None:
        """Until there is news, or a time is over."""
        if not self._has_news:
            timer = self._clock.callLater(limit_s, self._go_on)
            self._waiting = Deferred(self._given_up)
            try:
                await self._waiting
            finally:
                cancel(timer)
        self._has_news = False

    def _given_up(self, waiting: Deferred[None]) -> None:
        self._waiting = None

    def end(self) -> None:
        """Nobody waits any more."""
        self._hub.unsubscribe(self._subscription)


def _ttl_ms(given: dict[str, Any]) -> int:
    ttl = given.get("ttl", USUAL_TTL_S)
    if not isinstance(ttl, int) or isinstance(ttl, bool) or not 1 <= ttl <= MAX_TTL_S:
        raise ApiError(400, "bad_ttl", f"ttl is a whole number of seconds from 1 to {MAX_TTL_S}")
    return ttl * 1000


def _tags(request: Request) -> tuple[str, ...]:
    tags = request.etags("if-match")
    if not tags or "*" in tags:
        raise ApiError(400, "no_etag", "If-Match has to name the ETag that taking or renewing the lock answered")
    return tags


def _note(record: Record) -> bytes:
    class Held(msgspec.Struct):
        note: msgspec.Raw = msgspec.Raw(b"null")

    return bytes(msgspec.json.decode(record.value or b"{}", type=Held).note)


def _name(request: Request, identity: Identity, *step: bytes) -> bytes:
    """Of a step that is made once; empty where none was given.

    :raises ApiError: 400 for one that is none.
    """
    given = request.headers.get("idempotency-key")
    return b"" if given is None else name_for(identity.uid, check_idempotency_key(given), *step)
