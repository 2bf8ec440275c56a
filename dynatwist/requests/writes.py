"""Writes on their way to the other owners.

The records are merged here already, and in the log's hands. Whoever acknowledges holds them as durable as the
durability setting says; hints never count. This node's own log is one answer among the others: nobody waits for one
slow disk while enough other owners have the write. All writes of one turn of the reactor that have the same owners and
the same level travel together: one message to each owner, one acknowledgement back, one count. The count goes by the
registry that the message names: whoever knows a newer one by then refuses, and the count starts over.
"""

from __future__ import annotations

from collections.abc import Callable

from dynatwist import heart
from dynatwist.calls import call_each
from dynatwist.cluster.cluster import Cluster
from dynatwist.model.flaws import NOT_DECODED, record_flaw
from dynatwist.model.record import Key, Record
from dynatwist.model.records import Packed, unpack
from dynatwist.model.ring import partition_of
from dynatwist.net.messages import Done, Replicate
from dynatwist.net.replies import OnReply, Reply
from dynatwist.replication.quorum import Group, Level, Reach, Tally, Verdict
from dynatwist.runtime import cancel
from dynatwist.sometimes import sometimes
from dynatwist.storage.store import Store

WRITE_TIMEOUT_S = 1.2
"""With `READ_TIMEOUT_S` before it less than two seconds, within which every client hears something; time enough for two
groups of a log on a disk that takes half a second for each."""
MAX_RUN_WRITES = 256
"""How many go into one message, and no more bytes than answers have: whoever gets it is busy with it for some
milliseconds."""

OnWritten = Callable[[Reach], None]


def records_of(message: Replicate, store: Store) -> tuple[list[tuple[Record | None, int]], str]:
    """The records that another node sends, and when they were written; or none, and what is wrong with one of them.

    :returns: each record, where it had to be unpacked, with the milliseconds of its stamp; and the flaw, if any.
    """
    records: list[tuple[Record | None, int]] = []
    for key, packed in message.writes:
        record, flaw, sound = None, "", heart.sound(*key, packed)
        if sound is None:
            try:
                record = unpack(packed)
            except NOT_DECODED:
                return [], "it does not decode"
            sound, flaw = (record.dot, record.stamp.ms), record_flaw(key, record)
        dot, written_ms = sound
        flaw = flaw or store.name_flaw(key, dot)
        if flaw:
            sometimes("a replicated write has a flaw")
            return [], flaw
        records.append((record, written_ms))
    return records, ""


class Writes:
    """Gathers the writes of a turn."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._open: dict[tuple[tuple[Group, ...], Level], WriteRun] = {}

    def replicate(
        self,
        key: Key,
        packed: Packed,
        level: Level,
        done: OnWritten,
        until_s: float | None = None,
        trace: str = "",
    ) -> None:
        """Bring a record to the other owners; call it right after the local merge.

        :param done: called once.
        :param until_s: when to give up, if not after `WRITE_TIMEOUT_S`.
        :param trace: ``traceparent`` of the request, if it is traced.
        """
        name = self._cluster.ownership.groups(partition_of(*key)), level
        run = self._open.get(name)
        if run is None:
            if not self._open:
                self._cluster.runtime.at_turn_end(self._begin)
            run = self._open[name] = WriteRun(self, self._cluster, *name)
        run.add(key, packed, done, until_s, trace)
        if run.size_bytes > self._cluster.answer_bytes or len(run) >= MAX_RUN_WRITES:
            del self._open[name]
            run.begin()

    def _begin(self) -> None:
        runs, self._open = self._open, {}
        for run in runs.values():
            run.begin()


class WriteRun:
    """Some writes to one set of owners, at one level."""

    __slots__ = (
        "_again", "_cluster", "_done", "_finished", "_groups",
        "_tally", "_timer", "_traces", "_until_s", "_version", "_writes", "size_bytes",
    )  # fmt: skip

    def __init__(self, again: Writes, cluster: Cluster, groups: tuple[Group, ...], level: Level) -> None:
        self._again = again
        self._cluster = cluster
        self._groups = groups
        self._version = cluster.version
        self._tally = Tally(level, groups, cluster.peers.is_reachable)
        self._writes: list[tuple[Key, Packed]] = []
        self._done: list[OnWritten] = []
        self._traces: list[str] = []
        self._tally.expect(cluster.me.node_id)
        self._finished = False
        self._until_s = cluster.runtime.monotonic_s() + WRITE_TIMEOUT_S
        self._timer = cluster.runtime.clock.callLater(WRITE_TIMEOUT_S, self._finish, False)
        self.size_bytes = 0

    def add(self, key: Key, packed: Packed, done: OnWritten, until_s: float | None, trace: str) -> None:
        """One more, before it begins."""
        self._writes.append((key, packed))
        self._done.append(done)
        self._traces.append(trace)
        self.size_bytes += len(packed)
        if until_s is not None and until_s < self._until_s:
            self._until_s = until_s
            self._timer.reset(max(0.0, until_s - self._cluster.runtime.monotonic_s()))

    def begin(self) -> None:
        """Send, and wait for the log."""
        if self._version != self._cluster.version:
            sometimes("the owners change between a write and the end of its turn")
            self._start_over()
            return
        self._send_to_owners()
        wal = self._cluster.store.wal
        wal.when_durable(wal.lsn, self._durable_here)

    def __len__(self) -> int:
        return len(self._writes)

    def _send_to_owners(self) -> None:
        cluster = self._cluster
        traces = tuple(filter(None, self._traces))
        message = Replicate(cluster.version, cluster.replicate_deadline_ms, self._writes, traces)
        for owner in sorted({owner for group in self._groups for owner in group}):
            if owner == cluster.me.node_id:
                continue
            if not cluster.links.is_reachable(owner):
                self._hint(owner)
                continue
            self._tally.expect(owner)
            cluster.links.ask(owner, message, self._reply_from(owner), self._check)

    def _hint(self, owner: bytes) -> None:
        for key, _ in self._writes:
            self._cluster.store.hint(owner, key)

    def _reply_from(self, owner: bytes) -> OnReply:
        def on_reply(reply: Reply) -> None:
            if isinstance(reply, Done):
                self._tally.count(owner)
                self._check()
                return
            self._tally.give_up_on(owner)
            if self._cluster.learn(reply):
                self._start_over()
            elif not self._cluster.standing.is_stopping:
                self._hint(owner)
            self._check()

        return on_reply

    def _start_over(self) -> None:
        """The owners are others by now, and need not be the same ones for all of these writes."""
        if self._finished:
            return
        self._finished = True
        cancel(self._timer)
        level = self._tally.level
        for (key, packed), done, trace in zip(self._writes, self._done, self._traces, strict=True):
            self._again.replicate(key, packed, level, done, self._until_s, trace)

    def _durable_here(self) -> None:
        me = self._cluster.me.node_id
        if any(me in group for group in self._groups):
            self._tally.count(me)
        else:
            self._tally.give_up_on(me)
        self._check()

    def _check(self) -> None:
        if self._finished:
            return
        verdict = self._tally.verdict()
        if verdict is Verdict.REACHED:
            if self._cluster.me.node_id in self._tally.expected:
                sometimes("a write is acknowledged before this node's own log has it")
            self._finish(True)
        elif verdict is Verdict.OUT_OF_REACH:
            self._finish(False)

    def _finish(self, reached: bool) -> None:
        if self._finished:
            return
        self._finished = True
        cancel(self._timer)
        call_each(self._done, self._tally.reach(reached))
