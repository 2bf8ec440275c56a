"""Reads of what all owners agree on, as nearly all do: one digest asks about all keys of a turn.

What is held here is the answer if enough owners hold the same, durably: that is a read of
`dynatwist.requests.reads` whose owners all have what was chosen. This node counts as one of them as soon as its own
log has it, and is not waited for. Where one differs, or too few answer in time, that read begins, for the key alone.
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b

from dynatwist.calls import call_safely
from dynatwist.cluster.cluster import Cluster
from dynatwist.cluster.switchboard import Respond
from dynatwist.model.record import Key
from dynatwist.model.records import Packed, name_of, unpack
from dynatwist.model.ring import partition_of
from dynatwist.net.arrival import Arrival
from dynatwist.net.messages import Compare, Done, Held
from dynatwist.net.replies import OnReply, Reply
from dynatwist.replication.quorum import Group, Level, Tally, Verdict
from dynatwist.runtime import Timer, cancel
from dynatwist.sometimes import sometimes

from .reads import READ_TIMEOUT_S, OnRead, ReadRun
from .traced import in_traces

LOG_PATIENCE_S = READ_TIMEOUT_S / 2
"""How long a read that needs this node's own log waits for it before it asks the long way; half of all its time."""


def digest_of(names: Iterable[bytes]) -> bytes:
    """Sixteen bytes that are equal for equal lists of names (see `name_of`)."""
    # A name never begins with a zero byte, and all that are not empty have one length: joined, they stay apart.
    return blake2b(b"\0".join((*names, b"")), digest_size=16).digest()


class Compares:
    """Gathers the reads of a turn; answers those of peers."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._open: dict[tuple[tuple[Group, ...], Level], CompareRun] = {}
        cluster.peers.on_call(Compare, self._on_compare)

    def read(self, key: Key, level: Level, done: OnRead, trace: str) -> None:
        """Read a key of a partition that is owned and whole here, at another level than `one`.

        :param trace: ``traceparent`` of the request, if it is traced.
        """
        name = self._cluster.ownership.groups(partition_of(*key)), level
        run = self._open.get(name)
        if run is None:
            if not self._open:
                self._cluster.runtime.at_turn_end(self._begin)
            run = self._open[name] = CompareRun(self._cluster, *name)
        run.reads.append((key, done))
        if trace:
            run.traces.append(trace)

    def _begin(self) -> None:
        runs, self._open = self._open, {}
        for run in runs.values():
            run.begin()

    def _on_compare(self, arrival: Arrival, message: Compare, respond: Respond) -> None:
        """What is held now, once it is durable; what comes meanwhile may not be."""
        respond = in_traces(self._cluster.runtime.tracer, "owner.compare", message.traces, respond)
        store = self._cluster.store
        names: list[bytes | None] = []
        for key in message.keys:
            replica = store.replica_of(key)
            names.append(name_of(replica.records.packed(key)) if replica.whole else None)
        known = [name for name in names if name is not None]
        same = len(known) == len(names) and digest_of(known) == message.digest
        answer = Done() if same else Held(names)
        store.readable.when_keys(message.keys, lambda: respond(answer))


class CompareRun:
    """Some reads of one set of owners, at one level."""

    __slots__ = (
        "_cluster", "_finished", "_groups", "_held", "_names",
        "_tally", "_timer", "_until_s", "_version", "reads", "traces",
    )  # fmt: skip

    def __init__(self, cluster: Cluster, groups: tuple[Group, ...], level: Level) -> None:
        self._cluster = cluster
        self._groups = groups
        self._version = cluster.version
        self._tally = Tally(level, groups, cluster.peers.is_reachable)
        self.reads: list[tuple[Key, OnRead] | None] = []
        self.traces: list[str] = []
        self._held: list[Packed | None] = []
        self._names: list[bytes] = []
        self._tally.expect(cluster.me.node_id)
        self._until_s = cluster.runtime.monotonic_s() + READ_TIMEOUT_S
        self._timer: Timer | None = None
        self._finished = False

    def begin(self) -> None:
        """Note what is held here, and ask who holds the same."""
        cluster = self._cluster
        store = cluster.store
        if cluster.version != self._version:
            sometimes("the owners change between a read and the end of its turn")
            self._leave(list(range(len(self.reads))))
            return
        keys = [read[0] for read in self.reads if read is not None]
        self._held = [store.replica_of(key).records.packed(key) for key in keys]
        self._names = [name_of(packed) for packed in self._held]
        message = Compare(cluster.version, keys, digest_of(self._names), tuple(self.traces))
        for owner in sorted({owner for group in self._groups for owner in group}):
            if owner != cluster.me.node_id and cluster.links.is_reachable(owner):
                self._tally.expect(owner)
                cluster.links.call(owner, message, self._reply_from(owner), self._check, READ_TIMEOUT_S)
        store.readable.when_keys(keys, self._readable_here)
        if cluster.me.node_id in self._tally.expected and not self._finished:
            self._timer = cluster.runtime.clock.callLater(LOG_PATIENCE_S, self._log_is_late)

    def _log_is_late(self) -> None:
        self._tally.give_up_on(self._cluster.me.node_id)
        self._check()

    def _readable_here(self) -> None:
        self._hear(self._cluster.me.node_id)

    def _reply_from(self, owner: bytes) -> OnReply:
        def on_reply(reply: Reply) -> None:
            if isinstance(reply, Done):
                self._hear(owner)
            elif isinstance(reply, Held) and len(reply.names) == len(self.reads):
                self._leave([index for index, name in enumerate(reply.names) if name != self._names[index]])
                self._hear(owner)
            else:
                self._tally.give_up_on(owner)
                if self._cluster.learn(reply):
                    self._leave(list(range(len(self.reads))))
                self._check()

        return on_reply

    def _hear(self, owner: bytes) -> None:
        self._tally.count(owner)
        self._check()

    def _check(self) -> None:
        if self._finished:
            return
        verdict = self._tally.verdict()
        if verdict is Verdict.REACHED:
            if self._cluster.me.node_id in self._tally.expected:
                sometimes("a read is answered though this node's own log does not have it yet")
            self._finish()
        elif verdict is Verdict.OUT_OF_REACH:
            self._leave(list(range(len(self.reads))))

    def _leave(self, indices: list[int]) -> None:
        """Read these the long way."""
        if self._finished:
            return
        for index in indices:
            read, self.reads[index] = self.reads[index], None
            if read is not None:
                key, done = read
                ReadRun(cluster=self._cluster, key=key, level=self._tally.level, done=done, until_s=self._until_s)
        if not any(self.reads):
            self._finished = True
            cancel(self._timer)

    def _finish(self) -> None:
        self._finished = True
        cancel(self._timer)
        reach = self._tally.reach(True)
        for read, packed in zip(self.reads, self._held, strict=True):
            if read is not None:
                call_safely(read[1], reach, unpack(packed) if packed is not None else None)
