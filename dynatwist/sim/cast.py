"""The cast: all who ask something of a cluster in a storm, or listen to it."""

from __future__ import annotations

from typing import Protocol

from dynatwist.model.dots import Dot
from dynatwist.model.record import Key, Record

from .agreed import Agreed
from .bulk import Bulk
from .clients import Clients
from .cluster import SimCluster
from .effort import crowd
from .history import STRICT_TABLE, History
from .judges import Judges
from .keys import TABLES, Keys
from .leases import LEASE_TABLE, Leases
from .listeners import Listeners
from .locks import Locks
from .plan import Plan
from .rivals import Rivals
from .shared import Shared
from .sockets import Sockets
from .traffic import Traffic
from .users import Users


class Part(Protocol):
    """One that does something for as long as a storm lasts."""

    def start(self) -> None:
        """A storm begins."""

    def stop(self) -> None:
        """It is over."""


class Cast:
    """See the module."""

    def __init__(self, cluster: SimCluster, history: History, judges: Judges, plan: Plan) -> None:
        load, witness, answers = plan.load, judges.witness, judges.answers
        self._witness = witness
        tables = *TABLES, STRICT_TABLE, LEASE_TABLE
        self.clients = clients = Clients(
            cluster=cluster,
            history=history,
            keys=Keys(load, crowd()[:5] if plan.sizes.has_crowd else ()),
            value_bytes=plan.sizes.value_bytes,
            on_call=judges.oracle.sent,
            on_answer=judges.oracle.answered,
            answers=answers,
        )
        self.traffic = Traffic(cluster, clients, load)
        self.users = Users(cluster, clients, history, load.registrations)
        self.locks = Locks(cluster, clients, load.locks)
        self._leases = Leases(cluster, clients, load.leases)
        self.bulk = Bulk(
            cluster=cluster, clients=clients, answers=answers, witness=witness, rate_s=load.bulk * load.rate_s
        )
        self.listeners = Listeners(cluster, witness, load.listeners, tables)
        self._sockets = Sockets(
            cluster=cluster, clients=clients, answers=answers, witness=witness, count=load.sockets, tables=tables
        )
        self._agreed = Agreed(cluster, clients, witness, plan.agreed)
        self._shared = Shared(
            cluster=cluster,
            clients=clients,
            answers=answers,
            witness=witness,
            entitled=judges.entitled,
            rate_s=plan.shared,
        )
        self.rivals = Rivals(cluster, witness, rate_s=plan.rivals)

    @property
    def _parts(self) -> tuple[Part, ...]:
        return (
            self.traffic,
            self.users,
            self.locks,
            self._leases,
            self.bulk,
            self.listeners,
            self._sockets,
            self.rivals,
            self._agreed,
            self._shared,
        )

    def start(self) -> None:
        """A storm begins: everybody asks and listens."""
        for part in self._parts:
            part.start()

    def stop(self) -> None:
        """Nobody asks any more; listeners listen on."""
        for part in self._parts:
            part.stop()

    def judge(self, final: dict[Key, Record], born_s: dict[tuple[Key, Dot], float]) -> None:
        """After everything has come to rest: has every listener heard the last of each key?

        :param final: what the owners hold.
        :param born_s: when each record was written, by (key, dot).
        """
        self.listeners.judge(final, born_s)
        self._sockets.judge(final, born_s)
        for flaw in self._agreed.judge():
            self._witness.say(flaw)

    @property
    def violations(self) -> list[str]:
        """What those saw who asked."""
        return [*self.clients.violations, *self.locks.violations]
