"""Groups of users, and tokens of programs: an administrator's, for rules of tables."""

from __future__ import annotations

import msgspec

from dynatwist.auth.groups import MAX_MEMBERS, Group
from dynatwist.auth.services import Grant, Service
from dynatwist.errors import ApiError
from dynatwist.model.access import RIGHTS, WRITE, WRITES

from .context import Context
from .limits import check_depth, check_group, check_prefix, check_table, check_user
from .record_door import MAX_TTL_S
from .request import Answer, Request, json_answer

MAX_PAGE = 1000
MAX_GRANTS = 100


class _Members(msgspec.Struct, forbid_unknown_fields=True):
    members: list[str]


class _Granted(msgspec.Struct, forbid_unknown_fields=True):
    table: str
    rights: list[str]
    prefix: str = ""


class _Wanted(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    access: list[_Granted]
    lifetime: int | None = None


_MEMBERS = msgspec.json.Decoder(_Members)
_WANTED = msgspec.json.Decoder(_Wanted)


class GroupRoutes:
    """See the module. Every method may raise `ApiError`."""

    def __init__(self, context: Context) -> None:
        self._context = context

    async def list(self, request: Request) -> Answer:
        """The groups, a page at a time."""
        _enter(self._context, request)
        limit = request.integer("limit", MAX_PAGE, 1, MAX_PAGE)
        page = self._context.groups.page(request.query.get("after", ""), limit)
        groups = [_shown_group(name, group) for name, group in page]
        return json_answer(200, {"groups": groups, "next_after": page[-1][0] if len(page) == limit else None})

    async def show(self, request: Request, name: str) -> Answer:
        """A group."""
        _enter(self._context, request)
        return json_answer(200, _shown_group(name, await self._context.groups.read(check_group(name))))

    async def set(self, request: Request, name: str) -> Answer:
        """200 the group, with these members and no others."""
        _enter(self._context, request)
        check_group(name)
        try:
            check_depth(request.body, self._context.limits)
            members = _MEMBERS.decode(request.body).members
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise ApiError(400, "malformed", f'the body must be {{"members": [NAME, ...]}}: {error}') from None
        if len(members) > MAX_MEMBERS:
            raise ApiError(400, "malformed", f"a group has at most {MAX_MEMBERS} members")
        bound = {one: uid for one in map(check_user, members) if (uid := self._context.users.uid_of(one))}
        return json_answer(200, _shown_group(name, await self._context.groups.set(name, members, bound)))

    async def delete(self, request: Request, name: str) -> Answer:
        """200; rules that name it mean nobody by that."""
        _enter(self._context, request)
        await self._context.groups.delete(check_group(name))
        return json_answer(200, {"status": "deleted"})


class ServiceRoutes:
    """See the module. Every method may raise `ApiError`."""

    def __init__(self, context: Context) -> None:
        self._context = context

    async def list(self, request: Request) -> Answer:
        """The service tokens, a page at a time; never what is secret of them."""
        _enter(self._context, request)
        services = self._context.services
        limit = request.integer("limit", MAX_PAGE, 1, MAX_PAGE)
        page = services.page(request.query.get("after", ""), limit)
        tokens = [{**_shown_service(number, one), "last_used": services.used_ms(number)} for number, one in page]
        return json_answer(200, {"tokens": tokens, "next_after": page[-1][0] if len(page) == limit else None})

    async def create(self, request: Request) -> Answer:
        """201 the token, which nobody is shown again."""
        _enter(self._context, request)
        limits = self._context.limits
        try:
            check_depth(request.body, limits)
            wanted = _WANTED.decode(request.body)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            shape = '{"name", "access": [{"table", "prefix", "rights": [...]}], "lifetime": SECONDS or null}'
            raise ApiError(400, "malformed", f"the body must be {shape}: {error}") from None
        if len(wanted.access) > MAX_GRANTS:
            raise ApiError(400, "malformed", f"a service token has at most {MAX_GRANTS} grants")
        if wanted.lifetime is not None and not 1 <= wanted.lifetime <= MAX_TTL_S:
            raise ApiError(400, "malformed", f"lifetime is null, or a number of seconds from 1 to {MAX_TTL_S}")
        access = tuple(
            Grant(check_table(one.table, limits), check_prefix(one.prefix, limits), _rights_of(one))
            for one in wanted.access
        )
        number, token = await self._context.services.create(check_user(wanted.name), access, wanted.lifetime)
        return json_answer(201, {"id": number, "name": wanted.name, "token": token})

    async def delete(self, request: Request, number: str) -> Answer:
        """200; the token stops working everywhere."""
        _enter(self._context, request)
        await self._context.services.delete(number)
        return json_answer(200, {"status": "deleted"})


def _enter(context: Context, request: Request) -> None:
    context.require_ready()
    context.require_admin(request)


def _rights_of(granted: _Granted) -> tuple[str, ...]:
    for right in granted.rights:
        if right not in RIGHTS and right != WRITE:
            known = "read, create, update, delete, and write for the last three"
            raise ApiError(400, "unknown_right", f"there is no right {right!r}; there are {known}")
    rights = {*granted.rights, *(WRITES if WRITE in granted.rights else ())}
    return tuple(sorted(rights - {WRITE}))


def _shown_group(name: str, group: Group) -> dict[str, object]:
    return {"group": name, "members": group.members}


def _shown_service(number: str, service: Service) -> dict[str, object]:
    return {
        "id": number,
        "name": service.name,
        "access": [msgspec.to_builtins(one) for one in service.access],
        "created": service.created_ms,
        "expires_at": service.expires_ms or None,
    }
