"""Listeners as users have them: SSE streams of one key, and websockets with several subscriptions, judged by the bytes
that they are sent.

They read at once, slowly, or not at all for a while; they leave, and come back later with the cursor that they were
told last. What is judged is P8, and that nobody hears of others' records (P9).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import msgspec
from twisted.internet.defer import ensureDeferred

from dynatwist.api.live import Stream, sse_bytes
from dynatwist.api.request import Request
from dynatwist.api.session import Session
from dynatwist.errors import ApiError
from dynatwist.model.dots import Dot
from dynatwist.model.record import Key, Record

from .answers import Answers
from .clients import Clients
from .cluster import SimCluster, SimNode
from .history import name_of
from .keys import OWNERS, ROOT
from .order import is_preferred
from .witness import Witness
from .world import Process

SLOW_S = 6.0
SOON_S = 0.05
"""A listener at a node that does not own a key counts from when the owners have been told of it."""
AWAY_S = 2.0


class _Event(msgspec.Struct):
    """A frame of a websocket."""

    op: str = ""
    sub: int = 0
    type: str = ""
    table: str = ""
    key: str = ""
    record: msgspec.Raw = msgspec.Raw(b"null")
    cursor: str = ""
    error: str = ""
    code: str = ""


_EVENT = msgspec.json.Decoder(_Event)


@dataclass(slots=True, eq=False)
class _Interest:
    """One subscription, over all connections that it lives through.

    :ivar since_s: when it began.
    :ivar told_s: when it was last told to read afresh.
    :ivar last: per key the newest record heard. Of a delete only that is told: the oldest that it can be.
    """

    table: str
    key: str | None
    prefix: str
    since_s: float
    told_s: float = -1.0
    cursor: str = ""
    last: dict[Key, Record] = field(default_factory=dict)

    def matches(self, key: Key) -> bool:
        """Whether a key is listened to."""
        if key[0] != self.table:
            return False
        return key[1] == self.key if self.key is not None else key[1].startswith(self.prefix)

    def text(self) -> str:
        """For people."""
        return f"{self.table}/{self.key or self.prefix + '*'}"


@dataclass(slots=True, eq=False)
class _Connection:
    """A client with its connection.

    :ivar delay_s: how long it does not read after it was woken.
    :ivar is_open: whether it listens now.
    """

    node: SimNode
    process: Process
    who: str
    interests: list[_Interest]
    delay_s: float
    is_open: bool = False
    is_due: bool = False
    session: Session | None = None
    stream: Stream | None = None


class Sockets:
    """See the module.

    :param count: how many clients there are.
    """

    def __init__(
        self,
        *,
        cluster: SimCluster,
        clients: Clients,
        answers: Answers,
        witness: Witness,
        count: int,
        tables: tuple[str, ...],
    ) -> None:
        self._cluster = cluster
        self._world = cluster.world
        self._clients = clients
        self._answers = answers
        self._witness = witness
        self._count = count
        self._tables = tables
        self._connections: list[_Connection] = []
        self._running = False

    def start(self) -> None:
        """Begin to listen."""
        self._running = True
        self._tend()

    def stop(self) -> None:
        """Listen on with what is open; who is away comes back."""
        self._running = False

    def _tend(self) -> None:
        """Replace clients whose node died; have some leave now and then."""
        if not self._running:
            return
        random = self._world.random
        self._world.later(random.uniform(0.2, 1.0), self._tend)
        self._connections = [one for one in self._connections if one.process.alive]
        nodes = self._cluster.ready_nodes()
        while nodes and len(self._connections) < self._count:
            self._arrive(random.choice(nodes))
        for one in self._connections:
            if one.is_open and random.random() < 0.15:
                one.process.run(self._leave, one)
                self._world.later(random.choice((0.0, random.uniform(0, AWAY_S))), lambda one=one: self._return(one))  # type: ignore[misc]

    def _arrive(self, node: SimNode) -> None:
        random = self._world.random
        assert node.process is not None
        who = random.choice((*OWNERS, ROOT, ROOT))
        count = random.choice((0, 1, 3))
        interests = [self._draw(is_key=not count) for _ in range(count or 1)]
        connection = _Connection(node, node.process, who, interests, random.choice((0.0, 0.0, 0.0, 0.3, SLOW_S)))
        self._connections.append(connection)
        node.process.run(self._open, connection, not count)

    def _draw(self, is_key: bool) -> _Interest:
        random = self._world.random
        table = random.choice(self._tables)
        key = random.choice(self._clients.keys.of(table)) if is_key or random.random() < 0.3 else None
        prefix = "" if key is not None or random.random() < 0.5 else random.choice(("k", "k1", "s", "k0"))
        return _Interest(table, key, prefix, self._world.now_s)

    # Connections

    def _open(self, one: _Connection, is_stream: bool) -> None:
        core = one.node.core
        assert core is not None
        headers = {name.lower(): text for name, text in self._clients.bearer(one.node, one.who).items()}
        for interest in one.interests:
            if not interest.cursor:  # it was told none yet: it begins anew
                interest.since_s = self._world.now_s
                interest.last.clear()
        try:
            if is_stream:
                (interest,) = one.interests
                assert interest.key is not None
                if interest.cursor:
                    headers["last-event-id"] = interest.cursor
                one.stream = core.handlers.live.subscribe(
                    Request(headers=headers),
                    core.handlers.context.identify_reader(Request(headers=headers)),
                    interest.table,
                    interest.key,
                    wake=lambda: self._woken(one),
                    end=lambda: self._leave(one),
                )
                one.is_open = True
                self._drain(one)
                return
            identity = core.handlers.context.identify_reader(Request(headers=headers))
        except ApiError:
            self._connections.remove(one)  # its node ceased to be ready, or does not know its user
            return
        session = one.session = core.handlers.session(
            identity=identity,
            address="client",
            send=lambda frame: self._hear(one, frame),
            wake=lambda: self._woken(one),
            end=lambda: self._leave(one),
        )
        one.is_open = True
        for number, interest in enumerate(one.interests):
            fields: dict[str, Any] = {"op": "subscribe", "id": number, "sub": number, "table": interest.table}
            if interest.key is not None:
                fields["key"] = interest.key
            elif interest.prefix:
                fields["prefix"] = interest.prefix
            if interest.cursor:
                fields["from"] = interest.cursor
            ensureDeferred(session.receive(msgspec.json.encode(fields))).addErrback(self._clients.broke)

    def _leave(self, one: _Connection) -> None:
        core = one.node.core
        if core is None or not one.is_open:
            return
        one.is_open = False
        if one.stream is not None:
            one.stream.close()
        if one.session is not None:
            one.session.close()

    def _return(self, one: _Connection) -> None:
        if one.process.alive and one in self._connections:
            one.process.run(self._open, one, one.stream is not None)

    def _woken(self, one: _Connection) -> None:
        """There is something to read."""
        if one.delay_s == 0.0:
            self._drain(one)
        elif not one.is_due:
            one.is_due = True
            self._world.later(self._world.random.uniform(0.0, one.delay_s), lambda: self._drain(one), one.process)

    def _drain(self, one: _Connection) -> None:
        one.is_due = False
        while one.is_open and one.session is not None and (frame := one.session.take()) is not None:
            self._hear(one, frame)
        while one.is_open and one.stream is not None and (item := one.stream.subscription.take()) is not None:
            self._hear_chunk(one, sse_bytes(item))

    # What they hear

    def _hear(self, one: _Connection, payload: bytes) -> None:
        """A frame of a websocket."""
        frame = _EVENT.decode(payload)
        if frame.error:
            if frame.code not in ("starting", "removed", "bad_token"):
                self._witness.say(f"P8: a subscription at {one.node.host} is answered with {payload!r}")
            one.process.run(self._leave, one)
            if one in self._connections:
                self._connections.remove(one)
            return
        interest = one.interests[frame.sub]
        if not frame.op:
            interest.cursor = frame.cursor
        elif frame.op != "event":
            interest.cursor = frame.cursor
            self._told(interest)
        else:
            interest.cursor = frame.cursor
            shown = None if frame.type == "Deleted" else bytes(frame.record)
            self._heard(one, interest, (frame.table, frame.key), shown)

    def _hear_chunk(self, one: _Connection, chunk: bytes) -> None:
        """An event of a stream, as a chunk of HTTP."""
        (interest,) = one.interests
        size, _, rest = chunk.partition(b"\r\n")
        text = rest[:-2]
        if int(size, 16) != len(text):
            self._witness.say(f"P8: a chunk of {len(text)} bytes is said to have {size!r}")
        fields = dict(line.split(b": ", 1) for line in text.strip().split(b"\n"))
        if b"event" in fields:
            self._told(interest)
            return
        interest.cursor = fields[b"id"].decode()
        assert interest.key is not None
        data = fields[b"data"]
        shown = None if data == b'"Deleted"' else data.removeprefix(b'{"Updated":')[:-1]
        self._heard(one, interest, (interest.table, interest.key), shown)

    def _told(self, interest: _Interest) -> None:
        interest.told_s = self._world.now_s
        interest.last.clear()

    def _heard(self, one: _Connection, interest: _Interest, key: Key, shown: bytes | None) -> None:
        name = f"{one.who} at {one.node.host} listens to {interest.text()}: {'/'.join(key)}"
        if not interest.matches(key):
            self._witness.say(f"P8: {name} is not what it listens to")
        before = interest.last.get(key)
        record = self._oldest_delete(one, key, before) if shown is None else self._answers.shown(key, shown)
        if record is None:
            if shown is None:
                self._witness.say(f"P8: {name} is deleted, it hears, though nobody deleted it since")
            return
        if one.who not in (ROOT, record.owner.partition("#")[0]):
            self._witness.say(f"P9: {name} {name_of(record)} is {record.owner}'s")
        known = self._witness.ledger.of(key)[record.dot]

        def durable() -> None:
            if not known.held_by and shown is not None:
                self._witness.say(f"P8: {name} {name_of(record)} is announced before anybody has it durably")

        self._world.later(0.0, durable)  # the log tells the witness in the same turn
        if before is not None and not is_preferred(record, before):
            self._witness.say(f"P8: {name} {name_of(record)} is heard after {name_of(before)}")
            return
        interest.last[key] = record

    def _oldest_delete(self, one: _Connection, key: Key, before: Record | None) -> Record | None:
        """The least record that can be what a listener is told of as a delete."""
        found: Record | None = None
        for known in self._witness.ledger.of(key).values():
            record = known.record
            is_theirs = one.who in (ROOT, record.owner.partition("#")[0])
            if record.value is not None or not is_theirs:
                continue
            if before is None or is_preferred(record, before):
                found = record if found is None or is_preferred(found, record) else found
        return found

    # At rest

    def judge(self, final: dict[Key, Record], born_s: dict[tuple[Key, Dot], float]) -> None:
        """After everything has come to rest: has everybody heard the last of each key?

        :param final: what the owners hold.
        :param born_s: when each record was written, by (key, dot).
        """
        for one in self._connections:
            if not one.process.alive or not one.is_open:
                continue
            self._drain(one)
            for interest in one.interests:
                for key, record in final.items():
                    if interest.matches(key) and one.who in (ROOT, record.owner.partition("#")[0]):
                        self._judge_key(one, interest, key, record, born_s.get((key, record.dot), 0.0))
                for key, last in interest.last.items():
                    if key not in final and last.value is not None and not last.expires_ms:
                        self._witness.say(
                            f"P8: {one.who} at {one.node.host}: {'/'.join(key)} is gone, and was not told"
                        )

    def _judge_key(self, one: _Connection, interest: _Interest, key: Key, record: Record, born_s: float) -> None:
        last = interest.last.get(key)
        name = f"{one.who} at {one.node.host} listens to {interest.text()}: {'/'.join(key)}"
        if last is not None and (last.dot == record.dot or last.value is record.value is None):
            return
        begun_s = max(interest.since_s, interest.told_s) + SOON_S
        if born_s > begun_s or (last is not None and interest.told_s < interest.since_s):
            text = "nothing" if last is None else f"{last.value!r} {name_of(last)}"
            self._witness.say(
                f"P8: {name}: the last heard is {text}, owners hold {record.value!r} {name_of(record)} since "
                f"{born_s:.3f}, listening since {begun_s:.3f}"
            )
