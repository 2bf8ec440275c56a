"""One read: dots are asked for, records fetched only where they differ, and what differed is repaired.

The answer comes at the r-th reply; those r are made equal before it, the rest in the background. A paused node is
never waited for.
"""

from __future__ import annotations

from collections.abc import Callable

from dynatwist.model.dots import Dot
from dynatwist.model.record import Key
from dynatwist.model.ring import partition_of
from dynatwist.net.messages import AnyMessage, DotHeld, Fetch, Fetched, ReadDot, Replicate
from dynatwist.replication.quorum import Level, Tally

from .cluster import Cluster
from .writes import REPLICATE_DEADLINE_MS

READ_TIMEOUT_S = 2.0

OnRead = Callable[[bool, str], None]
"""(whether the level was reached, ``REACHED/OWNERS``); what was read is what the store holds now, durable."""


class ReadRun:
    """See the module.

    :param done: called once.
    """

    __slots__ = ("_asked", "_cluster", "_done", "_finished", "_key", "_repairing", "_tally")

    def __init__(self, cluster: Cluster, key: Key, level: Level, done: OnRead) -> None:
        self._cluster = cluster
        self._key = key
        self._done = done
        self._finished = False
        self._repairing: set[bytes] = set()
        self._asked: set[bytes] = set()
        partition = partition_of(*key)
        self._tally = Tally(level, cluster.groups(partition), self._counts)
        me = cluster.me.node_id
        if level is not Level.ONE:
            for owner in cluster.owners(partition):
                if owner != me and self._counts(owner):
                    self._ask(owner)
        if cluster.store.replicas[partition].whole or level is Level.ONE or not self._asked:
            self._asked.add(me)
            cluster.store.when_readable(key, self._readable_here)
        self._check()

    def _ask(self, owner: bytes) -> None:
        self._asked.add(owner)
        message = ReadDot(self._cluster.version, self._key)
        self._cluster.links.call(owner, message, self._reply_from(owner), self._check, READ_TIMEOUT_S)

    def _counts(self, owner: bytes) -> bool:
        """Whether an owner can contribute to a read: reachable, and whole."""
        if owner == self._cluster.me.node_id:
            return self._cluster.store.replica_of(self._key).whole or owner in self._asked
        return self._cluster.is_whole_at(owner, partition_of(*self._key))

    def _readable_here(self) -> None:
        me = self._cluster.me.node_id
        self._asked.discard(me)
        self._tally.answered.add(me)
        self._check()

    def _reply_from(self, owner: bytes) -> Callable[[AnyMessage | None], None]:
        def on_reply(reply: AnyMessage | None) -> None:
            self._asked.discard(owner)
            if isinstance(reply, DotHeld) and reply.whole:
                self._compare(owner, reply.dot)
            elif self._cluster.learn(reply):
                self._tally.regroup(self._cluster.groups(partition_of(*self._key)))
                self._ask(owner)
            else:
                self._check()

        return on_reply

    def _compare(self, owner: bytes, dot: Dot | None) -> None:
        """Make the owner and this node equal, unless they are; then the owner's answer counts."""
        held = self._cluster.store.held(self._key)
        if dot == (held.dot if held is not None else None):
            self._counted(owner)
            return
        self._repairing.add(owner)
        if dot is not None and not self._cluster.store.replica_of(self._key).clock.covers(dot):
            fetch = Fetch([self._key])
            self._cluster.links.call(owner, fetch, lambda reply: self._fetched(owner, reply), None, READ_TIMEOUT_S)
        else:
            self._push(owner)

    def _fetched(self, owner: bytes, reply: AnyMessage | None) -> None:
        if not isinstance(reply, Fetched):
            self._counted(owner, failed=True)
            return
        store = self._cluster.store
        for key, record in reply.records:
            store.merge(key, record)
        held = store.held(self._key)
        if held is None or any(record.dot == held.dot for _, record in reply.records):
            store.when_readable(self._key, lambda: self._counted(owner))
        else:
            self._push(owner)

    def _push(self, owner: bytes) -> None:
        held = self._cluster.store.held(self._key)
        if held is None:
            self._counted(owner)
            return
        message = Replicate(self._cluster.version, REPLICATE_DEADLINE_MS, self._key, held)
        self._cluster.links.call(
            owner, message, lambda reply: self._counted(owner, reply is None), None, READ_TIMEOUT_S
        )

    def _counted(self, owner: bytes, failed: bool = False) -> None:
        self._repairing.discard(owner)
        if not failed:
            self._tally.answered.add(owner)
        self._check()

    def _check(self) -> None:
        if self._finished:
            return
        if self._tally.is_reached():
            self._cluster.store.when_readable(self._key, lambda: self._finish(True))
        elif not self._tally.can_be_reached(self._asked | self._repairing):
            self._finish(False)

    def _finish(self, reached: bool) -> None:
        if self._finished:
            return
        self._finished = True
        self._done(reached, self._tally.text())
