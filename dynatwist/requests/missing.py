"""What a listener has missed, from what is held: anti-entropy towards whoever listens.

All members that can be reached scan the part of a table that they own. A record is *news* if its dot is not covered by
what the listener has heard, or if it has ended since by itself. Where owners differ, the greatest record counts: if
that is not news, nothing of the key is, since what lost to it is older. Tombstones are told like all else. Where one
may be gone that was not told of, the listener has to read afresh.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from twisted.internet.defer import Deferred, DeferredSemaphore

from dynatwist.calls import all_of
from dynatwist.cluster.cluster import Cluster
from dynatwist.cluster.fetch import fetch
from dynatwist.feed.collected import Floor
from dynatwist.feed.heard import Heard
from dynatwist.model.dots import Dot, DotSet
from dynatwist.model.record import Key, Record, beats
from dynatwist.model.records import Brief
from dynatwist.model.ring import partition_of, partitions_of
from dynatwist.net.arrival import Arrival
from dynatwist.net.link import CALL_TIMEOUT_S
from dynatwist.net.messages import Scan, Scanned
from dynatwist.net.replies import NoAnswer, Reply
from dynatwist.relays.relays import NoAnswer as NodeIsAway
from dynatwist.replication.listing import Scan as ScanFound
from dynatwist.replication.quorum import Level

from .listing import PAGE_BYTES, PAGE_KEYS, Listing, ListingUnavailable

AT_ONCE = 4
"""Pages that are read for listeners at the same time; others wait, so that requests come between."""
SCAN_TIMEOUT_S = 1.0
"""For one member to scan a slice; then those that have answered are to do."""


@dataclass(frozen=True, slots=True)
class News:
    """A stretch of what was missed.

    :ivar records: those that are over and tombstones among them, in order of keys.
    :ivar next_after: where the next stretch begins; ``None`` when this is the last.
    :ivar is_all: false where a delete may have been missed that nobody knows of any more.
    """

    records: list[tuple[Key, Record]]
    next_after: str | None
    is_all: bool


@dataclass(frozen=True, slots=True)
class Stretch:
    """What is asked for.

    :ivar key: this one only.
    """

    table: str
    prefix: str = ""
    key: str | None = None
    after: str = ""

    @property
    def message_parts(self) -> tuple[str, str, int]:
        """(prefix, after, limit) of the scan for it."""
        return (self.prefix, self.after, PAGE_KEYS) if self.key is None else (self.key, "", 1)

    def wants(self, name: str) -> bool:
        """Whether a key that was scanned is asked for."""
        return self.key is None or name == self.key

    @property
    def partitions(self) -> Sequence[int]:
        """Those that it may be in."""
        return partitions_of(self.table, self.key)


class Missing:
    """See the module.

    :ivar listing: which members scan for it.
    """

    def __init__(self, cluster: Cluster, listing: Listing) -> None:
        self._cluster = cluster
        self.listing = listing
        self._turns = DeferredSemaphore(AT_ONCE)

    async def page(self, wanted: Stretch, heard: Heard, level: Level = Level.ONE) -> News:
        """Some of what a listener has missed.

        :param level: how many owners of each part of the table have to answer.
        :raises ListingUnavailable: when some part of the table has not so many that do.
        """
        await self._turns.acquire()
        try:
            await self._next_turn()  # a page a turn, also where nobody else is asked
            return await self._page(wanted, heard, level)
        finally:
            self._turns.release()

    def _next_turn(self) -> Deferred[None]:
        turn: Deferred[None] = Deferred()
        self._cluster.runtime.later(lambda: turn.callback(None))
        return turn

    async def _page(self, wanted: Stretch, heard: Heard, level: Level) -> News:
        cluster = self._cluster
        version = -1
        scans: dict[bytes, Scanned] = {}
        while version != cluster.version:
            version = cluster.version
            others = [node for node in sorted(cluster.ownership.members) if cluster.links.is_reachable(node)]
            scans = await self._scan([cluster.me.node_id, *others], wanted)
        if not all(any(self._counts(node, number) for node in scans) for number in wanted.partitions):
            raise ListingUnavailable
        if level is not Level.ONE and not self.listing.is_covered(scans, level):
            raise ListingUnavailable
        return await self._news(wanted, heard, scans)

    async def of_node(self, node: bytes, table: str, heard: Heard, hear: Callable[[Key, Record], None]) -> bool:
        """What one node holds that this one does not own, and somebody has not heard; see `Relays.fetch_by`."""
        after: str | None = ""
        while after is not None:
            await self._next_turn()
            wanted = Stretch(table, after=after)
            scans = await self._scan([node], wanted)
            if node not in scans:
                raise NodeIsAway
            try:
                news = await self._news(wanted, heard, scans)
            except ListingUnavailable:
                raise NodeIsAway from None
            if not news.is_all:
                return False
            for key, record in news.records:
                if not self._cluster.ownership.owns(partition_of(*key)):
                    hear(key, record)
            after = news.next_after
        return True

    # Scanning

    async def _scan(self, nodes: list[bytes], wanted: Stretch) -> dict[bytes, Scanned]:
        cluster = self._cluster
        prefix, after, limit = wanted.message_parts
        message = Scan(cluster.version, wanted.table, prefix, after, limit, list(wanted.partitions))
        scans: dict[bytes, Scanned] = {}

        def ask(node: bytes) -> Deferred[None]:
            done: Deferred[None] = Deferred()

            def heard(reply: Reply) -> None:
                if done.called:
                    return
                cluster.learn(reply)
                if isinstance(reply, Scanned) and _is_sound(reply, prefix, after):
                    scans[node] = reply
                done.callback(None)

            if node == cluster.me.node_id:
                self.listing.answer(Arrival(node), message, heard)
            elif len(nodes) > 1:  # whoever stalls is not waited for, where others may have answered
                cluster.links.ask(node, message, heard, lambda: heard(NoAnswer.UNSENT), SCAN_TIMEOUT_S)
            else:
                cluster.links.ask(node, message, heard, timeout_s=CALL_TIMEOUT_S)
            return done

        await all_of([ask(node) for node in nodes])
        return scans

    def _counts(self, node: bytes, partition: int) -> bool:
        """Whether a node that has answered holds all of a partition."""
        if node not in self._cluster.ownership.owners(partition):
            return False
        return self.listing.is_whole(node, partition)

    # What is news

    async def _news(self, wanted: Stretch, heard: Heard, scans: dict[bytes, Scanned]) -> News:
        is_relayed = self._cluster.me.node_id not in scans
        is_all = not any(
            self._may_lack(node, scan, heard, wanted, is_relayed=is_relayed) for node, scan in scans.items()
        )
        horizon = min((scan.entries[-1][0] for scan in scans.values() if scan.more and scan.entries), default=None)
        if wanted.key is not None:
            horizon = None
        found = self._found(wanted, scans, horizon)
        over_ms = self._cluster.store.lapse_ms
        names: list[str] = []
        room = PAGE_BYTES
        for name in sorted(found):
            partition = partition_of(wanted.table, name)
            said = found[name].values()
            if not any(_is_news(heard, partition, dot, _end_of(brief), over_ms) for dot, brief in said):
                continue
            room -= max(brief.size_bytes for _, brief in found[name].values())
            if names and room < 0:
                horizon = names[-1]
                break
            names.append(name)
        records = await self._resolve(wanted.table, names, found)
        told = [
            (key, one)
            for key, one in records
            if _is_news(heard, partition_of(*key), one.dot, one.expires_ms if one.value is not None else 0, over_ms)
        ]
        return News(told, horizon, is_all)

    def _found(
        self, wanted: Stretch, scans: dict[bytes, Scanned], horizon: str | None
    ) -> dict[str, dict[bytes, tuple[Dot, Brief]]]:
        """By key and node, what was scanned."""
        found: dict[str, dict[bytes, tuple[Dot, Brief]]] = {}
        for node, scan in scans.items():
            for (name, dot), brief in zip(scan.entries, scan.briefs, strict=True):
                if wanted.wants(name) and (horizon is None or name <= horizon):
                    found.setdefault(name, {})[node] = dot, brief
        return found

    def _may_lack(self, node: bytes, scan: Scanned, heard: Heard, wanted: Stretch, *, is_relayed: bool) -> bool:
        """Whether a node may have collected a tombstone that a listener was not told of.

        Where only another node was asked, it is about what this one does not own.
        """
        if scan.collected is None:
            return True
        partitions, owns = set(wanted.partitions), self._cluster.ownership.owns
        if is_relayed:
            partitions = {partition for partition in partitions if not owns(partition)}
        return any(
            heard.may_lack_delete(partition, Floor(DotSet.from_wire(floor), floor_ms), gone)
            for partition, floor, floor_ms, gone in scan.collected
            if partition in partitions and self._counts(node, partition)
        )

    async def _resolve(
        self, table: str, names: list[str], found: dict[str, dict[bytes, tuple[Dot, Brief]]]
    ) -> list[tuple[Key, Record]]:
        """The greatest records of some keys, of those that were scanned."""
        greatest: dict[Key, Record] = {}
        for node, keys in _asked(table, names, found, self._cluster.me.node_id):
            for key, record in await self._fetch(node, keys, found):
                held = greatest.get(key)
                if held is None or beats(record, held):
                    greatest[key] = record
        return [((table, name), greatest[table, name]) for name in names if (table, name) in greatest]

    async def _fetch(
        self, node: bytes, keys: list[Key], found: dict[str, dict[bytes, tuple[Dot, Brief]]]
    ) -> list[tuple[Key, Record]]:
        if node == self._cluster.me.node_id:
            held = ((key, self._cluster.store.held(key)) for key in keys)
            # What came since may not be durable, and is announced when it is.
            return [(key, one) for key, one in held if one is not None and one.dot == found[key[1]][node][0]]
        fetched: Deferred[bool] = Deferred()
        records: list[tuple[Key, Record]] = []
        fetch(self._cluster, node, keys, records.extend, fetched.callback)
        if not await fetched:
            raise ListingUnavailable
        return records


def _is_sound(reply: Scanned, prefix: str, after: str) -> bool:
    """Whether it can be an answer: a node that says the same names again would be asked without end."""
    entries = [(name, dot, None) for name, dot in reply.entries]
    return len(reply.briefs) == len(reply.entries) and ScanFound(entries, reply.more).is_sound(prefix, after)


def _is_news(heard: Heard, partition: int, dot: Dot, end_ms: int, over_ms: int) -> bool:
    """Whether a record, or its end, was not told.

    :param end_ms: when it ends by itself; 0 for never, and for tombstones.
    """
    return not heard.has(partition, dot) or heard.lapse_ms < end_ms <= over_ms


def _end_of(brief: Brief) -> int:
    return 0 if brief.is_deleted else brief.expires_ms


def _asked(
    table: str, names: list[str], found: dict[str, dict[bytes, tuple[Dot, Brief]]], me: bytes
) -> Iterator[tuple[bytes, list[Key]]]:
    """Whom to ask for which keys: of each record that was scanned one of those who hold it, this node first."""
    asked: dict[bytes, list[Key]] = {}
    for name in names:
        by_dot: dict[Dot, bytes] = {}
        for node in sorted(found[name], key=lambda node: node != me):
            by_dot.setdefault(found[name][node][0], node)
        for node in by_dot.values():
            asked.setdefault(node, []).append((table, name))
    yield from asked.items()
