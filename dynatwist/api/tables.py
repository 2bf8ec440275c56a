"""How a table is kept: what an administrator sets, and everybody's requests go by."""

from __future__ import annotations

import msgspec

from dynatwist.errors import ApiError
from dynatwist.requests.table_changes import TableChanges
from dynatwist.requests.tables import Consistency, Settings

from .context import Context
from .limits import check_table, parse_object
from .request import Answer, Request, json_answer

FIELDS = frozenset(("consistency",))


class TableRoutes:
    """See the module. Every method may raise `ApiError`."""

    def __init__(self, context: Context, changes: TableChanges) -> None:
        self._context = context
        self._changes = changes

    async def show(self, request: Request, table: str) -> Answer:
        """The settings of a table."""
        self._check(request, table)
        return _shown(table, await self._changes.read(table))

    async def set(self, request: Request, table: str) -> Answer:
        """200 the settings; 409 while something is in the table."""
        self._check(request, table)
        given = parse_object(request.body, self._context.limits, *FIELDS)
        unknown = sorted(msgspec.json.decode(request.body, type=dict[str, msgspec.Raw]).keys() - FIELDS)
        if unknown:
            raise ApiError(400, "unknown_field", f"there is no setting {unknown[0]!r}; there is consistency")
        return _shown(table, await self._changes.set(table, _consistency_of(given.get("consistency"))))

    async def reset(self, request: Request, table: str) -> Answer:
        """200; the table is as one of which nothing was set."""
        self._check(request, table)
        return _shown(table, await self._changes.set(table, Consistency.AVAILABLE))

    def _check(self, request: Request, table: str) -> None:
        self._context.require_ready()
        self._context.require_admin(request)
        check_table(table, self._context.limits)


def _consistency_of(given: object) -> Consistency:
    if given not in (Consistency.AVAILABLE.value, Consistency.STRONG.value):
        raise ApiError(400, "bad_setting", 'consistency is "available" or "strong"')
    return Consistency(given)


def _shown(table: str, settings: Settings) -> Answer:
    return json_answer(200, {"table": table, "consistency": settings.consistency.value})
