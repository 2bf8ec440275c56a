"""What wins at an owner, told to whoever listens: here, and at other nodes that do not own it.

An owner relays also what is no news to its own listeners, since its bookmark covers that too.
"""

from __future__ import annotations

from dynatwist.cluster.cluster import Cluster
from dynatwist.cluster.switchboard import Respond
from dynatwist.feed.bookmarks import parsed
from dynatwist.feed.event import Event
from dynatwist.feed.hub import Hub
from dynatwist.model.record import Key, Record
from dynatwist.model.records import Packed
from dynatwist.model.registry import Registry
from dynatwist.model.ring import is_system_table, partition_of
from dynatwist.net.arrival import Arrival
from dynatwist.net.messages import Listen, Listening, Relay
from dynatwist.sometimes import sometimes
from dynatwist.storage.effects import Won

from .besides import Besides
from .bookmarking import Bookmarking
from .streams import Streams

RESUME_BYTES = 4 << 20
"""Of events that a node missed while its link was down; where it missed more, its listeners read afresh."""

AFTER_CHANGE_S = 10.0
"""For so long after members have changed all is relayed to all who listen: somebody may still go by the members of
before, and take a node for an owner that is none any more."""


class Announcing:
    """See the module.

    :param streams: what listeners here were told before this node held it.
    :param bookmarking: says what was announced here.
    """

    def __init__(self, cluster: Cluster, hub: Hub, streams: Streams, bookmarking: Bookmarking) -> None:
        self._cluster = cluster
        self._hub = hub
        self._streams = streams
        self._bookmarking = bookmarking
        self._besides = Besides()
        self._listening: dict[bytes, list[str]] = {}
        self._settles_at_s = 0.0
        self._resume_bytes = RESUME_BYTES
        cluster.peers.on_call(Listen, self._on_listen)
        cluster.on_registry.append(self._on_registry)

    def bound(self, resume_bytes: int) -> None:
        """Go by another bound than `RESUME_BYTES` from now on."""
        self._resume_bytes = resume_bytes

    def is_settled(self, key: Key) -> bool:
        """Whether the store here has held all that was ever announced of a key."""
        return not self._streams.has_any_of(partition_of(*key)) and self._cluster.standing.has_all_of(key)

    def announce(self, won: Won) -> None:
        """A record won here and is durable: tell whoever listens, here or at a node that does not own it."""
        if not self._hub.is_awake or is_system_table(won.key[0]):
            return
        key, record, packed = won.key, won.record, won.packed
        if record.value is not None and record.is_dead(self._cluster.store.lapse_ms):
            return  # its end is announced, which is all that there is to tell
        is_told = self._streams.has(key, record)
        if is_told:
            sometimes("a new owner comes to hold what its listeners were told before")
        event = None if is_told else self._hub.publish(key, record, packed, won.before_packed)
        self._relay(event or self._besides.note(key, packed, self._hub), record)

    def announce_end(self, key: Key, record: Record, packed: Packed) -> None:
        """A record has ended by itself, and that is durable: tell whoever listens, as of one that won."""
        if not self._hub.is_awake or is_system_table(key[0]):
            return
        is_told = self._streams.has_end(key, record)
        event = None if is_told else self._hub.publish_end(key, record, packed)
        self._relay(event or self._besides.note(key, packed, self._hub, is_over=True), record)

    def _relay(self, event: Event, record: Record) -> None:
        """Tell other nodes, also what is no news here: an owner's bookmark says that it has told all that it holds."""
        if not self._listening:
            return
        message = Relay([(event.key, record)], self._hub.cursor, is_over=event.is_over)
        for node in self._listening:
            if self._is_for(node, event.key):
                self._cluster.links.tell(node, message)

    def withdraw(self) -> None:
        """What was announced may not be held any more: whoever listens, here or elsewhere, has to read afresh."""
        self._hub.reset()
        message = Relay([], self._hub.cursor, True)
        for node in self._listening:
            self._cluster.links.tell(node, message)

    def _is_for(self, node: bytes, key: Key) -> bool:
        tables = self._listening.get(node, ())
        if "" not in tables and key[0] not in tables:
            return False
        return node not in self._cluster.ownership.owners(partition_of(*key)) or self._may_be_taken_wrong

    @property
    def _may_be_taken_wrong(self) -> bool:
        """Whether members change, or have a moment ago: not everybody goes by the same owners."""
        registry = self._cluster.registry
        is_changing = registry is not None and registry.changing
        return is_changing or self._cluster.runtime.monotonic_s() < self._settles_at_s

    # Who listens

    def _on_listen(self, arrival: Arrival, message: Listen, respond: Respond) -> None:
        if message.tables:
            self._hub.wake()
            self._bookmarking.make()
            self._listening[arrival.node] = message.tables
        else:
            self._listening.pop(arrival.node, None)
        events = self._relayed_since(message.since) if message.since else []
        missed = [event for event in events or () if self._is_for(arrival.node, event.key)]
        if sum(event.size_bytes for event in missed) > self._resume_bytes:
            sometimes("a node with listeners missed more than fits into one answer")
            events, missed = None, []
        over = [number for number, event in enumerate(missed) if event.is_over]
        records = [(event.key, event.record) for event in missed]
        respond(Listening(records, self._hub.cursor, events is None, over))

    def _relayed_since(self, cursor: str) -> list[Event] | None:
        """What was relayed behind a cursor; ``None`` when that is not known."""
        events = self._hub.since(cursor)
        besides = self._besides.behind(parsed(cursor)[1] or 0)
        return None if events is None or besides is None else besides + events

    def forget(self, node: bytes) -> None:
        """A node's connection is a new one, perhaps another process's: it says anew what it wants."""
        self._listening.pop(node, None)

    def _on_registry(self, before: Registry | None, after: Registry) -> None:
        for node in [node for node in self._listening if not self._cluster.ownership.is_member(node)]:
            self.forget(node)
        if before is not None and (before.changing or after.changing):
            self._settles_at_s = self._cluster.runtime.monotonic_s() + AFTER_CHANGE_S
