"""One read: dots are asked for, records fetched only where they differ, and what differed is repaired.

The answer comes at the r-th reply. It is the greatest record among those r, and it is given only when all of them are
known to have it, or something newer (Attiya, Bar-Noy and Dolev, "Sharing Memory Robustly in Message-Passing Systems",
1995): so a later read that asks any majority finds no less. All that goes by one version of the registry. The rest is
repaired in the background. Nobody is waited for while enough others answer: neither a paused node, nor this node's own
log.
"""

from __future__ import annotations

from collections.abc import Callable

from dynatwist.cluster.cluster import Cluster
from dynatwist.model.dots import Dot
from dynatwist.model.record import Key, Record
from dynatwist.model.records import pack
from dynatwist.model.ring import partition_of
from dynatwist.net.messages import AnyMessage, Done, DotHeld, Fetch, Fetched, ReadDot, Replicate
from dynatwist.replication.quorum import Level, Tally
from dynatwist.runtime import cancel
from dynatwist.sometimes import sometimes

READ_TIMEOUT_S = 0.75
"""For all of a read; see `dynatwist.requests.writes.WRITE_TIMEOUT_S`."""

OnRead = Callable[[bool, str, Record | None], None]
"""(whether the level was reached, ``REACHED/OWNERS``, what was read, tombstones included)."""


class ReadRun:
    """See the module.

    :param done: called once.
    :param op: of a request; owners that know what it became say so, and the store remembers it.
    :param until_s: when to give up, if not after `READ_TIMEOUT_S`.
    """

    __slots__ = (
        "_asked", "_chosen", "_cluster", "_done", "_finished", "_has_chosen",
        "_heard", "_key", "_op", "_pushed", "_tally", "_timer", "_until_s", "_version",
    )  # fmt: skip

    def __init__(
        self,
        cluster: Cluster,
        key: Key,
        level: Level,
        done: OnRead,
        op: bytes = b"",
        until_s: float | None = None,
    ) -> None:
        self._cluster = cluster
        self._key = key
        self._done = done
        self._op = op
        self._finished = False
        self._asked: set[bytes] = set()
        self._heard: dict[bytes, Dot | None] = {}
        self._pushed: set[bytes] = set()
        self._has_chosen = False
        self._chosen: Record | None = None
        now_s = cluster.runtime.monotonic_s()
        self._until_s = now_s + READ_TIMEOUT_S if until_s is None else until_s
        self._timer = cluster.runtime.clock.callLater(max(0.0, self._until_s - now_s), self._finish, False)
        partition = partition_of(*key)
        self._version = cluster.version
        self._tally = Tally(level, cluster.ownership.groups(partition), self._counts)
        me = cluster.me.node_id
        if level is not Level.ONE or not cluster.store.is_key_readable(key):
            for owner in cluster.ownership.owners(partition):
                if owner != me and self._counts(owner):
                    self._ask(owner)
        if cluster.store.replicas[partition].whole or level is Level.ONE or not self._asked:
            self._asked.add(me)
            cluster.store.when_readable(key, self._readable_here)
        self._check()

    def _counts(self, owner: bytes) -> bool:
        """Whether an owner can contribute to a read: reachable, and whole."""
        if owner == self._cluster.me.node_id:
            return self._cluster.store.replica_of(self._key).whole or owner in self._asked
        return self._cluster.peers.is_whole_at(owner, partition_of(*self._key))

    # First: what do they hold?

    def _ask(self, owner: bytes) -> None:
        self._asked.add(owner)
        message = ReadDot(self._cluster.version, self._key, self._op)
        self._cluster.links.ask(owner, message, self._reply_from(owner), self._check, READ_TIMEOUT_S)

    def _readable_here(self) -> None:
        if not self._finished:
            held = self._cluster.store.held(self._key)
            self._hear(self._cluster.me.node_id, held.dot if held is not None else None)

    def _reply_from(self, owner: bytes) -> Callable[[AnyMessage | None], None]:
        def on_reply(reply: AnyMessage | None) -> None:
            if isinstance(reply, DotHeld) and reply.written is not None:
                self._cluster.store.remember(self._key, reply.written)
            elif isinstance(reply, DotHeld) and reply.has_met:
                self._cluster.store.requests.note_lost(self._op, self._key)
            if isinstance(reply, DotHeld) and reply.whole:
                if reply.dot is None or self._cluster.store.replica_of(self._key).clock.covers(reply.dot):
                    self._hear(owner, reply.dot)
                else:
                    self._fetch(owner)
                return
            self._asked.discard(owner)
            self._cluster.learn(reply)
            self._check()

        return on_reply

    def _fetch(self, owner: bytes) -> None:
        """It holds what was never seen here."""
        store = self._cluster.store

        def fetched(reply: AnyMessage | None) -> None:
            if not isinstance(reply, Fetched):
                self._asked.discard(owner)
                self._check()
                return
            dot: Dot | None = None
            for key, record in reply.records:
                if key == self._key:
                    store.merge(key, record)
                    dot = record.dot
            self._hear(owner, dot)

        self._cluster.links.ask(owner, Fetch([self._key]), fetched, self._check, READ_TIMEOUT_S)

    def _hear(self, owner: bytes, dot: Dot | None) -> None:
        """An owner has this durably."""
        self._asked.discard(owner)
        self._heard[owner] = dot
        if self._has_chosen:
            self._equalize(owner)
        self._check()

    # Then: do they all have the greatest of it?

    def _check(self) -> None:
        if self._finished:
            return
        if self._cluster.version != self._version:
            self._start_over()
            return
        if not self._has_chosen:
            self._tally.answered = set(self._heard)
            if self._tally.is_reached():
                self._choose()
                return
        elif self._tally.is_reached():
            self._finish(True)
            return
        if not self._tally.can_be_reached(self._asked | self._pushed):
            self._finish(False)

    def _start_over(self) -> None:
        """The owners are others by now: what was heard by the former registry does not add up with the rest."""
        sometimes("the owners change while a read is under way")
        self._finished = True
        cancel(self._timer)
        ReadRun(self._cluster, self._key, self._tally.level, self._done, self._op, self._until_s)

    def _choose(self) -> None:
        """What is held here now is the greatest of all that was heard; it may be shown once enough have it durably."""
        self._has_chosen = True
        self._chosen = self._cluster.store.held(self._key)
        self._tally.answered = set()
        self._pushed = set(self._heard)
        for owner in sorted(self._heard):
            self._equalize(owner)
        self._check()

    def _equalize(self, owner: bytes) -> None:
        """Give an owner what was chosen, unless it has it."""
        chosen, store = self._chosen, self._cluster.store
        if chosen is not None and owner == self._cluster.me.node_id:  # it is held here, and in the log's hands
            if not store.is_key_readable(self._key):
                sometimes("a read has chosen what its own log does not have yet")
            self._pushed.add(owner)
            store.when_readable(self._key, self._chosen_is_durable_here)
            return
        if chosen is None or self._heard[owner] == chosen.dot:
            self._pushed.discard(owner)
            self._tally.answered.add(owner)
            return

        def pushed(reply: AnyMessage | None) -> None:
            self._pushed.discard(owner)
            if isinstance(reply, Done):
                self._tally.answered.add(owner)
            self._check()

        self._pushed.add(owner)
        message = Replicate(self._cluster.version, self._cluster.replicate_deadline_ms, [(self._key, pack(chosen))])
        self._cluster.links.ask(owner, message, pushed, self._check, READ_TIMEOUT_S)

    def _chosen_is_durable_here(self) -> None:
        me = self._cluster.me.node_id
        self._pushed.discard(me)
        self._tally.answered.add(me)
        self._check()

    def _finish(self, reached: bool) -> None:
        if self._finished:
            return
        self._finished = True
        cancel(self._timer)
        self._done(reached, self._tally.text(), self._chosen)
