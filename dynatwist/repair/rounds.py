"""Anti-entropy: the rounds by which owners become identical, whether or not anybody reads.

A round with a peer: compare eight-byte summaries of all shared partitions; for each that differs pull what the own
clock does not cover, page by page; when all of it is durable here, join the peer's clock as it was at the start of the
round, so that gaps close; where clocks are equal and digests still differ, compare buckets. A round dies with the
connection.
"""

from __future__ import annotations

from collections.abc import Callable

from dynatwist.cluster.cluster import Cluster
from dynatwist.cluster.fetch import fetch
from dynatwist.model.digest import BUCKETS
from dynatwist.model.dots import Dot, DotSet
from dynatwist.model.flaws import record_flaw
from dynatwist.model.record import Key, Record
from dynatwist.model.ring import partition_of
from dynatwist.net.messages import (
    BucketEntries,
    Buckets,
    BucketsAre,
    Differing,
    EntriesAre,
    Pull,
    Pulled,
    Summaries,
)
from dynatwist.net.replies import Reply
from dynatwist.replication.exchange import compare

from .answers import walk_buckets

PARALLEL_PULLS = 8
PARALLEL_LARGE_PULLS = 2
LARGE_PAGE_BYTES = 128 << 10
"""Where pages are so large, a few at once fill the connection, and what clients wait for would queue behind more."""
ROUND_TIMEOUT_S = 10.0
"""For one answer: longer than a busy peer takes for a page; the next round asks somebody else."""
DIGEST_BYTES = 8
"""Two different buckets look the same once in 2**64, and only until the next write to either."""
MAX_ENTRIES = 4000
"""Entries of digest buckets compared at a time, about: a few milliseconds of work for either side."""

OnRound = Callable[[bool, set[int]], None]
"""(whether the round was completed, the partitions of which the peer, whole itself, gave all that it holds)."""


def summaries_of(cluster: Cluster, partitions: list[int]) -> dict[int, bytes]:
    """What to compare."""
    replicas = cluster.store.replicas
    return {partition: replicas[partition].summary() for partition in partitions}


class Round:
    """One round with one peer; see the module.

    :param summaries: of the partitions to compare, which the peer must hold; see `summaries_of`.
    :param done: called once.
    """

    def __init__(self, cluster: Cluster, peer: bytes, summaries: dict[int, bytes], done: OnRound) -> None:
        self._cluster = cluster
        self._peer = peer
        self._done = done
        self._left: list[int] = []
        self._running = 0
        self._parallel = PARALLEL_PULLS
        self._whole: set[int] = set(summaries)
        self._failed = False
        self._epochs = [replica.resets for replica in cluster.store.replicas]
        message = Summaries(cluster.version, summaries, cluster.store.wall_ms())
        cluster.links.call(peer, message, self._compared, timeout_s=ROUND_TIMEOUT_S)

    def _compared(self, reply: Reply) -> None:
        if not isinstance(reply, Differing):
            self._cluster.learn(reply)
            self._finish(False)
            return
        self._whole -= set(reply.not_whole)
        self._left = sorted(reply.partitions, reverse=True)
        self._continue()

    def _continue(self) -> None:
        while self._left and self._running < self._parallel and not self._failed:
            self._running += 1
            self._pull(self._left.pop(), None, None)
        if not self._running:
            self._finish(not self._failed)

    def _pulled_one(self, ok: bool) -> None:
        self._running -= 1
        self._failed = self._failed or not ok
        self._continue()

    def _finish(self, ok: bool) -> None:
        replicas = self._cluster.store.replicas
        filled = {number for number in self._whole if replicas[number].resets == self._epochs[number]}
        self._done(ok, filled)

    # One partition

    def _pull(self, partition: int, after: Key | None, first: Pulled | None) -> None:
        replica = self._cluster.store.replicas[partition]
        walk = first.walk if first is not None else 0
        message = Pull(self._cluster.version, partition, replica.clock.to_wire(), after, walk)

        def replied(reply: Reply) -> None:
            if isinstance(reply, Pulled):
                self._merge(partition, reply, first or reply)
            else:
                self._cluster.learn(reply)
                self._pulled_one(False)

        self._cluster.links.call(self._peer, message, replied, timeout_s=ROUND_TIMEOUT_S)

    def _merge(self, partition: int, page: Pulled, first: Pulled) -> None:
        store = self._cluster.store
        if store.replicas[partition].resets != self._epochs[partition]:
            self._pulled_one(False)
            return
        size_bytes = 0
        for key, record in page.records:
            flaw = record_flaw(key, record) or store.name_flaw(key, record)
            if flaw or partition_of(*key) != partition:
                self._cluster.links.refuse_record(self._peer, flaw or "it is of another partition than was asked for")
                continue
            store.merge(key, record)
            size_bytes += len(record.value or b"")
        self._parallel = PARALLEL_PULLS if size_bytes < LARGE_PAGE_BYTES else PARALLEL_LARGE_PULLS

        def durable() -> None:
            if store.replicas[partition].resets != self._epochs[partition]:
                self._pulled_one(False)
            elif page.more and not page.records:
                self._pulled_one(False)  # there would be no end to it
            elif page.more:
                self._pull(partition, page.records[-1][0], first)
            else:
                self._join(partition, page, first)

        store.wal.when_durable(store.wal.lsn, durable)

    def _join(self, partition: int, page: Pulled, first: Pulled) -> None:
        store = self._cluster.store
        if not first.whole:
            self._whole.discard(partition)
        store.join(partition, DotSet.from_wire(first.clock), first.generation)
        replica = store.replicas[partition]
        equal_clocks = page is first and replica.clock.to_wire() == page.clock
        if equal_clocks and replica.digests.root != page.root and replica.whole and page.whole:
            self._compare_buckets(partition)
        else:
            self._pulled_one(True)

    # The last step: equal clocks, differing digests

    def _compare_buckets(self, partition: int) -> None:
        def digests(reply: Reply) -> None:
            if not isinstance(reply, BucketsAre) or len(reply.digests) not in (0, DIGEST_BYTES * BUCKETS):
                self._pulled_one(False)
                return
            self._compare_some(partition, self._cluster.store.replicas[partition].digests.differing(reply.digests))

        self._cluster.links.call(self._peer, Buckets(partition), digests)

    def _compare_some(self, partition: int, numbers: list[int]) -> None:
        """Compare buckets, as many at a time as have a bounded number of entries."""
        if not numbers:
            self._pulled_one(True)
            return
        held = len(self._cluster.store.replicas[partition].records)
        count = max(1, MAX_ENTRIES * BUCKETS // max(1, held))
        some, rest = numbers[:count], numbers[count:]

        def replied(reply: Reply) -> None:
            replica = self._cluster.store.replicas[partition]
            if not isinstance(reply, EntriesAre) or replica.resets != self._epochs[partition]:
                self._pulled_one(False)
                return
            walk_buckets(self._cluster, replica, some, lambda mine: self._judge(partition, mine, reply, rest))

        self._cluster.links.call(self._peer, BucketEntries(partition, some), replied)

    def _judge(self, partition: int, mine: list[tuple[Key, Dot]], reply: EntriesAre, rest: list[int]) -> None:
        """Do what is to be done about some buckets, and go on with the rest."""
        store = self._cluster.store
        replica = store.replicas[partition]
        if replica.resets != self._epochs[partition]:
            self._pulled_one(False)
            return
        if not reply.whole or not replica.whole:
            self._pulled_one(True)
            return
        verdict = compare(replica, dict(mine), dict(reply.entries), DotSet.from_wire(reply.clock))
        store.drop(partition, verdict.drops, reply.generation)
        if not verdict.wanted:
            self._compare_some(partition, rest)
            return
        store.alarm(verdict.alarms)

        def take(records: list[tuple[Key, Record]]) -> None:
            if replica.resets == self._epochs[partition]:
                for key, record in records:
                    store.take(key, record)

        def fetched(ok: bool) -> None:
            if ok:
                self._compare_some(partition, rest)
            else:
                self._pulled_one(False)

        fetch(self._cluster, self._peer, list(verdict.wanted), take, fetched)
