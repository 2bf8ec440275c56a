"""The timers that keep owners equal: rounds with every peer, filling what is not whole, hints, collection, handing off.

*Whole*: a replica that was damaged, restored or newly taken over starts empty, and is whole when it has finished rounds
with enough of the other whole owners; a new owner, of the old ones. See `dynatwist.replication.filling`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import msgspec
from twisted.logger import Logger

from dynatwist.cluster.ask import Ask, ask_all
from dynatwist.cluster.cluster import Cluster
from dynatwist.cluster.peers import Respond
from dynatwist.model.dots import DotSet
from dynatwist.model.record import Key
from dynatwist.model.records import Packed
from dynatwist.model.registry import Registry, majority
from dynatwist.net.arrival import Arrival
from dynatwist.net.links import Dialling
from dynatwist.net.messages import (
    ClocksAre,
    Done,
    PullFromMe,
    Replicate,
    Unable,
)
from dynatwist.net.replies import Reply
from dynatwist.replication.filling import sources_needed, sources_of, starts_over
from dynatwist.runtime import Timer, cancel
from dynatwist.sometimes import sometimes

from .answers import RoundAnswers
from .rounds import ROUND_TIMEOUT_S, Round, summaries_of
from .tombstones import Tombstones, answer_clocks, clock_parts

ROUND_INTERVAL_S = 1.0
MERGED_A_TURN = 60
"""Records that were set aside and are merged in one turn of the reactor: half a millisecond's work."""
SILENT_ROUNDS = 5
"""So many rounds in a row that a node fails which was struck out, though its link is there: it does not give what it
holds. Else whoever has captured a member could keep it from being struck out, by doing nothing. A round that ends by
its timeout of ten seconds counts for two: three are enough, and one is not, for it may have been this process that
slept."""
HAND_OFF_TIMEOUT_S = 30.0
"""For an owner to pull what is handed off: up to all records of some partitions."""
HINT_BATCH = 64
HINT_BYTES = 1 << 20
"""Under way to one peer at a time, so that what clients wait for does not queue behind it."""
HOT_EVERY = 10
LOST_AFTER_ROUNDS = 10
"""A node that was struck out, and is not reached at so many looks in a row, will not give what it holds any more. A
connection that hangs is given up after five seconds and dialled anew within two. Looks are counted, not seconds: a
process that slept must not take its own absence for the other's."""
REGISTRY = "registry"
"""Name of the meta entry with the newest registry whose consequences for this node's replicas are in the log."""
ENCODER = msgspec.msgpack.Encoder()
DECODER = msgspec.msgpack.Decoder(Registry)


class Repair:
    """See the module.

    :ivar answers: to the rounds of peers.
    :ivar hint_batch: how many hints are replayed at a time.
    :ivar hint_bytes: how many bytes of records.
    :ivar lost_after_rounds: see `LOST_AFTER_ROUNDS`.
    """

    log = Logger()

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._busy: set[bytes] = set()
        self._again: set[bytes] = set()
        self._replaying: set[bytes] = set()
        self._handing_off = False
        self._last_summaries: dict[bytes, dict[int, bytes]] = {}
        self._is_merging = False
        self._unreached: dict[bytes, int] = {}
        self._failed: dict[bytes, tuple[int, float]] = {}
        self._tombstones = Tombstones(cluster)
        self._timers: dict[str, Timer] = {}
        self.rounds = 0
        self.answers = RoundAnswers(cluster)
        self.hint_batch, self.hint_bytes = HINT_BATCH, HINT_BYTES
        self.lost_after_rounds = LOST_AFTER_ROUNDS
        cluster.peers.on_call(PullFromMe, self._on_pull_from_me)
        cluster.peers.on_linked.append(self._on_linked)
        cluster.peers.on_reachability.append(self._on_reachability)
        cluster.on_registry.append(self._on_registry)

    def start(self) -> None:
        """Begin to tick."""
        self._resume()
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
        self._count_unreached()
        self._check_all_whole()
        self._serve_lone()
        self._hand_off()
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
            if not ok:
                self._last_summaries.pop(node, None)
            self._note_failure(node, ok or version != self._cluster.version, begun_s)
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
        last = self._last_summaries.get(node)
        now = self._last_summaries[node] = summaries_of(self._cluster, partitions)
        if node not in self._cluster.standing.met or last is None:
            return now
        return {
            partition: summary
            for partition, summary in now.items()
            if last.get(partition) == summary or self._wants(partition) or (self.rounds + partition) % HOT_EVERY == 0
        }

    def _round_done(self, node: bytes, partitions: list[int], whole: set[int]) -> None:
        standing = self._cluster.standing
        had_met = node in standing.met
        standing.meet(node)
        for partition in partitions:
            if self._wants(partition) and (partition in whole or self._is_nobody_whole(partition)):
                resets = self._cluster.store.replicas[partition].resets
                standing.filling.fetched(partition, resets, node)
        if self._check_all_whole() or not had_met:
            self._cluster.publish()

    # Becoming whole

    def _wants(self, partition: int) -> bool:
        """Whether it matters from whom a partition is fetched."""
        return not self._cluster.store.replicas[partition].whole or self._cluster.standing.filling.is_due(partition)

    def _is_nobody_whole(self, partition: int) -> bool:
        """Whether all that are left are damaged as this replica is; a new owner waits until one of them is whole."""
        cluster = self._cluster
        left = [one for one in self._sources(partition) if not self._is_lost(one)]
        return not cluster.ownership.is_joining(partition) and all(
            cluster.peers.is_damaged_at(one, partition) for one in left
        )

    def _sources(self, partition: int) -> list[bytes]:
        registry = self._cluster.registry
        assert registry is not None
        return sources_of(registry, self._cluster.me.node_id, partition)

    def _sources_needed(self, partition: int) -> int:
        cluster = self._cluster
        registry = cluster.registry
        assert registry is not None
        sources = self._sources(partition)
        lost = [one for one in sources if self._is_lost(one)]
        damaged = [one for one in sources if cluster.peers.is_damaged_at(one, partition)]
        return sources_needed(registry, cluster.me.node_id, partition, lost, damaged)

    def _struck_out(self) -> frozenset[bytes]:
        """Those whom the change under way strikes out."""
        registry = self._cluster.registry
        return registry.previous_ids - registry.ids if registry is not None else frozenset()

    def _note_failure(self, node: bytes, ok: bool, begun_s: float) -> None:
        """Count the rounds in a row that a node failed which is struck out, one for each interval at most."""
        now_s = self._cluster.runtime.monotonic_s()
        weight = 2 if now_s - begun_s >= ROUND_TIMEOUT_S else 1
        count, at_s = self._failed.pop(node, (0, 0.0))
        if ok or node not in self._struck_out():
            return
        is_due = not count or now_s - at_s >= ROUND_INTERVAL_S / 2
        self._failed[node] = (count + weight, now_s) if is_due else (count, at_s)

    def _count_unreached(self) -> None:
        struck_out = self._struck_out()
        away = [node for node in struck_out if not self._cluster.peers.is_reachable(node)]
        self._unreached = {node: self._unreached.get(node, 0) + 1 for node in away}
        self._failed = {node: failed for node, failed in self._failed.items() if node in struck_out}

    def _is_lost(self, node: bytes) -> bool:
        return self._unreached.get(node, 0) > self.lost_after_rounds or self._has_failed(node)

    def _has_failed(self, node: bytes) -> bool:
        return self._failed.get(node, (0, 0.0))[0] >= SILENT_ROUNDS

    def _check_all_whole(self) -> bool:
        """Have the partitions count as whole that are; in later turns, where much was set aside."""
        changed = False
        cluster = self._cluster
        filling = cluster.standing.filling
        left = MERGED_A_TURN
        if cluster.registry is None:
            return False
        for partition in sorted({*cluster.standing.not_whole(), *filling.due}):
            replica = cluster.store.replicas[partition]
            sources = filling.sources(partition, replica.resets).intersection(self._sources(partition))
            if len(sources) < self._sources_needed(partition) or not (sources or cluster.standing.is_lone):
                continue
            if not sources:
                sometimes("a partition is whole from nothing, since nobody is left who knows it")
                self.log.warn("partition {number}: no owner that held it is left; it starts empty", number=partition)
            if not replica.whole:
                left -= cluster.store.merge_aside(partition, left)
                if left <= 0:
                    self._merge_on()
                    break
                cluster.store.become_whole(partition)
            filling.complete(partition)
            changed = True
        if changed and not cluster.standing.not_whole():
            self.log.info("all partitions are whole")
        return changed

    def _serve_lone(self) -> None:
        """Nobody else is there: what verifies is served, and stays not whole."""
        left = MERGED_A_TURN
        for partition in self._cluster.standing.not_whole():
            if self._cluster.standing.is_left_alone(partition):
                left -= self._cluster.store.merge_aside(partition, left)
            if left <= 0:
                self._merge_on()
                break

    def _merge_on(self) -> None:
        """Much is set aside: go on with it in the next turn."""
        if not self._is_merging:
            sometimes("what was set aside is merged in several turns")
            self._is_merging = True
            self._cluster.runtime.later(self._go_on_merging)

    def _go_on_merging(self) -> None:
        self._is_merging = False
        if not self._cluster.standing.is_stopping:
            self._serve_lone()
            if self._check_all_whole():
                self._cluster.publish()

    # The registry

    def _on_registry(self, before: Registry | None, after: Registry) -> None:
        cluster = self._cluster
        me = cluster.me.node_id
        self._tombstones.forget_all()
        self._take_over(before, after)
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
        self._hand_off()

    def _take_over(self, before: Registry | None, after: Registry) -> None:
        """Start over what this node did not own; note in the log, behind that, that it is done."""
        store, me = self._cluster.store, self._cluster.me.node_id
        if before is not None and before.changing and after.changing:
            sometimes("a change under way is amended")
        for partition in starts_over(before, after, me):
            replica = store.replicas[partition]
            if replica.clock or replica.records or replica.aside:
                store.cease_whole(partition)
            else:
                store.reset(partition, whole=False)
        for replica in store.replicas:
            if not replica.whole and me not in after.all_owners(replica.number):
                if replica.aside:
                    sometimes("what was set aside is handed off, since its partition was lost before it was whole")
                store.become_whole(replica.number)  # as what is handed off: nobody but its owners counts on it
        store.set_meta(REGISTRY, ENCODER.encode(after))

    def _resume(self) -> None:
        """The registry is durable before what it means for the replicas is: a crash may have come between."""
        cluster = self._cluster
        registry, packed = cluster.registry, cluster.store.meta.get(REGISTRY)
        before = DECODER.decode(packed) if packed else None
        if registry is None or registry == before:
            return
        if before is not None or cluster.identity.logs_registry:
            sometimes("a crash came between a registry and what it means for the replicas")
            self._take_over(before, registry)
            return
        cluster.store.set_meta(REGISTRY, ENCODER.encode(registry))  # a folder of an earlier release, which is believed
        cluster.store.wal.when_durable(cluster.store.wal.lsn, cluster.identity.log_names_registry)

    # Handing off what is no longer owned

    def surplus(self) -> list[int]:
        """Partitions that hold something here though this node does not own them any more."""
        registry = self._cluster.registry
        if registry is None or registry.changing:
            return []
        owned = set(self._cluster.ownership.shared_with(self._cluster.me.node_id))
        return [
            replica.number
            for replica in self._cluster.store.replicas
            if replica.number not in owned and (replica.records or replica.clock)
        ]

    def _hand_off(self) -> None:
        """Drop a partition only once a majority of its owners durably has all of it."""
        surplus = self.surplus()
        registry = self._cluster.registry
        if self._cluster.ownership.is_removed:
            self._cluster.links.dial(Dialling.ALL if surplus else Dialling.NOBODY)
        if not surplus or self._handing_off or registry is None:
            return
        self._handing_off = True
        clocks: dict[int, list[DotSet]] = {partition: [] for partition in surplus}
        resets = {partition: self._cluster.store.replicas[partition].resets for partition in surplus}
        targets = [node for node in sorted(registry.ids) if self._cluster.links.is_reachable(node)]
        asked: list[tuple[bytes, list[int]]] = []
        for node in targets:
            owned = [partition for partition in surplus if node in registry.owners(partition)]
            asked += [(node, part) for part in clock_parts(self._cluster, owned)]

        def heard(reply: Reply) -> None:
            if isinstance(reply, ClocksAre):
                for partition, wire in reply.clocks.items():
                    clocks[partition].append(DotSet.from_wire(wire))

        def over() -> None:
            self._handing_off = False
            self._drop_covered(registry, clocks, resets)

        asks = [Ask(node, PullFromMe(registry.version, part), heard) for node, part in asked]
        ask_all(self._cluster.links, asks, over, HAND_OFF_TIMEOUT_S)

    def _drop_covered(self, registry: Registry, clocks: dict[int, list[DotSet]], resets: dict[int, int]) -> None:
        """Drop what its owners have, one partition a turn: each is dropped in one go, and may be large."""
        store = self._cluster.store
        while clocks and self._cluster.version == registry.version and not self._cluster.standing.is_stopping:
            partition, known = clocks.popitem()
            replica = store.replicas[partition]
            covering = sum(1 for clock in known if clock.covers_all(replica.clock))
            if replica.resets == resets[partition] and covering >= majority(len(registry.owners(partition))):
                store.reset(partition, whole=True)
                self._cluster.runtime.later(lambda: self._drop_covered(registry, clocks, resets))
                return

    def _on_pull_from_me(self, arrival: Arrival, message: PullFromMe, respond: Respond) -> None:
        def done(ok: bool, whole: set[int]) -> None:
            answer_clocks(self._cluster, message.partitions, respond)

        Round(self._cluster, arrival.node, summaries_of(self._cluster, message.partitions), done)

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
        if not batch:
            return
        self._replaying.add(node)
        delivered = [key for key, packed in batch.items() if packed is None]

        def heard(key: Key, reply: Reply) -> None:
            if isinstance(reply, Done) or (isinstance(reply, Unable) and reply.reason == "not an owner"):
                delivered.append(key)

        def over() -> None:
            self._replaying.discard(node)
            if delivered:
                cluster.store.unhint(node, delivered)
                cluster.runtime.later(lambda: self._replay_hints(node))

        version, deadline_ms = cluster.version, cluster.replicate_deadline_ms
        held = {key: packed for key, packed in batch.items() if packed is not None}
        asks = [
            Ask(node, Replicate(version, deadline_ms, [(key, packed)]), partial(heard, key))
            for key, packed in held.items()
        ]
        ask_all(cluster.links, asks, over)
