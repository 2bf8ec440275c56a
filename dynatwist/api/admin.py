"""The administrator's routes: any table, any record, the registry."""

from __future__ import annotations

import msgspec
from twisted.internet.defer import Deferred

from dynatwist.auth.users import require_strong
from dynatwist.errors import ApiError
from dynatwist.model.registry import Member
from dynatwist.replication.quorum import Level
from dynatwist.requests.listing import PAGE_KEYS, ListingUnavailable
from dynatwist.requests.table_list import TableList

from .context import Context
from .data import DataRoutes
from .limits import check_table, check_user, parse_object, string_of
from .request import Answer, Request, json_answer

MAX_PAGE_KEYS = 1000
"""Keys of one answer; the longest possible ones make a megabyte."""

MAX_PAGE_TABLES = 1000
"""Tables of one answer."""


class AdminRoutes:
    """See the module. Every method may raise `ApiError`."""

    def __init__(self, context: Context, data: DataRoutes, table_list: TableList) -> None:
        self._context = context
        self._data = data
        self.table_list = table_list

    async def tables(self, request: Request) -> Answer:
        """The tables of the cluster that hold records or have settings, a page at a time."""
        self._context.require_admin(request)
        limit = request.integer("limit", MAX_PAGE_TABLES, 1, MAX_PAGE_TABLES)
        page = await self.table_list.page(request.query.get("after", ""), limit)
        tables = [{"name": one.name, "keys": one.keys, "has_settings": one.has_settings} for one in page.tables]
        registry = self._context.cluster.registry
        members = (*registry.members, *registry.previous) if registry is not None else ()
        missing = sorted({one.address for one in members if one.node_id in page.missing})
        return json_answer(200, {"tables": tables, "next_after": page.next_after, "missing": missing})

    async def keys(self, request: Request, table: str) -> Answer:
        """The keys of a table, a page at a time."""
        self._context.require_ready()
        self._context.require_admin(request)
        check_table(table, self._context.limits)
        left = request.integer("limit", MAX_PAGE_KEYS, 1, MAX_PAGE_KEYS)
        prefix = request.query.get("prefix", "")
        after: str | None = request.query.get("after", "")
        names: list[str] = []
        while left and after is not None:
            try:
                page = await self._context.listing.names(table, prefix, after, Level.QUORUM, min(left, PAGE_KEYS))
            except ListingUnavailable:
                raise ApiError(503, "unavailable", "some part of the table has no owner that answers") from None
            found = [name for name, _ in page.names]
            names += found
            left, after = left - len(found), page.next_after
        return json_answer(200, {"table": table, "keys": names, "next_after": after})

    async def get(self, request: Request, table: str, key: str) -> Answer:
        """Any record."""
        self._context.require_admin(request)
        return await self._data.get(request, table, key)

    async def put(self, request: Request, table: str, key: str) -> Answer:
        """200 the record, also a new one; any record may be written, and its owner stays."""
        self._context.require_admin(request)
        return msgspec.structs.replace(await self._data.put(request, table, key), status=200)

    async def delete(self, request: Request, table: str, key: str) -> Answer:
        """Delete any record."""
        self._context.require_admin(request)
        return await self._data.delete(request, table, key)

    # Users

    async def users(self, request: Request) -> Answer:
        """The users, a page at a time."""
        self._context.require_ready()
        self._context.require_admin(request)
        limit = request.integer("limit", MAX_PAGE_KEYS, 1, MAX_PAGE_KEYS)
        page = self._context.users.page(request.query.get("after", ""), limit)
        next_after = page[-1][0] if len(page) == limit else None
        return json_answer(200, {"users": [{"name": name} for name, _ in page], "next_after": next_after})

    async def create_user(self, request: Request, name: str) -> Answer:
        """201; 409 when there is one of that name."""
        self._context.require_ready()
        self._context.require_admin(request)
        check_user(name)
        secret = string_of(parse_object(request.body, self._context.limits, "secret"), "secret")
        require_strong(secret)
        await self._context.users.create(name, secret)
        return json_answer(201, {"status": "created", "name": name})

    async def delete_user(self, request: Request, name: str) -> Answer:
        """200; what the user owns stays."""
        self._context.require_ready()
        self._context.require_admin(request)
        await self._context.users.delete(name)
        return json_answer(200, {"status": "deleted"})

    async def logout_user(self, request: Request, name: str) -> Answer:
        """200; all tokens of the user stop working."""
        self._context.require_ready()
        self._context.require_admin(request)
        await self._context.users.logout(name)
        return json_answer(200, {"status": "logged out"})

    # Members

    async def members(self, request: Request) -> Answer:
        """The registry."""
        self._context.require_admin(request)
        registry = self._context.cluster.registry
        if registry is None:
            return json_answer(200, {"version": 0, "members": [], "changing": False})
        return json_answer(
            200,
            {
                "version": registry.version,
                "cluster": registry.cluster_id.hex(),
                "replicas": registry.replicas,
                "changing": registry.changing,
                "zoned": registry.zoned,
                "members": [self._member(member) for member in registry.members],
                "leaving": [self._member(one) for one in registry.previous if one.node_id not in registry.ids],
            },
        )

    def _member(self, member: Member) -> dict[str, object]:
        return {
            "id": member.node_id.hex(),
            "address": member.address,
            "peer_port": member.peer_port,
            "zone": member.zone,
            "reachable": self._context.cluster.peers.is_reachable(member.node_id),
        }

    async def forget(self, request: Request, name: str) -> Answer:
        """Strike out a member, by address or id. One that still runs hands its data off first."""
        self._context.require_admin(request)
        self._context.require_ready()
        registry = self._context.cluster.registry
        assert registry is not None
        member = next((one for one in registry.members if name in (one.address, one.node_id.hex())), None)
        if member is None:
            raise ApiError(404, "no_such_member", "there is no such member; name it as HOST:PORT or by its id")
        if len(registry.members) == 1:
            raise ApiError(409, "last_member", "this is the last member")
        self._context.registrar.forget(member.node_id)
        return json_answer(202, {"status": "forgetting", "id": member.node_id.hex(), "address": member.address})

    async def save(self, request: Request) -> Answer:
        """Make a cold save now, and answer when it is on disk."""
        self._context.require_admin(request)
        saved: Deferred[None] = self._context.saver.save()
        try:
            await saved
        except OSError as error:
            raise ApiError(507, "disk", f"the cold save failed: {error.strerror}") from None
        return json_answer(200, {"status": "saved", "saves": self._context.saver.saves})
