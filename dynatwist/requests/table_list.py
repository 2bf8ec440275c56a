"""Which tables there are in the whole cluster, in pages: those with records, and those of which something was set.

No node knows of all: it holds records of the partitions that it owns. So all members are asked that can be reached.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from itertools import islice

from twisted.internet.defer import Deferred

from dynatwist.calls import all_of
from dynatwist.cluster.cluster import Cluster
from dynatwist.cluster.switchboard import Respond
from dynatwist.model.flaws import MAX_TABLE_CHARS
from dynatwist.net.arrival import Arrival
from dynatwist.net.messages import ListTables, TablesAre
from dynatwist.net.replies import Reply

from .tables import PLAIN, TABLES_TABLE, Tables

TIMEOUT_S = 1.0
"""For one member to answer, half of what clients are promised; who is slower is left out, and the answer says so."""


@dataclass(frozen=True, slots=True)
class Table:
    """A table.

    :ivar keys: about how many live keys it has: copies are counted, and divided by how many there should be.
    :ivar has_settings: whether anything was set for it.
    """

    name: str
    keys: int
    has_settings: bool


@dataclass(frozen=True, slots=True)
class Page:
    """Some tables, in order.

    :ivar next_after: where the next page begins; ``None`` when this is the last.
    :ivar missing: the members that were not heard, if these are so many that tables may be theirs alone.
    """

    tables: list[Table]
    next_after: str | None
    missing: list[bytes]


class TableList:
    """See the module."""

    def __init__(self, cluster: Cluster, tables: Tables) -> None:
        self._cluster = cluster
        self._tables = tables
        cluster.peers.on_call(ListTables, self._answer)

    async def page(self, after: str, limit: int) -> Page:
        """Some tables.

        :param after: only tables behind this one; empty for all.
        """
        members = self._members()
        told = await self._told(members, ListTables(after, limit))
        counts, horizon = put_together(told.values())
        found = dict.fromkeys(self._set_behind(after, horizon, limit), 0) | counts
        names = sorted(found)
        copies = self._copies(len(members)) * len(told) / len(members)
        page = [Table(name, _number(found[name], copies), self._has_settings(name)) for name in names[:limit]]
        is_last = not horizon and len(names) <= limit
        missing = [node for node in members if node not in told]
        is_partial = len(missing) >= self._copies(len(members))
        return Page(page, None if is_last else page[-1].name, missing if is_partial else [])

    def _members(self) -> list[bytes]:
        registry = self._cluster.registry
        return sorted({self._cluster.me.node_id} | (registry.ids | registry.previous_ids if registry else set()))

    def _copies(self, members: int) -> int:
        """How many members hold each record."""
        registry = self._cluster.registry
        return min(registry.replicas, members) if registry is not None else 1

    async def _told(self, members: list[bytes], message: ListTables) -> dict[bytes, TablesAre]:
        """What members hold, by node; those that have not answered, or not soundly, are left out."""
        cluster = self._cluster
        asked = [node for node in members if cluster.peers.has_table_lists(node)]
        replies = await all_of([self._ask(node, message) for node in asked])
        told = {cluster.me.node_id: self._held(message)}
        for node, reply in zip(asked, replies, strict=True):
            if isinstance(reply, TablesAre) and is_sound(reply, message):
                told[node] = reply
        return told

    def _ask(self, node: bytes, message: ListTables) -> Deferred[Reply]:
        answered: Deferred[Reply] = Deferred()
        self._cluster.links.call(node, message, answered.callback, timeout_s=TIMEOUT_S)
        return answered

    def _answer(self, arrival: Arrival, message: ListTables, respond: Respond) -> None:
        respond(self._held(message))

    def _held(self, message: ListTables) -> TablesAre:
        """What this node holds; what is not durable yet is counted, too."""
        counts = list(self._cluster.store.live.page(message.after, message.limit + 1).items())
        return TablesAre(counts[: message.limit], len(counts) > message.limit)

    # Settings: every member has all of them

    def _set_behind(self, after: str, horizon: str, limit: int) -> list[str]:
        """The first tables of which something was set, up to where all members have told of theirs."""
        names = (name for name in self._cluster.store.keys(TABLES_TABLE, "", after) if self._has_settings(name))
        return list(islice((name for name in names if not horizon or name <= horizon), limit + 1))

    def _has_settings(self, table: str) -> bool:
        return self._tables.settings(table) != PLAIN


def put_together(told: Collection[TablesAre]) -> tuple[dict[str, int], str]:
    """The copies of each table's keys, of several answers; and the last table of which all of them tell, empty where
    they tell of all there are."""
    ends = [one.tables[-1][0] for one in told if one.more]
    horizon = min(ends, default="")
    counts: dict[str, int] = {}
    for one in told:
        for name, count in one.tables:
            if not horizon or name <= horizon:
                counts[name] = counts.get(name, 0) + count
    return counts, horizon


def _number(count: int, copies: float) -> int:
    """Of so many copies, how many keys those are."""
    return max(1, round(count / copies)) if count else 0


def is_sound(reply: TablesAre, asked: ListTables) -> bool:
    """Whether a member's answer can be one: in order, behind what was asked, and not without an end."""
    names = [name for name, _ in reply.tables]
    is_ordered = all(before < name for before, name in zip([asked.after, *names], names, strict=False))
    return is_ordered and len(names) <= asked.limit and (bool(names) or not reply.more) and _are_names(names)


def _are_names(names: list[str]) -> bool:
    return all(len(name) <= MAX_TABLE_CHARS for name in names)
