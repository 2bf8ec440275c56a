"""The coordinator: carries out requests on keys as one of their owners, or forwards them to one (see `forwarding`).

PATCH and conditional writes go through the first reachable owner: exact while owners agree on who is reachable;
otherwise both may succeed, and one of them loses the merge.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping

import msgspec
from twisted.internet.defer import Deferred

from dynatwist.calls import call_each
from dynatwist.cluster.cluster import Cluster
from dynatwist.cluster.fetch import answer_fetch
from dynatwist.cluster.peers import Respond
from dynatwist.model.record import Draft, Key, Record
from dynatwist.model.records import Packed, pack, value_of
from dynatwist.model.ring import is_system_table, partition_of
from dynatwist.net.arrival import Arrival
from dynatwist.net.messages import (
    Done,
    DotHeld,
    Fetch,
    Forward,
    Outcome,
    ReadDot,
    Replicate,
    Unable,
)
from dynatwist.repair.rounds import Round, summaries_of
from dynatwist.replication.forwarding import FORWARD_TIMEOUT_S
from dynatwist.replication.quorum import Level, Reach, Tally
from dynatwist.replication.request import BEHIND, ENCODER, Code, Kind, Operation, Result, etag
from dynatwist.runtime import Timer, cancel
from dynatwist.sometimes import sometimes

from .compare import Compares
from .forwarding import HERE, ForwardRun, OnResult, Origin, read_forwarded
from .mergepatch import patched
from .reads import READ_TIMEOUT_S, OnRead, ReadRun
from .writes import Writes, records_of

RECENT_OPS = 20_000
CATCH_UP_TIMEOUT_S = 0.5
"""Together with a read and a write, or a forwarded request, not much more than two seconds: nobody waits for longer."""
LOOK_S = 0.02
"""How often a request that waits for its causal token looks whether all of that has come."""
LOG_PATIENCE_S = 0.1
"""For as long ``r=one`` waits for this node's own log, before it asks any owner that has the record durably."""
SYSTEM_RESERVE_SHARE = 16
"""The memory limit is exceeded by one part in so many for users alone: registration, a changed secret and a logout go
on when data have filled the rest."""
RECENT_S = 2 * FORWARD_TIMEOUT_S
FORGOTTEN = Result(Code.UNCERTAIN, text="written, and superseded since; what it was is not known any more")


class Coordinator:
    """See the module.

    :param max_value_bytes: bounds the result of a patch.
    :param max_store_bytes: bound on memory, beyond which writes that add are refused.
    """

    def __init__(self, cluster: Cluster, max_value_bytes: int, max_store_bytes: int) -> None:
        self.cluster = cluster
        self._max_value_bytes = max_value_bytes
        self._max_store_bytes = max_store_bytes
        self._writes = Writes(cluster)
        self._compares = Compares(cluster)
        self._recent: OrderedDict[bytes, tuple[float, list[OnResult] | Result]] = OrderedDict()
        cluster.peers.on_call(Replicate, self._on_replicate)
        cluster.peers.on_call(ReadDot, self._on_read_dot)
        cluster.peers.on_call(Fetch, lambda arrival, message, respond: answer_fetch(cluster, message, respond))
        cluster.peers.on_call(Forward, self._on_forward)

    # Where a request goes

    def execute(self, operation: Operation) -> Deferred[Result]:
        """Carry out a request, here or at another owner. The Deferred never fails."""
        result: Deferred[Result] = Deferred()
        self.submit(operation, result.callback)
        return result

    def submit(self, operation: Operation, done: OnResult) -> None:
        """Carry out a request, here or at another owner.

        :param done: called once, perhaps before this returns.
        """
        partition = partition_of(*operation.key)
        if self.cluster.standing.may_coordinate(partition) and not self._is_for_others(operation, partition):
            self._carry_out(operation, HERE, done)
        else:
            ForwardRun(self.cluster, lambda: self.candidates(partition), self._carry_out, operation, done)

    def _is_for_others(self, operation: Operation, partition: int) -> bool:
        """Whether another owner has to be asked before this one, or this one cannot take in more."""
        if self.cluster.store.wal.is_behind and operation.kind is not Kind.GET:
            sometimes("a write is forwarded since this node's log is behind")
            return True
        return operation.is_conditional and self.candidates(partition)[:1] != [self.cluster.me.node_id]

    def candidates(self, partition: int) -> list[bytes]:
        """The owners that can carry out a request now, in the order of the preference list."""
        cluster = self.cluster
        registry = cluster.registry
        if registry is None:
            return []
        able: list[bytes] = []
        for owner in registry.old_owners(partition) or registry.owners(partition):
            if owner == cluster.me.node_id:
                if cluster.standing.may_coordinate(partition):
                    able.append(owner)
            elif cluster.peers.is_ready_at(owner, partition):
                able.append(owner)
        return able

    # Carrying out

    def _carry_out(self, operation: Operation, origin: Origin, done: OnResult) -> None:
        if not operation.seen or self._has_seen(operation):
            self._carry_out_now(operation, origin, done)
            return

        def caught_up() -> None:
            if self._has_seen(operation):
                self._carry_out_now(operation, origin, done)
            else:
                text = "what the causal token names is on no replica that can be reached"
                done(Result(Code.UNAVAILABLE, text=text))

        self._catch_up(operation, caught_up)

    def _has_seen(self, operation: Operation) -> bool:
        """Whether this replica has merged what the request's causal token names."""
        clock = self.cluster.store.replica_of(operation.key).clock
        return all(clock.covers(dot) for dot in operation.seen)

    def _catch_up(self, operation: Operation, done: Callable[[], None]) -> None:
        """A round with every reachable owner, until one of them has brought what is missing.

        Neither the slowest of them is waited for, nor this node's log, nor anybody for longer than a client may be.
        """
        cluster = self.cluster
        partition = partition_of(*operation.key)
        owners = [owner for owner in cluster.ownership.owners(partition) if cluster.links.is_reachable(owner)]
        waiting = len(owners)
        clock = cluster.runtime.clock
        until_s = cluster.runtime.monotonic_s() + CATCH_UP_TIMEOUT_S
        timer: Timer | None = None
        over = False

        def look() -> None:
            nonlocal timer, over
            if over:
                return
            if not waiting or self._has_seen(operation) or cluster.runtime.monotonic_s() >= until_s:
                over = True
                cancel(timer)
                done()
            elif timer is None or not timer.active():
                timer = clock.callLater(LOOK_S, look)

        def finished(ok: bool, whole: set[int]) -> None:
            nonlocal waiting
            waiting -= 1
            look()

        for owner in owners:
            Round(cluster, owner, summaries_of(cluster, [partition]), finished)
        look()

    def _carry_out_now(self, operation: Operation, origin: Origin, done: OnResult) -> None:
        if operation.kind is Kind.GET:
            self._get(operation, done)
            return
        store = self.cluster.store
        if store.wal.stuck:
            done(Result(Code.FULL, text=store.wal.refusal(adds=False)))
            return
        held = store.held(operation.key)
        asked_ms = self._lapse_ms(held)
        fresh = held is not None and not held.is_dead(asked_ms)
        if fresh and not operation.is_conditional and not origin.in_doubt:
            self._write(operation, origin, done)
            return
        if origin is HERE:  # the read may wait for a log that is stuck, or slow
            origin = Origin(until_s=self.cluster.runtime.monotonic_s() + FORWARD_TIMEOUT_S)
        # Nothing is held, or a condition or a doubt depends on it: a stale replica must not decide alone.

        def read(reach: Reach, found: Record | None) -> None:
            if self._is_over_only_now(store.held(operation.key), asked_ms):
                self._carry_out_now(operation, origin, done)
            else:
                self._write(operation, origin, done)

        if origin.in_doubt:
            ReadRun(self.cluster, operation.key, Level.QUORUM, read, origin.op)
        else:
            self._read(operation.key, Level.QUORUM, read)

    def _read(self, key: Key, level: Level, done: OnRead) -> None:
        if not self.cluster.store.replica_of(key).whole:
            ReadRun(self.cluster, key, level, done)
        elif level is Level.ONE:
            self._read_here(key, done)
        else:
            self._compares.read(key, level, done)

    def _read_here(self, key: Key, done: OnRead) -> None:
        """The owner's own replica, once what it holds now is durable; or is at another owner, if this log is slow."""
        store = self.cluster.store
        held = store.held(key)
        reach = Reach(True, 1, len(self.cluster.ownership.groups(partition_of(*key))[-1]))
        if store.is_key_readable(key):
            done(reach, held)
            return
        until_s = self.cluster.runtime.monotonic_s() + READ_TIMEOUT_S

        def late() -> None:
            sometimes("a read of one replica does not wait for its own log any longer")
            ReadRun(self.cluster, key, Level.ONE, done, until_s=until_s)

        timer = self.cluster.runtime.clock.callLater(LOG_PATIENCE_S, late)

        def readable() -> None:
            if timer.active():
                timer.cancel()
                done(reach, held)

        store.when_readable(key, readable)

    def _lapse_ms(self, record: Record | None) -> int:
        """The lapse, as new as it has to be to judge a record."""
        return (
            self.cluster.times.lapse_ms() if record is not None and record.expires_ms else self.cluster.store.lapse_ms
        )

    def _is_over_only_now(self, found: Record | None, asked_ms: int) -> bool:
        """Whether a record is over by what is known now, and not by what the replicas that were asked for it knew.

        The frame that carried the question told them a lapse; what is over by that one is over for every later read
        that asks a majority. What is over only by a later one is not yet: they have to be asked again.
        """
        if found is None or not asked_ms < found.expires_ms <= self._lapse_ms(found):
            return False
        sometimes("a record ended between the question and the answer")
        return True

    def _get(self, operation: Operation, done: OnResult) -> None:
        store = self.cluster.store
        asked_ms = store.lapse_ms

        def read(reach: Reach, found: Record | None) -> None:
            replicas = str(reach)
            if not reach.is_enough:
                done(Result(Code.UNAVAILABLE, None, replicas, "not enough replicas can be reached"))
            elif found is None or found.value is None:
                done(Result(Code.ABSENT, None, replicas))
            elif self._is_over_only_now(found, asked_ms):
                self._get(operation, done)
            elif found.is_dead(asked_ms):
                store.when_over(found.expires_ms, lambda: done(Result(Code.ABSENT, None, replicas)))
            else:
                done(Result(Code.OK, found, replicas))

        self._read(operation.key, operation.level, read)

    def _write(self, operation: Operation, origin: Origin, done: OnResult) -> None:
        """Check and write in one go: nothing can come between."""
        store = self.cluster.store
        held = store.held(operation.key)
        written = self._written(operation, origin, held)
        if isinstance(written, Record):
            self._replicate(operation, written, done)
        elif held is not None and 0 < held.expires_ms <= store.lapse_ms:
            store.when_over(held.expires_ms, lambda: done(written))
        else:
            done(written)

    def _written(self, operation: Operation, origin: Origin, held: Record | None) -> Record | Result:
        """The record that a request became, or why it became none.

        :param held: what is held for its key now.
        """
        store = self.cluster.store
        if origin.op and held is not None and held.op == origin.op:
            return held
        if origin.in_doubt and store.requests.knows(origin.op):
            written = store.requests.became(origin.op)
            if written is None:
                return FORGOTTEN
            store.merge(operation.key, written)  # another owner may have told of it; who counts as having it has it
            return written
        after_ms = max(origin.after_ms, held.stamp.ms + 1) if origin.in_doubt and held is not None else origin.after_ms
        if held is not None and held.is_dead(store.lapse_ms):
            held = None
        if origin is not HERE and self.cluster.runtime.monotonic_s() > origin.until_s:
            return Result(Code.UNAVAILABLE, text="the request came too late to be carried out")
        refusal = self._refusal(operation, held)
        if refusal is not None:
            return refusal
        full = store.wal.refusal(_adds(operation, held))
        if full:
            sometimes("a client's write is refused for want of room on the disk")
            return Result(Code.FULL, text=full)
        value: bytes | None = operation.value
        if operation.kind is Kind.PATCH:
            assert held is not None
            try:
                value = patched(held.value or b"{}", operation.value)
            except (msgspec.MsgspecError, RecursionError):  # a number beyond all that can be decoded, from a peer
                return Result(Code.MALFORMED, text="the value held cannot be merged with; put a whole one instead")
            if len(value) > self._max_value_bytes:
                return Result(Code.TOO_LARGE, text=f"the merged value exceeds {self._max_value_bytes} bytes")
        elif operation.kind is Kind.DELETE:
            value = None
        if value is not None and not store.has_room_for(operation.key, value, self._most_bytes(operation.key)):
            return Result(Code.FULL, text="this node's memory limit is reached; delete something first")
        expires_ms = store.end_after(operation.ttl_ms) if operation.ttl_ms and value is not None else 0
        if operation.kind is Kind.PATCH and held is not None and not operation.ttl_ms:
            expires_ms = held.expires_ms
        draft = Draft(value, operation.uid, expires_ms, origin.op, origin.created)
        return store.write(operation.key, draft, after_ms=after_ms)

    def _refusal(self, operation: Operation, held: Record | None) -> Result | None:
        """Why a write is refused before anything is done, or ``None``."""
        cluster = self.cluster
        if cluster.store.wal.is_behind:
            return Result(Code.OVERLOADED, text=BEHIND)
        if cluster.times.refusal:
            return Result(Code.UNAVAILABLE, text=cluster.times.refusal)
        partition = partition_of(*operation.key)
        if not cluster.standing.may_coordinate(partition):
            return Result(Code.UNAVAILABLE, text="this node is not ready to write")
        if held is not None and not operation.any_owner and held.owner != operation.uid:
            return Result(Code.FORBIDDEN, text="the key belongs to another user")
        if held is None and operation.kind is not Kind.PUT:
            code = Code.PRECONDITION if operation.if_match else Code.ABSENT
            return Result(code, text="there is no such key")
        if operation.if_none_match and held is not None:
            return Result(Code.PRECONDITION, held, text="the key exists")
        if operation.if_match and (held is None or not {etag(held), "*"}.intersection(operation.if_match)):
            return Result(Code.PRECONDITION, held, text="the record is not the one named by If-Match")
        owners = cluster.ownership.owners(partition)
        if all(map(cluster.peers.is_reachable, owners)):
            return None
        reachable = {owner for owner in owners if cluster.peers.is_reachable(owner)}
        tally = Tally(operation.level, cluster.ownership.groups(partition), cluster.peers.is_reachable)
        if not tally.can_be_reached(reachable):
            for owner in reachable:
                tally.count(owner)
            text = f"w={operation.level.value} needs more replicas than answer now"
            return Result(Code.UNAVAILABLE, None, str(tally.reach(False)), text)
        return None

    def _replicate(self, operation: Operation, record: Record, done: OnResult) -> None:
        def written(reach: Reach) -> None:
            if reach.is_enough:
                done(Result(Code.OK, record, str(reach)))
            else:
                text = "written, but not known to be on enough replicas; it may still take effect"
                done(Result(Code.UNCERTAIN, record, str(reach), text))

        self._writes.replicate(operation.key, self._packed(operation.key, record), operation.level, written)

    def _packed(self, key: Key, record: Record) -> Packed:
        """A record that was just written, or is held, or was superseded."""
        records = self.cluster.store.replica_of(key).records
        packed = records.packed(key)
        return packed if packed is not None and records.get(key) is record else pack(record)

    # Answering peers

    def _most_bytes(self, key: Key) -> int:
        """The bound on memory for a write; users have a reserve, so that no other user's data lock them out."""
        reserve_bytes = self._max_store_bytes // SYSTEM_RESERVE_SHARE if is_system_table(key[0]) else 0
        return self._max_store_bytes + reserve_bytes

    def _on_replicate(self, arrival: Arrival, message: Replicate, respond: Respond) -> None:
        cluster = self.cluster
        if arrival.is_late(message.deadline_ms):
            respond(Unable("too late"))
            return
        if any(cluster.me.node_id not in cluster.ownership.owners(partition_of(*key)) for key, _ in message.writes):
            respond(Unable("not an owner"))
            return
        records, flaw = records_of(message, cluster.store)
        if flaw:
            cluster.links.refuse_record(arrival.node, flaw)
            respond(Unable(f"a record is refused: {flaw}"))
            return
        if cluster.store.wal.is_behind:
            sometimes("a replicated write is refused since this arrival.node's log is behind")
            respond(Unable(BEHIND))
            return
        wal = cluster.store.wal
        full = wal.refusal(adds=True)
        if full and (wal.stuck or any(_takes_room(key, packed) for key, packed in message.writes)):
            sometimes("a peer's write is refused for want of room on the disk")
            respond(Unable(full))
            return
        for (key, packed), record in zip(message.writes, records, strict=True):
            cluster.store.merge(key, record, packed)
        cluster.store.wal.when_durable(cluster.store.wal.lsn, lambda: respond(Done()))

    def _on_read_dot(self, arrival: Arrival, message: ReadDot, respond: Respond) -> None:
        """What is held now, once it is durable; what comes meanwhile may not be."""
        store = self.cluster.store
        held = store.held(message.key)
        written = store.requests.became(message.op) if message.op else None
        has_met = bool(message.op) and store.requests.knows(message.op)
        whole = store.replica_of(message.key).whole
        answer = DotHeld(held.dot if held is not None else None, whole, written, has_met)
        store.when_readable(message.key, lambda: respond(answer))

    def _on_forward(self, arrival: Arrival, message: Forward, respond: Respond) -> None:
        if arrival.is_late(message.deadline_ms):
            respond(Unable("too late"))
            return
        operation, flaw = read_forwarded(message)
        if operation is None:
            respond(Unable(f"a request is refused: {flaw}"))
            return
        if not self.cluster.standing.may_coordinate(partition_of(*operation.key)):
            respond(Unable("not ready"))
            return
        _, known = self._recent.get(message.op, (0.0, None))
        if isinstance(known, Result):
            respond(Outcome(ENCODER.encode(self._again(message.op, known))))
            return

        def answer(result: Result) -> None:
            if result.code is Code.OVERLOADED:  # nothing was done; nodes of the release before know no such code
                respond(Unable(BEHIND))
            else:
                respond(Outcome(ENCODER.encode(result)))

        if known is not None:
            known.append(answer)
            return
        now_s = self.cluster.runtime.monotonic_s()
        until_s = now_s + message.deadline_ms / 1000 - arrival.age_ms / 1000
        origin = Origin(message.op, message.created, message.in_doubt, message.after_ms, until_s)
        is_read = operation.kind is Kind.GET
        self._carry_out(operation, origin, answer if is_read else self._remembering(message.op, now_s, answer))

    def _again(self, op: bytes, known: Result) -> Result:
        """The answer to a request that was answered already; it was remembered without its record."""
        if known.code not in (Code.OK, Code.UNCERTAIN):
            return known
        record = self.cluster.store.requests.became(op)
        return FORGOTTEN if record is None else Result(known.code, record, known.replicas, known.text)

    @property
    def answers(self) -> Mapping[bytes, tuple[float, list[OnResult] | Result]]:
        """Of forwarded requests, by their ids: when they came, and who waits or what was answered."""
        return self._recent

    def sweep(self) -> None:
        """Forget the answers that nobody can ask for again; to be called every second."""
        oldest_s = self.cluster.runtime.monotonic_s() - RECENT_S
        recent = self._recent
        while recent and (len(recent) > RECENT_OPS or next(iter(recent.values()))[0] < oldest_s):
            recent.popitem(last=False)

    def _remembering(self, op: bytes, now_s: float, answer: OnResult) -> OnResult:
        """Whoever asks again with the same id gets the same answer."""
        waiting = [answer]
        recent = self._recent
        recent[op] = (now_s, waiting)
        if len(recent) > RECENT_OPS:
            self.sweep()

        def finished(result: Result) -> None:
            if op in recent:
                recent[op] = (now_s, Result(result.code, None, result.replicas, result.text))
            call_each(waiting, result)

        return finished


def _adds(operation: Operation, held: Record | None) -> bool:
    """Whether a write takes room on the disk for good; a change of a user that there is, as a logout, takes none."""
    if operation.kind is Kind.DELETE:
        return False
    return held is None or not is_system_table(operation.key[0])


def _takes_room(key: Key, packed: Packed) -> bool:
    """The same of a write that another owner coordinates."""
    return not is_system_table(key[0]) and value_of(packed) is not None
