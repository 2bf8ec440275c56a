"""The administrator's routes: any table, any record, the registry."""

from __future__ import annotations

import msgspec
from twisted.internet.defer import Deferred

from dynatwist.auth.users import require_strong
from dynatwist.errors import ApiError
from dynatwist.model.registry import Member
from dynatwist.replication.quorum import Level
from dynatwist.requests.listing import ListingUnavailable
from dynatwist.requests.table_list import TableList

from .context import Context
from .data import DataRoutes
from .folders import Folders
from .limits import check_table, check_user, parse_object, string_of
from .openapi.codes import AGREEING
from .openapi.described import Described, Who
from .openapi.parameters import AFTER, DELIMITER, PREFIX, whole
from .openapi.records import DELETING, GETTING, PUTTING
from .request import Answer, Request, json_answer
from .shapes.accounts import Created, Done, GivenSecret, Users
from .shapes.cluster import Forgetting, RegisteredMember, Registry, Saved, TableCount, TableKeys, Tables
from .shapes.records import Record, Unmet

MAX_PAGE = 1000
"""Tables, users or keys of one answer; the longest possible keys make a megabyte."""
LIMIT = whole("limit", "So many at most.", low=1, high=MAX_PAGE, default=MAX_PAGE)


class AdminRoutes:
    """The administrator's: any table, any record, users, the registry. Every method may raise `ApiError`."""

    def __init__(self, context: Context, data: DataRoutes, table_list: TableList) -> None:
        self._context = context
        self._data = data
        self.table_list = table_list

    @Described(who=Who.ADMIN, parameters=(AFTER, LIMIT), gives={200: Tables})
    async def tables(self, request: Request) -> Answer:
        """List the tables of the cluster that hold records or have settings, a page at a time."""
        self._context.require_admin(request)
        page = await self.table_list.page(request.query.get("after", ""), LIMIT.of(request))
        tables: list[TableCount] = [
            {"name": one.name, "keys": one.keys, "has_settings": one.has_settings} for one in page.tables
        ]
        registry = self._context.cluster.registry
        members = (*registry.members, *registry.previous) if registry is not None else ()
        missing = sorted({one.address for one in members if one.node_id in page.missing})
        return json_answer(200, Tables(tables=tables, next_after=page.next_after, missing=missing))

    @Described(
        who=Who.ADMIN, parameters=(PREFIX, DELIMITER, AFTER, LIMIT), gives={200: TableKeys}, refuses=("unavailable",)
    )
    async def keys(self, request: Request, table: str) -> Answer:
        """List the keys of a table, a page at a time."""
        self._context.require_ready()
        self._context.require_admin(request)
        check_table(table, self._context.limits)
        limit, prefix = LIMIT.of(request), request.query.get("prefix", "")
        folders = Folders(prefix, request.query.get("delimiter", ""), self._context.limits.key_bytes)
        after, names, more = folders.start(request.query.get("after", "")), list[str](), True
        while more and len(names) < limit:
            at_once = min(limit - len(names), folders.at_once)
            try:
                page = await self._context.listing.names(table, prefix, after, Level.QUORUM, at_once)
            except ListingUnavailable:
                raise ApiError(503, "unavailable", "some part of the table has no owner that answers") from None
            names += folders.take([name for name, _ in page.names])
            more = page.next_after is not None
            after = folders.behind(page.next_after or "")
        return json_answer(200, TableKeys(table=table, keys=names, next_after=names[-1] if more else None))

    @Described(who=Who.ADMIN, **GETTING)
    async def get(self, request: Request, table: str, key: str) -> Answer:
        """Read any record."""
        self._context.require_admin(request)
        return await self._data.get(request, table, key)

    @Described(who=Who.ADMIN, **PUTTING | {"gives": {200: Record, 412: Unmet}})
    async def put(self, request: Request, table: str, key: str) -> Answer:
        """Put any record: 200, also for a new one. The owner stays."""
        self._context.require_admin(request)
        answer = await self._data.put(request, table, key)
        return msgspec.structs.replace(answer, status=200) if answer.status == 201 else answer

    @Described(who=Who.ADMIN, **DELETING)
    async def delete(self, request: Request, table: str, key: str) -> Answer:
        """Delete any record."""
        self._context.require_admin(request)
        return await self._data.delete(request, table, key)

    # Users

    @Described(who=Who.ADMIN, parameters=(AFTER, LIMIT), gives={200: Users})
    async def users(self, request: Request) -> Answer:
        """List the users, a page at a time."""
        self._context.require_ready()
        self._context.require_admin(request)
        limit = LIMIT.of(request)
        page = self._context.users.page(request.query.get("after", ""), limit)
        next_after = page[-1][0] if len(page) == limit else None
        return json_answer(200, Users(users=[{"name": name} for name, _ in page], next_after=next_after))

    @Described(
        who=Who.ADMIN,
        takes=GivenSecret,
        example={"secret": "a long secret"},
        gives={201: Created},
        refuses=("weak_secret", "user_exists", *AGREEING),
    )
    async def create_user(self, request: Request, user: str) -> Answer:
        """Make a user; 409 when there is one of that name."""
        self._context.require_ready()
        self._context.require_admin(request)
        check_user(user)
        fields = parse_object(request.body, self._context.limits, *GivenSecret.__struct_fields__)
        secret = string_of(fields, "secret")
        require_strong(secret)
        await self._context.users.create(user, secret)
        return json_answer(201, Created(status="created", name=user))

    @Described(who=Who.ADMIN, gives={200: Done}, refuses=("no_such_user", *AGREEING))
    async def delete_user(self, request: Request, user: str) -> Answer:
        """End a user; what the user owns stays."""
        self._context.require_ready()
        self._context.require_admin(request)
        await self._context.users.delete(user)
        return json_answer(200, Done(status="deleted"))

    @Described(who=Who.ADMIN, gives={200: Done}, refuses=("no_such_user", *AGREEING))
    async def logout_user(self, request: Request, user: str) -> Answer:
        """Log a user out: all tokens of the user stop working, everywhere."""
        self._context.require_ready()
        self._context.require_admin(request)
        await self._context.users.logout(user)
        return json_answer(200, Done(status="logged out"))

    # Members

    @Described(who=Who.ADMIN, gives={200: Registry})
    async def members(self, request: Request) -> Answer:
        """Show the registry: who is a member."""
        self._context.require_admin(request)
        registry = self._context.cluster.registry
        if registry is None:
            return json_answer(200, Registry(version=0, members=[], changing=False))
        shown: Registry = {
            "version": registry.version,
            "cluster": registry.cluster_id.hex(),
            "replicas": registry.replicas,
            "changing": registry.changing,
            "zoned": registry.zoned,
            "members": [self._member(member) for member in registry.members],
            "leaving": [self._member(one) for one in registry.previous if one.node_id not in registry.ids],
        }
        return json_answer(200, shown)

    def _member(self, member: Member) -> RegisteredMember:
        return {
            "id": member.node_id.hex(),
            "address": member.address,
            "peer_port": member.peer_port,
            "zone": member.zone,
            "reachable": self._context.cluster.peers.is_reachable(member.node_id),
        }

    @Described(who=Who.ADMIN, gives={202: Forgetting}, refuses=("no_such_member", "ambiguous_member", "last_member"))
    async def forget(self, request: Request, member: str) -> Answer:
        """Strike out a member, by address or id. One that still runs hands its data off first."""
        self._context.require_admin(request)
        self._context.require_ready()
        registry = self._context.cluster.registry
        assert registry is not None
        found = [one for one in registry.members if member in (one.address, one.node_id.hex())]
        if not found:
            raise ApiError(404, "no_such_member", "there is no such member; name it as HOST:PORT or by its id")
        if len(found) > 1:  # a node that began anew in an empty folder, where it had been a member before
            ids = ", ".join(f"{one.node_id.hex()} ({self._how(one)})" for one in found)
            raise ApiError(
                409, "ambiguous_member", f"{member} is the address of several members: {ids}; name one by its id"
            )
        if len(registry.members) == 1:
            raise ApiError(409, "last_member", "this is the last member")
        self._context.registrar.forget(found[0].node_id)
        return json_answer(202, Forgetting(status="forgetting", id=found[0].node_id.hex(), address=found[0].address))

    def _how(self, member: Member) -> str:
        return "reachable" if self._member(member)["reachable"] else "away"

    @Described(who=Who.ADMIN, gives={200: Saved}, refuses=("disk",))
    async def save(self, request: Request) -> Answer:
        """Make a cold save now, and answer when it is on disk."""
        self._context.require_admin(request)
        saved: Deferred[None] = self._context.saver.save()
        try:
            await saved
        except OSError as error:
            raise ApiError(507, "disk", f"the cold save failed: {error.strerror}") from None
        return json_answer(200, Saved(status="saved", saves=self._context.saver.saves))
