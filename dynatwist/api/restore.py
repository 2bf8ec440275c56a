"""Bringing back what was backed up: an administrator writes records in their owners' names, with the ends they had.

Each record is a new write, by the ways of all others: nothing of the former cluster's history comes with it. A majority
of its owners has it when it is said to be written. By default what is there stays, so whoever was interrupted may do it
all again. A data table is written record by record; what the system keeps goes through those who agree on it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import TypeVar

import msgspec
from twisted.internet.defer import Deferred

from dynatwist.auth.groups import GROUPS_TABLE, Group
from dynatwist.auth.passwords import is_bearable
from dynatwist.auth.services import SERVICES_TABLE, Service
from dynatwist.auth.user import USERS_TABLE, User, owner_name
from dynatwist.calls import all_of
from dynatwist.errors import ApiError
from dynatwist.model.access import ALL
from dynatwist.model.flaws import BEYOND, MAX_OWNER_CHARS, NOT_DECODED
from dynatwist.replication.quorum import Level
from dynatwist.replication.request import Code, Kind, Operation, Restored
from dynatwist.requests.releases import require_release
from dynatwist.requests.table_changes import TableChanges
from dynatwist.requests.tables import PLAIN, TABLES_TABLE, Consistency, Settings

from .backup import SYSTEM_TABLES
from .context import Context
from .limits import check_group, check_key, check_table, check_user, parse_value
from .openapi.described import Described, Who
from .request import Answer, Request, json_answer
from .shapes.backups import BringBack as BringBackBody
from .shapes.backups import BroughtBack
from .views import failure_of

MOST_RECORDS = 256
"""Of one request: some tens of milliseconds of work, spread over several turns."""
AT_ONCE = 32
"""Records whose writes wait together for log and peers."""
WRITTEN, KEPT, EXPIRED, TAKEN = "written", "kept", "expired", "taken"
"""What became of a record: it is written; something was there and stays; its time to live has passed; or of a user:
somebody else is registered by that name and stays, so what the user of the backup owned is nobody's."""


class Given(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One record to be brought back."""

    key: str
    value: msgspec.Raw
    owner: str
    expires_at: int = 0


class Asked(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of a request.

    :ivar overwrite: whether what is there is written over.
    :ivar dry: whether nothing is written, and only said what would be.
    """

    records: list[Given]
    overwrite: bool = False
    dry: bool = False


_ASKED = msgspec.json.Decoder(Asked)
_SHAPE = '{"records": [{"key", "value", "owner", "expires_at"?}, ...], "overwrite"?, "dry"?}'
T = TypeVar("T")
BringBack = Callable[[Given, Asked], Awaitable[str]]


class RestoreRoutes:
    """See the module. Every method may raise `ApiError`."""

    def __init__(self, context: Context, changes: TableChanges) -> None:
        self._context = context
        self._changes = changes
        self._system: dict[str, BringBack] = {
            USERS_TABLE: self._user,
            GROUPS_TABLE: self._group,
            SERVICES_TABLE: self._service,
            TABLES_TABLE: self._settings,
        }

    @Described(
        who=Who.ADMIN,
        takes=BringBackBody,
        example={"records": [{"key": "profile", "value": {"level": 42}, "owner": "alice"}]},
        gives={200: BroughtBack},
        refuses=("upgrading", "bad_owner", "bad_expires_at"),
    )
    async def records(self, request: Request, table: str) -> Answer:
        """Bring records of a backup back; answers what became of each, in the same order."""
        context = self._context
        context.require_ready()
        context.require_admin(request)
        require_release(context.cluster, context.cluster.peers.lacks_backups)
        if table not in SYSTEM_TABLES:
            check_table(table, context.limits)
        asked = _asked(request.body)
        outcomes: list[object] = []
        bring_back = self._system.get(table, partial(self._record, table))
        at_once = 1 if table in SYSTEM_TABLES else AT_ONCE
        for begin in range(0, len(asked.records), at_once):
            under_way = [self._outcome(bring_back, one, asked) for one in asked.records[begin : begin + at_once]]
            outcomes += await all_of(under_way)
        return json_answer(200, {"outcomes": outcomes})

    def _outcome(self, bring_back: BringBack, given: Given, asked: Asked) -> Deferred[object]:
        async def outcome() -> object:
            if 0 < given.expires_at <= self._context.cluster.runtime.wall_ms():
                return EXPIRED
            try:
                return await bring_back(given, asked)
            except ApiError as error:
                return {"error": error.text, "code": error.code}

        return Deferred.fromCoroutine(outcome())

    # Data

    async def _record(self, table: str, given: Given, asked: Asked) -> str:
        limits, execute = self._context.limits, self._context.coordinator.execute
        key = table, check_key(given.key, limits)
        value = parse_value(bytes(given.value), limits)
        if not 0 < len(given.owner) <= MAX_OWNER_CHARS or not given.owner.isprintable():
            raise ApiError(400, "bad_owner", "the owner is no user, service token or administrator")
        if not 0 <= given.expires_at < BEYOND:
            raise ApiError(400, "bad_expires_at", "expires_at is milliseconds since 1970, or 0")
        if asked.dry:
            held = await execute(Operation(Kind.GET, key, Level.MAJORITY))
            if held.code not in (Code.OK, Code.ABSENT):
                raise failure_of(held)
            return KEPT if held.code is Code.OK and not asked.overwrite else WRITTEN
        operation = Operation(
            Kind.PUT,
            key,
            Level.MAJORITY,
            value,
            given.owner,
            any_owner=True,
            if_none_match=not asked.overwrite,
            may=ALL.may,
            restored=Restored(given.expires_at),
        )
        result = await execute(operation)
        if result.code is Code.PRECONDITION:
            return KEPT
        if result.code is not Code.OK:
            raise failure_of(result)
        return WRITTEN

    # What the system keeps

    async def _user(self, given: Given, asked: Asked) -> str:
        user = _decoded(given, User)
        if not is_bearable(user.hash):
            raise ApiError(400, "malformed", "the hash of the secret is none that this release checks")
        if owner_name(user.uid) != check_user(given.key) or "#" not in user.uid:
            raise ApiError(400, "malformed", "the uid is none of that user")
        users = self._context.users
        if asked.dry:
            outcome = _foretold(asked, is_there=bool(users.uid_of(given.key)))
        else:
            outcome = _done(await users.put_back(given.key, user, overwrite=asked.overwrite))
        return TAKEN if outcome == KEPT and users.uid_of(given.key) != user.uid else outcome

    async def _group(self, given: Given, asked: Asked) -> str:
        group, groups = _decoded(given, Group), self._context.groups
        if asked.dry:
            return _foretold(asked, is_there=groups.is_known(given.key))
        return _done(await groups.put_back(check_group(given.key), group, overwrite=asked.overwrite))

    async def _service(self, given: Given, asked: Asked) -> str:
        service, services = _decoded(given, Service), self._context.services
        if asked.dry:
            return _foretold(asked, is_there=services.is_known(given.key))
        return _done(await services.put_back(given.key, service, overwrite=asked.overwrite))

    async def _settings(self, given: Given, asked: Asked) -> str:
        table = check_table(given.key, self._context.limits)
        wanted, held = _opened(_decoded(given, Settings)), await self._changes.read(table)
        if held == wanted or (held != PLAIN and not asked.overwrite):
            return KEPT
        if not asked.dry:
            await self._changes.set(table, lambda _: wanted)
        return WRITTEN


def _asked(body: bytes) -> Asked:
    try:
        body.decode()
        asked = _ASKED.decode(body)
    except NOT_DECODED as error:
        raise ApiError(400, "malformed", f"the body must be {_SHAPE}: {error}") from None
    if len(asked.records) > MOST_RECORDS:
        raise ApiError(400, "malformed", f"at most {MOST_RECORDS} records are brought back in one request")
    return asked


def _decoded(given: Given, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(given.value, type=kind)
    except NOT_DECODED as error:
        raise ApiError(400, "malformed", f"it is not what this release keeps: {error}") from None


def _opened(settings: Settings) -> Settings:
    """Of a table that was closed for a change when it was backed up, what it was before."""
    consistency = settings.was if settings.consistency is Consistency.CLOSING else settings.consistency
    return msgspec.structs.replace(settings, consistency=consistency, was=PLAIN.was, claim="")


def _done(is_written: bool) -> str:
    return WRITTEN if is_written else KEPT


def _foretold(asked: Asked, *, is_there: bool) -> str:
    return KEPT if is_there and not asked.overwrite else WRITTEN
