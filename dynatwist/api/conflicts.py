"""Values that lost a concurrent write: who may see them, and settle the matter."""

from __future__ import annotations

import msgspec

from dynatwist.auth.tokens import Identity
from dynatwist.auth.user import owner_name
from dynatwist.errors import ApiError
from dynatwist.replication.conflict_pages import Found
from dynatwist.replication.conflicts import ID_BYTES, ConflictId, millis_of
from dynatwist.requests.conflicts import Conflicts, Shown

from .context import Context
from .data import LONG_BYTES
from .limits import check_table
from .openapi.codes import READING
from .openapi.described import Described, Who
from .openapi.parameters import CONFLICT, Parameter, whole
from .request import Answer, Request, json_answer
from .shapes.records import Conflict, Settled
from .views import record_json

USUAL_PAGE, MAX_PAGE = 100, 1000
TABLE = Parameter(
    name="table",
    text="Only those of this table.",
    schema={},
    like="table",
)
AFTER = Parameter(
    name="after",
    text="Only those behind this one: an id, or `X-Next-After` of the page before.",
    schema={"anyOf": [CONFLICT, {"const": ""}]},
    refuses=("bad_after",),
)
LIMIT = whole("limit", "So many at most.", low=1, high=MAX_PAGE, default=USUAL_PAGE)
_HEADERS = ("X-Replicas", "X-Partial")


class ConflictRoutes:
    """Values that lost a concurrent write. Every method may raise `ApiError`.

    What may be seen follows from the rules of today: a conflict is shown to whoever may read the value that lost, and
    what is held and what it lost against as well. Whose own value lost sees that in any case, since it was
    acknowledged; then nothing is said of a winner that is not theirs to read.
    """

    def __init__(self, context: Context, conflicts: Conflicts) -> None:
        self._context = context
        self.conflicts = conflicts

    @Described(
        who=Who.USER,
        parameters=(TABLE, AFTER, LIMIT),
        gives={200: list[Conflict]},
        headers=(*_HEADERS, "X-Next-After"),
        refuses=("unavailable",),
    )
    async def list(self, request: Request) -> Answer:
        """List values that lost a concurrent write, the newest first, as far as the caller may see them."""
        context = self._context
        context.require_ready()
        identity = context.identify(request)
        table = request.query.get("table")
        if table is not None:
            check_table(table, context.limits)
        after = request.query.get("after")
        position = _id_of(after, "after") if after else b""
        limit = LIMIT.of(request)
        context.require_unread_room(identity.uid, LONG_BYTES)
        page = await self.conflicts.page(table or "", position, limit, lambda one: self._may_see(identity, one))
        body = b"[" + b",".join([self._json(identity, one) for one in page.conflicts]) + b"]"
        context.require_unread_room(identity.uid, len(body))
        headers = self._said_of(page.missing)
        if page.next_after:
            headers["X-Next-After"] = page.next_after.hex()
        return Answer(200, body, headers=headers, holder=identity.uid)

    @Described(who=Who.USER, gives={200: Settled}, headers=_HEADERS, refuses=("not_found", "forbidden", *READING))
    async def settle(self, request: Request, conflict: str) -> Answer:
        """Settle a conflict: it is shown no more, by any node.

        404 where the caller may see none, 403 without the right to update the record.
        """
        context = self._context
        context.require_ready()
        identity = context.identify(request)
        found, missing = await self.conflicts.find(_id_of(conflict, "id"))
        if found is None or not self._may_see(identity, found):
            text = "there is no such conflict, or it is settled already"
            raise ApiError(404, "not_found", text, self._said_of(missing))
        if not self._may_settle(identity, found):
            raise ApiError(403, "forbidden", "you may not update this record, and so not settle what it is about")
        count, missing = await self.conflicts.settle(found)
        headers = self._said_of(missing)
        if not count:
            text = "no member has noted it durably; it may be settled yet: try again"
            raise ApiError(503, "unavailable", text, {**headers, "Retry-After": "1"})
        return json_answer(200, Settled(status="settled", id=conflict), headers)

    # Rights

    def _sees_winner(self, identity: Identity, found: Found) -> bool:
        read = self._context.rights.at(identity, found.key).read
        return all(read.covers(owner, identity.uid) for owner in found.owners)

    def _may_see(self, identity: Identity, found: Found) -> bool:
        read = self._context.rights.at(identity, found.key).read
        is_own = found.owner == identity.uid
        return read.covers(found.owner, identity.uid) and (is_own or self._sees_winner(identity, found))

    def _may_settle(self, identity: Identity, found: Found) -> bool:
        update = self._context.rights.at(identity, found.key).may.update
        owners = found.owners if self._sees_winner(identity, found) else {found.owner}
        return all(update.covers(owner, identity.uid) for owner in owners)

    # Answers

    def _json(self, identity: Identity, shown: Shown) -> bytes:
        found, won = shown.found, b"null"
        if self._sees_winner(identity, found):
            winner = {"version": found.won.version, "timestamp": found.won.ms, "owner": owner_name(found.won.owner)}
            won = msgspec.json.encode(winner)
        return b'{"id":"%b","table":%b,"key":%b,"lost":%b,"won":%b,"at":%d}' % (
            found.id.hex().encode(), msgspec.json.encode(found.key[0]), msgspec.json.encode(found.key[1]),
            record_json(shown.lost), won, millis_of(found.id),
        )  # fmt: skip

    def _said_of(self, missing: frozenset[bytes]) -> dict[str, str]:
        """How many members were heard; and, where that are not all, who was not."""
        registry = self._context.cluster.registry
        assert registry is not None
        members = {one.node_id: one.address for one in (*registry.previous, *registry.members)}
        headers = {"X-Replicas": f"{len(members.keys() - missing)}/{len(members)}"}
        if missing:
            headers["X-Partial"] = ", ".join(sorted(members[one] for one in missing if one in members))
        return headers


def _id_of(text: str, what: str) -> ConflictId:
    """The id of a conflict, as clients write it."""
    try:
        name = bytes.fromhex(text) if text.isascii() and text.isalnum() else b""
    except ValueError:
        name = b""
    if len(name) != ID_BYTES:
        raise ApiError(400, f"bad_{what}", f"{what} must be the id of a conflict: {2 * ID_BYTES} hexadecimal digits")
    return name
