"""Hints: what owners missed while they could not be reached is sent to them when they can, as it is held by then."""

from __future__ import annotations

from functools import partial

from dynatwist.cluster.ask import Ask, ask_all
from dynatwist.cluster.cluster import Cluster
from dynatwist.model.record import Key
from dynatwist.model.records import Packed
from dynatwist.net.messages import Done, Replicate, Unable
from dynatwist.net.replies import Reply
from dynatwist.sometimes import sometimes

HINT_BATCH = 64
HINT_BYTES = 1 << 20
"""Under way to one peer at a time, so that what clients wait for does not queue behind it."""


class HintReplay:
    """See the module.

    :ivar batch: how many hints are replayed at a time.
    :ivar batch_bytes: how many bytes of records.
    """

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._under_way: set[bytes] = set()
        self.batch, self.batch_bytes = HINT_BATCH, HINT_BYTES
        cluster.peers.on_linked.append(self._under_way.discard)
        cluster.peers.on_reachability.append(lambda node: self.replay(node))

    def bound(self, batch: int, batch_bytes: int) -> None:
        """Replay batches of another size than the usual one, from now on."""
        self.batch, self.batch_bytes = batch, batch_bytes

    def forget_strangers(self) -> None:
        """Of nodes that are no members any more: one may have been noted by a write that began before."""
        registry = self._cluster.registry
        for node in self._cluster.store.hints.nodes():
            if registry is not None and registry.find(node) is None:
                self._cluster.store.unhint(node, [])

    def _hinted(self, node: bytes) -> dict[Key, Packed | None]:
        """The next batch for a node, bounded in count and in bytes; one record is always in it."""
        batch: dict[Key, Packed | None] = {}
        room = self.batch_bytes
        for key in self._cluster.store.hints.next(node, self.batch):
            packed = self._cluster.store.replica_of(key).records.packed(key)
            if batch and packed is not None and len(packed) > room:
                sometimes("a batch of hints is cut short for its bytes")
                break
            batch[key] = packed
            room -= len(packed or b"")
        return batch

    def replay(self, node: bytes) -> None:
        """Send what a node missed, as held now, a batch at a time: the next one when this one is acknowledged."""
        cluster = self._cluster
        if node in self._under_way or not cluster.links.is_reachable(node):
            return
        batch = self._hinted(node)
        if not batch:
            return
        self._under_way.add(node)
        delivered = [key for key, packed in batch.items() if packed is None]

        def heard(key: Key, reply: Reply) -> None:
            if isinstance(reply, Done) or (isinstance(reply, Unable) and reply.reason == "not an owner"):
                delivered.append(key)

        def over() -> None:
            self._under_way.discard(node)
            if delivered:
                cluster.store.unhint(node, delivered)
                cluster.runtime.later(lambda: self.replay(node))

        version, deadline_ms = cluster.version, cluster.replicate_deadline_ms
        held = {key: packed for key, packed in batch.items() if packed is not None}
        asks = [
            Ask(node, Replicate(version, deadline_ms, [(key, packed)]), partial(heard, key))
            for key, packed in held.items()
        ]
        ask_all(cluster.links, asks, over)
