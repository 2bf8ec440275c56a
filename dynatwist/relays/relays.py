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
from dynatwist.feed.heard import Heard
from dynatwist.feed.hub import Hub
from dynatwist.model.record import Key, Record
from dynatwist.model.registry import Registry
from dynatwist.model.ring import PARTITIONS, partition_of
from dynatwist.net.arrival import Arrival
from dynatwist.net.messages import Listen, Listening, Relay
from dynatwist.net.replies import Reply
from dynatwist.runtime import Timer, cancel
from dynatwist.sometimes import sometimes

from .announcing import Announcing
from .bookmarking import Bookmarking
from .streams import Streams

LATE_S = 0.25
"""Who was asked to relay and answers later than this may not have relayed what listeners already count on."""

INTEREST_S = 60.0
"""For so long a table is relayed to a node after its last listener left: clients connect again within seconds."""


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

    :ivar bookmarking: says what was announced here.
    :ivar announcing: tells what wins here.
    """

    log = Logger()

    def __init__(self, cluster: Cluster, hub: Hub) -> None:
        self._cluster = cluster
        self._hub = hub
        self._streams = Streams(cluster.me.node_id, cluster.is_whole_owner)
        self.bookmarking = Bookmarking(cluster, hub, self._streams)
        self.announcing = Announcing(cluster, hub, self._streams, self.bookmarking)
        self._missed: Missed | None = None
        self._catching: dict[bytes, _Fetch] = {}
        self._cursors: dict[bytes, str] = {}
        self._doubtful: set[bytes] = set()
        self._fading: dict[str, Timer] = {}
        self._interest_s = INTEREST_S
        hub.interest.tell(self._interest_changed, self._interest_fades)
        cluster.peers.on_notice(Relay, self._on_relay)
        cluster.peers.on_linked.append(self._linked)
        cluster.peers.on_unlinked.append(self._streams.breaks)
        cluster.on_registry.append(self._on_registry)

    def keep_interest(self, interest_s: float) -> None:
        """Go by another time than `INTEREST_S` from now on."""
        self._interest_s = interest_s

    def fetch_by(self, missed: Missed) -> None:
        """How to fetch what was not relayed."""
        self._missed = missed

    # Who listens here

    def _interest_fades(self, table: str) -> None:
        """A listener that lost its connection comes back, and counts on its cursor."""
        cancel(self._fading.pop(table, None))

        def fade() -> None:
            del self._fading[table]
            self._hub.lose_interest(table)

        self._fading[table] = self._cluster.runtime.clock.callLater(self._interest_s, fade)

    def _interest_changed(self) -> None:
        self.bookmarking.make()  # in front of the first event, so that a cursor of that counts elsewhere
        for node in self._cluster.links.linked():
            if self._cluster.ownership.is_member(node):
                self._listen(node, "")

    def _linked(self, node: bytes) -> None:
        self.announcing.forget(node)
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
            if self._is_known(node, key, record, is_over=number in over):
                continue
            if number in over:
                self._hub.publish_end(key, record)
            else:
                self._hub.publish(key, record)
            self._streams.note(key, record, self._cluster.ownership)

    def _is_known(self, node: bytes, key: Key, record: Record, *, is_over: bool) -> bool:
        """Whether listeners here know what an owner relays, though nobody may have announced it here: some were told it
        from what was held. What this node holds itself it has announced, or held when it started."""
        store = self._cluster.store
        replica = store.replicas[partition_of(*key)]
        if self._cluster.ownership.owns(replica.number) and replica.clock.covers(record.dot):
            sometimes("an owner relays what this one holds")
            return not is_over or record.expires_ms <= store.readable.buried_ms
        is_repeated = self._streams.is_repeated(node, key, record, is_over=is_over)
        if is_repeated:
            sometimes("an owner that fills relays what listeners know")
        return is_repeated

    def _on_registry(self, before: Registry | None, after: Registry) -> None:
        cluster = self._cluster
        for node in [node for node in self._cursors if not cluster.ownership.is_member(node)]:
            del self._cursors[node]
            self._catching.pop(node, None)
            self._streams.forget(node)
        known = before.ids | before.previous_ids if before is not None else frozenset()
        self.bookmarking.joined(sorted(after.ids - known))
        for node in cluster.links.linked():
            if node not in known and cluster.ownership.is_member(node):
                self._linked(node)
        if before is not None and before.changing and not after.changing:
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
