"""Groups of users, and tokens of programs: an administrator's, for rules of tables."""

from __future__ import annotations

import msgspec

from dynatwist.auth.groups import MAX_MEMBERS, Group
from dynatwist.auth.services import Grant, Service
from dynatwist.errors import ApiError
from dynatwist.model.access import RIGHTS, WRITE, WRITES
from dynatwist.model.flaws import NOT_DECODED

from .context import Context
from .limits import MAX_TTL_S, check_depth, check_group, check_prefix, check_table, check_user
from .openapi.codes import AGREEING
from .openapi.described import Described, Who
from .openapi.parameters import AFTER, whole
from .request import Answer, Request, json_answer
from .shapes import accounts as shapes
from .shapes.accounts import MAX_GRANTS, Done, Granted, Members, NewToken, Wanted

MAX_PAGE = 1000
LIMIT = whole("limit", "So many at most.", low=1, high=MAX_PAGE, default=MAX_PAGE)

_MEMBERS = msgspec.json.Decoder(Members)
_WANTED = msgspec.json.Decoder(Wanted)


class GroupRoutes:
    """Groups of users, for rules of tables. Every method may raise `ApiError`."""

    def __init__(self, context: Context) -> None:
        self._context = context

    @Described(who=Who.ADMIN, parameters=(AFTER, LIMIT), gives={200: shapes.Groups})
    async def list(self, request: Request) -> Answer:
        """List the groups, a page at a time."""
        _enter(self._context, request)
        limit = LIMIT.of(request)
        page = self._context.groups.page(request.query.get("after", ""), limit)
        groups = [_shown_group(name, group) for name, group in page]
        next_after = page[-1][0] if len(page) == limit else None
        return json_answer(200, shapes.Groups(groups=groups, next_after=next_after))

    @Described(who=Who.ADMIN, gives={200: shapes.Group}, refuses=("no_such_group", *AGREEING))
    async def show(self, request: Request, group: str) -> Answer:
        """Show a group."""
        _enter(self._context, request)
        return json_answer(200, _shown_group(group, await self._context.groups.read(check_group(group))))

    @Described(
        who=Who.ADMIN,
        takes=Members,
        example={"members": ["alice", "bob"]},
        gives={200: shapes.Group},
        refuses=("bad_user", "reserved_name", *AGREEING),
    )
    async def set(self, request: Request, group: str) -> Answer:
        """Set a group: these members and no others. Members of `admins` are administrators."""
        _enter(self._context, request)
        check_group(group)
        try:
            check_depth(request.body, self._context.limits)
            members = _MEMBERS.decode(request.body).members
        except NOT_DECODED as error:
            raise ApiError(400, "malformed", f'the body must be {{"members": [NAME, ...]}}: {error}') from None
        if len(members) > MAX_MEMBERS:
            raise ApiError(400, "malformed", f"a group has at most {MAX_MEMBERS} members")
        bound = {one: uid for one in map(check_user, members) if (uid := self._context.users.uid_of(one))}
        return json_answer(200, _shown_group(group, await self._context.groups.set(group, members, bound)))

    @Described(who=Who.ADMIN, gives={200: Done}, refuses=("no_such_group", *AGREEING))
    async def delete(self, request: Request, group: str) -> Answer:
        """Delete a group; rules that name it mean nobody by that."""
        _enter(self._context, request)
        await self._context.groups.delete(check_group(group))
        return json_answer(200, Done(status="deleted"))


class ServiceRoutes:
    """Service tokens, for programs. Every method may raise `ApiError`."""

    def __init__(self, context: Context) -> None:
        self._context = context

    @Described(who=Who.ADMIN, parameters=(AFTER, LIMIT), gives={200: shapes.Services})
    async def list(self, request: Request) -> Answer:
        """List the service tokens, a page at a time; never what is secret of them."""
        _enter(self._context, request)
        services = self._context.services
        limit = LIMIT.of(request)
        page = services.page(request.query.get("after", ""), limit)
        tokens = [_shown_service(number, one, services.used_ms(number)) for number, one in page]
        next_after = page[-1][0] if len(page) == limit else None
        return json_answer(200, shapes.Services(tokens=tokens, next_after=next_after))

    @Described(
        who=Who.ADMIN,
        takes=Wanted,
        example={"name": "worker", "access": [{"table": "jobs", "rights": ["read", "write"]}], "lifetime": 86400},
        gives={201: NewToken},
        refuses=(
            "unknown_right", "bad_prefix", "bad_table", "system_table", "reserved_table", "bad_user", "reserved_name",
            *AGREEING,
        ),
    )  # fmt: skip
    async def create(self, request: Request) -> Answer:
        """Make a service token: 201 the token, which nobody is shown again."""
        _enter(self._context, request)
        limits = self._context.limits
        try:
            check_depth(request.body, limits)
            wanted = _WANTED.decode(request.body)
        except NOT_DECODED as error:
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
        return json_answer(201, NewToken(id=number, name=wanted.name, token=token))

    @Described(who=Who.ADMIN, gives={200: Done}, refuses=("no_such_token", *AGREEING))
    async def delete(self, request: Request, token_id: str) -> Answer:
        """End a service token, everywhere."""
        _enter(self._context, request)
        await self._context.services.delete(token_id)
        return json_answer(200, Done(status="deleted"))


def _enter(context: Context, request: Request) -> None:
    context.require_ready()
    context.require_admin(request)


def _rights_of(granted: Granted) -> tuple[str, ...]:
    for right in granted.rights:
        if right not in RIGHTS and right != WRITE:
            known = "read, create, update, delete, and write for the last three"
            raise ApiError(400, "unknown_right", f"there is no right {right!r}; there are {known}")
    rights = {*granted.rights, *(WRITES if WRITE in granted.rights else ())}
    return tuple(sorted(rights - {WRITE}))


def _shown_group(name: str, group: Group) -> shapes.Group:
    return {"group": name, "members": list(group.members)}


def _shown_service(number: str, service: Service, used_ms: int | None) -> shapes.Service:
    return {
        "id": number,
        "name": service.name,
        "access": [msgspec.to_builtins(one) for one in service.access],
        "created": service.created_ms,
        "expires_at": service.expires_ms or None,
        "last_used": used_ms,
    }
