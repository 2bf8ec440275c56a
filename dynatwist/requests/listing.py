"""Listing a table: every reachable member scans its own part, in order of keys, page by page.

Where the owners agree on a key's dot, that is the answer; where they do not, the key is read like any other. A page is
bounded in keys and in bytes: members say how large each record is before any is fetched. Whoever wants names only has
them from the scan, with their owners.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from twisted.internet.defer import Deferred, gatherResults

from dynatwist.cluster.cluster import Cluster
from dynatwist.cluster.fetch import fetch
from dynatwist.cluster.switchboard import Respond
from dynatwist.model.dots import Dot
from dynatwist.model.record import Key, Record
from dynatwist.model.records import Brief, brief_of
from dynatwist.model.registry import majority
from dynatwist.model.ring import ALL_PARTITIONS, partition_of
from dynatwist.net.arrival import Arrival
from dynatwist.net.messages import Scan, Scanned
from dynatwist.net.replies import NoAnswer, Reply
from dynatwist.replication.quorum import Level
from dynatwist.replication.request import Code, Kind, Operation
from dynatwist.sometimes import sometimes

from .coordinator import Coordinator

PAGE_KEYS = 256
"""Keys of one page: a few milliseconds of work for each member."""
PAGE_BYTES = 1 << 20
"""Bytes of the records of one page, about; one record is always in it."""
SCAN_BYTES = 256 << 10
"""How much goes into one answer to a scan, about."""
ENTRY_BYTES = 100
"""A name's share of an answer besides its characters: quotes, numbers and braces, roughly."""
UNKNOWN_BYTES = 64 << 10
"""What a record is counted as where a member of an older release does not say how large it is."""
SCAN_TIMEOUT_S = 1.0
"""For one owner to scan a slice: half of what a client waits for, so that another owner can be asked."""
FETCH_TIMEOUT_S = 0.25
"""After it, what one node was asked for is read like any other key."""


class ListingUnavailable(Exception):
    """Some part of the table has no owner that answers."""


@dataclass(frozen=True, slots=True)
class Page:
    """Live records in order of keys.

    :ivar next_after: where the next page begins; ``None`` when this is the last.
    """

    records: list[tuple[str, Record]]
    next_after: str | None


@dataclass(frozen=True, slots=True)
class Names:
    """Live keys in order, with the uids of their owners.

    :ivar next_after: where the next page begins; ``None`` when this is the last.
    """

    names: list[tuple[str, str]]
    next_after: str | None


@dataclass(frozen=True, slots=True)
class _Entry:
    """What a scan found of one key.

    :ivar source: a node that holds what the owners agree on; ``None`` when they do not.
    :ivar dot: what they agree on.
    :ivar brief: what that node said of it.
    :ivar size_bytes: of the largest record that a node holds.
    """

    name: str
    source: bytes | None
    dot: Dot | None
    brief: Brief | None
    size_bytes: int

    @property
    def end_ms(self) -> int:
        """When it ends by itself; 0 for never, or where nobody knows."""
        return self.brief.expires_ms if self.brief is not None else 0


def _is_gone(entry: _Entry, over_ms: int) -> bool:
    """Whether the owners agree that a key is dead."""
    return entry.source is not None and entry.brief is not None and entry.brief.is_dead(over_ms)


def _doubted(entry: _Entry) -> _Entry:
    """One that ended while it was asked for: a read of the key decides (see `Coordinator`)."""
    sometimes("a record ended while it was listed")
    return replace(entry, source=None, dot=None, brief=None)


def _keep(found: dict[str, Record], name: str, record: Record, over_ms: int) -> None:
    if not record.is_dead(over_ms):
        found[name] = record


def _fitting(sizes_bytes: Iterable[int], room_bytes: int) -> int:
    """How many of the first go into a page; one always does."""
    count = 0
    for size_bytes in sizes_bytes:
        room_bytes -= size_bytes
        if count and room_bytes < 0:
            break
        count += 1
    return count


class Listing:
    """See the module.

    :ivar page_bytes: see `PAGE_BYTES`.
    :ivar scan_bytes: see `SCAN_BYTES`.
    """

    def __init__(self, cluster: Cluster, coordinator: Coordinator) -> None:
        self._cluster = cluster
        self._coordinator = coordinator
        self.page_bytes, self.scan_bytes = PAGE_BYTES, SCAN_BYTES
        cluster.peers.on_call(Scan, self._on_scan)

    async def page(self, table: str, prefix: str, after: str, level: Level, limit: int = PAGE_KEYS) -> Page:
        """One page of a table.

        :raises ListingUnavailable: when not enough owners of some partition answer.
        """
        over_ms = self._cluster.store.lapse_ms
        entries, horizon = await self._scan(table, prefix, after, level, limit, over_ms)
        costly = [entry for entry in entries if not _is_gone(entry, over_ms)]
        entries, horizon = self._cut(entries, horizon, costly)
        found = await self._resolve(table, entries, level, over_ms)
        return self._bounded([(one.name, found[one.name]) for one in entries if one.name in found], horizon)

    def _bounded(self, records: list[tuple[str, Record]], horizon: str | None) -> Page:
        """A page of what was read, which may have grown since it was scanned."""
        fitting = _fitting((len(record.value or b"") for _, record in records), self.page_bytes)
        if fitting == len(records):
            return Page(records, horizon)
        sometimes("what a page of a listing holds has grown since it was scanned")
        return Page(records[:fitting], records[fitting - 1][0])

    async def names(self, table: str, prefix: str, after: str, level: Level, limit: int = PAGE_KEYS) -> Names:
        """The same without values.

        :raises ListingUnavailable: when not enough owners of some partition answer.
        """
        over_ms = self._cluster.store.lapse_ms
        entries, horizon = await self._scan(table, prefix, after, level, limit, over_ms)
        unknown = [entry for entry in entries if entry.source is None or entry.brief is None]
        entries, horizon = self._cut(entries, horizon, unknown)
        unknown = [one for one in unknown if horizon is None or one.name <= horizon]
        found = await self._resolve(table, unknown, level, over_ms)
        names: list[tuple[str, str]] = []
        for entry in entries:
            if entry.name in found:
                names.append((entry.name, found[entry.name].owner))
            elif entry.source is not None and entry.brief is not None and not _is_gone(entry, over_ms):
                names.append((entry.name, entry.brief.owner))
        return Names(names, horizon)

    def _cut(self, entries: list[_Entry], horizon: str | None, costly: list[_Entry]) -> tuple[list[_Entry], str | None]:
        """As much as may be in one page, and where that ends."""
        fitting = _fitting((entry.size_bytes for entry in costly), self.page_bytes)
        if fitting == len(costly):
            return entries, horizon
        sometimes("a page of a listing ends early, for its bytes")
        last = costly[fitting - 1].name
        return [one for one in entries if one.name <= last], last

    async def _scan(
        self, table: str, prefix: str, after: str, level: Level, limit: int, over_ms: int
    ) -> tuple[list[_Entry], str | None]:
        """What the owners hold, told that so much time is over."""
        turn: Deferred[None] = Deferred()
        self._cluster.runtime.later(lambda: turn.callback(None))
        await turn  # a page a turn, even where nobody else is asked
        version = -1
        replies: dict[bytes, Scanned] = {}
        while version != self._cluster.version:  # parts that were scanned by one registry do not add up by another
            version = self._cluster.version
            replies = await self._scan_all(table, prefix, after, level, limit)
        if not self._is_covered(set(replies), level):
            raise ListingUnavailable
        horizon = min((reply.entries[-1][0] for reply in replies.values() if reply.more), default=None)
        found: dict[str, dict[bytes, tuple[Dot, Brief | None]]] = {}
        for node, reply in replies.items():
            briefs: Sequence[Brief | None] = reply.briefs or [None] * len(reply.entries)
            for (name, dot), brief in zip(reply.entries, briefs, strict=True):
                if horizon is None or name <= horizon:
                    found.setdefault(name, {})[node] = dot, brief
        names = sorted(found)
        if len(names) > limit:  # each node answered with so many, and they own different ones
            names, horizon = names[:limit], names[limit - 1]
        now_ms = self._cluster.times.lapse_ms()
        entries = [self._entry(table, name, found[name], set(replies)) for name in names]
        return [_doubted(entry) if over_ms < entry.end_ms <= now_ms else entry for entry in entries], horizon

    def _entry(
        self, table: str, name: str, said: dict[bytes, tuple[Dot, Brief | None]], answered: set[bytes]
    ) -> _Entry:
        """What some nodes said of one key. Only what whole owners say counts."""
        partition = partition_of(table, name)
        owners = [node for node in self._cluster.ownership.owners(partition) if node in answered]
        counted = [node for node in owners if self._is_whole(node, partition)]
        dots = {said[node][0] if node in said else None for node in counted}
        size_bytes = max(brief.size_bytes if brief is not None else UNKNOWN_BYTES for _, brief in said.values())
        if len(dots) != 1 or counted[0] not in said:
            sometimes("a listing meets a key on which the owners differ")
            return _Entry(name, None, None, None, size_bytes)
        return _Entry(name, counted[0], *said[counted[0]], size_bytes)

    async def _scan_all(self, table: str, prefix: str, after: str, level: Level, limit: int) -> dict[bytes, Scanned]:
        cluster = self._cluster
        me = cluster.me.node_id
        replies: dict[bytes, Scanned] = {}
        waiting = {node for node in self._members() if node != me and cluster.links.is_reachable(node)}
        if level is Level.ONE and self._cluster.ownership.owns_all:
            waiting = set()
        done: Deferred[None] = Deferred()
        waiting.add(me)

        def finish(node: bytes, reply: Reply = NoAnswer.UNSENT) -> None:
            if isinstance(reply, Scanned):
                replies[node] = reply
            cluster.learn(reply)
            waiting.discard(node)
            if not done.called and (not waiting or (len(waiting) == 1 and self._is_covered(set(replies), level))):
                if waiting:
                    sometimes("a listing does not wait for the last node")
                done.callback(None)

        message = Scan(cluster.version, table, prefix, after, limit)
        self._on_scan(Arrival(me), message, lambda reply: finish(me, reply))
        for node in sorted(waiting - {me}):
            cluster.links.ask(
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

    def _is_covered(self, answered: set[bytes], level: Level) -> bool:
        """Whether those that have answered are enough; a disk or link that is slow is not waited for then."""
        registry = self._cluster.registry
        if registry is None:
            return False
        for partition in range(ALL_PARTITIONS - 1):
            for group in registry.groups(partition):
                whole = [node for node in group if node in answered and self._is_whole(node, partition)]
                needed = {Level.MAJORITY: majority(len(group)), Level.ALL: len(group)}.get(level, 1)
                if len(whole) < needed:
                    if registry.changing and group != registry.old_owners(partition) and needed == 1:
                        continue
                    return False
        return True

    def _is_whole(self, node: bytes, partition: int) -> bool:
        if node == self._cluster.me.node_id:
            return self._cluster.store.replicas[partition].whole or self._cluster.standing.may_coordinate(partition)
        return self._cluster.peers.is_whole_at(node, partition)

    async def _resolve(self, table: str, entries: list[_Entry], level: Level, over_ms: int) -> dict[str, Record]:
        """The live records behind some entries."""
        store = self._cluster.store
        found: dict[str, Record] = {}
        remote: dict[bytes, list[Key]] = {}
        for entry in entries:
            if entry.source is None or _is_gone(entry, over_ms):
                continue
            held = store.held((table, entry.name))
            if held is not None and held.dot == entry.dot:
                _keep(found, entry.name, held, over_ms)
            else:
                remote.setdefault(entry.source, []).append((table, entry.name))
        disputed = [entry.name for entry in entries if entry.source is None]
        for node, keys in sorted(remote.items()):
            if not await self._fetch(node, keys, found, over_ms):
                sometimes("the node that a listing asks for records does not answer")
                disputed += [name for _, name in keys if name not in found]
        reads = [self._coordinator.execute(Operation(Kind.GET, (table, name), level)) for name in disputed]
        for name, result in zip(disputed, await gatherResults(reads), strict=True):
            if result.code is Code.UNAVAILABLE:
                raise ListingUnavailable
            if result.record is not None:
                found[name] = result.record
        return found

    def _fetch(self, node: bytes, keys: list[Key], found: dict[str, Record], over_ms: int) -> Deferred[bool]:
        """What a peer holds of some keys; fires with whether it answered."""
        fetched: Deferred[bool] = Deferred()

        def take(records: list[tuple[Key, Record]]) -> None:
            for key, record in records:
                _keep(found, key[1], record, over_ms)

        fetch(self._cluster, node, keys, take, fetched.callback, FETCH_TIMEOUT_S)
        return fetched

    def _on_scan(self, arrival: Arrival, message: Scan, respond: Respond) -> None:
        cluster = self._cluster
        store = cluster.store
        entries: list[tuple[str, Dot]] = []
        briefs: list[Brief] = []
        room = self.scan_bytes
        more = False
        for name in store.keys(message.table, message.prefix, message.after):
            key = message.table, name
            partition = partition_of(*key)
            if not cluster.ownership.owns(partition):
                continue
            if len(entries) >= message.limit or (entries and room < 0):
                more = True
                break
            packed = store.replicas[partition].records.packed(key)
            assert packed is not None
            dot, brief = brief_of(packed)
            entries.append((name, dot))
            briefs.append(brief)
            room -= len(name) + len(brief.owner) + ENTRY_BYTES
        answer = Scanned(entries, more, briefs)
        store.readable.when_all(lambda: respond(answer))
