"""Rights against an oracle that shares nothing with them: whatever is set, by every way in, the same is allowed."""

from __future__ import annotations

import json
import os

import msgspec
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule
from twisted.internet.defer import ensureDeferred

from dynatwist.api.request import Request
from dynatwist.auth.tokens import Role
from dynatwist.auth.user import USERS_TABLE, User
from dynatwist.errors import ApiError
from dynatwist.replication.request import Kind, Operation
from dynatwist.sim.cluster import SimCluster
from dynatwist.sim.world import World

STEPS = int(os.environ.get("DYNATWIST_RIGHTS_STEPS", "1000"))
"""So many steps altogether; 100,000 were taken when rights were made."""
STEPS_EACH = 50

NAMES = ("ann", "ben", "a/b")
TABLES = ("t", "u")
GROUPS = ("crew", "admins")
KEYS = ("k", "a", "a/", "a/b", "a/b/c", "ann/x", "ann", "ben/y", "pub/z")
PREFIXES = ("", "a", "a/", "{user}/", "{user}", "pub/", "a/b", "x{user}/")
PRINCIPALS = ("owner", "*", "anonymous", "user:ann", "user:ben", "group:crew", "group:none")
RIGHTS = ("read", "create", "update", "delete")
CALLERS = (*NAMES, "service", "admin", None)

some_principals = st.lists(st.sampled_from(PRINCIPALS), max_size=2)
some_rules = st.dictionaries(
    st.sampled_from(PREFIXES), st.fixed_dictionaries(dict.fromkeys(RIGHTS, some_principals)), max_size=3
)
callers, tables, keys = st.sampled_from(CALLERS), st.sampled_from(TABLES), st.sampled_from(KEYS)
grants = st.lists(
    st.tuples(tables, st.sampled_from(("", "a", "a/", "pub/")), st.lists(st.sampled_from(RIGHTS), max_size=3)),
    max_size=3,
)


class Oracle:
    """What is set, and what follows from that: each question is answered from the beginning."""

    def __init__(self):
        self.rules, self.groups, self.grants = {}, {}, []
        self.owners, self.values = {}, {}

    def is_admin(self, who):
        return who == "admin" or (who in NAMES and who in self.groups.get("admins", ()))

    def may(self, who, right, table, key, owner=None):
        if self.is_admin(who):
            return True
        if who == "service":
            return any(
                key.startswith(prefix) and right in rights for name, prefix, rights in self.grants if name == table
            )
        best = None
        for prefix, rights in self.rules.get(table, {"": USUAL}).items():
            text = prefix
            if "{user}" in prefix:
                behind = prefix.split("{user}")[1]
                if who is None or (behind and behind[0] in who):
                    continue
                text = prefix.replace("{user}", who)
            rank = len(text), "{user}" not in prefix
            if key.startswith(text) and (best is None or rank > best[0]):
                best = rank, rights
        return best is not None and any(self.means(who, one, right, owner) for one in best[1][right])

    def means(self, who, principal, right, owner):
        if principal == "anonymous":
            return True
        if who is None:
            return False
        if principal == "owner":
            return right == "create" or who == owner
        kind, _, name = principal.partition(":")
        return (
            principal == "*"
            or (kind == "user" and name == who)
            or (kind == "group" and who in self.groups.get(name, ()))
        )

    def may_read_something(self, table):
        return any(
            "anonymous" in one["read"] for prefix, one in self.rules.get(table, {}).items() if "{user}" not in prefix
        )

    def readable(self, who, table):
        return sorted(
            key
            for (name, key), owner in self.owners.items()
            if name == table and self.may(who, "read", table, key, owner)
        )


USUAL = {"read": ["owner"], "create": ["*"], "update": ["owner"], "delete": ["owner"]}


class Rights(RuleBasedStateMachine):
    """A node with users, a program, an administrator and listeners."""

    @initialize()
    def start(self):
        self.world = World(1)
        self.cluster = SimCluster(self.world, 1)
        (self.node,) = self.cluster.nodes
        self.node.start()
        assert self.world.run_until(self.cluster.is_settled, 60)
        self.core = self.node.core
        self.oracle = Oracle()
        self.tokens = {"admin": self.core.users.tokens.issue("admin", "admin", 0, Role.ADMIN)}
        for name in NAMES:
            value = msgspec.json.encode(User(name, ""))
            operation = Operation(Kind.PUT, (USERS_TABLE, name), value=value, any_owner=True)
            self.node.process.run(self.core.coordinator.submit, operation, lambda result: None)
            self.tokens[name] = self.core.users.tokens.issue(name, name, 0)
        self.settle()
        self.number = None
        self.make_token([])
        self.sockets, self.heard = {}, {}
        for who in CALLERS:
            self.listen(who)

    # How the node is asked

    def settle(self):
        self.world.run(self.world.now_s + 0.05)

    def ask(self, handler, who, *path, body=None, query=None):
        headers = {"authorization": f"Bearer {self.tokens[who]}"} if who is not None else {}
        request = Request(query or {}, headers, json.dumps(body).encode() if body is not None else b"", "client")
        outcome = []

        def begin():
            try:
                answered = ensureDeferred(self.whole(self.core.handlers.named(handler), request, path))
            except ApiError as error:
                outcome.append((error.status, None))
            else:
                answered.addBoth(lambda result: outcome.append(_told(result)))

        self.node.process.run(begin)
        assert self.world.run_until(lambda: outcome, 10, 0.002)
        return outcome[0]

    async def whole(self, handler, request, path):
        answer = await handler(request, *path)
        body = answer.body
        if answer.stream is not None:
            async for piece in answer.stream:
                body += piece
        return answer.status, json.loads(body)

    def listen(self, who):
        heard = self.heard[who] = []
        identity = self.core.users.authenticate(self.tokens[who]) if who is not None else None

        def wake():
            self.world.later(0.0, drain, self.node.process)

        def drain():
            while (frame := session.take()) is not None:
                heard.append(json.loads(frame))

        session = self.sockets[who] = self.core.handlers.session(
            identity=identity, address="client", send=lambda frame: None, wake=wake, end=lambda: None
        )
        for number, table in enumerate(TABLES):
            frame = json.dumps({"op": "subscribe", "id": number, "table": table, "prefix": ""}).encode()
            self.node.process.run(lambda frame=frame: ensureDeferred(session.receive(frame)))
        self.settle()

    # What is set

    @rule(table=tables, rules=some_rules, is_reset=st.booleans())
    def set_rules(self, table, rules, is_reset):
        if is_reset:
            assert self.ask("tables.reset", "admin", table)[0] == 200
            self.oracle.rules.pop(table, None)
        else:
            wanted = [
                {"prefix": prefix, **{right: _fit(right, some) for right, some in rights.items()}}
                for prefix, rights in rules.items()
            ]
            assert self.ask("tables.set", "admin", table, body={"access": wanted})[0] == 200
            self.oracle.rules[table] = {one.pop("prefix"): one for one in wanted}
        self.changed()

    @rule(group=st.sampled_from(GROUPS), members=st.lists(st.sampled_from(NAMES), unique=True))
    def set_group(self, group, members):
        assert self.ask("groups.set", "admin", group, body={"members": members})[0] == 200
        self.oracle.groups[group] = members
        self.changed()

    @rule(wanted=grants)
    def make_token(self, wanted):
        if self.number is not None:
            assert self.ask("services.delete", "admin", self.number)[0] == 200
        access = [{"table": table, "prefix": prefix, "rights": rights} for table, prefix, rights in wanted]
        status, made = self.ask("services.create", "admin", body={"name": "program", "access": access})
        assert status == 201
        self.number, self.tokens["service"] = made["id"], made["token"]
        self.oracle.grants = wanted
        if "service" in getattr(self, "sockets", ()):
            self.sockets["service"].close()
            self.listen("service")

    def changed(self):
        """A socket of nobody's that could not listen may do so now; all others go on as they are."""
        self.settle()
        self.sockets[None].close()
        self.listen(None)

    # What is asked

    @rule(
        who=callers,
        table=tables,
        key=keys,
        kind=st.sampled_from(("put", "patch", "delete", "batch put", "batch delete")),
    )
    def write(self, who, table, key, kind):
        owner = self.oracle.owners.get((table, key))
        for heard in self.heard.values():
            heard.clear()
        method = kind.split()[-1]
        if kind.startswith("batch"):
            op = {"op": method, "key": key, **({"value": {}} if method == "put" else {})}
            status, told = self.ask("data.batch", who, table, body={"ops": [op]})
            status = told["results"][0]["status"] if status == 200 else status
        else:
            status, _ = self.ask(f"data.{method}", who, table, key, body={} if method != "delete" else None)
        assert status == self.expected(who, table, key, method, owner), (who, table, key, kind, owner)
        if status < 300:
            if method == "delete":
                del self.oracle.owners[table, key]
            elif owner is None:
                self.oracle.owners[table, key] = who
        self.settle()
        self.judge_heard(table, key, owner, status < 300)

    def expected(self, who, table, key, method, owner):
        if who is None:
            return 401
        if owner is None:
            if method != "put":
                return 404
            return 201 if self.oracle.may(who, "create", table, key) else 403
        right = "delete" if method == "delete" else "update"
        allowed = self.oracle.may(who, right, table, key, owner)
        return (201 if method == "put" else 200) if allowed else 403

    def judge_heard(self, table, key, owner, is_written):
        owner = self.oracle.owners.get((table, key), owner)
        for who, heard in self.heard.items():
            events = [one for one in heard if one.get("op") == "event"]
            assert all((one["table"], one["key"]) == (table, key) for one in events)
            sees = is_written and self.oracle.may(who, "read", table, key, owner)
            if who is None and not self.oracle.may_read_something(table):
                sees = False
            assert bool(events) is sees, (who, table, key, owner)

    @rule(who=callers, table=tables, key=keys)
    def read(self, who, table, key):
        owner = self.oracle.owners.get((table, key))
        status, _ = self.ask("data.get", who, table, key)
        if who is None and not self.oracle.may_read_something(table):
            assert status == 401
        elif owner is None:
            assert status == 404
        else:
            assert status == (200 if self.oracle.may(who, "read", table, key, owner) else 403)

    @rule(who=callers, table=tables)
    def list(self, who, table):
        if who is None and not self.oracle.may_read_something(table):
            assert self.ask("data.keys", who, table)[0] == 401
            return
        expected = self.oracle.readable(who, table)
        assert self.ask("data.keys", who, table)[1] == expected
        assert sorted(self.ask("data.store", who, table)[1]) == expected
        assert sorted(self.ask("data.get_many", who, table, body={"keys": list(KEYS)})[1]) == expected

    @rule(who=callers)
    def administrate(self, who):
        status, _ = self.ask("admin.users", who)
        assert status == (401 if who is None else 200 if self.oracle.is_admin(who) else 403)


def _fit(right, principals):
    return [one for one in principals if one != "anonymous" or right == "read"]


def _told(result):
    error = getattr(result, "value", None)
    if isinstance(error, ApiError):
        return error.status, None
    return result if isinstance(result, tuple) else (500, result)


TestRights = Rights.TestCase
TestRights.settings = settings(
    max_examples=max(1, STEPS // STEPS_EACH), stateful_step_count=STEPS_EACH, deadline=None, database=None
)
