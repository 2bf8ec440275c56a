"""Listing a table: every reachable member scans its own part, in order of keys, page by page.

Where the owners agree on a key's dot, that is the answer; where they do not, the key is read like any other.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice

from twisted.internet.defer import Deferred

from dynatwist.model.dots import Dot
from dynatwist.model.record import Key, Record
from dynatwist.model.registry import majority
from dynatwist.model.ring import ALL_PARTITIONS, partition_of
from dynatwist.net.messages import AnyMessage, Fetch, Fetched, Scan, Scanned
from dynatwist.replication.quorum import Level

from .cluster import Cluster, Respond
from .coordinator import Coordinator
from .request import Code, Kind, Operation

PAGE_KEYS = 1000
SCAN_TIMEOUT_S = 2.0


class ListingUnavailable(Exception):
    """Some part of the table has no owner that answers."""


@dataclass(frozen=True, slots=True)
class Page:
    """Live records in order of keys.

    :ivar next_after: where the next page begins; ``None`` when this is the last.
    """

    records: list[tuple[str, Record]]
    next_after: str | None


class Listing:
    """See the module."""

    def __init__(self, cluster: Cluster, coordinator: Coordinator) -> None:
        self._cluster = cluster
        self._coordinator = coordinator
        cluster.on_call(Scan, self._on_scan)

    async def page(self, table: str, prefix: str, after: str, level: Level, limit: int = PAGE_KEYS) -> Page:
        """One page of a table.

        :raises ListingUnavailable: when not enough owners of some partition answer.
        """
        replies = await self._scan_all(table, prefix, after, level, limit)
        self._check_coverage(set(replies), level)
        horizon = min((reply.entries[-1][0] for reply in replies.values() if reply.more), default=None)
        dots: dict[str, dict[bytes, Dot]] = {}
        for node, reply in replies.items():
            for name, dot in reply.entries:
                if horizon is None or name <= horizon:
                    dots.setdefault(name, {})[node] = dot
        found = await self._resolve(table, dots, set(replies))
        return Page([(name, found[name]) for name in sorted(found)], horizon)

    async def _scan_all(self, table: str, prefix: str, after: str, level: Level, limit: int) -> dict[bytes, Scanned]:
        cluster = self._cluster
        me = cluster.me.node_id
        replies: dict[bytes, Scanned] = {}
        waiting = {node for node in self._members() if node != me and cluster.links.is_reachable(node)}
        if level is Level.ONE and self._owns_all():
            waiting = set()
        done: Deferred[None] = Deferred()
        waiting.add(me)

        def finish(node: bytes, reply: AnyMessage | None = None) -> None:
            if isinstance(reply, Scanned):
                replies[node] = reply
            cluster.learn(reply)
            waiting.discard(node)
            if not waiting and not done.called:
                done.callback(None)

        message = Scan(cluster.version, table, prefix, after, limit)
        self._on_scan(me, message, lambda reply: finish(me, reply))
        for node in sorted(waiting - {me}):
            cluster.links.call(
                node,
                message,
                lambda reply, node=node: finish(node, reply),  # type: ignore[misc]
                lambda node=node: finish(node),  # type: ignore[misc]
                SCAN_TIMEOUT_S,
            )
        await done
        return replies

    def _members(self) -> list[bytes]:
        registry = self._cluster.registry
        return sorted(registry.ids | registry.previous_ids) if registry is not None else []

    def _owns_all(self) -> bool:
        registry = self._cluster.registry
        return registry is not None and not registry.changing and len(registry.ids) <= registry.replicas

    def _check_coverage(self, answered: set[bytes], level: Level) -> None:
        registry = self._cluster.registry
        if registry is None:
            raise ListingUnavailable
        for partition in range(ALL_PARTITIONS - 1):
            for group in registry.groups(partition):
                whole = [node for node in group if node in answered and self._is_whole(node, partition)]
                needed = {Level.MAJORITY: majority(len(group)), Level.ALL: len(group)}.get(level, 1)
                if len(whole) < needed:
                    if registry.changing and group != registry.old_owners(partition) and needed == 1:
                        continue
                    raise ListingUnavailable

    def _is_whole(self, node: bytes, partition: int) -> bool:
        if node == self._cluster.me.node_id:
            return self._cluster.store.replicas[partition].whole or self._cluster.may_coordinate(partition)
        return self._cluster.is_whole_at(node, partition)

    async def _resolve(self, table: str, dots: dict[str, dict[bytes, Dot]], answered: set[bytes]) -> dict[str, Record]:
        """The live records behind some dots."""
        cluster = self._cluster
        found: dict[str, Record] = {}
        remote: dict[bytes, list[Key]] = {}
        disputed: list[str] = []
        for name, by_node in dots.items():
            owners = [node for node in cluster.owners(partition_of(table, name)) if node in answered]
            agreed = {by_node.get(node) for node in owners if self._is_whole(node, partition_of(table, name))}
            if len(agreed) != 1:
                disputed.append(name)
                continue
            held = cluster.store.held((table, name))
            if held is not None and held.dot in agreed:
                self._keep(found, name, held)
            else:
                remote.setdefault(next(iter(by_node)), []).append((table, name))
        for node, keys in sorted(remote.items()):
            for name, record in await self._fetch(node, keys):
                self._keep(found, name, record)
        for name in disputed:
            result = await self._coordinator.execute(Operation(Kind.GET, (table, name)))
            if result.code is Code.UNAVAILABLE:
                raise ListingUnavailable
            if result.record is not None:
                found[name] = result.record
        return found

    def _keep(self, found: dict[str, Record], name: str, record: Record) -> None:
        if not record.is_dead(self._cluster.store.wall_ms()):
            found[name] = record

    def _fetch(self, node: bytes, keys: list[Key]) -> Deferred[list[tuple[str, Record]]]:
        done: Deferred[list[tuple[str, Record]]] = Deferred()

        def replied(reply: AnyMessage | None) -> None:
            if isinstance(reply, Fetched):
                done.callback([(key[1], record) for key, record in reply.records])
            else:
                done.errback(ListingUnavailable())

        self._cluster.links.call(node, Fetch(keys), replied, timeout_s=SCAN_TIMEOUT_S)
        return done

    def _on_scan(self, node: bytes, message: Scan, respond: Respond) -> None:
        cluster = self._cluster
        store = cluster.store
        me = cluster.me.node_id

        entries: list[tuple[str, Dot]] = []
        names = store.keys(message.table, message.prefix, message.after)
        owned = (name for name in names if me in cluster.owners(partition_of(message.table, name)))
        for name in islice(owned, message.limit + 1):
            held = store.held((message.table, name))
            assert held is not None
            entries.append((name, held.dot))
        answer = Scanned(entries[: message.limit], len(entries) > message.limit)
        store.when_all_readable(lambda: respond(answer))
