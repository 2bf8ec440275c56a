"""Carries out what `dynatwist.replication.round` decides about a round of anti-entropy: asks, merges, joins, fetches.

By such rounds owners become identical, whether or not anybody reads. First, eight-byte summaries of all shared
partitions are compared. A round dies with its connection.
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
    Pulled,
    Summaries,
)
from dynatwist.net.messages import Pull as PullMessage
from dynatwist.net.replies import Reply
from dynatwist.replication.exchange import compare
from dynatwist.replication.round import (
    FAILED,
    AskDigests,
    AskEntries,
    Join,
    Over,
    Page,
    PartitionRound,
    Pull,
    Round,
    Side,
    Todo,
)

from .answers import walk_buckets

ROUND_TIMEOUT_S = 10.0
"""For one answer: longer than a busy peer takes for a page; the next round asks somebody else."""
DIGEST_BYTES = 8
"""Two different buckets look the same once in 2**64, and only until the next write to either."""

OnRound = Callable[[bool, set[int]], None]
"""(whether the round was completed, the partitions of which the peer, whole itself, gave all that it holds)."""


def summaries_of(cluster: Cluster, partitions: list[int]) -> dict[int, bytes]:
    """What to compare."""
    replicas = cluster.store.replicas
    return {partition: replicas[partition].summary() for partition in partitions}


class RoundRun:
    """One round with one peer; see the module.

    :param summaries: of the partitions to compare, which the peer must hold; see `summaries_of`.
    :param done: called once.
    """

    def __init__(self, cluster: Cluster, peer: bytes, summaries: dict[int, bytes], done: OnRound) -> None:
        self._cluster = cluster
        self._peer = peer
        self._done = done
        self._is_over = False
        self._epochs = [replica.resets for replica in cluster.store.replicas]
        self._round = Round(summaries, self._is_same)
        message = Summaries(cluster.version, summaries, cluster.store.wall_ms())
        cluster.links.call(peer, message, self._compared, timeout_s=ROUND_TIMEOUT_S)

    def _is_same(self, partition: int) -> bool:
        return self._cluster.store.replicas[partition].resets == self._epochs[partition]

    def _compared(self, reply: Reply) -> None:
        if not isinstance(reply, Differing):
            self._cluster.learn(reply)
            self._finish(False, set())
            return
        self._round.compared(reply.partitions, reply.not_whole)
        self._go_on()

    def _go_on(self) -> None:
        while (partition := self._round.take()) is not None:
            self._do(partition, partition.begin())
        if self._round.is_over:
            self._finish(self._round.is_complete, self._round.sources)

    def _finish(self, ok: bool, sources: set[int]) -> None:
        """Say how it ended, once: a partition may fail at once where the peer is gone, while others are begun."""
        if not self._is_over:
            self._is_over = True
            self._done(ok, sources)

    # One partition

    def _do(self, partition: PartitionRound, todo: Todo) -> None:
        match todo:
            case Pull():
                self._pull(partition, todo)
            case Join(side):
                self._cluster.store.join(partition.number, DotSet.from_wire(side.clock), side.generation)
                self._do(partition, partition.joined(self._here(partition.number)))
            case AskDigests():
                self._ask(partition, Buckets(partition.number), self._digests)
            case AskEntries(numbers):
                message = BucketEntries(partition.number, list(numbers))
                self._ask(partition, message, lambda one, reply: self._entries(one, numbers, reply))
            case Over():
                self._round.over(partition.number, todo)
                self._go_on()

    def _here(self, partition: int) -> Side:
        replica = self._cluster.store.replicas[partition]
        return Side(replica.clock.to_wire(), replica.generation, replica.digests.root, replica.whole)

    def _ask(
        self,
        partition: PartitionRound,
        message: Buckets | BucketEntries | PullMessage,
        answered: Callable[[PartitionRound, Reply], Todo | None],
    ) -> None:
        """Ask the peer, and do what is to be done about its answer; ``None``: that will be said later."""

        def replied(reply: Reply) -> None:
            todo = answered(partition, reply)
            if todo is not None:
                self._do(partition, todo)

        self._cluster.links.call(self._peer, message, replied, timeout_s=ROUND_TIMEOUT_S)

    # Pages of what the own clock does not cover

    def _pull(self, partition: PartitionRound, pull: Pull) -> None:
        replica = self._cluster.store.replicas[partition.number]
        message = PullMessage(self._cluster.version, partition.number, replica.clock.to_wire(), pull.after, pull.walk)
        self._ask(partition, message, self._pulled)

    def _pulled(self, partition: PartitionRound, reply: Reply) -> Todo | None:
        if not isinstance(reply, Pulled):
            self._cluster.learn(reply)
            return FAILED
        if not partition.may_merge():
            return FAILED
        self._round.weigh(self._merge(partition.number, reply.records))
        last = reply.records[-1][0] if reply.records else None
        page = Page(Side(reply.clock, reply.generation, reply.root, reply.whole), last, reply.more, reply.walk)
        wal = self._cluster.store.wal
        wal.when_durable(wal.lsn, lambda: self._do(partition, partition.kept(page)))
        return None

    def _merge(self, partition: int, records: list[tuple[Key, Record]]) -> int:
        """Merge a page, but for what is wrong with it; how many bytes of values it has."""
        store = self._cluster.store
        size_bytes = 0
        for key, record in records:
            flaw = record_flaw(key, record) or store.name_flaw(key, record.dot)
            if flaw or partition_of(*key) != partition:
                self._cluster.links.refuse_record(self._peer, flaw or "it is of another partition than was asked for")
                continue
            store.merge(key, record)
            size_bytes += len(record.value or b"")
        return size_bytes

    # The last step: equal clocks, differing digests

    def _digests(self, partition: PartitionRound, reply: Reply) -> Todo:
        if not isinstance(reply, BucketsAre) or len(reply.digests) not in (0, DIGEST_BYTES * BUCKETS):
            return FAILED
        replica = self._cluster.store.replicas[partition.number]
        return partition.differ(replica.digests.differing(reply.digests), len(replica.records))

    def _entries(self, partition: PartitionRound, numbers: tuple[int, ...], reply: Reply) -> Todo | None:
        if not isinstance(reply, EntriesAre) or not partition.may_merge():
            return FAILED
        replica = self._cluster.store.replicas[partition.number]
        walk_buckets(self._cluster, replica, numbers, lambda mine: self._settle(partition, mine, reply))
        return None

    def _settle(self, partition: PartitionRound, mine: list[tuple[Key, Dot]], reply: EntriesAre) -> None:
        """Do what is to be done about some buckets, and go on with the rest."""
        store = self._cluster.store
        replica = store.replicas[partition.number]
        todo = partition.may_settle(replica.whole, reply.whole)
        if todo is not None:
            self._do(partition, todo)
            return
        verdict = compare(replica, dict(mine), dict(reply.entries), DotSet.from_wire(reply.clock))
        store.drop(partition.number, verdict.drops, reply.generation)
        if not verdict.wanted:
            self._do(partition, partition.go_on(len(replica.records)))
            return
        store.alarm(verdict.alarms)

        def take(records: list[tuple[Key, Record]]) -> None:
            if partition.may_merge():
                for key, record in records:
                    store.take(key, record)

        def fetched(ok: bool) -> None:
            self._do(partition, partition.go_on(len(replica.records)) if ok else FAILED)

        fetch(self._cluster, self._peer, list(verdict.wanted), take, fetched)
