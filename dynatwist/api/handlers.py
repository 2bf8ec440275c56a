"""What serves clients: the handlers behind the routes, the event streams and the websockets of one node.

`ROUTES` names a handler as ``part.method``; the parts are those of `Handlers`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from operator import attrgetter

from dynatwist.agreement.rotation import Rotation
from dynatwist.auth.tokens import Identity
from dynatwist.requests.backups import BackupSource
from dynatwist.requests.conflicts import Conflicts
from dynatwist.requests.table_changes import TableChanges
from dynatwist.requests.table_list import TableList
from dynatwist.storage.renewal import Renewal

from .accounts import AccountRoutes
from .admin import AdminRoutes
from .backup import BackupRoutes
from .conflicts import ConflictRoutes
from .connected import Connected
from .context import Context
from .data import DataRoutes
from .insight.audit import AuditRoutes
from .insight.locks import LockList
from .insight.rights import RightsRoutes
from .insight.routes import InsightRoutes
from .keys import KeyRoutes
from .leaving import Leaving
from .live import LiveRoutes, Sights
from .locks import LockRoutes
from .principals import GroupRoutes, ServiceRoutes
from .request import Answer
from .restore import RestoreRoutes
from .session import Session
from .status import StatusRoutes
from .tables import TableRoutes

Handler = Callable[..., Answer | Awaitable[Answer]]


class Handlers:
    """See the module.

    :param rotation: of the cluster's secrets.
    :param renewal: of this node's storage secret.
    :param table_changes: of how tables are kept.
    :param table_list: which tables there are.
    :param conflicts: of all members.
    :param backups: what a backup reads.
    :param later: runs a function in the next turn of the reactor.
    :ivar connected: whoever has a stream or a websocket.
    """

    def __init__(
        self,
        context: Context,
        *,
        rotation: Rotation,
        renewal: Renewal,
        table_changes: TableChanges,
        table_list: TableList,
        conflicts: Conflicts,
        backups: BackupSource,
        later: Callable[[Callable[[], None]], object],
    ) -> None:
        self.context = context
        self.data = DataRoutes(context)
        self.accounts = AccountRoutes(context)
        self.status = StatusRoutes(context)
        self.admin = AdminRoutes(context, self.data, table_list)
        self.keys = KeyRoutes(context, rotation, renewal)
        self.locks = LockRoutes(context)
        self.conflicts = ConflictRoutes(context, conflicts)
        self.tables = TableRoutes(context, table_changes)
        self.backup = BackupRoutes(context, backups)
        self.restore = RestoreRoutes(context, table_changes)
        self.groups = GroupRoutes(context)
        self.services = ServiceRoutes(context)
        self.insight = InsightRoutes(context)
        self.lock_list = LockList(context, self.insight.everybody, self.locks)
        self.audit = AuditRoutes(context)
        self.rights = RightsRoutes(context)
        self.connected = Connected(context.users.still_counts, later)
        self._sights = Sights(context)
        self._leaving = Leaving(context)
        self.live = LiveRoutes(context, self._sights, self.connected)

    def named(self, name: str) -> Handler:
        """The handler that a route names."""
        handler: Handler = attrgetter(name)(self)
        return handler

    def session(
        self,
        *,
        identity: Identity | None,
        address: str,
        send: Callable[[bytes], None],
        wake: Callable[[], None],
        end: Callable[[], None],
        keeps: Callable[[], None] = lambda: None,
    ) -> Session:
        """Begin what goes on over one websocket; see `Session`."""
        return Session(
            self.context,
            self.data.door,
            sights=self._sights,
            connected=self.connected,
            identity=identity,
            address=address,
            send=send,
            wake=wake,
            end=end,
            leaving=self._leaving,
            keeps=keeps,
        )
