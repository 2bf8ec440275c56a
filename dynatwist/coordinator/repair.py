"""The timers that keep owners equal: rounds with every peer, filling what is not whole, hints, collection, handing off.

*Whole*: a replica that was damaged, restored or newly taken over starts empty, and is whole when it has finished rounds
with a majority of the other whole owners; a new owner, of the old ones.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.logger import Logger

from dynatwist.model.dots import DotSet
from dynatwist.model.record import Key
from dynatwist.model.records import Packed
from dynatwist.model.registry import Registry, majority
from dynatwist.model.ring import ALL_PARTITIONS
from dynatwist.net.messages import (
    AnyMessage,
    ClocksAre,
    Done,
    PullFromMe,
    Replicate,
    Unable,
)
from dynatwist.runtime import Timer, cancel
from dynatwist.sometimes import sometimes

from .cluster import Cluster, Respond
from .rounds import Round, RoundAnswers, summaries_of
from .tombstones import Tombstones, answer_clocks

ROUND_INTERVAL_S = 1.0
HINT_BATCH = 64
HINT_BYTES = 1 << 20
"""Under way to one peer at a time, so that what clients wait for does not queue behind it."""
HOT_EVERY = 10


class Repair:
    """See the module.

    :ivar answers: to the rounds of peers.
    :ivar hint_batch: how many hints are replayed at a time.
    :ivar hint_bytes: how many bytes of records.
    """

    log = Logger()

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._busy: set[bytes] = set()
        self._again: set[bytes] = set()
        self._replaying: set[bytes] = set()
        self._handing_off = False
        self._last_summaries: dict[bytes, dict[int, bytes]] = {}
        self._served_lone: set[int] = set()
        self._filled: dict[tuple[int, int], set[bytes]] = {}
        self._tombstones = Tombstones(cluster)
        self._timers: dict[str, Timer] = {}
        self.rounds = 0
        self.answers = RoundAnswers(cluster)
        self.hint_batch, self.hint_bytes = HINT_BATCH, HINT_BYTES
        cluster.on_call(PullFromMe, self._on_pull_from_me)
        cluster.on_linked.append(self._on_linked)
        cluster.on_reachability.append(self._on_reachability)
        cluster.on_registry.append(self._on_registry)

    def start(self) -> None:
        """Begin to tick."""
        self._every("rounds", ROUND_INTERVAL_S, self._run_rounds)
        self._every("collection", self._tombstones.interval_s, self._tombstones.collect)

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
        self._replaying.discard(node)
        self._last_summaries.pop(node, None)
        self.run_round(node)

    def _on_reachability(self, node: bytes) -> None:
        if self._cluster.links.is_reachable(node):
            self._replay_hints(node)

    def _run_rounds(self) -> None:
        for node in self._cluster.links.linked():
            self.run_round(node)
            self._replay_hints(node)
        self._forget_hints()
        self._check_all_whole()
        self._serve_lone()
        self._hand_off()
        self._cluster.publish()

    def run_round(self, node: bytes) -> None:
        """Begin a round with a peer, or another one right after the one under way."""
        if node in self._busy:
            self._again.add(node)
            return
        summaries = self._due(node, self._cluster.shared_with(node))
        if not summaries or not self._cluster.links.is_reachable(node):
            return
        self._busy.add(node)
        version = self._cluster.version

        def done(ok: bool, whole: set[int]) -> None:
            self._busy.discard(node)
            self.rounds += 1
            if not ok:
                self._last_summaries.pop(node, None)
            if ok and version == self._cluster.version:
                self._round_done(node, list(summaries), whole)
            if node in self._again or version != self._cluster.version:
                self._again.discard(node)
                self._cluster.runtime.later(lambda: self.run_round(node))

        Round(self._cluster, node, summaries, done)

    def _due(self, node: bytes, partitions: list[int]) -> dict[int, bytes]:
        """Leave out what was written to since the last round: it differs by what is under way, which is not missing.

        Every tenth time it is compared all the same; and always with a peer that was not met yet, or to become whole.
        """
        replicas = self._cluster.store.replicas
        last = self._last_summaries.get(node)
        now = self._last_summaries[node] = summaries_of(self._cluster, partitions)
        if node not in self._cluster.fresh or last is None:
            return now
        return {
            partition: summary
            for partition, summary in now.items()
            if last.get(partition) == summary
            or not replicas[partition].whole
            or (self.rounds + partition) % HOT_EVERY == 0
        }

    def _round_done(self, node: bytes, partitions: list[int], whole: set[int]) -> None:
        was_fresh = node in self._cluster.fresh
        self._cluster.fresh.add(node)
        replicas = self._cluster.store.replicas
        for partition in partitions:
            if not replicas[partition].whole and (partition in whole or self._is_nobody_whole(partition)):
                self._filled.setdefault((partition, replicas[partition].resets), set()).add(node)
        if self._check_all_whole() or not was_fresh:
            self._cluster.publish()

    # Becoming whole

    def _is_nobody_whole(self, partition: int) -> bool:
        cluster = self._cluster
        others = [owner for owner in cluster.owners(partition) if owner != cluster.me.node_id]
        return all(cluster.is_damaged_at(one, partition) for one in others)

    def _sources(self, partition: int) -> list[bytes]:
        """The other owners that may know what this replica lacks: the old ones, while a change runs."""
        registry = self._cluster.registry
        assert registry is not None
        owners = registry.old_owners(partition) or registry.owners(partition)
        return [owner for owner in owners if owner != self._cluster.me.node_id]

    def _sources_needed(self, partition: int) -> int:
        cluster = self._cluster
        registry = cluster.registry
        assert registry is not None
        if cluster.is_joining(partition):
            return majority(len(registry.old_owners(partition)))
        others = self._sources(partition)
        damaged = [one for one in others if cluster.is_damaged_at(one, partition)]
        if len(damaged) == len(others):
            return len(others)
        return majority(len(others) - len(damaged))

    def _check_all_whole(self) -> bool:
        changed = False
        cluster = self._cluster
        if cluster.registry is None:
            return False
        for partition in cluster.not_whole():
            filled = partition, cluster.store.replicas[partition].resets  # what came before a reset does not count
            sources = self._filled.get(filled, set()).intersection(self._sources(partition))
            if len(sources) >= self._sources_needed(partition) and (sources or cluster.lone):
                cluster.store.become_whole(partition)
                self._filled.pop(filled, None)
                changed = True
        if changed and not cluster.not_whole():
            self.log.info("all partitions are whole")
        return changed

    def _serve_lone(self) -> None:
        """Nobody else is there: what verifies is served, and stays not whole."""
        for partition in self._cluster.not_whole():
            if partition not in self._served_lone and self._cluster.may_coordinate(partition):
                self._served_lone.add(partition)
                self._cluster.store.merge_aside(partition)

    # The registry

    def _on_registry(self, before: Registry | None, after: Registry) -> None:
        cluster = self._cluster
        me = cluster.me.node_id
        self._tombstones.forget_all()
        cluster.fresh &= {member.node_id for member in (*after.members, *after.previous)}
        if after.changing and (before is None or not before.changing):
            for partition in range(ALL_PARTITIONS):
                if cluster.is_joining(partition):
                    if cluster.store.replicas[partition].clock or cluster.store.replicas[partition].records:
                        cluster.store.cease_whole(partition)
                    else:
                        cluster.store.reset(partition, whole=False)
        if after.find(me) is None and before is not None and before.find(me) is not None:
            self.log.warn("this node is no member any more")
            cluster.removed = True
        if before is not None and not after.changing:
            for node in sorted((before.ids | before.previous_ids) - after.ids):
                cluster.struck_out(node)
        for node in cluster.links.linked():
            self.run_round(node)
        self._hand_off()

    # Handing off what is no longer owned

    def surplus(self) -> list[int]:
        """Partitions that hold something here though this node does not own them any more."""
        registry = self._cluster.registry
        if registry is None or registry.changing:
            return []
        owned = set(self._cluster.shared_with(self._cluster.me.node_id))
        return [
            replica.number
            for replica in self._cluster.store.replicas
            if replica.number not in owned and (replica.records or replica.clock)
        ]

    def _hand_off(self) -> None:
        """Drop a partition only once a majority of its owners durably has all of it."""
        surplus = self.surplus()
        registry = self._cluster.registry
        if not surplus or self._handing_off or registry is None:
            return
        self._handing_off = True
        clocks: dict[int, list[DotSet]] = {partition: [] for partition in surplus}
        resets = {partition: self._cluster.store.replicas[partition].resets for partition in surplus}
        targets = [node for node in sorted(registry.ids) if self._cluster.links.is_reachable(node)]
        waiting = len(targets)

        def replied(reply: AnyMessage | None) -> None:
            nonlocal waiting
            waiting -= 1
            if isinstance(reply, ClocksAre):
                for partition, wire in reply.clocks.items():
                    clocks[partition].append(DotSet.from_wire(wire))
            if not waiting:
                self._handing_off = False
                if self._cluster.version == registry.version:
                    self._drop_covered(registry, clocks, resets)

        if not targets:
            self._handing_off = False
        for node in targets:
            owned = [partition for partition in surplus if node in registry.owners(partition)]
            self._cluster.links.call(node, PullFromMe(registry.version, owned), replied, timeout_s=30.0)

    def _drop_covered(self, registry: Registry, clocks: dict[int, list[DotSet]], resets: dict[int, int]) -> None:
        store = self._cluster.store
        for partition, known in clocks.items():
            replica = store.replicas[partition]
            covering = sum(1 for clock in known if clock.covers_all(replica.clock))
            if replica.resets == resets[partition] and covering >= majority(len(registry.owners(partition))):
                store.reset(partition, whole=True)

    def _on_pull_from_me(self, node: bytes, message: PullFromMe, respond: Respond) -> None:
        def done(ok: bool, whole: set[int]) -> None:
            answer_clocks(self._cluster, message.partitions, respond)

        Round(self._cluster, node, summaries_of(self._cluster, message.partitions), done)

    # Hints

    def _forget_hints(self) -> None:
        """Of nodes that are no members any more: one may have been noted by a write that began before."""
        registry = self._cluster.registry
        for node in self._cluster.store.hints.nodes():
            if registry is not None and registry.find(node) is None:
                self._cluster.store.unhint(node, [])

    def _hinted(self, node: bytes) -> dict[Key, Packed | None]:
        """The next batch for a node, bounded in count and in bytes; one record is always in it."""
        batch: dict[Key, Packed | None] = {}
        room = self.hint_bytes
        for key in self._cluster.store.hints.next(node, self.hint_batch):
            packed = self._cluster.store.replica_of(key).records.packed(key)
            if batch and packed is not None and len(packed) > room:
                sometimes("a batch of hints is cut short for its bytes")
                break
            batch[key] = packed
            room -= len(packed or b"")
        return batch

    def _replay_hints(self, node: bytes) -> None:
        """Send what a node missed, as held now, a batch at a time: the next one when this one is acknowledged."""
        cluster = self._cluster
        if node in self._replaying or not cluster.links.is_reachable(node):
            return
        batch = self._hinted(node)
        keys = list(batch)
        if not keys:
            return
        self._replaying.add(node)
        waiting = len(keys)
        delivered: list[Key] = []

        def replied(key: Key, reply: AnyMessage | None) -> None:
            nonlocal waiting
            waiting -= 1
            if isinstance(reply, Done) or (isinstance(reply, Unable) and reply.reason == "not an owner"):
                delivered.append(key)
            if waiting:
                return
            self._replaying.discard(node)
            if delivered:
                cluster.store.unhint(node, delivered)
                cluster.runtime.later(lambda: self._replay_hints(node))

        for key, packed in batch.items():
            if packed is None:
                replied(key, Done())
                continue
            message = Replicate(cluster.version, cluster.replicate_deadline_ms, [(key, packed)])
            cluster.links.call(node, message, lambda reply, key=key: replied(key, reply))  # type: ignore[misc]
