"""Feeds at nodes that do not own a key: what wins at an owner is relayed to whoever has listeners for it.

Every node listens at all others, and remembers for each the cursor up to which it was told. When a link comes back it
asks from there, so nothing is skipped; where that is not possible its listeners are told to read afresh.
"""

from __future__ import annotations

from collections.abc import Container

from dynatwist.cluster.cluster import Cluster
from dynatwist.cluster.switchboard import Respond
from dynatwist.feed.hub import Hub
from dynatwist.model.record import Key, Record
from dynatwist.model.records import Packed
from dynatwist.model.registry import Registry
from dynatwist.model.ring import is_system_table, partition_of
from dynatwist.net.arrival import Arrival
from dynatwist.net.messages import Listen, Listening, Relay
from dynatwist.net.replies import Reply
from dynatwist.runtime import Timer, cancel
from dynatwist.sometimes import sometimes

LATE_S = 0.25
"""Who was asked to relay and answers later than this may not have relayed what listeners already count on."""

RESUME_BYTES = 4 << 20
"""Of events that a node missed while its link was down; where it missed more, its listeners read afresh."""

INTEREST_S = 60.0
"""For so long a table is relayed to a node after its last listener left: clients connect again within seconds."""


class Relays:
    """See the module.

    :ivar resume_bytes: see `RESUME_BYTES`.
    :ivar interest_s: see `INTEREST_S`.
    """

    def __init__(self, cluster: Cluster, hub: Hub) -> None:
        self._cluster = cluster
        self._hub = hub
        self._listening: dict[bytes, list[str]] = {}
        self._cursors: dict[bytes, str] = {}
        self._doubtful: set[bytes] = set()
        self._fading: dict[str, Timer] = {}
        self.resume_bytes, self.interest_s = RESUME_BYTES, INTEREST_S
        hub.interest.tell(self._interest_changed, self._interest_fades)
        cluster.peers.on_call(Listen, self._on_listen)
        cluster.peers.on_notice(Relay, self._on_relay)
        cluster.peers.on_linked.append(self._linked)
        cluster.on_registry.append(self._on_registry)

    def bound(self, resume_bytes: int, interest_s: float) -> None:
        """Go by another `resume_bytes` and `interest_s` than the usual ones, from now on."""
        self.resume_bytes, self.interest_s = resume_bytes, interest_s

    # As an owner

    def announce(self, key: Key, record: Record, packed: Packed, replaced: Packed | None) -> None:
        """A record won here and is durable: tell whoever listens, here or at a node that does not own it."""
        if not self._hub.is_awake or (record.value is not None and record.is_dead(self._cluster.store.lapse_ms)):
            return  # nobody listens; or its end is announced, which is all that there is to tell
        if is_system_table(key[0]) or self._hub.publish(key, record, packed, replaced) is None or not self._listening:
            return
        self._relay(key, Relay([(key, record)], self._hub.cursor))

    def announce_end(self, key: Key, record: Record, packed: Packed) -> None:
        """A record has ended by itself, and that is durable: tell whoever listens, as of one that won."""
        if not self._hub.is_awake or is_system_table(key[0]):
            return
        if self._hub.publish_end(key, record, packed) is None or not self._listening:
            return
        self._relay(key, Relay([(key, record)], self._hub.cursor, is_over=True))

    def _relay(self, key: Key, message: Relay) -> None:
        for node in self._listening:
            if self._is_for(node, key):
                self._cluster.links.tell(node, message)

    def withdraw(self) -> None:
        """What was announced may not be held any more: whoever listens, here or elsewhere, has to read afresh."""
        self._hub.reset()
        message = Relay([], self._hub.cursor, True)
        for node in self._listening:
            self._cluster.links.tell(node, message)

    def _is_for(self, node: bytes, key: Key) -> bool:
        tables = self._listening.get(node, ())
        return ("" in tables or key[0] in tables) and node not in self._cluster.ownership.owners(partition_of(*key))

    def _on_listen(self, arrival: Arrival, message: Listen, respond: Respond) -> None:
        if message.tables:
            self._hub.wake()
            self._listening[arrival.node] = message.tables
        else:
            self._listening.pop(arrival.node, None)
        events = self._hub.since(message.since) if message.since else []
        missed = [event for event in events or () if self._is_for(arrival.node, event.key)]
        if sum(event.size_bytes for event in missed) > self.resume_bytes:
            sometimes("a node with listeners missed more than fits into one answer")
            events, missed = None, []
        over = [number for number, event in enumerate(missed) if event.is_over]
        records = [(event.key, event.record) for event in missed]
        respond(Listening(records, self._hub.cursor, events is None, over))

    # As a node with listeners

    def _interest_fades(self, table: str) -> None:
        """A listener that lost its connection comes back, and counts on its cursor."""
        cancel(self._fading.pop(table, None))

        def fade() -> None:
            del self._fading[table]
            self._hub.interest.end(table)

        self._fading[table] = self._cluster.runtime.clock.callLater(self.interest_s, fade)

    def _interest_changed(self) -> None:
        for node in self._cluster.links.linked():
            if self._cluster.ownership.is_member(node):
                self._listen(node, "")

    def _linked(self, node: bytes) -> None:
        self._listening.pop(node, None)  # a new connection, perhaps another process: it says anew what it wants
        if self._hub.interest.names() and self._cluster.ownership.is_member(node):
            if node not in self._cursors:
                self._doubtful.add(node)  # somebody began to listen while it was out of reach
            self._listen(node, self._cursors.get(node, ""))

    def _listen(self, node: bytes, since: str) -> None:
        cluster = self._cluster
        asked_s = cluster.runtime.monotonic_s()

        def replied(reply: Reply) -> None:
            if not isinstance(reply, Listening):
                self._doubtful.add(node)
                if node in cluster.links.linked() and cluster.ownership.is_member(node):
                    cluster.runtime.clock.callLater(LATE_S, self._listen, node, since)
                return
            late = not since and cluster.runtime.monotonic_s() - asked_s > LATE_S
            if reply.gap or late or (node in self._doubtful and not since):
                self._hub.reset()
            self._doubtful.discard(node)
            self._take(node, reply.records, reply.cursor, frozenset(reply.over))

        cluster.links.call(node, Listen(self._hub.interest.names(), since), replied)

    def _on_relay(self, arrival: Arrival, message: Relay) -> None:
        if message.gap:
            sometimes("an owner withdraws what it has relayed")
            self._hub.reset()
        over = range(len(message.records)) if message.is_over else range(0)
        self._take(arrival.node, message.records, message.cursor, over)

    def _take(self, node: bytes, records: list[tuple[Key, Record]], cursor: str, over: Container[int]) -> None:
        """What an owner has told.

        :param over: the places of those records that have ended.
        """
        self._cursors[node] = cursor
        for number, (key, record) in enumerate(records):
            if number in over:
                self._hub.publish_end(key, record)
            else:
                self._hub.publish(key, record)

    def _on_registry(self, before: Registry | None, after: Registry) -> None:
        """What this node owned until now is relayed to it from now on; in between something may be missed."""
        cluster = self._cluster
        for node in {*self._listening, *self._cursors}:
            if not cluster.ownership.is_member(node):
                self._listening.pop(node, None)
                self._cursors.pop(node, None)
        known = before.ids | before.previous_ids if before is not None else frozenset()
        for node in cluster.links.linked():
            if node not in known and cluster.ownership.is_member(node):
                self._linked(node)
        if before is not None and before.changing and not after.changing:
            self._hub.reset()
