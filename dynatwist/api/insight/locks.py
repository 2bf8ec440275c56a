"""Locks that are held, and who waits for them: a lock is a record, and each node has a line of those who wait there."""

from __future__ import annotations

import msgspec

from dynatwist.auth.user import owner_name
from dynatwist.errors import ApiError
from dynatwist.model.record import Record
from dynatwist.net.messages import AskWaiting, WaitingAre
from dynatwist.replication.quorum import Level
from dynatwist.requests.everybody import Everybody
from dynatwist.requests.listing import PAGE_KEYS, ListingUnavailable

from ..context import Context
from ..limits import check_table
from ..locks import LockRoutes
from ..openapi.described import Described, Who
from ..openapi.parameters import AFTER, TABLE, whole
from ..request import Answer, Request, json_answer
from ..shapes.insight import Lock, Locks, Waiting
from .cluster import by_address

MAX_PAGE = 1000
LIMIT = whole("limit", "So many at most.", low=1, high=MAX_PAGE, default=100)
MOST_PAGES = 10
"""Of the table's records that one answer looks through: thousands, most of which may be no locks."""


class _Value(msgspec.Struct, forbid_unknown_fields=True):
    """The value of a lock, and of nothing else that is made by this node."""

    note: msgspec.Raw


_note = msgspec.json.Decoder(_Value)


class LockList:
    """See the module. Every method may raise `ApiError`."""

    def __init__(self, context: Context, everybody: Everybody, locks: LockRoutes) -> None:
        self._context = context
        self._everybody = everybody
        everybody.on_ask(AskWaiting, lambda message: WaitingAre(locks.waiting(message.table)))

    @Described(
        who=Who.ADMIN,
        parameters=(TABLE, AFTER, LIMIT),
        gives={200: Locks},
        refuses=("not_strong", "unavailable"),
    )
    async def show(self, request: Request) -> Answer:
        """List the locks of a table that are held, a page at a time, and who waits for each."""
        context = self._context
        context.require_ready()
        context.require_admin(request)
        table = check_table(request.query.get("table", ""), context.limits)
        context.require_strong(table)
        records, next_after = await self._held(table, request.query.get("after", ""), LIMIT.of(request))
        told = by_address(context.cluster, await self._everybody.ask(AskWaiting(table), WaitingAre))
        waiting: dict[str, list[Waiting]] = {}
        for address, one in sorted(told.items()):
            for key, names in one.lines.items() if not isinstance(one, str) else ():
                waiting.setdefault(key, []).extend({"user": name, "node": address} for name in names)
        locks = [_shown(key, record, waiting.get(key, [])) for key, record in records]
        missing = sorted(address for address, one in told.items() if isinstance(one, str))
        return json_answer(200, Locks(table=table, locks=locks, next_after=next_after, missing=missing))

    async def _held(self, table: str, after: str, limit: int) -> tuple[list[tuple[str, Record]], str | None]:
        """Some locks in order, and where to go on."""
        found: list[tuple[str, Record]] = []
        next_after: str | None = after
        for _ in range(MOST_PAGES):
            if next_after is None or len(found) >= limit:
                break
            try:
                page = await self._context.listing.page(table, "", next_after, Level.QUORUM, PAGE_KEYS)
            except ListingUnavailable:
                raise ApiError(503, "unavailable", "some part of the table has no owner that answers") from None
            found += [(key, record) for key, record in page.records if _is_lock(record)]
            next_after = page.next_after
        if len(found) > limit:
            return found[:limit], found[limit - 1][0]
        return found, next_after


def _is_lock(record: Record) -> bool:
    """A lock ends by itself, and its value is a note; a program may put a record that looks like one."""
    if record.value is None or not record.expires_ms or record.lease is not None:
        return False
    try:
        _note.decode(record.value)
    except msgspec.MsgspecError:
        return False
    return True


def _shown(key: str, record: Record, waiting: list[Waiting]) -> Lock:
    return {
        "key": key,
        "owner": owner_name(record.owner),
        "version": record.version,
        "expires_at": record.expires_ms,
        "note": _note.decode(record.value or b"{}").note,
        "waiting": waiting,
    }
