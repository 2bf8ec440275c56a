"""The timers that keep owners equal: rounds with every peer, hints, becoming whole, collection, handing off."""

from __future__ import annotations

from collections.abc import Callable

from twisted.logger import Logger

from dynatwist.cluster.cluster import Cluster
from dynatwist.metrics import ROUND_BUCKETS_S, Durations
from dynatwist.model.registry import Registry
from dynatwist.replication.losses import Losses
from dynatwist.runtime import Timer, cancel
from dynatwist.sometimes import sometimes

from .answers import RoundAnswers
from .cells import CellPages, CellPull
from .hand_off import HandOff
from .hint_replay import HintReplay
from .rounds import ROUND_TIMEOUT_S, RoundRun, summaries_of
from .takeover import Takeover
from .tombstones import Tombstones
from .wholeness import Wholeness

ROUND_INTERVAL_S = 1.0
"""What was missed is there within seconds; comparing equal partitions costs one small message."""
FORGOT_S = 4.0
"""A node that has lost its votes, with a part of its disk, fetches those of others no sooner. By then nobody counts a
vote of before for a proposal that the others had not heard of: proposers give up after three seconds."""
HOT_EVERY = 10
"""Partitions that are written to all the time differ by what is under way, and are compared every tenth time only."""


class Repair:
    """See the module.

    :ivar took: how long its own rounds took.
    :ivar answers: to the rounds of peers.
    :ivar hints: what owners missed.
    :ivar rounds: how many were completed or failed.
    :ivar tombstones: their collection.
    """

    log = Logger()

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._busy: set[bytes] = set()
        self._again: set[bytes] = set()
        self._last_summaries: dict[bytes, dict[int, bytes]] = {}
        self._losses = Losses()
        self._wholeness = Wholeness(cluster, self._losses)
        self._takeover = Takeover(cluster)
        self._hand_off = HandOff(cluster)
        self.tombstones = Tombstones(cluster)
        self._timers: dict[str, Timer] = {}
        self.rounds = 0
        self.hints = HintReplay(cluster)
        self.answers = RoundAnswers(cluster)
        self.cell_pages = CellPages(cluster)
        self._seconds = cluster.runtime.monotonic_s
        self.took = Durations(ROUND_BUCKETS_S)
        self._forgot_s = self._seconds()
        cluster.starts.on_restored.append(self._forgets)
        cluster.peers.on_linked.append(self._on_linked)
        cluster.on_registry.append(self._on_registry)

    def start(self) -> None:
        """Begin to tick."""
        self._takeover.resume()
        self._go_by(self._cluster.registry)
        self._every("rounds", ROUND_INTERVAL_S, self._run_rounds)
        self._every("collection", self.tombstones.interval_s, self.tombstones.collect)

    def stop(self) -> None:
        """Stop ticking."""
        for timer in self._timers.values():
            cancel(timer)

    def _every(self, name: str, interval_s: float, work: Callable[[], None]) -> None:
        runtime = self._cluster.runtime

        def tick() -> None:
            self._timers[name] = runtime.clock.callLater(interval_s * (0.9 + runtime.random.random() / 5), tick)
            work()

        self._timers[name] = runtime.clock.callLater(interval_s * runtime.random.random(), tick)

    # Rounds

    def _on_linked(self, node: bytes) -> None:
        self._busy.discard(node)
        self._last_summaries.pop(node, None)
        self.run_round(node)

    def _run_rounds(self) -> None:
        for node in self._cluster.links.linked():
            self.run_round(node)
            self.hints.replay(node)
        self.hints.forget_strangers()
        self._losses.look(self._cluster.peers.is_reachable)
        self._wholeness.check()
        self._wholeness.serve_lone()
        self._hand_off.go_on()
        self._cluster.publish()

    def run_round(self, node: bytes) -> None:
        """Begin a round with a peer, or another one right after the one under way."""
        if node in self._busy:
            self._again.add(node)
            return
        if self._cluster.store.wal.stuck:
            return  # what it brought could not be kept
        summaries = self._due(node, self._cluster.ownership.shared_with(node))
        if not summaries or not self._cluster.links.is_reachable(node):
            return
        self._busy.add(node)
        version, begun_s = self._cluster.version, self._cluster.runtime.monotonic_s()

        def done(ok: bool, whole: set[int]) -> None:
            self._busy.discard(node)
            self.rounds += 1
            self.took.add(self._cluster.runtime.monotonic_s() - begun_s)
            if not ok:
                self._last_summaries.pop(node, None)
            is_current = version == self._cluster.version
            if ok or not is_current:
                self._losses.complete(node)
            else:
                now_s = self._cluster.runtime.monotonic_s()
                self._losses.fail(node, now_s, timed_out=now_s - begun_s >= ROUND_TIMEOUT_S)
            if ok and is_current:
                self._round_done(node, list(summaries), whole)
            if node in self._again or version != self._cluster.version:
                self._again.discard(node)
                self._cluster.runtime.later(lambda: self.run_round(node))

        RoundRun(self._cluster, node, summaries, done)

    def _due(self, node: bytes, partitions: list[int]) -> dict[int, bytes]:
        """Leave out what was written to since the last round: it differs by what is under way, which is not missing.

        Every tenth time it is compared all the same; and always with a peer that was not met yet, or to become whole.
        """
        last = self._last_summaries.get(node)
        now = self._last_summaries[node] = summaries_of(self._cluster, partitions)
        if node not in self._cluster.standing.met or last is None:
            return now
        return {
            partition: summary
            for partition, summary in now.items()
            if last.get(partition) == summary
            or self._wholeness.wants(partition)
            or (self.rounds + partition) % HOT_EVERY == 0
        }

    def _round_done(self, node: bytes, partitions: list[int], whole: set[int]) -> None:
        standing = self._cluster.standing
        had_met = node in standing.met
        standing.meet(node)
        wanted = list(filter(self._wholeness.wants, partitions))
        if any(map(self._may_have_voted, wanted)) and self._seconds() < self._forgot_s + FORGOT_S:
            sometimes("a node that may have forgotten votes waits before it fetches registers")
            wanted = [partition for partition in wanted if not self._may_have_voted(partition)]
            partitions = [partition for partition in partitions if not self._may_have_voted(partition)]
        if not had_met:
            self._cluster.publish()
        if not wanted or self._cluster.peers.lacks_registers(node):
            self._fetched(node, partitions, whole)
        else:

            def pulled(some: set[int], damaged: set[int]) -> None:
                self._fetched(node, sorted(some), whole - damaged)

            CellPull(self._cluster, node, wanted, pulled)

    def _may_have_voted(self, partition: int) -> bool:
        """Whether this node may have voted on registers of a partition that it does not hold all of now."""
        return not self._cluster.store.replicas[partition].whole and not self._cluster.ownership.is_joining(partition)

    def _forgets(self) -> None:
        self._forgot_s = self._seconds()

    def _fetched(self, node: bytes, partitions: list[int], whole: set[int]) -> None:
        self._wholeness.fetched(node, partitions, whole)
        if self._wholeness.check():
            self._cluster.publish()

    # The registry

    def surplus(self) -> list[int]:
        """Partitions that hold something here though this node does not own them any more."""
        return self._hand_off.surplus()

    def _go_by(self, registry: Registry | None) -> None:
        self._losses.strike_out(registry.previous_ids - registry.ids if registry is not None else frozenset())

    def _on_registry(self, before: Registry | None, after: Registry) -> None:
        cluster = self._cluster
        me = cluster.me.node_id
        self.tombstones.forget_all()
        self._go_by(after)
        self._takeover.take_over(before, after)
        if after.find(me) is None and before is not None and before.find(me) is not None:
            self.log.warn(
                "this node was removed from the cluster; to join again, wipe its data folder, but not before /stats "
                "shows that all it held was handed off"
            )
        if before is not None:
            for node in sorted((before.ids | before.previous_ids) - after.ids - after.previous_ids - {me}):
                cluster.store.unhint(node, [])
                cluster.peers.forget(node)
        for node in cluster.links.linked():
            self.run_round(node)
        self._hand_off.go_on()
