"""How a table is kept, and who may do what in it: what an administrator sets, and everybody's requests go by."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from dynatwist.errors import ApiError
from dynatwist.model.access import (
    ANONYMOUS,
    ANY_TOKEN,
    CALLER,
    GROUP,
    OWNER,
    PUBLIC,
    RIGHTS,
    USER,
    USUAL,
    WRITE,
    WRITES,
    Rule,
)
from dynatwist.model.flaws import NOT_DECODED
from dynatwist.requests.table_changes import TableChanges
from dynatwist.requests.tables import Consistency, Settings

from .context import Context
from .limits import MAX_TTL_S, Limits, check_depth, check_table
from .openapi.codes import AGREEING
from .openapi.described import Described, Who
from .request import Answer, Request, json_answer
from .shapes.cluster import SetTable, Table

FIELDS = tuple(name for name in SetTable.__struct_fields__ if name != "table")
MAX_RULES = 100
MAX_PRINCIPALS = 1000
"""Of one right; many users are a group."""
MAX_SETTINGS_BYTES = 256 << 10
"""Of a table: every node has all settings in memory."""


class TableRoutes:
    """Settings of tables: how a table is kept, and who may do what in it. Every method may raise `ApiError`."""

    def __init__(self, context: Context, changes: TableChanges) -> None:
        self._context = context
        self._changes = changes

    @Described(who=Who.ADMIN, gives={200: Table}, refuses=AGREEING)
    async def show(self, request: Request, table: str) -> Answer:
        """Show the settings of a table."""
        self._check(request, table)
        return self._shown(table, await self._changes.read(table))

    @Described(
        who=Who.ADMIN,
        takes=SetTable,
        example={"access": [{"prefix": "", "read": ["*"], "create": ["group:editors"], "update": ["owner"]}]},
        gives={200: Table},
        refuses=(
            "bad_setting", "no_setting", "unknown_field", "unknown_right", "unknown_principal", "not_empty",
            "changed_meanwhile", *AGREEING,
        ),
    )  # fmt: skip
    async def set(self, request: Request, table: str) -> Answer:
        """Set how a table is kept, or who may do what in it; what is not named stays as it is.

        409 to keep records otherwise while there are any.
        """
        self._check(request, table)
        given = _fields_of(request.body, self._context.limits)
        limits = self._context.limits
        changes: dict[str, Any] = {name: _CHECKS[name](value, limits) for name, value in given.items()}
        if "access" in changes:
            changes["bound"] = self._bound(changes["access"])
        settings = await self._changes.set(table, lambda held: msgspec.structs.replace(held, **changes))
        return self._shown(table, settings)

    @Described(who=Who.ADMIN, gives={200: Table}, refuses=("not_empty", "changed_meanwhile", *AGREEING))
    async def reset(self, request: Request, table: str) -> Answer:
        """Take all settings of a table back."""
        self._check(request, table)
        return self._shown(table, await self._changes.set(table, lambda held: Settings()))

    def _check(self, request: Request, table: str) -> None:
        self._context.require_ready()
        self._context.require_admin(request)
        check_table(table, self._context.limits)

    def _bound(self, rules: tuple[Rule, ...]) -> dict[str, str]:
        """The uids of the users that rules name, as far as there are such users now."""
        principals = (one for rule in rules for right in RIGHTS for one in getattr(rule, right))
        names = {one.removeprefix(USER) for one in principals if one.startswith(USER)}
        return {name: uid for name in sorted(names) if (uid := self._context.users.uid_of(name))}

    def _shown(self, table: str, settings: Settings) -> Answer:
        usual = PUBLIC if self._context.anonymous_read else USUAL
        rules = settings.access if settings.access is not None else (usual,)
        shown: Table = {
            "table": table,
            "consistency": settings.consistency.value,
            "access": [msgspec.to_builtins(rule) for rule in rules],
            "default_ttl": settings.default_ttl,
            "max_value": settings.max_value or self._context.limits.value_bytes,
        }
        return json_answer(200, shown)


def _fields_of(body: bytes, limits: Limits) -> dict[str, object]:
    if len(body) > MAX_SETTINGS_BYTES:
        raise ApiError(413, "too_large", f"settings have at most {MAX_SETTINGS_BYTES} bytes; name groups, not users")
    check_depth(body, limits)
    try:
        body.decode()
        given = msgspec.json.decode(body, type=dict[str, object])
    except NOT_DECODED as error:
        raise ApiError(400, "malformed_json", f"the body must be a JSON object: {error}") from None
    unknown = sorted(given.keys() - set(FIELDS) - {"table"})
    if unknown:
        raise ApiError(400, "unknown_field", f"there is no setting {unknown[0]!r}; there are {', '.join(FIELDS)}")
    given.pop("table", None)
    if not given:
        raise ApiError(400, "no_setting", f"name what is to be set: {', '.join(FIELDS)}")
    return given


def _consistency_of(given: object, limits: Limits) -> Consistency:
    if given not in (Consistency.AVAILABLE.value, Consistency.STRONG.value):
        raise ApiError(400, "bad_setting", 'consistency is "available" or "strong"')
    return Consistency(given)


def _ttl_of(given: object, limits: Limits) -> int:
    return _number(given, "default_ttl", 0, MAX_TTL_S)


def _size_of(given: object, limits: Limits) -> int:
    size_bytes = _number(given, "max_value", 1, limits.value_bytes)
    return size_bytes if size_bytes < limits.value_bytes else 0


def _number(given: object, name: str, least: int, most: int) -> int:
    if not isinstance(given, int) or isinstance(given, bool) or not least <= given <= most:
        raise ApiError(400, "bad_setting", f"{name} is a whole number from {least} to {most}")
    return given


def _access_of(given: object, limits: Limits) -> tuple[Rule, ...]:
    if not isinstance(given, list) or len(given) > MAX_RULES or not all(isinstance(one, dict) for one in given):
        raise ApiError(400, "bad_setting", f"access is a list of at most {MAX_RULES} rules, which are objects")
    rules = tuple(_rule_of(one, limits) for one in given)
    prefixes = [rule.prefix for rule in rules]
    twice = next((one for one in prefixes if prefixes.count(one) > 1), None)
    if twice is not None:
        raise ApiError(400, "bad_setting", f"two rules have the prefix {twice!r}; put them into one")
    return rules


def _rule_of(given: dict[str, object], limits: Limits) -> Rule:
    for name in given:
        if name not in ("prefix", *RIGHTS, WRITE):
            raise ApiError(
                400, "unknown_right", f"a rule has no {name!r}; it has prefix, {', '.join(RIGHTS)} and write"
            )
    prefix = given.get("prefix", "")
    if not isinstance(prefix, str) or len(prefix.encode(errors="replace")) > limits.key_bytes:
        raise ApiError(400, "bad_setting", f"a prefix is a string of at most {limits.key_bytes} bytes")
    if prefix.count(CALLER) > 1:
        raise ApiError(400, "bad_setting", f"the prefix {prefix!r} has {CALLER} more than once")
    write = _principals_of(given.get(WRITE, []), WRITE)
    rights = {name: _principals_of(given.get(name, []), name) for name in RIGHTS}
    for name in WRITES:
        rights[name] = tuple(dict.fromkeys((*rights[name], *write)))
    return Rule(prefix, **rights)


def _principals_of(given: object, right: str) -> tuple[str, ...]:
    if not isinstance(given, list) or len(given) > MAX_PRINCIPALS:
        raise ApiError(400, "bad_setting", f"{right} is a list of at most {MAX_PRINCIPALS} principals")
    for one in given:
        if not isinstance(one, str) or not _is_principal(one):
            known = f"{USER}NAME, {GROUP}NAME, {OWNER}, {ANY_TOKEN} and {ANONYMOUS}"
            raise ApiError(400, "unknown_principal", f"there is no principal {one!r}; there are {known}")
        if one == ANONYMOUS and right != "read":
            raise ApiError(400, "unknown_principal", f"{ANONYMOUS} may only read: every record is somebody's")
    return tuple(dict.fromkeys(given))


def _is_principal(text: str) -> bool:
    return text in (OWNER, ANY_TOKEN, ANONYMOUS) or any(
        text.startswith(kind) and len(text) > len(kind) for kind in (USER, GROUP)
    )


_CHECKS: dict[str, Callable[[object, Limits], object]] = {
    "consistency": _consistency_of,
    "access": _access_of,
    "default_ttl": _ttl_of,
    "max_value": _size_of,
}
