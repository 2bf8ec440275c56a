"""Answers to the rounds of peers. However many records a partition has, one turn of the reactor looks at a few."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable

from dynatwist.cluster.cluster import Cluster
from dynatwist.cluster.switchboard import Respond
from dynatwist.model.dots import Dot, DotSet
from dynatwist.model.record import Key, Record
from dynatwist.model.records import unpack
from dynatwist.model.replica import BucketWalk, Replica
from dynatwist.net.arrival import Arrival
from dynatwist.net.messages import (
    BucketEntries,
    Buckets,
    BucketsAre,
    Differing,
    EntriesAre,
    Pull,
    Pulled,
    Summaries,
    Unable,
)
from dynatwist.sometimes import sometimes

PAGE_BYTES = 256 << 10
"""A page takes a millisecond to encode, and two on a line of a gigabit: clients do not notice one between."""
PAGE_RECORDS = 512
"""Whoever gets a page merges it in one turn: some milliseconds of work."""
MAX_WALKS_PER_PEER = 24
"""Three rounds of a peer at once, of eight partitions each."""


def walk_buckets(
    cluster: Cluster, replica: Replica, numbers: Iterable[int], done: Callable[[list[tuple[Key, Dot]]], None]
) -> None:
    """Find the entries of some digest buckets, in later turns of the reactor: several where a partition is large.

    :param done: called with the entries of the instant at which it is called.
    """
    walk = BucketWalk(replica, numbers)

    def go_on() -> None:
        if walk.step(cluster.step_records):
            done(walk.entries())
        else:
            sometimes("a look at digest buckets takes several turns")
            cluster.runtime.in_steps(go_on)

    cluster.runtime.in_steps(go_on)


class _Walk:
    """A peer's way through one partition, page by page: what was held when it began, with the clock of that instant.

    :ivar last: the key that the page before ended with.
    """

    __slots__ = ("at", "clock", "generation", "keys", "last", "number", "replica", "resets", "root", "theirs", "whole")

    def __init__(self, number: int, replica: Replica, theirs: DotSet, whole: bool) -> None:
        self.number = number
        self.last: Key | None = None
        self.replica = replica
        self.resets = replica.resets
        self.clock, self.generation, self.root, self.whole = (
            replica.clock.to_wire(),
            replica.generation,
            replica.digests.root,
            whole,
        )
        self.theirs = theirs
        self.keys = [] if theirs.covers_all(replica.clock) else list(replica.records)
        self.at = 0

    @property
    def is_over(self) -> bool:
        """Whether nothing is left to look at."""
        return self.at >= len(self.keys)


class RoundAnswers:
    """See the module.

    :ivar page_bytes: how much goes into one answer, about.
    :ivar page_records: how many records go into one answer at most.
    """

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self.page_bytes, self.page_records = PAGE_BYTES, PAGE_RECORDS
        self._walks: dict[bytes, OrderedDict[int, _Walk]] = {}
        self._count = 0
        cluster.peers.on_call(Summaries, self._on_summaries)
        cluster.peers.on_call(Pull, self._on_pull)
        cluster.peers.on_call(Buckets, self._on_buckets)
        cluster.peers.on_call(BucketEntries, self._on_entries)
        cluster.peers.on_linked.append(self._on_linked)

    def bound(self, page_bytes: int, page_records: int) -> None:
        """Send pages of another size than the usual one, from now on."""
        self.page_bytes, self.page_records = page_bytes, page_records

    def _on_linked(self, node: bytes) -> None:
        """A new connection: the rounds of the one before are dead."""
        self._walks.pop(node, None)

    def _on_summaries(self, arrival: Arrival, message: Summaries, respond: Respond) -> None:
        store = self._cluster.store
        self._cluster.times.note(arrival.node, message.wall_ms)
        replicas = store.replicas
        differing = [number for number, summary in message.summaries.items() if replicas[number].summary() != summary]
        filling = [replica.number for replica in store.replicas if not replica.whole]
        registry = self._cluster.registry
        if registry is not None and registry.changing:
            filling += [partition for partition in message.summaries if self._cluster.ownership.is_joining(partition)]
        answer = Differing(differing, sorted(message.summaries.keys() & set(filling)))
        store.wal.when_durable(store.wal.lsn, lambda: respond(answer))

    def _is_whole(self, partition: int) -> bool:
        return self._cluster.store.replicas[partition].whole and not self._cluster.ownership.is_joining(partition)

    # Pages of what a peer's clock does not cover

    def _on_pull(self, arrival: Arrival, message: Pull, respond: Respond) -> None:
        self._cluster.runtime.in_steps(lambda: self._begin_page(arrival.node, message, respond))

    def _begin_page(self, node: bytes, message: Pull, respond: Respond) -> None:
        """A page; it goes on behind the record that the page before ended with."""
        replica = self._cluster.store.replicas[message.partition]
        theirs = DotSet.from_wire(message.clock)
        if message.after is None:
            self._count += 1
            walk = _Walk(self._count, replica, theirs, self._is_whole(message.partition))
        else:
            found = self._find(node, message)
            if found is None or found.resets != replica.resets:
                # What the first page said of its clock does not hold of what is held now.
                sometimes("a peer asks for a further page of a round that is over")
                respond(Unable("that round is over"))
                return
            walk, walk.theirs = found, theirs
        self._fill_page(node, walk, [], self.page_bytes, respond)

    def _find(self, node: bytes, message: Pull) -> _Walk | None:
        """The walk that a further page is asked of.

        Several rounds of one peer may be under way in one partition. A page of another one would leave out what that
        one's asker had, and the asker joins a clock that covers it. Askers of older releases do not say which of their
        rounds it is; where that cannot be told, all of them are over.
        """
        walks = self._walks.get(node, OrderedDict())
        if message.walk:
            return walks.pop(message.walk, None)
        place = message.partition, message.after
        fitting = [one for one in walks.values() if (one.replica.number, one.last) == place]
        for one in fitting:
            del walks[one.number]
        return fitting[0] if len(fitting) == 1 else None

    def _fill_page(self, node: bytes, walk: _Walk, page: list[tuple[Key, Record]], room: int, respond: Respond) -> None:
        """Look at some more records, until the page is full or the walk is over."""
        replica = walk.replica
        if replica.resets != walk.resets:
            respond(Unable("that round is over"))
            return
        records = replica.records
        until = min(walk.at + self._cluster.step_records, len(walk.keys))
        while walk.at < until and room > 0 and len(page) < self.page_records:
            key = walk.keys[walk.at]
            walk.at += 1
            dot, packed = records.dot(key), records.packed(key)
            if dot is not None and packed is not None and not walk.theirs.covers(dot):
                page.append((key, unpack(packed)))
                room -= len(packed)
        is_full = room <= 0 or len(page) >= self.page_records
        if is_full or walk.is_over:
            self._send_page(node, walk, page, respond)
        else:
            sometimes("a page of a round takes several turns")
            self._cluster.runtime.in_steps(lambda: self._fill_page(node, walk, page, room, respond))

    def _send_page(self, node: bytes, walk: _Walk, page: list[tuple[Key, Record]], respond: Respond) -> None:
        if not walk.is_over:
            walks = self._walks.setdefault(node, OrderedDict())
            walk.last = page[-1][0]
            walks[walk.number] = walk
            if len(walks) > MAX_WALKS_PER_PEER:
                walks.popitem(last=False)
        wal = self._cluster.store.wal
        answer = Pulled(page, not walk.is_over, walk.clock, walk.generation, walk.root, walk.whole, walk.number)
        wal.when_durable(wal.lsn, lambda: respond(answer))

    # Buckets

    def _on_buckets(self, arrival: Arrival, message: Buckets, respond: Respond) -> None:
        respond(BucketsAre(self._cluster.store.replicas[message.partition].digests.to_wire()))

    def _on_entries(self, arrival: Arrival, message: BucketEntries, respond: Respond) -> None:
        store = self._cluster.store
        replica = store.replicas[message.partition]

        def found(entries: list[tuple[Key, Dot]]) -> None:
            whole = self._is_whole(message.partition)
            answer = EntriesAre(entries, replica.clock.to_wire(), replica.generation, whole)
            store.wal.when_durable(store.wal.lsn, lambda: respond(answer))

        walk_buckets(self._cluster, replica, message.buckets, found)
