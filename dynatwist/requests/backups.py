"""What a backup reads: which tables there are, and their records, a page at a time, as the owners hold them.

Names of tables come from all members that can be reached, since none has records of all tables. Before a member names
its tables it settles what it has accepted of registers and does not know to be chosen (`SettleTables`): so a write that
was acknowledged before a backup began is seen by it, also where its proposer has died since. Records come from the
listing, which asks a majority of the registered owners of every partition. So everything that a majority of the owners
had when a backup began is in it, or what was written over that since.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice, pairwise
from typing import TypeGuard

from twisted.internet.defer import Deferred

from dynatwist.agreement import awaited
from dynatwist.agreement.registers import Registers
from dynatwist.backups.entries import Entry
from dynatwist.calls import all_of
from dynatwist.cluster.cluster import Cluster
from dynatwist.cluster.switchboard import Respond
from dynatwist.feed.heard import unpacked
from dynatwist.model.record import Key, Record
from dynatwist.model.registry import majority
from dynatwist.model.ring import PARTITIONS, is_system_table
from dynatwist.net.arrival import Arrival
from dynatwist.net.messages import SettledTables, SettleTables, Unable
from dynatwist.net.messages.backups import MAX_TABLES
from dynatwist.net.replies import Reply
from dynatwist.replication.quorum import Level

from .changes import Changes, UnknownClock, entry_of, page_of_changes
from .clocks import as_text, merged_by_majorities, merged_here, of_text
from .courtesy import Courtesy
from .listing import ListingUnavailable
from .missing import Missing, Stretch

LEARN_S = 0.5
"""News of what is chosen takes a round trip; what is not known after that is asked for."""
SETTLE_S = 3.0
"""For finding out what became of something that was accepted: some ballots."""
ANSWER_S = LEARN_S + SETTLE_S + 1.0
"""For a member to answer."""
MOST_UNSETTLED = 1000
"""Registers that a member asks for at once; more of them are asked for in the background, within seconds."""


@dataclass(frozen=True, slots=True)
class Tables:
    """Some names of data tables, in order.

    :ivar next_after: behind which name there are more; ``None`` when these are the last.
    :ivar missing: partitions of which no majority of the owners could be asked.
    :ivar clock: what a backup that begins now is sure to hold, of the first names; ``None`` where that is not known:
        then no increment goes on from it.
    """

    names: list[str]
    next_after: str | None
    missing: Sequence[int]
    clock: str | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """Some live records of a table, in order of keys.

    :ivar next_after: behind which key there are more; ``None`` when these are the last.
    :ivar missing: partitions of which no majority of the owners could be asked.
    """

    records: list[tuple[str, Record]]
    next_after: str | None
    missing: Sequence[int]

    def entries(self, table: str) -> list[Entry]:
        """The records, as a backup holds them."""
        return [entry_of(table, key, one) for key, one in self.records]


class BackupSource:
    """See the module.

    Where no majority of the owners of some partition can be reached, `ListingUnavailable` is raised; or, for a partial
    backup, what there is is taken, and the partitions are named.

    :param served: how much this node has served so far; see `Courtesy`.
    """

    def __init__(self, cluster: Cluster, registers: Registers, missing: Missing, served: Callable[[], int]) -> None:
        self._cluster = cluster
        self._registers = registers
        self._listing = missing.listing
        self._missing = missing
        self._courtesy = Courtesy(cluster.runtime, served)
        cluster.peers.on_call(SettleTables, self._on_list)

    async def tables(self, after: str, *, is_partial: bool) -> Tables:
        """Some names of data tables.

        :param after: only names behind this one.
        """
        cluster = self._cluster
        members = [node for node in sorted(cluster.ownership.members) if cluster.peers.has_backups(node)]
        asked = [cluster.me.node_id, *(node for node in members if node != cluster.me.node_id)]
        replies = await all_of([self._ask(node, after) for node in asked])
        told = {node: one for node, one in zip(asked, replies, strict=True) if _is_sound(one, after)}
        missing = self._lacking({node for node, one in told.items() if one.is_settled})
        if missing and not is_partial:
            raise ListingUnavailable
        names = sorted({name for one in told.values() for name in one.names})
        horizon = min((one.names[-1] for one in told.values() if one.more), default=None)
        if horizon is not None:
            names = [name for name in names if name <= horizon]
        if len(names) > MAX_TABLES:
            names, horizon = names[:MAX_TABLES], names[MAX_TABLES - 1]
        return Tables(names, horizon, missing, None if after else self._clock(told))

    def _clock(self, told: Mapping[bytes, SettledTables]) -> str | None:
        """What a backup is sure to hold that begins with these answers."""
        clocks = {node: unpacked(one.clock) for node, one in told.items() if one.clock}
        known = {node: clock for node, clock in clocks.items() if clock is not None}
        merged = merged_by_majorities(self._cluster, known)
        return as_text(self._cluster, merged) if merged is not None else None

    async def page(self, table: str, prefix: str, after: str, *, is_partial: bool) -> Page:
        """Some records of a table; those whose life depends on a connection are left out, they end with it.

        :param after: only keys behind this one.
        """
        missing: Sequence[int] = ()
        level = Level.MAJORITY
        if is_partial:
            peers, members = self._cluster.peers, self._cluster.ownership.members
            missing = self._lacking([node for node in members if peers.is_reachable(node)])
            level = Level.QUORUM
        reading = self._listing.page(table, prefix, after, level, is_partial=is_partial)
        page = await self._courtesy.paced(reading)
        records = [(name, record) for name, record in page.records if record.lease is None]
        return Page(records, page.next_after, missing)

    async def changes(self, table: str, prefix: str, after: str, since: str) -> Changes:
        """Some of what has changed since a backup; see `page_of_changes` for further errors.

        :param after: only keys behind this one.
        :param since: its clock.
        :raises UnknownClock: it is none.
        """
        heard = of_text(self._cluster, since)
        if heard is None:
            raise UnknownClock
        wanted = Stretch(table, prefix, after=after)
        return await self._courtesy.paced(page_of_changes(self._cluster, self._missing, wanted, heard))

    def _lacking(self, answered: Collection[bytes]) -> list[int]:
        """The partitions of which no majority of the owners has answered that holds all of it."""
        registry = self._cluster.registry
        if registry is None:
            return list(range(PARTITIONS))
        is_whole = self._listing.is_whole
        return [
            partition
            for partition in range(PARTITIONS)
            if any(
                sum(node in answered and is_whole(node, partition) for node in group) < majority(len(group))
                for group in registry.groups(partition)
            )
        ]

    # Names of tables

    def _ask(self, node: bytes, after: str) -> Deferred[Reply]:
        answered: Deferred[Reply] = Deferred()
        message = SettleTables(self._cluster.version, after, wants_clock=not after)
        if node == self._cluster.me.node_id:
            self._on_list(Arrival(node), message, answered.callback)
        else:
            self._cluster.links.call(node, message, answered.callback, timeout_s=ANSWER_S)
        return answered

    def _on_list(self, arrival: Arrival, message: SettleTables, respond: Respond) -> None:
        clock = merged_here(self._cluster).pack() if message.wants_clock else b""

        def answer(is_settled: bool) -> None:
            store = self._cluster.store
            names = list(store.live.page(message.after, MAX_TABLES + 1))
            answer = SettledTables(names[:MAX_TABLES], len(names) > MAX_TABLES, is_settled, clock)
            store.readable.when_all(lambda: respond(answer))

        if message.after:  # what was settled for the first names is
            answer(True)
        else:
            Deferred.fromCoroutine(self._settled()).addCallbacks(answer, lambda _: respond(Unable("not settled")))

    async def _settled(self) -> bool:
        """Once it is known what became of all that this node has accepted by now; or false."""
        voting = self._registers.voting
        before = set(voting.unlearnt_keys())
        if not before:
            return True
        learnt: Deferred[None] = Deferred()
        self._cluster.runtime.clock.callLater(LEARN_S, learnt.callback, None)
        await learnt
        left = before.intersection(voting.unlearnt_keys())
        return all(await all_of([self._settle(key) for key in islice(left, MOST_UNSETTLED)])) and (
            len(left) <= MOST_UNSETTLED
        )

    def _settle(self, key: Key) -> Deferred[object]:
        async def settle() -> object:
            ended = await awaited.read(self._registers, key, SETTLE_S)
            return ended.chosen is not None

        return Deferred.fromCoroutine(settle())


def _is_sound(reply: Reply, after: str) -> TypeGuard[SettledTables]:
    """Whether it can be an answer: names of data tables in order, behind that name, and a last one where there is more.
    A node that says the same names again would be asked without end."""
    if not isinstance(reply, SettledTables) or any(map(is_system_table, reply.names)):
        return False
    return all(one < other for one, other in pairwise([after, *reply.names])) and (bool(reply.names) or not reply.more)
