"""One write on its way to the other owners.

The record is merged here already, and in the log's hands. Whoever acknowledges holds it as durable as the durability
setting says; hints never count.
"""

from __future__ import annotations

from collections.abc import Callable

from dynatwist.model.record import Key, Record
from dynatwist.model.ring import partition_of
from dynatwist.net.messages import AnyMessage, Done, Replicate
from dynatwist.replication.quorum import Level, Tally
from dynatwist.runtime import cancel

from .cluster import Cluster

WRITE_TIMEOUT_S = 2.0

OnWritten = Callable[[bool, str], None]
"""(whether the level was reached, ``REACHED/OWNERS``)."""


class WriteRun:
    """See the module; construct it right after the local merge.

    :param done: called once.
    """

    __slots__ = ("_cluster", "_done", "_finished", "_key", "_pending", "_record", "_tally", "_timer")

    def __init__(self, cluster: Cluster, key: Key, record: Record, level: Level, done: OnWritten) -> None:
        self._cluster = cluster
        self._key = key
        self._record = record
        self._done = done
        self._finished = False
        self._tally = Tally(level, cluster.groups(partition_of(*key)), cluster.is_reachable)
        self._pending: set[bytes] = {cluster.me.node_id}
        self._timer = cluster.runtime.clock.callLater(WRITE_TIMEOUT_S, self._finish, False)
        cluster.store.wal.when_durable(cluster.store.wal.lsn, self._durable_here)
        self._send_to_owners()

    def _send_to_owners(self) -> None:
        cluster = self._cluster
        message = Replicate(cluster.version, cluster.replicate_deadline_ms, self._key, self._record)
        for owner in cluster.owners(partition_of(*self._key)):
            if owner in self._pending or owner in self._tally.answered:
                continue
            if not cluster.links.is_reachable(owner):
                cluster.store.hint(owner, self._key)
                continue
            self._pending.add(owner)
            cluster.links.call(owner, message, self._reply_from(owner), self._stalled)

    def _reply_from(self, owner: bytes) -> Callable[[AnyMessage | None], None]:
        def on_reply(reply: AnyMessage | None) -> None:
            self._pending.discard(owner)
            if isinstance(reply, Done):
                self._tally.answered.add(owner)
            elif self._cluster.learn(reply):
                self._tally.regroup(self._cluster.groups(partition_of(*self._key)))
                self._send_to_owners()
            elif not self._cluster.stopping:
                self._cluster.store.hint(owner, self._key)
            self._check()

        return on_reply

    def _durable_here(self) -> None:
        self._pending.discard(self._cluster.me.node_id)
        if self._cluster.me.node_id in self._cluster.owners(partition_of(*self._key)):
            self._tally.answered.add(self._cluster.me.node_id)
        self._check()

    def _stalled(self) -> None:
        self._check()

    def _check(self) -> None:
        if self._finished:
            return
        if self._cluster.me.node_id not in self._pending and self._tally.is_reached():
            self._finish(True)
        elif not self._tally.can_be_reached(self._pending):
            self._finish(False)

    def _finish(self, reached: bool) -> None:
        if self._finished:
            return
        self._finished = True
        cancel(self._timer)
        self._done(reached, self._tally.text())
