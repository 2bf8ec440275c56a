"""Changing the settings of a table; how its records are kept is changed while nothing is in it.

A table that clients write at any owner, and one that is agreed on key by key, do not mix: so all members have to know
before the first record is there. A change closes the table, asks every member whether it refuses writes by now, waits
until what was under way is over, and asks what is held. A member that is away would not hear of that: while one is,
there is no change. Whoever finds a table closed, since a change was interrupted, may change it anew.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater

from dynatwist.agreement import awaited
from dynatwist.agreement.registers import Registers
from dynatwist.agreement.turns import Ended
from dynatwist.calls import all_of
from dynatwist.cluster.cluster import Cluster
from dynatwist.cluster.switchboard import Respond
from dynatwist.errors import ApiError
from dynatwist.model.record import Draft, Record
from dynatwist.net.arrival import Arrival
from dynatwist.net.messages import CountTable, TableCounted
from dynatwist.net.replies import Reply

from .coordinator import Coordinator
from .releases import require_release
from .tables import PLAIN, TABLES_TABLE, Consistency, Settings, settings_of

AGREE_TIMEOUT_S = 3.0
"""For one agreement on the settings: some ballots, while a round trip takes a hundredth."""
ASK_TIMEOUT_S = 2.0
TELL_EVERY_S = 0.1
TOLD_IN_S = 3.0
"""For all members to know that a table is closed: news of what is chosen takes a round trip, or a second one."""
DRAIN_S = 2.0
"""So long a write that an owner had begun may be under way: what it asks others first, and what it waits for."""
OWNER = "admin"

Change = Callable[[Settings], Settings]


class TableChanges:
    """See the module."""

    def __init__(self, cluster: Cluster, registers: Registers, coordinator: Coordinator) -> None:
        self._cluster = cluster
        self._registers = registers
        self._coordinator = coordinator
        self._tables = coordinator.tables
        cluster.peers.on_call(CountTable, self._on_count)

    async def read(self, table: str) -> Settings:
        """The settings that are agreed on.

        :raises ApiError: 503 when no majority can be reached.
        """
        ended = await awaited.read(self._registers, (TABLES_TABLE, table), AGREE_TIMEOUT_S)
        _require_agreement(ended)
        return settings_of(ended.record)

    async def set(self, table: str, change: Change) -> Settings:
        """Change a table's settings.

        :param change: makes the new ones of those there are; perhaps called more than once.
        :raises ApiError: 409 when its records are to be kept in another way and something is in it, 503 when not all
            members can be asked then.
        """
        found = await self.read(table)
        wanted = change(found)
        if wanted.access != found.access:  # who knows no rules lets everybody do what they forbid
            require_release(self._cluster, self._cluster.peers.lacks_grants)
        if wanted.consistency is not found.consistency:
            self._require_all()
            return await self._change_consistency(table, change, wanted.consistency)
        changed = await self._agree(table, lambda held: change(held) if held.consistency is found.consistency else None)
        return _required(changed)

    async def _change_consistency(self, table: str, change: Change, wanted: Consistency) -> Settings:
        """Close the table, and open it as it is wanted, if nothing is in it.

        The change that has closed it last has a claim on it, and no other one opens it.
        """
        claim = self._cluster.runtime.randbytes(8).hex()
        before = _required(await self._agree(table, lambda held: _closed(held, claim))).was

        async def open_as(consistency: Consistency, also: Change) -> Settings:
            def opened(held: Settings) -> Settings | None:
                if held.consistency is not Consistency.CLOSING or held.claim != claim:
                    return None
                plain = msgspec.structs.replace(also(held), was=Consistency.AVAILABLE, claim="")
                return msgspec.structs.replace(plain, consistency=consistency)

            return _required(await self._agree(table, opened))

        def as_it_is(held: Settings) -> Settings:
            return held

        try:
            await self._close_everywhere(table)
            counted = await self._count(table)
            if not all(one.is_whole for one in counted):
                raise ApiError(503, "unavailable", "a member is damaged, or has just joined; try again in a while")
            live = max(one.live for one in counted)
        except ApiError:
            await open_as(before, as_it_is)
            raise
        if live:
            await open_as(before, as_it_is)
            raise ApiError(409, "not_empty", f"{live} records are in the table; it is set while it is empty")
        return await open_as(wanted, change)

    def _require_all(self) -> None:
        registry, peers = self._cluster.registry, self._cluster.peers
        assert registry is not None
        away = [one.address for one in registry.members if not peers.is_reachable(one.node_id)]
        if away or registry.changing:
            who = ", ".join(away) or "members change, and somebody"
            raise ApiError(503, "unavailable", f"{who} cannot be reached; all members have to know of this")
        require_release(self._cluster, peers.lacks_registers)

    async def _agree(self, table: str, change: Callable[[Settings], Settings | None]) -> Settings | None:
        """Agree on settings; answers those that are agreed on now, ``None`` where `change` would have none."""
        after: Settings | None = PLAIN

        def draft(held: Record | None) -> Draft | None:
            nonlocal after
            before = settings_of(held)
            after = change(before)
            return Draft(msgspec.json.encode(after), OWNER) if after is not None and after != before else None

        ended, _ = await awaited.rewrite(self._registers, (TABLES_TABLE, table), draft, AGREE_TIMEOUT_S)
        _require_agreement(ended)
        await self._coordinator.spread((TABLES_TABLE, table))
        return after

    async def _close_everywhere(self, table: str) -> None:
        runtime = self._cluster.runtime
        until_s = runtime.monotonic_s() + TOLD_IN_S
        while not all(one.is_closing for one in await self._count(table)):
            if runtime.monotonic_s() > until_s:
                raise ApiError(503, "unavailable", "not all members have heard of it in time; try again")
            await deferLater(runtime.clock, TELL_EVERY_S)  # type: ignore[arg-type]
        await deferLater(runtime.clock, DRAIN_S)  # type: ignore[arg-type]

    async def _count(self, table: str) -> list[TableCounted]:
        """What every member holds."""
        self._require_all()
        registry = self._cluster.registry
        assert registry is not None
        replies = await all_of([self._ask(one.node_id, table) for one in registry.members])
        counted = [one for one in replies if isinstance(one, TableCounted)]
        if len(counted) < len(replies):
            raise ApiError(503, "unavailable", "a member has not answered; all members have to know of this")
        return counted

    def _ask(self, node: bytes, table: str) -> Deferred[Reply]:
        answered: Deferred[Reply] = Deferred()
        message = CountTable(self._cluster.version, table)
        if node == self._cluster.me.node_id:
            self._on_count(Arrival(node), message, answered.callback)
        else:
            self._cluster.links.call(node, message, answered.callback, timeout_s=ASK_TIMEOUT_S)
        return answered

    def _on_count(self, arrival: Arrival, message: CountTable, respond: Respond) -> None:
        table = message.table

        def counted(_: object = None) -> None:
            is_closing = self._tables.consistency(table) is Consistency.CLOSING
            store = self._cluster.store
            is_whole = all(replica.whole and not replica.aside for replica in store.replicas)
            respond(TableCounted(store.live.of(table), is_closing, is_whole))

        if self._tables.consistency(table) is Consistency.CLOSING:
            counted()
        else:  # what was chosen may be on its way
            until_s = self._cluster.runtime.monotonic_s() + AGREE_TIMEOUT_S
            self._registers.read((TABLES_TABLE, table), until_s, counted)


def _closed(held: Settings, claim: str) -> Settings:
    """Closed by a change. Whoever had closed it before was interrupted, or comes too late to open it."""
    if held.consistency is Consistency.CLOSING:
        return msgspec.structs.replace(held, claim=claim)
    return msgspec.structs.replace(held, consistency=Consistency.CLOSING, was=held.consistency, claim=claim)


def _required(settings: Settings | None) -> Settings:
    if settings is None:
        raise ApiError(409, "changed_meanwhile", "somebody else changes the settings of the table; look, and try again")
    return settings


def _require_agreement(ended: Ended) -> None:
    if ended.chosen is None:
        raise ApiError(503, "no_majority", "settings are agreed on by a majority of the members; try again")
