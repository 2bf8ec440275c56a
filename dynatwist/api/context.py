"""What every handler needs: the parts of the node, and who is asking."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import dynatwist
from dynatwist.agreement.registrar import Registrar
from dynatwist.auth.groups import Groups
from dynatwist.auth.rights import Rights
from dynatwist.auth.services import Services
from dynatwist.auth.tokens import Identity
from dynatwist.auth.users import Users
from dynatwist.budget import Budget
from dynatwist.cluster.cluster import Cluster
from dynatwist.errors import ApiError
from dynatwist.feed.hub import Hub
from dynatwist.metrics import Metrics, Values
from dynatwist.model.record import Key, Record
from dynatwist.model.ring import SYSTEM_PARTITION
from dynatwist.replication.followed import Followed
from dynatwist.requests.coordinator import Coordinator
from dynatwist.requests.listing import Listing, Page
from dynatwist.requests.missing import News
from dynatwist.requests.tables import Consistency
from dynatwist.storage.room import DiskRoom
from dynatwist.storage.snapshot import ColdSaver

from .audit import Audit
from .intake import Intake
from .limits import Limits
from .pages import SharedPages
from .request import Request
from .source import Proxies, source_of

VERSION = dynatwist.__version__


MOST_REMEMBERED = 200_000
"""Keys that all listeners together were told first, and that are remembered for some seconds: a hundred megabytes."""


class Remembered:
    """How many keys are remembered of what listeners were told first; see `dynatwist.api.initial`."""

    def __init__(self) -> None:
        self._count = 0

    def has_room(self, count: int) -> bool:
        """Whether so many more may be."""
        return self._count + count <= MOST_REMEMBERED

    def take(self, count: int) -> None:
        """So many more are."""
        self._count += count

    def give_back(self, count: int) -> None:
        """So many are not any more."""
        self._count -= count


@dataclass(slots=True)
class Context:
    """See the module.

    :ivar secrets: names of the cluster's secrets that this node accepts, the one in use first.
    :ivar intake: bounds what a turn of the reactor takes in.
    :ivar findings: what recovery found, for ``/readyz``.
    :ivar counters: more figures for ``/metrics``.
    """

    cluster: Cluster
    coordinator: Coordinator
    listing: Listing
    missing: SharedPages[News]
    registrar: Registrar
    users: Users
    groups: Groups
    services: Services
    rights: Rights
    hub: Hub
    metrics: Metrics
    saver: ColdSaver
    room: DiskRoom
    secrets: Callable[[], Sequence[str]]
    intake: Intake
    pages: SharedPages[Page]
    budget: Budget
    limits: Limits = field(default_factory=Limits)
    private_status: bool = False
    anonymous_read: bool = False
    registration: bool = True
    proxies: Proxies = field(default_factory=Proxies)
    audit: Audit = field(default_factory=Audit)
    followed: Followed = field(default_factory=Followed)
    findings: list[str] = field(default_factory=list)
    counters: Callable[[], dict[str, Values]] = dict
    remembered: Remembered = field(default_factory=Remembered)

    def require_ready(self) -> None:
        """503 while the data routes must not answer."""
        if not self.cluster.standing.is_ready:
            headers = {"Retry-After": "1"}
            if self.cluster.ownership.is_removed:
                raise ApiError(503, "removed", "this node was removed from its cluster", headers)
            raise ApiError(503, "starting", "this node has not met enough of its cluster yet; try again", headers)
        if not self.cluster.standing.knows_settings:  # it would go by the usual rules
            text = "this node does not know all rules of tables yet; try again"
            raise ApiError(503, "starting", text, {"Retry-After": "1"})

    def require_strong(self, table: str) -> None:
        """409 for a table that has no locks."""
        if self.coordinator.tables.consistency(table) is not Consistency.STRONG:
            raise ApiError(
                409, "not_strong", f"locks need a strong table; an administrator makes one by PUT /admin/tables/{table}"
            )

    def identify(self, request: Request) -> Identity:
        """Who asks; 401 for nobody."""
        token = request.token
        return self._authenticate(token) if token is not None else self._without_token(request)

    def _without_token(self, request: Request) -> Identity:
        certified = self.certified(request)
        if certified is not None:
            return certified
        text = "send a token: Authorization: Bearer TOKEN"
        if request.certificate is not None:
            self._require_users()
            text = f"the certificate names no user of this cluster, or has ended; register that user, or {text}"
        raise ApiError(401, "no_token", text, {"WWW-Authenticate": "Bearer"})

    def certified(self, request: Request) -> Identity | None:
        """Who asks by the certificate of the connection; ``None`` where a token counts, or it names no user."""
        shown = request.certificate
        if shown is None or request.token is not None:
            return None
        return self.users.certified(shown.name, shown.ends_s)

    def _authenticate(self, token: str) -> Identity:
        try:
            return self.users.authenticate(token)
        except ApiError:
            self._require_users()
            raise

    def _require_users(self) -> None:
        """503 while this node may not know whoever asks."""
        if not self.cluster.standing.may_coordinate(SYSTEM_PARTITION):
            text = "this node does not know all users yet; try again"
            raise ApiError(503, "starting", text, {"Retry-After": "1"}) from None

    def identify_reader(self, request: Request, table: str) -> Identity | None:
        """Who reads in a table; ``None`` for anybody where anybody may read something of it."""
        token = request.token
        if token is not None:
            return self._authenticate(token)
        if not self.rights.of(None, table).reads_nothing:
            return self.certified(request)
        return self._without_token(request)

    async def identify_listener(self, request: Request, table: str = "") -> Identity | None:
        """Who listens to a table, or opens a websocket: by token, or by ``?ticket=``, which is used by that."""
        ticket = request.query.get("ticket")
        if request.token is None and ticket is not None:
            identity = await self.users.tickets.redeem(ticket)
            if identity is None or not self.users.is_current(identity):
                raise ApiError(401, "bad_ticket", "the ticket is not valid, used or expired; ask for a new one")
            return identity
        return self.identify_reader(request, table)

    def require_admin(self, request: Request) -> Identity:
        """An administrator, or 403."""
        identity = self.identify(request)
        if not self.rights.is_admin(identity):
            raise ApiError(403, "admin_only", "only an administrator may do this")
        return identity

    def holder_of(self, identity: Identity | None, request: Request) -> str:
        """Whom a request is charged to: its user, or its address where nobody is asked for a token."""
        return identity.uid if identity is not None else source_of(request.address)

    def require_unread_room(self, holder: str, size_bytes: int) -> None:
        """429 or 503 for a long answer while too much of what was answered before is not read."""
        if not self.budget.unread.has_room(holder, size_bytes):
            raise self.budget.unread.refuse(holder, size_bytes)

    def who_asks(self, request: Request) -> str:
        """The name of whoever sent a request, for the audit log; empty for nobody known."""
        identity = self.users.whose(request.token) if request.token is not None else self.certified(request)
        return identity.name if identity is not None else ""

    def may_read(self, identity: Identity | None, key: Key, record: Record) -> bool:
        """Whether somebody may see a record."""
        return self.rights.at(identity, key).read.covers(record.owner, identity.uid if identity is not None else "")
