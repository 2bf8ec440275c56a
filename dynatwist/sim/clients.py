"""Clients of a simulated cluster: single requests and bursts, sessions with majorities or causal tokens, new users."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import count, islice
from random import Random
from weakref import WeakKeyDictionary

import msgspec
from twisted.internet.defer import ensureDeferred
from twisted.python.failure import Failure

from dynatwist.api.request import Request
from dynatwist.auth.tokens import Role
from dynatwist.auth.users import USERS_TABLE, User
from dynatwist.core import Core
from dynatwist.errors import ApiError
from dynatwist.model.record import Key, Record
from dynatwist.model.ring import partition_of
from dynatwist.replication.quorum import Level
from dynatwist.replication.request import Kind, Operation
from dynatwist.requests.listing import Listing, ListingUnavailable

from .answers import Answers
from .cluster import SimCluster, SimNode
from .door import Ask, Door, Reply
from .frames import Framed, ask_by_frame
from .history import STRICT_TABLE, Call, History, name_of
from .order import is_preferred
from .plan import Load

TABLES = ("users", "things")
OWNERS = ("alice", "bob")
STRICT_KEYS = ("s0", "s1")
LEVELS = ("quorum", "majority", "one", "all")
KINDS = (Kind.PUT, Kind.DELETE, Kind.PATCH, Kind.GET)
LISTINGS = 0.02
"""Share of plain requests that list a table."""
ROOT = "admin"
BY_SOCKET = 0.1
"""Share of requests without token or ETag that come as frames of a websocket, whose answers do not say who has it."""
CONDITIONAL = 0.1
"""Share of plain requests that name an ETag."""

OnCall = Callable[[Call], None]


@dataclass(slots=True)
class _Causal:
    """A session with a token: what it saw last of each key, as the merge order has it."""

    name: str
    token: str = ""
    saw: dict[Key, Record] = field(default_factory=dict)
    busy: bool = False


def _keys(partitions: int) -> Iterator[Key]:
    """Keys of both tables; all in a few partitions, on request, where they meet each other's clocks and G."""
    for number in count():
        key = (TABLES[number % 2], f"k{number // 2}")
        if not partitions or partition_of(*key) < partitions:
            yield key


def owner_of(key: Key) -> str:
    """Who writes a key, as a rule."""
    return OWNERS[sum(key[1].encode()) % 2]


class Clients:
    """See the module.

    :param on_call: told of every call before it is sent.
    :param on_answer: told of every call that was answered.
    :param answers: knows the record that an answer names.
    :ivar violations: what sessions with a causal token saw go backwards.
    """

    def __init__(
        self,
        *,
        cluster: SimCluster,
        history: History,
        load: Load,
        on_call: OnCall,
        on_answer: OnCall,
        answers: Answers,
    ) -> None:
        self._answers = answers
        self._doors: WeakKeyDictionary[Core, Door] = WeakKeyDictionary()
        self._tokens: dict[str, str] = {}
        self._tags: dict[Key, deque[str]] = {}
        self._cluster = cluster
        self._world = cluster.world
        self._history = history
        self._load = load
        self._on_call = on_call
        self._on_answer = on_answer
        self._running = False
        self._number = 0
        self._names = 0
        self._causal = [_Causal(f"causal{number}") for number in range(3)]
        self._keys = list(islice(_keys(load.partitions), load.keys))
        self._staged: list[str] = []
        self._by_socket = Random(f"by socket {cluster.world.seed}")
        self.violations: list[str] = []
        self.value_bytes = 0

    def know(self, keys: Iterable[Key]) -> None:
        """Ask for some more keys than the plan says."""
        self._keys += keys

    def stage(self, name: str) -> None:
        """A key of `STRICT_TABLE` that a scene is about; listings have to show it."""
        self._staged.append(name)

    def enroll(self) -> None:
        """Have the users known that all requests come from; their uids are their names."""
        node = self._cluster.ready_nodes()[0]
        assert node.core is not None
        assert node.process is not None
        for name in OWNERS:
            value = msgspec.json.encode(User(name, ""))
            key = USERS_TABLE, name
            operation = Operation(Kind.PUT, key, Level.ALL, value, any_owner=True)
            node.process.run(node.core.coordinator.submit, operation, lambda result: None)

    def is_enrolled(self) -> bool:
        """Whether every node knows these users."""
        keys = [(USERS_TABLE, name) for name in OWNERS]
        stores = [core.store for core in self._cluster.cores()]
        return all(store.held(key) and store.readable.is_all for store in stores for key in keys)

    def start(self) -> None:
        """Begin to ask."""
        self._running = True
        self._next()
        if self._load.registrations:
            self._world.later(self._world.random.expovariate(self._load.registrations / 10), self._register_next)

    def stop(self) -> None:
        """No more requests."""
        self._running = False

    def _next(self) -> None:
        if not self._running:
            return
        random = self._world.random
        self._world.later(random.expovariate(self._load.rate_s), self._next)
        nodes = self._cluster.ready_nodes()
        if not nodes:
            return
        draw = random.random()
        if draw < self._load.strict:
            self._ask_strictly(random.choice(nodes), (STRICT_TABLE, random.choice(STRICT_KEYS)))
        elif draw < self._load.strict + self._load.causal:
            self._ask_causally(random.choice(nodes))
        elif random.random() < self._load.burst:
            key = random.choice(self._keys)
            for _ in range(random.randint(2, 4)):
                self._ask_plainly(random.choice(nodes), key)
        elif random.random() < LISTINGS:
            self._list(random.choice(nodes))
        else:
            self._ask_plainly(random.choice(nodes), random.choice(self._keys))

    def _list(self, node: SimNode) -> None:
        """A table, with values or without, page by page; it may fail, but it is in order, and each key comes once."""
        random = self._world.random
        table, level = random.choice(TABLES), Level(random.choice(LEVELS))
        of_names, at_once = random.random() < 0.5, random.choice((2, 256))
        found: list[str] = []

        async def walk(listing: Listing) -> None:
            after: str | None = ""
            while after is not None:
                if of_names:
                    names = await listing.names(table, "", after, level, at_once)
                    found.extend(name for name, _ in names.names)
                    after = names.next_after
                else:
                    page = await listing.page(table, "", after, level, at_once)
                    found.extend(name for name, _ in page.records)
                    if any(record.value is None for _, record in page.records):
                        self.violations.append(f"P3: what is deleted in {table} is listed at {node.host}")
                    sizes = [len(record.value or b"") for _, record in page.records]
                    if sum(sizes[:-1]) > listing.page_bytes:
                        self.violations.append(f"P10: a page of {table} at {node.host} holds {sum(sizes)} bytes")
                    after = page.next_after

        def over(result: object) -> None:
            if isinstance(result, Failure) and not result.check(ListingUnavailable):
                self.broke(result)
            elif found != sorted(set(found)):
                self.violations.append(f"P6: {table} listed at {node.host}: {found}")

        core, process = node.core, node.process
        assert core is not None
        assert process is not None
        process.run(lambda: ensureDeferred(walk(core.handlers.context.listing)).addBoth(over))

    def _ask_strictly(self, node: SimNode, key: Key) -> None:
        """With ``majority``; a write is watched by others while it is under way."""
        random = self._world.random
        kind = random.choices(KINDS, (4, 1, 0, 2))[0]
        self.ask(node, f"strict{random.randrange(4)}", kind, key, "majority")

        def watch() -> None:
            nodes = self._cluster.ready_nodes()
            if nodes and self._running:
                self.ask(random.choice(nodes), f"strict{random.randrange(4)}", Kind.GET, key, "majority")

        for _ in range(random.randint(0, 3) if kind is not Kind.GET else 0):
            self._world.later(random.expovariate(50.0), watch)

    def _ask_plainly(self, node: SimNode, key: Key) -> None:
        random, load = self._world.random, self._load
        choice = random.choices(range(6), load.weights)[0]
        kind = KINDS[choice] if choice < len(KINDS) else Kind.PUT
        level = random.choices(LEVELS, load.levels)[0]
        ttl_s = random.randint(1, 6) if choice == 4 else 0
        tag = ""
        if choice < len(KINDS) and key in self._tags and random.random() < CONDITIONAL:
            tag = random.choice((*self._tags[key], *([] if kind is Kind.GET else ["*"])))
        self.ask(node, "plain", kind, key, level, ttl_s=ttl_s, if_absent=choice == 5, then=self._maybe_again, tag=tag)

    def write_over(self, key: Key) -> None:
        """Others write a key while somebody waits for an answer about it."""
        random = self._world.random

        def write(kind: Kind) -> None:
            nodes = self._cluster.ready_nodes()
            if nodes and self._running:
                self.ask(random.choice(nodes), "over", kind, key, "quorum")

        for kind in (Kind.PUT, Kind.DELETE) if key in self._keys else ():
            self._world.later(random.uniform(0.02, 0.5), lambda kind=kind: write(kind))  # type: ignore[misc]

    def _maybe_again(self, call: Call) -> None:
        """What failed is tried again by some, at another node."""
        nodes = self._cluster.ready_nodes()
        has_failed = call.is_write and call.code in ("uncertain", "unavailable")
        if has_failed and nodes and self._running and self._world.random.random() < 0.3:
            self.ask(self._world.random.choice(nodes), "again", call.kind, call.key, call.level)

    # One request

    def ask(
        self,
        node: SimNode,
        session: str,
        kind: Kind,
        key: Key,
        level: str,
        token: str = "",
        ttl_s: int = 0,
        if_absent: bool = False,
        then: OnCall = lambda call: None,
        tag: str = "",
        is_large: bool = False,
    ) -> Call:
        """Send a request to a node.

        :param token: what the session saw.
        :param tag: the ETag that a write demands, or that a reader has.
        :param is_large: whether the value is as large as values may be in this seed.
        :param then: called with the call once it is answered, which may be never.
        """
        call = self.begin(node, session, kind, key, level)
        call.ttl_s, call.if_absent, call.is_large = ttl_s, if_absent, is_large
        call.if_match, call.if_none_match = (tag, "") if call.is_write else ("", tag)
        assert node.process is not None
        node.process.run(self._send, node, call, token, then)
        return call

    def begin(self, node: SimNode, session: str, kind: Kind, key: Key, level: str, who: str = "") -> Call:
        """Note a request that is about to be sent.

        :param who: asks; usually one for each key.
        """
        random = self._world.random
        usual = owner_of(key)
        who = who or (
            usual if session in ("probe", "endurance", "scene") or random.random() < 0.9 else random.choice(OWNERS)
        )
        assert node.process is not None
        call = Call(session, kind, key, level, 0, who, node.host, node.process, self._world.now_s)
        if call.is_write:
            self._number += 1
            call.number = self._number
        elif session != "plain" or random.random() < 0.5:
            call.user = ROOT
        self._history.calls.append(call)
        self._on_call(call)
        return call

    def keys_in(self, table: str) -> list[str]:
        """The keys of a table that requests are about."""
        if table == STRICT_TABLE:
            return [*STRICT_KEYS, *self._staged]
        return [key[1] for key in self._keys if key[0] == table] or ["k0"]

    def value_of(self, call: Call) -> bytes:
        """What a write sends: its number, so that it is known again; where a seed has large values, some are."""
        if call.kind in (Kind.GET, Kind.DELETE):
            return b""
        random = self._world.random
        name = b"p" if call.kind is Kind.PATCH else b"n"
        if not self.value_bytes or call.session == "probe" or not (call.is_large or random.random() >= 0.6):
            call.sent = b'{"%b":%d}' % (name, call.number)
        else:
            size_bytes = random.choice((self.value_bytes // 4, self.value_bytes))
            call.sent = b'{"%b":%d,"x%b":"%b"}' % (name, call.number, name, b"x" * size_bytes)
        return call.sent

    def door(self, node: SimNode) -> Door:
        """The client port of a node's process."""
        assert node.core is not None
        if node.core not in self._doors:
            self._doors[node.core] = Door(node.core)
        return self._doors[node.core]

    def bearer(self, node: SimNode, who: str) -> dict[str, str]:
        """The header that says who asks: a user, or `ROOT`."""
        assert node.core is not None
        tokens = node.core.users.tokens
        token = self._tokens.get(who, "")
        if tokens.verify(token) is None:  # by the node's clock, which may be years ahead, it has expired
            token = self._tokens[who] = tokens.issue(who, who, 0, Role.ADMIN if who == ROOT else Role.USER)
        return {"Authorization": f"Bearer {token}"}

    def _send(self, node: SimNode, call: Call, token: str, then: OnCall) -> None:
        is_plain = not (token or call.if_match or call.if_none_match or call.if_absent) and call.session != "probe"
        if is_plain and self._by_socket.random() < BY_SOCKET:
            self._send_by_frame(node, call, then)
            return
        query = {"r" if call.kind is Kind.GET else "w": call.level}
        if call.ttl_s:
            query["ttl"] = str(call.ttl_s)
        headers = self.bearer(node, call.user)
        named = {
            "X-Causal-Token": token,
            "If-Match": call.if_match,
            "If-None-Match": "*" if call.if_absent else call.if_none_match,
        }
        headers |= {name: text for name, text in named.items() if text}
        ask = Ask(call.kind.value.upper(), (call.key[0], "key", call.key[1]), query, headers, self.value_of(call))

        def answered(reply: Reply) -> None:
            self.answered(call, reply.code, self._record_of(call, reply), reply.headers.get("x-replicas", ""))
            then(call)

        self.door(node).send(ask, answered, self.broke)

    def _send_by_frame(self, node: SimNode, call: Call, then: OnCall) -> None:
        assert node.core is not None

        def answered(framed: Framed) -> None:
            record = self._answers.shown(call.key, bytes(framed.record)) if bytes(framed.record) else None
            self.answered(call, "ok" if framed.ok else framed.code, record, "")
            then(call)

        token = self.bearer(node, call.user)["Authorization"].partition(" ")[2]
        value = self.value_of(call)
        ask_by_frame(node.core, call, token=token, value=value, respond=answered, broke=self.broke)

    def _record_of(self, call: Call, reply: Reply) -> Record | None:
        """The record that an answer names."""
        if reply.code != "ok":
            return None
        tag = reply.headers["etag"]
        self._tags.setdefault(call.key, deque(maxlen=4)).append(tag)
        status = {Kind.PUT: 201, Kind.GET: 304 if tag == call.if_none_match else 200}.get(call.kind, 200)
        if reply.status != status:
            self.violations.append(f"P6: {call.text()}: status {reply.status}")
        if call.kind is Kind.DELETE or reply.status == 304:
            return self._answers.named(call.key, tag)
        record = self._answers.shown(call.key, reply.body, tag)
        if record is not None and call.user not in (ROOT, record.owner.partition("#")[0]):
            self.violations.append(f"P9: {call.text()}: it is {record.owner}'s {name_of(record)}")
        return record

    def answered(self, call: Call, code: str, record: Record | None, replicas: str) -> None:
        """A request was answered."""
        call.code, call.record, call.replicas = code, record, replicas
        call.ended_s = self._world.now_s
        self._world.say(call.text())
        self._on_answer(call)

    def broke(self, failure: Failure) -> None:
        """A request raised what is no answer."""
        self._world.errors.append(f"a request raises {failure.getTraceback()}")

    # Sessions with a causal token

    def _ask_causally(self, node: SimNode) -> None:
        random = self._world.random
        idle = [session for session in self._causal if not session.busy]
        if not idle:
            return
        session = random.choice(idle)
        key = random.choice(self._keys)
        kind = random.choices(KINDS, (3, 1, 0, 5))[0]
        session.busy = True
        level = random.choices(LEVELS, self._load.levels)[0]
        call = self.ask(node, session.name, kind, key, level, session.token, then=lambda call: self._saw(session, call))
        self._world.later(8.0, lambda: self._release(session, call))

    def _release(self, session: _Causal, call: Call) -> None:
        if not call.code:
            session.busy = False  # its node died

    def _saw(self, session: _Causal, call: Call) -> None:
        session.busy = False
        if call.record is None:
            return  # an absent key: the final judgement knows whether it may be
        before = session.saw.get(call.key)
        if before is not None and is_preferred(before, call.record):
            self.violations.append(f"P6: {call.text()}, which is older than what its token names, {before.value!r}")
        session.saw[call.key] = call.record
        token = Request(headers={"x-causal-token": session.token} if session.token else {}).causal()
        session.token = token.with_dot(partition_of(*call.key), call.record.dot).render()

    # New users

    def _register_next(self) -> None:
        if not self._running:
            return
        random = self._world.random
        self._world.later(random.expovariate(self._load.registrations / 10), self._register_next)
        self._names += random.random() < 0.7
        name = f"u{self._names}"
        nodes = self._cluster.ready_nodes()
        chosen = random.sample(nodes, min(len(nodes), random.choice((1, 2, 3))))
        if chosen and random.random() < 0.3:
            chosen.append(chosen[0])  # twice at one node at once
        for node in chosen:
            assert node.process is not None
            node.process.run(self._register, node, name)

    def _register(self, node: SimNode, name: str) -> None:
        core = node.core
        assert core is not None
        running = ensureDeferred(core.users.register_or_login(name, f"secret {name}", node.host))

        def done(result: tuple[bool, str]) -> None:
            new, _ = result
            self._world.say(f"register {name} at {node.host}: {'new' if new else 'known'}")
            if new:
                self._history.registered[name] = self._history.registered.get(name, 0) + 1

        def failed(failure: Failure) -> None:
            failure.trap(ApiError)
            assert isinstance(failure.value, ApiError)
            self._world.say(f"register {name} at {node.host}: {failure.value.code}")
            if failure.value.status == 401:
                self.violations.append(f"P1: user {name} is refused with the right secret: {failure.value}")

        running.addCallbacks(done, failed).addErrback(self.broke)
