"""What a backup reads of a node: the tables, and their records with all that bringing them back needs.

The system's tables are shown here and nowhere else: users with the hashes of their secrets, groups, settings of tables,
and service tokens with the hashes of theirs. They come last, so the owner of each record that was read is among the
users that are.
"""

from __future__ import annotations

from collections.abc import Awaitable
from typing import TypeVar

import msgspec

from dynatwist.auth.groups import GROUPS_TABLE
from dynatwist.auth.services import SERVICES_TABLE
from dynatwist.auth.tokens import Identity
from dynatwist.auth.user import USERS_TABLE
from dynatwist.errors import ApiError
from dynatwist.model.flaws import NOT_DECODED
from dynatwist.model.record import Record
from dynatwist.requests.backups import BackupSource
from dynatwist.requests.changes import DeletesForgotten, UnknownClock
from dynatwist.requests.listing import ListingUnavailable
from dynatwist.requests.releases import require_release
from dynatwist.requests.tables import TABLES_TABLE, Consistency, Tables

from .context import Context
from .data import LONG_BYTES
from .limits import check_prefix, check_table
from .openapi.described import Described, Who
from .openapi.parameters import AFTER, PARTIAL, PREFIX
from .request import Answer, Request, json_answer
from .shapes.backups import BackedUpChanges, BackedUpRecords, BackedUpTable, BackedUpTables, ChangesSince

SYSTEM_TABLES = (TABLES_TABLE, GROUPS_TABLE, SERVICES_TABLE, USERS_TABLE)
"""In the order in which they are read. When a service token was used, and tickets of half a minute, are not kept."""

_SHAPE = '{"since": "...", "prefix"?, "after"?}'
T = TypeVar("T")


class _Since(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of a request for changes."""

    since: str
    prefix: str = ""
    after: str = ""


_SINCE = msgspec.json.Decoder(_Since)


class BackupRoutes:
    """See the module. Every method may raise `ApiError`."""

    def __init__(self, context: Context, source: BackupSource) -> None:
        self._context = context
        self._source = source

    @Described(
        who=Who.ADMIN, parameters=(AFTER, PARTIAL), gives={200: BackedUpTables}, refuses=("unavailable", "upgrading")
    )
    async def tables(self, request: Request) -> Answer:
        """List the tables that have records, at whatever member, a page at a time; the system's are at the end."""
        self._enter(request)
        cluster = self._context.cluster
        require_release(cluster, cluster.peers.lacks_backups)
        after = request.query.get("after", "")
        found = await _read(self._source.tables(after, is_partial=request.switch("partial")))
        names = [*found.names, *(SYSTEM_TABLES if found.next_after is None else ())]
        answer: BackedUpTables = {
            "tables": [self._table(name) for name in names],
            "next_after": found.next_after,
            "missing": list(found.missing),
            "clock": found.clock,
        }
        return json_answer(200, answer)

    def _table(self, name: str) -> BackedUpTable:
        """A table; how many keys it has is an estimate, from those that this node holds."""
        cluster = self._context.cluster
        registry = cluster.registry
        share = min(1.0, registry.replicas / len(registry.members)) if registry is not None else 1.0
        consistency = consistency_of(self._context.coordinator.tables, name)
        return {"name": name, "consistency": consistency, "keys_about": round(cluster.store.live.of(name) / share)}

    @Described(
        who=Who.ADMIN, parameters=(PREFIX, AFTER, PARTIAL), gives={200: BackedUpRecords}, refuses=("unavailable",)
    )
    async def page(self, request: Request, table: str) -> Answer:
        """Read records of a table with all that bringing them back needs, in order of keys, a page at a time."""
        identity = self._enter(request)
        if table not in SYSTEM_TABLES:
            check_table(table, self._context.limits)
        prefix = check_prefix(request.query.get("prefix", ""), self._context.limits)
        after, is_partial = request.query.get("after", ""), request.switch("partial")
        page = await _read(self._source.page(table, prefix, after, is_partial=is_partial))
        return self._page(identity, page.records, next_after=page.next_after, missing=page.missing)

    @Described(
        who=Who.ADMIN,
        takes=ChangesSince,
        example={"since": "eJxjYAAAAAEAAQ=="},
        gives={200: BackedUpChanges},
        refuses=("unavailable", "bad_clock", "bad_prefix", "deletes_forgotten"),
    )
    async def changes(self, request: Request, table: str) -> Answer:
        """Read what has changed in a table since a backup, deletes among it, in order of keys, a page at a time."""
        identity = self._enter(request)
        check_table(table, self._context.limits)
        asked = _asked(request.body)
        prefix = check_prefix(asked.prefix, self._context.limits)
        try:
            changes = await _read(self._source.changes(table, prefix, asked.after, asked.since))
        except UnknownClock:
            raise ApiError(400, "bad_clock", "since is no clock of a backup of this cluster") from None
        except DeletesForgotten:
            text = "something may have been deleted since of which no member knows any more: make a full backup"
            raise ApiError(409, "deletes_forgotten", text) from None
        return self._page(identity, changes.records, gone=changes.gone, next_after=changes.next_after)

    def _page(self, identity: Identity, records: list[tuple[str, Record]], **rest: object) -> Answer:
        """An answer with some records, and other things."""
        shown = b",".join([_shown(key, record) for key, record in records])
        if len(shown) > LONG_BYTES:
            self._context.require_unread_room(identity.uid, len(shown))
        return Answer(200, b'{"records":[%b],%b' % (shown, msgspec.json.encode(rest)[1:]), holder=identity.uid)

    def _enter(self, request: Request) -> Identity:
        self._context.require_ready()
        return self._context.require_admin(request)


def consistency_of(tables: Tables, name: str) -> str:
    """``available`` or ``strong``; a table that is closed for a change is what it was before."""
    settings = tables.settings(name)
    return (settings.was if settings.consistency is Consistency.CLOSING else settings.consistency).value


def _shown(key: str, record: Record) -> bytes:
    """One record, as `dynatwist.backups.entries.Entry` wants it; the value is sent as it is kept."""
    encode = msgspec.json.encode
    return b'{"key":%b,"value":%b,"owner":%b,"expires_at":%d,"version":%d,"timestamp":%d}' % (
        encode(key), record.value or b"null", encode(record.owner), record.expires_ms, record.version, record.stamp.ms,
    )  # fmt: skip


def _asked(body: bytes) -> _Since:
    try:
        return _SINCE.decode(body)
    except NOT_DECODED as error:
        raise ApiError(400, "malformed", f"the body must be {_SHAPE}: {error}") from None


async def _read(page: Awaitable[T]) -> T:
    try:
        return await page
    except ListingUnavailable:
        text = "some keys have no majority of owners that answers, so a backup would not be whole; try again"
        raise ApiError(503, "unavailable", text, {"Retry-After": "1"}) from None
