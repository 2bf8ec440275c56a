"""Clients of the simulated cluster: they send one request, by HTTP or as a frame, and note what they are told."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from random import Random
from weakref import WeakKeyDictionary

from twisted.python.failure import Failure

from dynatwist.auth.tokens import Role
from dynatwist.core import Core
from dynatwist.model.record import Key, Record
from dynatwist.replication.request import Kind

from .answers import SHOWN, Answers
from .cluster import SimCluster, SimNode
from .door import Ask, Door, Reply
from .frames import Framed, ask_by_frame
from .history import Call, History
from .keys import OWNERS, ROOT, Keys, owner_of

LEVELS = ("quorum", "majority", "one", "all")
KINDS = (Kind.PUT, Kind.DELETE, Kind.PATCH, Kind.GET)
BY_SOCKET = 0.1
"""Share of requests without token or ETag that come as frames of a websocket, whose answers do not say who has it."""

OnCall = Callable[[Call], None]


class Clients:
    """See the module.

    :param on_call: told of every call before it is sent.
    :param on_answer: told of every call that was answered.
    :param answers: knows the record that an answer names.
    :param value_bytes: how large some values are; 0 where all are small.
    :ivar keys: what they ask for.
    :ivar violations: what answers showed that they must not.
    """

    def __init__(
        self,
        *,
        cluster: SimCluster,
        history: History,
        keys: Keys,
        value_bytes: int,
        on_call: OnCall,
        on_answer: OnCall,
        answers: Answers,
    ) -> None:
        self.keys = keys
        self._value_bytes = value_bytes
        self._answers = answers
        self._doors: WeakKeyDictionary[Core, Door] = WeakKeyDictionary()
        self._tokens: dict[str, str] = {}
        self._tags: dict[Key, deque[str]] = {}
        self._world = cluster.world
        self._history = history
        self._on_call = on_call
        self._on_answer = on_answer
        self._number = 0
        self._by_socket = Random(f"by socket {cluster.world.seed}")
        self.violations: list[str] = []

    def ask(
        self,
        node: SimNode,
        session: str,
        kind: Kind,
        key: Key,
        level: str,
        *,
        token: str = "",
        ttl_s: int = 0,
        if_absent: bool = False,
        then: OnCall = lambda call: None,
        tag: str = "",
        is_large: bool = False,
        name: str = "",
        repeats: Call | None = None,
        who: str = "",
    ) -> Call:
        """Send a request to a node.

        :param token: what the session saw.
        :param tag: the ETag that a write demands, or that a reader has.
        :param is_large: whether the value is as large as values may be in this seed.
        :param name: its Idempotency-Key.
        :param repeats: what is sent again, under the same name.
        :param who: asks; usually one for each key.
        :param then: called with the call once it is answered, which may be never.
        """
        call = self.begin(node, session, kind, key, level, who)
        call.ttl_s, call.if_absent, call.is_large = ttl_s, if_absent, is_large
        call.if_match, call.if_none_match = (tag, "") if call.is_write else ("", tag)
        call.name, call.repeats = name, repeats
        if repeats is not None:
            call.number, call.user = repeats.number, repeats.user
        assert node.process is not None
        node.process.run(self._send, node, call, token, then)
        return call

    def begin(self, node: SimNode, session: str, kind: Kind, key: Key, level: str, who: str = "") -> Call:
        """Note a request that is about to be sent.

        :param who: asks; usually one for each key.
        """
        random = self._world.random
        usual = owner_of(key)
        is_owner = session in ("probe", "endurance", "scene", "agreed") or random.random() < 0.9
        asks = who or (usual if is_owner else random.choice(OWNERS))
        assert node.process is not None
        call = Call(session, kind, key, level, 0, asks, node.host, node.process, self._world.now_s)
        if call.is_write:
            self._number += 1
            call.number = self._number
        elif not who and (session != "plain" or random.random() < 0.5):
            call.user = ROOT
        self._history.calls.append(call)
        self._on_call(call)
        return call

    def value_of(self, call: Call) -> bytes:
        """What a write sends: its number, so that it is known again; where a seed has large values, some are."""
        if call.kind in (Kind.GET, Kind.DELETE):
            return b""
        if call.repeats is not None:
            return call.repeats.sent
        random = self._world.random
        name = b"p" if call.kind is Kind.PATCH else b"n"
        if not self._value_bytes or call.session == "probe" or not (call.is_large or random.random() >= 0.6):
            call.sent = b'{"%b":%d}' % (name, call.number)
        else:
            size_bytes = random.choice((self._value_bytes // 4, self._value_bytes))
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
        is_plain = (
            not (token or call.if_match or call.if_none_match or call.if_absent or call.name)
            and call.session != "probe"
        )
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
            "Idempotency-Key": call.name,
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
            record = self._shown(call, bytes(framed.record), "") if bytes(framed.record) else None
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
            self.say(f"P6: {call.text()}: status {reply.status}")
        if call.kind is Kind.DELETE or reply.status == 304:
            return self._answers.named(call.key, tag)
        return self._shown(call, reply.body, tag)

    def _shown(self, call: Call, body: bytes, tag: str) -> Record | None:
        """The record that an answer shows; one that may not be read is named only, when it was patched."""
        fields = SHOWN.decode(body)
        if call.kind is Kind.PATCH and bytes(fields.value) == b"null":
            call.is_hidden = True
            return self._answers.named(call.key, f'"{fields.etag}"')
        return self._answers.shown(call.key, body, tag)

    def answered(self, call: Call, code: str, record: Record | None, replicas: str) -> None:
        """A request was answered."""
        if call.code:
            self.say(f"P12: {call.text()} is answered again, with {code}")
        call.code, call.record, call.replicas = code, record, replicas
        call.ended_s = self._world.now_s
        self._world.say(call.text())
        self._on_answer(call)

    def tags_of(self, key: Key) -> tuple[str, ...]:
        """The ETags of a key that answers named last."""
        return tuple(self._tags.get(key, ()))

    def say(self, text: str) -> None:
        """A violation."""
        self.violations.append(text)

    def broke(self, failure: Failure) -> None:
        """A request raised what is no answer."""
        self._world.errors.append(f"a request raises {failure.getTraceback()}")
