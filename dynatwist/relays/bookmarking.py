"""Makes a bookmark a second, while anybody listens, and tells the other members: see `dynatwist.feed.bookmarks`."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from dynatwist.cluster.cluster import Cluster
from dynatwist.feed.bookmarks import INTERVAL_S, Bookmark
from dynatwist.feed.collected import Collected
from dynatwist.feed.heard import Heard, unpacked
from dynatwist.feed.hub import Hub
from dynatwist.model.dots import DotSet
from dynatwist.model.ring import PARTITIONS
from dynatwist.net.arrival import Arrival
from dynatwist.net.messages import BookmarkIs
from dynatwist.runtime import Timer, cancel
from dynatwist.storage.effects import Effect, Gone
from dynatwist.storage.entries import AnyEntry, Dropped, Reset, SetAside, Wholeness
from dynatwist.storage.floors import floor_now, floor_of

from .streams import Streams

KEPT_AS = "bookmarks"
"""Among the small named values that a node keeps."""
SHARE = 200
"""Bookmarks of a cluster whose nodes were started often have many actors, and take long: half a percent of the time at
most."""
STARTS_OVER = frozenset({Reset, SetAside, Wholeness})
"""Entries behind which it is not known what of a partition went before."""
PIECE_BYTES = 64 << 10
"""Of what was before, told in one turn: a node that has just started has many peers, and each is told all of it."""
KEEP_EVERY_S = 60.0
"""A client that was connected until all nodes were killed may hear a minute's changes again."""


class Bookmarking:
    """See the module.

    :ivar collected: which tombstones went here lately.
    """

    def __init__(self, cluster: Cluster, hub: Hub, streams: Streams) -> None:
        self._cluster = cluster
        self._hub = hub
        self._streams = streams
        self._is_due = True
        self._is_making = False
        self._made_at = 0
        self._keep_at_s = self._took_s = 0.0
        self._met: dict[bytes, bytes] = {}
        self._untold: deque[tuple[bytes, list[tuple[str, Bookmark, float]]]] = deque()
        self._timer: Timer | None = None
        self.collected = Collected(
            floor_of(replica, cluster.store.meta, cluster.store.lapse_ms) for replica in cluster.store.replicas
        )
        hub.bookmarks.recall(cluster.store.meta.get(KEPT_AS, b""), cluster.runtime.monotonic_s())
        cluster.store.observe(self._changed)
        cluster.peers.on_notice(BookmarkIs, self._on_bookmark)
        cluster.peers.on_presented.append(self._presented)

    def start(self) -> None:
        """Begin to make them."""
        runtime = self._cluster.runtime
        self._timer = runtime.clock.callLater(max(INTERVAL_S, SHARE * self._took_s), self.start)
        self.make()
        if self._cluster.runtime.monotonic_s() >= self._keep_at_s:
            self._keep()

    def stop(self) -> None:
        """Make no more."""
        cancel(self._timer)
        self._keep()

    def _keep(self) -> None:
        """Keep some over a restart of all members, if there are others than those that are kept."""
        self._keep_at_s = self._cluster.runtime.monotonic_s() + KEEP_EVERY_S
        kept, store = self._hub.bookmarks.kept(), self._cluster.store
        if self._hub.is_awake and kept != store.meta.get(KEPT_AS):
            store.set_meta(KEPT_AS, kept)

    def _changed(self, entry: AnyEntry, effect: Effect) -> None:
        self._is_due = True
        kind = type(entry)
        if kind is Dropped and type(effect) is Gone:
            assert isinstance(entry, Dropped)
            replica = self._cluster.store.replicas[entry.partition]
            gone = [(one.dot, one.expires_ms if one.value is not None else 0) for one in effect.records.values()]
            self.collected.note(entry.partition, gone, floor_now(replica, self._cluster.store.lapse_ms))
        elif kind in STARTS_OVER:
            assert isinstance(entry, Reset | SetAside | Wholeness)
            replica = self._cluster.store.replicas[entry.partition]
            self.collected.begin(entry.partition, floor_now(replica, self._cluster.store.lapse_ms))

    def has_news(self) -> None:
        """More was heard than the last one covers."""
        self._is_due = True

    def make(self) -> None:
        """Make one, if anybody listens and anything has changed; it counts once what it covers is durable."""
        if not self._hub.is_awake or self._is_making:
            return
        if not self._is_due and self._hub.position == self._made_at:
            return
        self._is_due, self._is_making = False, True
        store = self._cluster.store
        self._streams.settle(store.replicas, self._cluster.ownership)
        before = self._hub.position
        heard = Heard(dict(self._parts()), min(store.readable.buried_ms, self._streams.lapse_ms))
        store.wal.when_durable(store.wal.lsn, lambda: self._made(before, heard))

    def _parts(self) -> Iterable[tuple[int, DotSet]]:
        store, ownership = self._cluster.store, self._cluster.ownership
        yield from self._streams.parts().items()
        for replica in store.replicas[:PARTITIONS]:
            if ownership.owns(replica.number) and replica.whole and not ownership.is_joining(replica.number):
                yield replica.number, replica.clock.copy()

    def _made(self, before: int, heard: Heard) -> None:
        self._is_making = False
        self._made_at = before
        now_s = self._cluster.runtime.monotonic_s()
        bookmark = self._hub.bookmark(before, heard, now_s)
        for node in self._cluster.links.linked():
            self._tell(node, self._hub.epoch, bookmark, 0)
        self._took_s = self._cluster.runtime.monotonic_s() - now_s

    def _tell(self, node: bytes, epoch: str, bookmark: Bookmark, age_ms: int) -> None:
        if self._cluster.peers.has_bookmarks(node) and self._cluster.ownership.is_member(node):
            message = BookmarkIs(epoch, bookmark.before, bookmark.after, bookmark.heard, age_ms)
            self._cluster.links.tell(node, message)

    def _presented(self, node: bytes) -> None:
        """A peer that has just started is told at once what it may be asked about: this node may be killed next."""
        hello = self._cluster.links.hello_of(node)
        if hello is not None and self._met.get(node) != hello.epoch:
            self._met[node] = hello.epoch
            self.make()
            self._tell_history(node)

    def joined(self, nodes: Iterable[bytes]) -> None:
        """So are those that are members from now on."""
        for node in nodes:
            self._cluster.runtime.clock.callLater(INTERVAL_S, self._tell_history, node)

    def _tell_history(self, node: bytes) -> None:
        """Tell a node what was before, piece by piece, after others that are being told."""
        now_s = self._cluster.runtime.monotonic_s()
        untold = [(epoch, bookmark, now_s - age_s) for epoch, bookmark, age_s in self._hub.bookmarks.history(now_s)]
        if untold:
            self._untold.append((node, untold[::-1]))
            if len(self._untold) == 1:
                self._tell_piece()

    def _tell_piece(self) -> None:
        node, untold = self._untold[0]
        now_s, told_bytes = self._cluster.runtime.monotonic_s(), 0
        while untold and told_bytes < PIECE_BYTES:
            epoch, bookmark, at_s = untold.pop()
            self._tell(node, epoch, bookmark, 1 + int(1000 * (now_s - at_s)))
            told_bytes += len(bookmark.heard)
        if not untold:
            self._untold.popleft()
        if self._untold:
            self._cluster.runtime.clock.callLater(0.0, self._tell_piece)

    def _on_bookmark(self, arrival: Arrival, message: BookmarkIs) -> None:
        if message.epoch == self._hub.epoch:
            return
        now_s = self._cluster.runtime.monotonic_s()
        bookmark = Bookmark(message.before, message.after, message.heard)
        self._hub.bookmarks.note(message.epoch, bookmark, now_s - message.age_ms / 1000)
        if message.age_ms or not self._hub.is_awake or self._cluster.ownership.owns_all:
            return
        heard = unpacked(message.heard)
        if heard is not None and self._streams.take(arrival.node, heard, self._cluster.ownership):
            self.has_news()
