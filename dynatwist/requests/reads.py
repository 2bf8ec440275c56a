"""Carries out what `dynatwist.replication.reading` decides about a read: asks for dots, fetches records, makes equal.

Dots are asked for, records fetched only where this node has not seen them, and what differed is repaired. All that goes
by one version of the registry. Nobody is waited for while enough others answer.
"""

from __future__ import annotations

from collections.abc import Callable

from dynatwist.cluster.cluster import Cluster
from dynatwist.model.dots import Dot
from dynatwist.model.record import Key, Record
from dynatwist.model.records import pack
from dynatwist.model.ring import partition_of
from dynatwist.net.messages import Done, DotHeld, Fetch, Fetched, ReadDot, Replicate
from dynatwist.net.replies import OnReply, Reply
from dynatwist.replication.quorum import Level, Reach
from dynatwist.replication.reading import Choose, Give, Push, Reading
from dynatwist.runtime import cancel
from dynatwist.sometimes import sometimes

READ_TIMEOUT_S = 0.75
"""For all of a read; see `dynatwist.requests.writes.WRITE_TIMEOUT_S`."""

OnRead = Callable[[Reach, Record | None], None]
"""(how far the read came, what was read, tombstones included)."""


class ReadRun:
    """See the module.

    :param done: called once.
    :param op: of a request; owners that know what it became say so, and the store remembers it.
    :param until_s: when to give up, if not after `READ_TIMEOUT_S`.
    """

    __slots__ = (
        "_chosen", "_cluster", "_done", "_is_over", "_is_stepping", "_key", "_level",
        "_op", "_partition", "_reading", "_timer", "_until_s", "_version",
    )  # fmt: skip

    def __init__(
        self,
        *,
        cluster: Cluster,
        key: Key,
        level: Level,
        done: OnRead,
        op: bytes = b"",
        until_s: float | None = None,
    ) -> None:
        self._cluster = cluster
        self._key = key
        self._level = level
        self._done = done
        self._op = op
        self._is_over = self._is_stepping = False
        self._chosen: Record | None = None
        now_s = cluster.runtime.monotonic_s()
        self._until_s = now_s + READ_TIMEOUT_S if until_s is None else until_s
        self._timer = cluster.runtime.clock.callLater(max(0.0, self._until_s - now_s), self._give_up)
        self._partition = partition_of(*key)
        self._version = cluster.version
        me = cluster.me.node_id
        self._reading = Reading(level, cluster.ownership.groups(self._partition), me, self._counts)
        self._ask_all()
        self._step()

    def _counts(self, owner: bytes) -> bool:
        """Whether an owner can contribute to a read: reachable, and whole."""
        if owner == self._cluster.me.node_id:
            return self._cluster.store.replicas[self._partition].whole or self._reading.expects(owner)
        return self._cluster.peers.is_whole_at(owner, self._partition)

    # Events

    def _ask_all(self) -> None:
        cluster, store, me = self._cluster, self._cluster.store, self._cluster.me.node_id
        is_alone = True
        if self._level is not Level.ONE or not store.readable.has(self._key):
            for owner in cluster.ownership.owners(self._partition):
                if owner != me and self._counts(owner):
                    is_alone = False
                    self._ask(owner)
        if store.replicas[self._partition].whole or self._level is Level.ONE or is_alone:
            self._reading.expect(me)
            store.readable.when_key(self._key, self._readable_here)

    def _ask(self, owner: bytes) -> None:
        self._reading.expect(owner)
        message = ReadDot(self._cluster.version, self._key, self._op)
        self._cluster.links.ask(owner, message, self._reply_from(owner), self._step, READ_TIMEOUT_S)

    def _readable_here(self) -> None:
        if not self._is_over:
            held = self._cluster.store.held(self._key)
            self._hear(self._cluster.me.node_id, held.dot if held is not None else None)

    def _reply_from(self, owner: bytes) -> OnReply:
        def on_reply(reply: Reply) -> None:
            store = self._cluster.store
            if isinstance(reply, DotHeld) and reply.written is not None:
                store.remember(self._key, reply.written)
            elif isinstance(reply, DotHeld) and reply.has_met:
                store.requests.note_lost(self._op, self._key)
            if not isinstance(reply, DotHeld) or not reply.whole:
                self._cluster.learn(reply)
                self._lose(owner)
            elif reply.dot is None or store.replicas[self._partition].clock.covers(reply.dot):
                self._hear(owner, reply.dot)
            else:
                self._fetch(owner)

        return on_reply

    def _fetch(self, owner: bytes) -> None:
        """It holds what was never seen here."""
        store = self._cluster.store

        def fetched(reply: Reply) -> None:
            if not isinstance(reply, Fetched):
                self._lose(owner)
                return
            dot: Dot | None = None
            for key, record in reply.records:
                if key == self._key:
                    store.merge(key, record)
                    dot = record.dot
            self._hear(owner, dot)

        self._cluster.links.ask(owner, Fetch([self._key]), fetched, self._step, READ_TIMEOUT_S)

    def _hear(self, owner: bytes, dot: Dot | None) -> None:
        self._reading.hear(owner, dot)
        self._step()

    def _lose(self, owner: bytes) -> None:
        self._reading.lose(owner)
        self._step()

    def _hold(self, owner: bytes) -> None:
        self._reading.hold(owner)
        self._step()

    def _give_up(self) -> None:
        if not self._is_over:
            self._give(self._reading.give_up().reach)

    # What is to be done

    def _step(self) -> None:
        """Do what is to be done now; what happens meanwhile is looked at before this returns."""
        if self._is_over or self._is_stepping:
            return
        if self._cluster.version != self._version:
            self._start_over()
            return
        self._is_stepping = True
        while not self._is_over and (todo := self._reading.next()) is not None:
            match todo:
                case Choose():
                    self._chosen = self._cluster.store.held(self._key)
                    self._reading.choose(self._chosen.dot if self._chosen is not None else None)
                case Push(owners):
                    for owner in owners:
                        self._push(owner)
                case Give(reach):
                    self._give(reach)
        self._is_stepping = False

    def _push(self, owner: bytes) -> None:
        cluster, store, chosen = self._cluster, self._cluster.store, self._chosen
        assert chosen is not None
        if owner == cluster.me.node_id:
            if not store.readable.has(self._key):
                sometimes("a read has chosen what its own log does not have yet")
            store.readable.when_key(self._key, lambda: self._hold(owner))
            return

        def pushed(reply: Reply) -> None:
            if isinstance(reply, Done):
                self._hold(owner)
            else:
                self._lose(owner)

        message = Replicate(cluster.version, cluster.replicate_deadline_ms, [(self._key, pack(chosen))])
        cluster.links.ask(owner, message, pushed, self._step, READ_TIMEOUT_S)

    def _start_over(self) -> None:
        """The owners are others by now: what was heard by the former registry does not add up with the rest."""
        sometimes("the owners change while a read is under way")
        self._is_over = True
        cancel(self._timer)
        ReadRun(
            cluster=self._cluster, key=self._key, level=self._level, done=self._done, op=self._op, until_s=self._until_s
        )

    def _give(self, reach: Reach) -> None:
        self._is_over = True
        cancel(self._timer)
        self._done(reach, self._chosen)
