"""Presence in a world of its own: who is there, whatever happens to clients, nodes and networks meanwhile.

Visitors open a socket at a node, put an ephemeral record, change it, say goodbye or are lost; others write and delete
under the same keys. Nodes are killed, frozen and cut off. When everything has come to rest, and the time of all leases
has passed, those are there whose sockets live, and nobody else; and nobody has heard twice that one of them ended.

It is a world beside that of `dynatwist.sim.run`, whose histories stay as they are.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random
from typing import Any

import msgspec
from twisted.internet.defer import ensureDeferred

from dynatwist.api.session import Session
from dynatwist.auth.user import USERS_TABLE, User
from dynatwist.core import Core
from dynatwist.errors import ApiError
from dynatwist.feed.hub import Event, Notice, Subscription
from dynatwist.feed.sight import EVERYTHING
from dynatwist.model.lease import ENDED_MS
from dynatwist.model.record import Key, Record
from dynatwist.replication.quorum import Level
from dynatwist.replication.request import Kind, Operation

from . import checks
from .cluster import SimCluster, SimNode
from .recurring import Recurring
from .world import Process, World

TABLE = "here"
KEYS = 5
TTLS_S = (2, 4, 8)
USERS = ("ann", "ben")
STORM_S = (20.0, 60.0)
REST_S = 40.0
"""The longest lease, three owners one after the other, and all that has to be found out before."""
SETTLE_S = 90.0


class _Answer(msgspec.Struct):
    id: Any = None
    ok: bool = False
    code: str = ""


_ANSWER = msgspec.json.Decoder(_Answer)


@dataclass(slots=True)
class Visitor:
    """One client and its socket.

    :ivar wanted: by key, what it put last, and whether that was acknowledged; ``None`` where it does not know.
    """

    number: int
    node: SimNode
    process: Process
    session: Session
    is_open: bool = True
    wanted: dict[Key, tuple[int, bool]] = field(default_factory=dict)

    @property
    def is_there(self) -> bool:
        """Whether its socket lives."""
        return self.is_open and self.process.alive


class Ear:
    """Hears all that one process tells of the table.

    :ivar wrong: what must not be heard.
    """

    def __init__(self, host: str, core: Core, wrong: list[str]) -> None:
        self._host = host
        self._wrong = wrong
        self._ended: dict[Key, Record] = {}
        self._subscription = Subscription(table=TABLE, key=None, prefix="", sight=EVERYTHING, wake=self._hear)
        core.hub.subscribe(self._subscription, None)

    def _hear(self) -> None:
        while (item := self._subscription.take()) is not None:
            if isinstance(item, Notice):
                self._ended.clear()
            else:
                self._heard(item)

    def _heard(self, event: Event) -> None:
        ended = self._ended.pop(event.key, None)
        if not event.is_over:
            return
        if ended is not None and ended.lineage == event.record.lineage:
            self._wrong.append(f"{event.key[1]} is heard to end twice at {self._host}")
        self._ended[event.key] = event.record


class PresenceWorld:
    """See the module.

    :ivar wrong: what was found.
    """

    def __init__(self, seed: int, tracing: bool = False) -> None:
        self._random = Random(f"presence {seed}")
        self.world = World(seed, tracing)
        self.wrong: list[str] = []
        self._cluster = SimCluster(self.world, self._random.choice((3, 4)), self._on_core)
        self._visitors: list[Visitor] = []
        self._numbers = 0
        self._writes: dict[Key, int] = {}
        self._doings = (
            (self._arrive, 1.5), (self._put, 3.0), (self._leave, 1.0), (self._write, 0.3), (self._strike, 0.25),
        )  # fmt: skip

    def run(self) -> list[str]:
        """A storm, a rest, and the judgement.

        :returns: what was found.
        """
        for node in self._cluster.nodes:
            node.start()
        if not self.world.run_until(self._cluster.is_settled, SETTLE_S):
            return ["the cluster did not form"]
        self._enroll()
        for _ in range(2):
            self._storm()
            if not self._rest():
                return [*self.wrong, "the cluster does not settle"]
            self._judge()
        return [*self.wrong, *self.world.errors]

    def _on_core(self, node: SimNode, core: Core) -> None:
        Ear(node.host, core, self.wrong)

    def _enroll(self) -> None:
        node = self._cluster.nodes[0]
        for name in USERS:
            self._submit(
                node,
                Operation(
                    Kind.PUT, (USERS_TABLE, name), Level.ALL, msgspec.json.encode(User(name, "")), any_owner=True
                ),
            )
        self.world.run(self.world.now_s + 2)

    def _storm(self) -> None:
        self.world.say("a storm begins")
        doings = [Recurring(self.world, rate_s, act, self._random) for act, rate_s in self._doings]
        for doing in doings:
            doing.start_later()
        self.world.run(self.world.now_s + self._random.uniform(*STORM_S))
        for doing in doings:
            doing.stop()

    def _rest(self) -> bool:
        self.world.say("calm")
        self._cluster.network.heal()
        for node in self._cluster.nodes:
            if node.process is not None:
                node.process.thaw()
            self._start(node)
        if not self.world.run_until(self._cluster.is_settled, SETTLE_S):
            return False
        self.world.run(self.world.now_s + REST_S)
        return self.world.run_until(lambda: checks.is_converged(self._cluster), SETTLE_S, step_s=1.0)

    # What happens

    def _arrive(self) -> None:
        nodes = self._cluster.ready_nodes()
        if not nodes or sum(one.is_there for one in self._visitors) >= KEYS:
            return
        node = self._random.choice(nodes)
        core, process = node.core, node.process
        assert core is not None
        assert process is not None
        name = self._random.choice(USERS)

        def open_socket() -> None:
            try:
                identity = core.users.authenticate(core.users.tokens.issue(name, name, 0))
                session = core.handlers.session(
                    identity=identity, address="client", send=hear, wake=lambda: None, end=lambda: None
                )
            except ApiError:
                return
            self._numbers += 1
            visitor = Visitor(self._numbers, node, process, session)
            visitors.append(visitor)
            self._visitors.append(visitor)
            self.world.say(f"visitor {visitor.number} comes to {node.host}")

        def hear(payload: bytes) -> None:
            self._answered(visitors[0], _ANSWER.decode(payload))

        visitors: list[Visitor] = []
        process.run(open_socket)

    def _put(self) -> None:
        there = [one for one in self._visitors if one.is_there]
        if not there:
            return
        visitor, key = self._random.choice(there), self._key()
        self._numbers += 1
        number = self._numbers
        self._writes[key] = number
        visitor.wanted[key] = number, False
        frame = {
            "op": "put", "id": f"{key[1]} {number}", "table": TABLE, "key": key[1],
            "value": {"n": number}, "ephemeral": True, "ttl": self._random.choice(TTLS_S),
        }  # fmt: skip
        self.world.say(f"visitor {visitor.number} puts {key[1]} = {number} at {visitor.node.host}")
        receive = visitor.session.receive
        visitor.process.run(lambda: ensureDeferred(receive(msgspec.json.encode(frame))).addErrback(self._broke))

    def _answered(self, visitor: Visitor, answer: _Answer) -> None:
        name, number = str(answer.id).split()
        key = TABLE, name
        self.world.say(f"visitor {visitor.number} hears {answer.code or 'ok'} of {name} = {number}")
        if visitor.wanted.get(key, (0, False))[0] == int(number):
            if answer.ok:
                visitor.wanted[key] = int(number), True
            else:
                del visitor.wanted[key]

    def _leave(self) -> None:
        there = [one for one in self._visitors if one.is_there]
        if there:
            visitor = self._random.choice(there)
            in_order, silent_s = self._random.random() < 0.5, self._random.uniform(0, 4)
            visitor.is_open = False
            self.world.say(f"visitor {visitor.number} {'goes' if in_order else 'is lost'}")
            visitor.process.run(lambda: visitor.session.close(in_order=in_order, silent_s=silent_s))

    def _write(self) -> None:
        """Somebody else writes, or deletes."""
        nodes = self._cluster.ready_nodes()
        if nodes:
            key = self._key()
            self._numbers += 1
            self._writes[key] = self._numbers
            kind = self._random.choice((Kind.PUT, Kind.DELETE))
            self.world.say(f"somebody does {kind.value} {key[1]} = {self._numbers}")
            value = _value(self._numbers) if kind is Kind.PUT else b""
            self._submit(self._random.choice(nodes), Operation(kind, key, Level.QUORUM, value, "ann", any_owner=True))

    def _strike(self) -> None:
        node = self._random.choice(self._cluster.nodes)
        what = self._random.choice(("kill", "pause", "cut off", "heal"))
        long_s = self._random.choice((1.0, 6.0, 20.0))
        if what == "kill":
            node.kill()
            self.world.later(long_s, lambda: self._start(node))
        elif what == "pause" and node.awake and (process := node.process) is not None:
            process.pause()
            self.world.say(f"{node.host} is paused for {long_s:g} s")
            self.world.later(long_s, process.thaw)
        elif what == "cut off":
            others = [one.host for one in self._cluster.nodes if one is not node]
            self._cluster.network.cut([node.host], self._random.sample(others, self._random.randint(1, len(others))))
            self.world.later(long_s, self._cluster.network.heal)
        self.world.say(f"{what} {node.host}")

    def _start(self, node: SimNode) -> None:
        if not node.running:
            node.start()

    def _key(self) -> Key:
        return TABLE, f"k{self._random.randrange(KEYS)}"

    def _submit(self, node: SimNode, operation: Operation) -> None:
        assert node.process is not None
        assert node.core is not None
        node.process.run(node.core.coordinator.submit, operation, lambda result: None)

    def _broke(self, failure: Any) -> None:
        self.wrong.append(f"a session raised {failure.getTraceback()}")

    # The judgement

    def _judge(self) -> None:
        there = [one for one in self._visitors if one.is_there]
        records = {key: record for core in self._cluster.cores() for key, record in _held(core).items()}
        for key, record in records.items():
            if record.lease is not None and not record.is_dead(ENDED_MS) and not self._is_kept(key, record, there):
                self.wrong.append(f"{key[1]} {record.value!r} is there, and the socket of whoever put it is not")
        for visitor in there:
            for key, (number, is_sure) in visitor.wanted.items():
                if is_sure and self._writes[key] == number and _has_ended(records.get(key), number):
                    self.wrong.append(f"{key[1]} = {number} has ended, though visitor {visitor.number} is there")

    def _is_kept(self, key: Key, record: Record, there: list[Visitor]) -> bool:
        """Whether somebody who is there has put a record, at the process that it names."""
        for one in there:
            number, _ = one.wanted.get(key, (0, False))
            core, lease = one.node.core, record.lease
            if record.value == _value(number) and core is not None and lease is not None:
                return core.cluster.processes.me == lease.actor
        return False


def _value(number: int) -> bytes:
    return b'{"n":%d}' % number


def _held(core: Core) -> dict[Key, Record]:
    """What a node holds of the table."""
    return {key: one for replica in core.store.replicas for key, one in replica.records.items() if key[0] == TABLE}


def _has_ended(held: Record | None, number: int) -> bool:
    """Whether a record was ended by its lease; where another write won, it is nobody's presence any more."""
    return held is None or (held.expires_ms == ENDED_MS and held.value == _value(number))


def simulate_presence(seed: int, tracing: bool = False) -> tuple[list[str], list[str]]:
    """One history.

    :returns: what was found, and the trace.
    """
    world = PresenceWorld(seed, tracing)
    return world.run(), world.world.trace
