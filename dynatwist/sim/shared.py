"""A table that people share: its rules change while they read, write, list and listen to it (P9).

Each answer, and each event, is judged by `dynatwist.sim.entitled`.
"""

from __future__ import annotations

from functools import partial
from random import Random

import msgspec
from twisted.internet.defer import ensureDeferred

from dynatwist.api.session import Session
from dynatwist.auth.tokens import Identity
from dynatwist.model.clock import Stamp
from dynatwist.model.record import Record
from dynatwist.replication.request import Kind

from .answers import Answers
from .clients import LEVELS, Clients
from .cluster import SimCluster, SimNode
from .door import Ask, Reply
from .entitled import PREFIXES, PRINCIPALS, Entitled, may
from .history import SHARED_TABLE, name_of
from .keys import OWNERS, ROOT
from .recurring import Recurring
from .witness import Witness
from .world import Process

KEYS = ("k0", "k1", "k10", "alice/k", "bob/k", "pub/k")
KINDS = (Kind.PUT, Kind.GET, Kind.DELETE, Kind.PATCH)
WEIGHTS = (5, 5, 2, 2)
SETTING = 0.1
"""Share of requests that set other rules."""
LISTING = 0.1
"""Share that read all that there is."""
LISTENING = 0.1
"""Share that begin to listen, until their process ends."""
MOST_SOCKETS = 4


class _Listener:
    """Somebody with a websocket, who listens to all of the table."""

    def __init__(self, shared: Shared, node: SimNode, who: str, identity: Identity) -> None:
        assert node.core is not None
        assert node.process is not None
        self.process: Process = node.process
        self._shared, self._node, self._who = shared, node, who
        self._session: Session = node.core.handlers.session(
            identity=identity, address="client", send=lambda frame: None, wake=self._wake, end=lambda: None
        )
        frame = msgspec.json.encode({"op": "subscribe", "id": 1, "table": SHARED_TABLE, "prefix": ""})
        ensureDeferred(self._session.receive(frame))

    def _wake(self) -> None:
        self.process.world.later(0.0, self._drain, self.process)

    def _drain(self) -> None:
        while (frame := self._session.take()) is not None:
            self._shared.heard(self._node, self._who, frame)


class _Event(msgspec.Struct):
    op: str = ""
    key: str = ""
    record: msgspec.Raw = msgspec.Raw(b"null")


class Shared:
    """See the module.

    :param rate_s: requests in a second.
    """

    def __init__(
        self,
        *,
        cluster: SimCluster,
        clients: Clients,
        answers: Answers,
        witness: Witness,
        entitled: Entitled,
        rate_s: float,
    ) -> None:
        self._cluster = cluster
        self._clients = clients
        self._answers = answers
        self._say = witness.say
        self._entitled = entitled
        self._random = Random(f"shared {cluster.world.seed}")
        self._asking = Recurring(cluster.world, rate_s, self._ask_something, self._random)
        self._listeners: list[_Listener] = []

    def start(self) -> None:
        """Begin to ask."""
        self._asking.start()

    def stop(self) -> None:
        """No more requests."""
        self._asking.stop()

    def token(self, node: SimNode, who: str) -> str:
        """With which somebody asks a node."""
        return self._clients.bearer(node, who)["Authorization"].partition(" ")[2]

    def _ask_something(self) -> None:
        nodes = self._cluster.ready_nodes()
        if not nodes:
            return
        random, draw = self._random, self._random.random()
        node, who = random.choice(nodes), random.choice(OWNERS)
        assert node.process is not None
        if draw < SETTING:
            node.process.run(self._set_rules, node)
        elif draw < SETTING + LISTING:
            node.process.run(self._list, node, who)
        elif draw < SETTING + LISTING + LISTENING:
            node.process.run(self._listen, node, who)
        else:
            kind = random.choices(KINDS, WEIGHTS)[0]
            key = SHARED_TABLE, random.choice(KEYS)
            self._clients.ask(node, "shared", kind, key, random.choice(LEVELS), who=who)

    # Rules

    def _set_rules(self, node: SimNode) -> None:
        rules = {
            prefix: {
                right: self._random.sample(PRINCIPALS, self._random.choice((0, 1, 1, 2)))
                for right in ("read", "create", "update", "delete")
            }
            for prefix in self._random.sample(PREFIXES, 3)
        }
        body = msgspec.json.encode({"access": [{"prefix": prefix, **rights} for prefix, rights in rules.items()]})
        ask = Ask("PUT", ("admin", "tables", SHARED_TABLE), {}, self._clients.bearer(node, ROOT), body)

        def replied(reply: Reply) -> None:
            self._cluster.world.say(f"rules at {node.host}: {body.decode()}: {reply.code}")

        self._clients.door(node).send(ask, replied, self._clients.broke)

    # All that there is

    def _list(self, node: SimNode, who: str) -> None:
        held = self._entitled.held(node)
        ask = Ask("GET", (SHARED_TABLE, "store"), {}, self._clients.bearer(node, who))
        self._clients.door(node).send(ask, partial(self._listed, node, who, held), self._clients.broke)

    def _listed(self, node: SimNode, who: str, first: Stamp, reply: Reply) -> None:
        if reply.code != "ok":
            return
        last = self._entitled.held(node)
        for name, shown in msgspec.json.decode(reply.body, type=dict[str, msgspec.Raw]).items():
            record = self._answers.shown((SHARED_TABLE, name), bytes(shown))
            if record is not None and not self._may_read(who, name, record, first, last):
                self._say(f"P9: {who} is shown {name} {name_of(record)} of {record.owner} in a listing of {node.host}")

    def _may_read(self, who: str, name: str, record: Record, first: Stamp, last: Stamp) -> bool:
        owner = record.owner.partition("#")[0]
        return any(may(rules, who, "read", name, owner) for rules in self._entitled.between(first, last))

    # Events

    def _listen(self, node: SimNode, who: str) -> None:
        self._listeners = [one for one in self._listeners if one.process.alive]
        assert node.core is not None
        identity = node.core.users.whose(self.token(node, who))
        if identity is not None and len(self._listeners) < MOST_SOCKETS:  # a node that comes back may know no users yet
            self._listeners.append(_Listener(self, node, who, identity))

    def heard(self, node: SimNode, who: str, frame: bytes) -> None:
        """Somebody is sent a frame: an event of what may not be read by the rules of that moment is none of theirs."""
        event = msgspec.json.decode(frame, type=_Event)
        if event.op != "event" or bytes(event.record) == b"null":
            return
        record = self._answers.shown((SHARED_TABLE, event.key), bytes(event.record))
        now = self._entitled.held(node)
        if record is not None and not self._may_read(who, event.key, record, now, now):
            self._say(f"P9: {who} hears of {event.key} {name_of(record)} of {record.owner} at {node.host}")
