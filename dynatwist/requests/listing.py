"""Carries out what `dynatwist.replication.listing` decides about a page of a table: has members scan, fetches, reads.

Members say how large each record is before any is fetched. Whoever wants names only has them from the scan, with their
owners.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass

from twisted.internet.defer import Deferred

from dynatwist.calls import all_of
from dynatwist.cluster.cluster import Cluster
from dynatwist.cluster.fetch import fetch
from dynatwist.cluster.switchboard import Respond
from dynatwist.feed.collected import Collected, Gone
from dynatwist.model.dots import Dot, WireDots
from dynatwist.model.record import Key, Record
from dynatwist.model.records import Brief, brief_of
from dynatwist.model.ring import ALL_PARTITIONS, partition_of
from dynatwist.net.arrival import Arrival
from dynatwist.net.messages import Scan as ScanMessage
from dynatwist.net.messages import Scanned
from dynatwist.net.replies import NoAnswer, Reply
from dynatwist.replication.listing import Entry, Gathering, Part, Scan, fitting, is_covered, put_together
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
MOST_SEEN = 2048
"""Keys that are looked at for one answer to a scan, with tombstones that are left out: some milliseconds of work."""
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
class _Stretch:
    """What is asked for: so many keys of a table with a prefix, behind a key.

    :ivar is_partial: whether what can be found is enough, where not enough owners answer.
    """

    table: str
    prefix: str
    after: str
    level: Level
    limit: int
    is_partial: bool = False


def _keep(found: dict[str, Record], name: str, record: Record, over_ms: int) -> None:
    if not record.is_dead(over_ms):
        found[name] = record


def _scan_of(reply: Reply, wanted: _Stretch) -> Scan | None:
    """What a member found; ``None`` where it has not answered, or said what can be no answer."""
    if not isinstance(reply, Scanned) or (reply.briefs and len(reply.briefs) != len(reply.entries)):
        return None
    briefs: Sequence[Brief | None] = reply.briefs or [None] * len(reply.entries)
    scan = Scan([(name, dot, brief) for (name, dot), brief in zip(reply.entries, briefs, strict=True)], reply.more)
    return scan if scan.is_sound(wanted.prefix, wanted.after) else None


def _live_of(scans: Iterable[Scan]) -> set[str]:
    """The keys that somebody holds a value of, or of which it is not known: all others are gone, whoever says so.

    Members name tombstones or not, as they please; whoever holds a value has named the key.
    """
    return {name for scan in scans for name, _, brief in scan.entries if brief is None or not brief.is_deleted}


class Listing:
    """See the module.

    :ivar page_bytes: see `PAGE_BYTES`.
    :ivar scan_bytes: see `SCAN_BYTES`.
    """

    def __init__(self, cluster: Cluster, coordinator: Coordinator, collected: Collected) -> None:
        self._cluster = cluster
        self._coordinator = coordinator
        self._collected = collected
        self.page_bytes, self.scan_bytes = PAGE_BYTES, SCAN_BYTES
        cluster.peers.on_call(ScanMessage, self.answer)

    def bound(self, page_bytes: int, scan_bytes: int) -> None:
        """Answer with pages of another size than the usual one, from now on."""
        self.page_bytes, self.scan_bytes = page_bytes, scan_bytes

    async def page(
        self, table: str, prefix: str, after: str, level: Level, limit: int = PAGE_KEYS, *, is_partial: bool = False
    ) -> Page:
        """One page of a table.

        :param is_partial: whether what can be found is enough, where not enough owners answer.
        :raises ListingUnavailable: when not enough owners of some partition answer, and that is not enough.
        """
        over_ms = self._cluster.store.lapse_ms
        wanted = _Stretch(table, prefix, after, level, limit, is_partial)
        part = await self._scan(wanted, over_ms)
        costly = [entry for entry in part.entries if not entry.is_gone(over_ms)]
        part = part.cut(costly, self.page_bytes)
        found = await self._resolve(wanted, part.entries, over_ms)
        return self._bounded([(one.name, found[one.name]) for one in part.entries if one.name in found], part.horizon)

    def _bounded(self, records: list[tuple[str, Record]], horizon: str | None) -> Page:
        """A page of what was read, which may have grown since it was scanned."""
        count = fitting((len(record.value or b"") for _, record in records), self.page_bytes)
        if count == len(records):
            return Page(records, horizon)
        sometimes("what a page of a listing holds has grown since it was scanned")
        return Page(records[:count], records[count - 1][0])

    async def names(self, table: str, prefix: str, after: str, level: Level, limit: int = PAGE_KEYS) -> Names:
        """The same without values.

        :raises ListingUnavailable: when not enough owners of some partition answer.
        """
        over_ms = self._cluster.store.lapse_ms
        wanted = _Stretch(table, prefix, after, level, limit)
        part = await self._scan(wanted, over_ms)
        unknown = [entry for entry in part.entries if entry.source is None or entry.brief is None]
        part = part.cut(unknown, self.page_bytes)
        unknown = [one for one in unknown if part.horizon is None or one.name <= part.horizon]
        found = await self._resolve(wanted, unknown, over_ms)
        names: list[tuple[str, str]] = []
        for entry in part.entries:
            if entry.name in found:
                names.append((entry.name, found[entry.name].owner))
            elif entry.source is not None and entry.brief is not None and not entry.is_gone(over_ms):
                names.append((entry.name, entry.brief.owner))
        return Names(names, part.horizon)

    async def _scan(self, wanted: _Stretch, over_ms: int) -> Part:
        """What the owners hold, told that so much time is over."""
        cluster = self._cluster
        version = -1
        scans: dict[bytes, Scan] = {}
        while version != cluster.version:  # parts that were scanned by one registry do not add up by another
            version = cluster.version
            scans = await self._scan_all(wanted)
        if not wanted.is_partial and not self.is_covered(scans, wanted.level):
            raise ListingUnavailable
        part = put_together(scans, wanted.limit, lambda name: self._counted(partition_of(wanted.table, name), scans))
        now_ms, live = cluster.times.lapse_ms(), _live_of(scans.values())
        entries = [entry.doubted(over_ms, now_ms) for entry in part.entries if entry.name in live]
        return Part(entries, part.horizon)

    def _counted(self, partition: int, answered: Collection[bytes]) -> list[bytes]:
        """The whole owners of a partition that answered."""
        owners = self._cluster.ownership.owners(partition)
        return [node for node in owners if node in answered and self.is_whole(node, partition)]

    async def _scan_all(self, wanted: _Stretch) -> dict[bytes, Scan]:
        cluster = self._cluster
        me = cluster.me.node_id
        others = {node for node in self._members() if node != me and cluster.links.is_reachable(node)}
        if wanted.level is Level.ONE and cluster.ownership.owns_all:
            others = set()
        gathering = Gathering({me, *others}, lambda answered: self.is_covered(answered, wanted.level))
        done: Deferred[None] = Deferred()

        def heard(node: bytes, reply: Reply) -> None:
            cluster.learn(reply)
            gathering.hear(node, _scan_of(reply, wanted))
            if not done.called and gathering.is_over:
                done.callback(None)

        message = ScanMessage(cluster.version, wanted.table, wanted.prefix, wanted.after, wanted.limit, is_live=True)
        for node in sorted(others):
            cluster.links.ask(
                node,
                message,
                lambda reply, node=node: heard(node, reply),  # type: ignore[misc]
                lambda node=node: heard(node, NoAnswer.UNSENT),  # type: ignore[misc]
                SCAN_TIMEOUT_S,
            )
        # A page a turn, even where nobody else is asked; the others, who are asked by its end, scan at the same time.
        cluster.runtime.later(lambda: self.answer(Arrival(me), message, lambda reply: heard(me, reply)))
        await done
        return gathering.scans

    def _members(self) -> list[bytes]:
        registry = self._cluster.registry
        return sorted(registry.ids | registry.previous_ids) if registry is not None else []

    def is_covered(self, answered: Collection[bytes], level: Level) -> bool:
        """Whether the members that have answered are enough owners of every partition."""
        registry = self._cluster.registry
        return registry is not None and is_covered(registry, level, answered, self.is_whole)

    def is_whole(self, node: bytes, partition: int) -> bool:
        """Whether what a node scans of a partition counts."""
        if node == self._cluster.me.node_id:
            return self._cluster.store.replicas[partition].whole or self._cluster.standing.may_coordinate(partition)
        return self._cluster.peers.is_whole_at(node, partition)

    async def _resolve(self, wanted: _Stretch, entries: list[Entry], over_ms: int) -> dict[str, Record]:
        """The live records behind some entries."""
        store, table = self._cluster.store, wanted.table
        found: dict[str, Record] = {}
        remote: dict[bytes, list[Key]] = {}
        for entry in entries:
            if entry.source is None or entry.is_gone(over_ms):
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
        reads = [self._coordinator.execute(Operation(Kind.GET, (table, name), wanted.level)) for name in disputed]
        for name, result in zip(disputed, await all_of(reads), strict=True):
            if result.code is Code.UNAVAILABLE and not wanted.is_partial:
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

    def answer(self, arrival: Arrival, message: ScanMessage, respond: Respond) -> None:
        """What this node holds of a stretch of a table, once all of that is durable.

        Where tombstones may be left out, the last of many is named all the same: it says how far this node has come.
        """
        cluster = self._cluster
        store = cluster.store
        entries: list[tuple[str, Dot]] = []
        briefs: list[Brief] = []
        room = self.scan_bytes
        owned = [cluster.ownership.owns(partition) for partition in range(ALL_PARTITIONS)]
        more = False
        for seen, name in enumerate(store.keys(message.table, message.prefix, message.after), 1):
            key = message.table, name
            partition = partition_of(*key)
            if not owned[partition]:
                continue
            if len(entries) >= message.limit or (entries and room < 0):
                more = True
                break
            packed = store.replicas[partition].records.packed(key)
            assert packed is not None
            dot, brief = brief_of(packed)
            if message.is_live and brief.is_deleted and seen < MOST_SEEN:
                continue
            entries.append((name, dot))
            briefs.append(brief)
            room -= len(name) + len(brief.owner) + ENTRY_BYTES
            if message.is_live and seen >= MOST_SEEN:
                more = True  # perhaps
                break
        collected = list(self._gone_lately(message.collected_of)) if message.collected_of is not None else None
        answer = Scanned(entries, more, briefs, collected)
        store.readable.when_all(lambda: respond(answer))

    def _gone_lately(self, partitions: Iterable[int]) -> Iterator[tuple[int, WireDots, int, list[Gone]]]:
        for partition in partitions:
            floor, gone = self._collected.of(partition)
            if (floor.clock or gone) and self._cluster.ownership.owns(partition):
                yield partition, floor.clock.to_wire(), floor.lapse_ms, gone
