"""Feeds at nodes that do not own a key: what wins at an owner is relayed to whoever has listeners for it.

Every node listens at all others, and remembers for each the cursor up to which it was told. When a link comes back it
asks from there, so nothing is skipped. Where that is not possible, since the other process is a new one, or too much
has happened, it fetches what the other one holds and has not told (`Missed`). Only where tombstones may be gone that
its listeners were not told of, they are told to read afresh.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Container

from twisted.internet.defer import ensureDeferred
from twisted.logger import Logger

from dynatwist.cluster.cluster import Cluster
from dynatwist.cluster.switchboard import Respond
from dynatwist.feed.bookmarks import parsed
from dynatwist.feed.event import Event
from dynatwist.feed.heard import Heard
from dynatwist.feed.hub import Hub
from dynatwist.model.record import Key, Record
from dynatwist.model.records import Packed
from dynatwist.model.registry import Registry
from dynatwist.model.ring import PARTITIONS, is_system_table, partition_of
from dynatwist.net.arrival import Arrival
from dynatwist.net.messages import Listen, Listening, Relay
from dynatwist.net.replies import Reply
from dynatwist.runtime import Timer, cancel
from dynatwist.sometimes import sometimes
from dynatwist.storage.effects import Won

from .besides import Besides
from .bookmarking import Bookmarking
from .streams import Streams

LATE_S = 0.25
"""Who was asked to relay and answers later than this may not have relayed what listeners already count on."""

RESUME_BYTES = 4 << 20
"""Of events that a node missed while its link was down; where it missed more, its listeners read afresh."""

INTEREST_S = 60.0
"""For so long a table is relayed to a node after its last listener left: clients connect again within seconds."""


AFTER_CHANGE_S = 10.0
"""For so long after members have changed all is relayed to all who listen: somebody may still go by the members of
before, and take a node for an owner that is none any more."""

Missed = Callable[[bytes, str, Heard, Callable[[Key, Record], None]], Awaitable[bool]]
"""Fetches what a node holds of a table and somebody has not heard, and calls with each record, those that are over
among them. Answers whether that is all: false where tombstones may be gone. Fails where the node does not answer."""


class NoAnswer(Exception):
    """A node does not answer now."""


class _Fetch:
    """A fetch under way; where another one begins for the same node, this one counts no more."""

    __slots__ = ("heard",)

    def __init__(self, heard: Heard) -> None:
        self.heard = heard


class Relays:
    """See the module.

    :ivar resume_bytes: see `RESUME_BYTES`.
    :ivar interest_s: see `INTEREST_S`.
    :ivar bookmarking: says what was announced here.
    """

    log = Logger()

    def __init__(self, cluster: Cluster, hub: Hub) -> None:
        self._cluster = cluster
        self._hub = hub
        self._streams = Streams(cluster.me.node_id, cluster.is_whole_owner)
        self.bookmarking = Bookmarking(cluster, hub, self._streams)
        self._missed: Missed | None = None
        self._settles_at_s = 0.0
        self._catching: dict[bytes, _Fetch] = {}
        self._besides = Besides()
        self._listening: dict[bytes, list[str]] = {}
        self._cursors: dict[bytes, str] = {}
        self._doubtful: set[bytes] = set()
        self._fading: dict[str, Timer] = {}
        self.resume_bytes, self.interest_s = RESUME_BYTES, INTEREST_S
        hub.interest.tell(self._interest_changed, self._interest_fades)
        cluster.peers.on_call(Listen, self._on_listen)
        cluster.peers.on_notice(Relay, self._on_relay)
        cluster.peers.on_linked.append(self._linked)
        cluster.peers.on_unlinked.append(self._streams.breaks)
        cluster.on_registry.append(self._on_registry)

    def bound(self, resume_bytes: int, interest_s: float) -> None:
        """Go by another `resume_bytes` and `interest_s` than the usual ones, from now on."""
        self.resume_bytes, self.interest_s = resume_bytes, interest_s

    def fetch_by(self, missed: Missed) -> None:
        """How to fetch what was not relayed."""
        self._missed = missed

    # As an owner

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

    def _on_listen(self, arrival: Arrival, message: Listen, respond: Respond) -> None:
        if message.tables:
            self._hub.wake()
            self.bookmarking.make()
            self._listening[arrival.node] = message.tables
        else:
            self._listening.pop(arrival.node, None)
        events = self._relayed_since(message.since) if message.since else []
        missed = [event for event in events or () if self._is_for(arrival.node, event.key)]
        if sum(event.size_bytes for event in missed) > self.resume_bytes:
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

    # As a node with listeners

    def _interest_fades(self, table: str) -> None:
        """A listener that lost its connection comes back, and counts on its cursor."""
        cancel(self._fading.pop(table, None))

        def fade() -> None:
            del self._fading[table]
            self._hub.lose_interest(table)

        self._fading[table] = self._cluster.runtime.clock.callLater(self.interest_s, fade)

    def _interest_changed(self) -> None:
        self.bookmarking.make()  # in front of the first event, so that a cursor of that counts elsewhere
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
        self._streams.breaks(node)

        def replied(reply: Reply) -> None:
            if not isinstance(reply, Listening):
                self._doubtful.add(node)
                if node in cluster.links.linked() and cluster.ownership.is_member(node):
                    cluster.runtime.clock.callLater(LATE_S, self._listen, node, since)
                return
            late = not since and cluster.runtime.monotonic_s() - asked_s > LATE_S
            has_gap = reply.gap or late or (node in self._doubtful and not since)
            self._doubtful.discard(node)
            self._take(node, reply.records, reply.cursor, frozenset(reply.over))
            if has_gap or node in self._catching:
                self._catch_up(node)
            else:
                self._mend(node)

        cluster.links.call(node, Listen(self._hub.interest.names(), since), replied)

    # What was not relayed

    def _catch_up(self, node: bytes) -> None:
        """Fetch what a node has announced and not relayed; until then its bookmarks do not count."""
        self._streams.breaks(node)
        tables, begun = self._hub.interest.names(), self._catching.get(node)
        heard = begun.heard if begun is not None else self._heard_of(node)  # what was heard when the first gap came
        if heard is None or "" in tables or not self._cluster.peers.has_bookmarks(node):
            self._caught_up(node, is_all=False)
            return
        sometimes("what a node has not relayed is fetched")
        fetch = self._catching[node] = _Fetch(heard)
        ensureDeferred(self._fetch(node, tables, fetch)).addErrback(
            lambda failure: self.log.failure("what was not relayed could not be fetched", failure=failure)
        )

    def _heard_of(self, node: bytes) -> Heard | None:
        """What was heard of all partitions that a node owns and this one does not; ``None`` where that is not known."""
        ownership = self._cluster.ownership
        parts = self._streams.parts()
        for partition in range(PARTITIONS):
            owners = ownership.owners(partition)
            if node in owners and self._cluster.me.node_id not in owners and partition not in parts:
                return None
        return Heard(parts, self._streams.lapse_ms)

    async def _fetch(self, node: bytes, tables: list[str], fetch: _Fetch) -> None:
        """Fetch it table by table, unless another fetch begins; where the link breaks, one does when it is back."""
        assert self._missed is not None
        is_all = True
        for table in tables:
            try:
                is_all = is_all and await self._missed(node, table, fetch.heard, self._hear)
            except NoAnswer:
                if self._catching.get(node) is fetch and node in self._cluster.links.linked():
                    self._cluster.runtime.clock.callLater(LATE_S, self._catch_up, node)
                return
            if self._catching.get(node) is not fetch:
                return
        self._caught_up(node, is_all=is_all)

    def _caught_up(self, node: bytes, *, is_all: bool) -> None:
        if not is_all:
            sometimes("what a node has not relayed is not known")
            self._hub.reset()
        self._catching.pop(node, None)
        self._mend(node)

    def _mend(self, node: bytes) -> None:
        if self._streams.mend(node, self._cluster.ownership):
            self.bookmarking.has_news()

    def _hear(self, key: Key, record: Record) -> None:
        """One more that was not relayed."""
        if record.value is not None and record.is_dead(self._cluster.store.lapse_ms):
            self._hub.publish_end(key, record)
        else:
            self._hub.publish(key, record)
        self._streams.note(key, record, self._cluster.ownership)

    # What is relayed

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
            if self._streams.is_repeated(node, key, record, is_over=number in over):
                sometimes("an owner that fills relays what listeners know")
                continue
            if number in over:
                self._hub.publish_end(key, record)
            else:
                self._hub.publish(key, record)
            self._streams.note(key, record, self._cluster.ownership)

    def _on_registry(self, before: Registry | None, after: Registry) -> None:
        cluster = self._cluster
        for node in {*self._listening, *self._cursors}:
            if not cluster.ownership.is_member(node):
                self._listening.pop(node, None)
                self._cursors.pop(node, None)
                self._catching.pop(node, None)
                self._streams.forget(node)
        known = before.ids | before.previous_ids if before is not None else frozenset()
        self.bookmarking.joined(sorted(after.ids - known))
        for node in cluster.links.linked():
            if node not in known and cluster.ownership.is_member(node):
                self._linked(node)
        if before is None or (not before.changing and not after.changing):
            return
        self._settles_at_s = cluster.runtime.monotonic_s() + AFTER_CHANGE_S
        if not after.changing:
            self._members_changed(before)

    def _members_changed(self, before: Registry) -> None:
        """What this node owned until now is relayed to it from now on; what was not in between, it fetches."""
        cluster = self._cluster
        me, store = cluster.me.node_id, cluster.store
        for partition in range(PARTITIONS):
            if me in before.all_owners(partition) and not cluster.ownership.owns(partition):
                self._streams.own_no_more(store.replicas[partition], store.readable.buried_ms)
        for node in cluster.links.linked():
            if self._hub.interest.names() and cluster.ownership.is_member(node):
                self._catch_up(node)
