"""Users, tokens, tables and routes at random, against a model of who owns what.

The model is written from what is promised to users, not from the code: an account ends with its name's deletion, and
whoever registers the name again is somebody else; a token ends with a logout, another secret, its account, and its
time; a record is its creator's until it is deleted or over; and nobody but its owner and the administrator reads,
changes, lists or hears of it. The shipped handlers of one simulated node answer.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import msgspec
from hypothesis import HealthCheck, Phase, assume, settings
from hypothesis import seed as seeded
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from dynatwist.api.live import Stream
from dynatwist.api.request import Request
from dynatwist.api.session import Session
from dynatwist.errors import ApiError
from dynatwist.feed.hub import Event, Notice

from .routes import Routes
from .target import Found
from .world import Nodes, nothing_logged

LIFETIME_S = 100
NAMES = ("alice", "bob", "carol")
TABLES = ("t", "u")
KEYS = ("k1", "k2", "k3")
REVOKED_S = 1.0
"""Whoever is connected is gone within this; see `dynatwist.api.connected`."""
TTL_S = 2
EXPIRED_S = 6


@dataclass(eq=False, slots=True)
class Account:
    """Somebody: not a name, which others may have had before, or get later."""

    name: str
    secret: str
    is_there: bool = True


ADMIN = Account("admin", "")


@dataclass(eq=False, slots=True)
class Token:
    """A token that somebody was given.

    :ivar until_ms: of the wall clock.
    :ivar ended_s: when it stopped to count; by the world's time.
    """

    text: str
    account: Account
    until_ms: int
    ended_s: float = float("inf")


@dataclass(eq=False, slots=True)
class Row:
    """What a key holds.

    :ivar serial: in the value, which no other write has.
    """

    owner: Account
    serial: int
    ends_s: float = float("inf")


@dataclass(eq=False, slots=True)
class Listener:
    """Somebody who listens.

    :ivar token: what it has shown last; ``None`` for nothing.
    :ivar key: ``None`` for the whole table.
    """

    token: Token | None
    table: str
    key: str | None
    stream: Stream | None = None
    heard: list[tuple[str, Any]] = field(default_factory=list)
    may_miss: bool = False


@dataclass(eq=False, slots=True)
class Socket:
    """A websocket.

    :ivar token: what was shown last.
    """

    session: Session
    sent: list[bytes]
    token: Token | None = None
    was_ended: bool = False
    listeners: dict[int, Listener] = field(default_factory=dict)


class Ownership(RuleBasedStateMachine):
    """See the module."""

    @initialize()
    def begin(self) -> None:
        """A node of its own, so that an example goes the same way again."""
        self.serials = count(1)
        self.nodes = Nodes(1, token_lifetime_s=LIFETIME_S)
        self.core = self.nodes.core
        self.routes = Routes(self.nodes)
        self.expired_s: dict[str, float] = {}
        self.is_steady = True  # records end later on a node whose clock has jumped
        self.accounts: dict[str, Account] = {}
        self.rows: dict[tuple[str, str], Row] = {}
        self.owner_of: dict[int, Account] = {}
        self.owners_ever: dict[tuple[str, str], set[Account]] = {}
        self.listeners: list[Listener] = []
        self.sockets: list[Socket] = []
        self.cursors: list[str] = []
        text = self.core.users.admin_login(self.core.users.admin_passwords[0], "x")
        self.admin = Token(text, ADMIN, self._until_ms())
        self.tokens = [self.admin]

    def teardown(self) -> None:
        """Nothing failed, and nothing is left of whoever listened."""
        if not hasattr(self, "nodes"):
            return
        for listener in self.listeners:
            if listener.stream is not None:
                listener.stream.close()
        for socket in self.sockets:
            socket.session.close()
        if len(self.core.hub) or len(self.core.connected):
            raise Found("somebody who left is still listened for")
        nothing_logged()
        self.nodes.check()

    # What the model knows

    def _wall_ms(self) -> int:
        return self.nodes.node.wall_ms()

    def _until_ms(self) -> int:
        return self._wall_ms() // 1000 * 1000 + LIFETIME_S * 1000

    def _counts(self, token: Token | None) -> bool:
        return token is not None and token.ended_s == float("inf") and self._wall_ms() < token.until_ms

    def _counted_lately(self, token: Token | None) -> bool:
        """Whether somebody connected with it may still hear something."""
        if token is None:
            return False
        ended_s = token.ended_s
        if self._wall_ms() >= token.until_ms:
            ended_s = min(ended_s, self.expired_s.setdefault(token.text, self.nodes.world.now_s))
        return self.nodes.world.now_s <= ended_s + REVOKED_S

    def _token(self, index: int) -> Token:
        return self.tokens[index % len(self.tokens)]

    def _table(self, index: int) -> str:
        return TABLES[index % len(TABLES)]

    def _name(self, index: int) -> str:
        return NAMES[index % len(NAMES)]

    def _row(self, table: str, key: str) -> Row | None:
        """What is there; a step about a record whose end is near is left out."""
        row = self.rows.get((table, key))
        if row is None or row.ends_s == float("inf"):
            return row
        now_s = self.nodes.world.now_s
        assume(not row.ends_s - 0.5 <= now_s < row.ends_s + EXPIRED_S - TTL_S)
        if now_s < row.ends_s:
            return row
        del self.rows[table, key]
        return None

    def _end_tokens(self, account: Account) -> None:
        for token in self.tokens:
            if token.account is account and token.ended_s == float("inf"):
                token.ended_s = self.nodes.world.now_s

    def _is(self, found: object, expected: object, what: str) -> None:
        if found != expected:
            raise Found(f"{what}: {found}, and should be {expected}")

    # Accounts

    @rule(who=st.integers(0, 2), is_right=st.sampled_from((True, True, True, False)))
    def enter(self, who: int, is_right: bool) -> None:
        """Register, or log in, with the right secret or a wrong one."""
        name = self._name(who)
        account = self.accounts.get(name)
        secret = account.secret if account is not None and is_right else f"a long secret {next(self.serials)}"
        until_ms = self._until_ms()
        status, answer = self.routes.ask("POST", "auth", name, body={"secret": secret})
        if status == 429:
            return
        expected = 201 if account is None else 200 if is_right else 401
        self._is(status, expected, f"{name} enters")
        if account is None:
            account = self.accounts[name] = Account(name, secret)
        if status != 401:
            self.tokens.append(Token(answer["token"], account, until_ms))

    @rule(by=st.integers(0, 50), who=st.integers(0, 2), how=st.sampled_from(("token", "secret", "wrong", "nothing")))
    def delete_account(self, by: int, who: int, how: str) -> None:
        """With a token, anybody's; or with a secret."""
        self._end_account(("DELETE", "auth", self._name(who)), by, who, how, self._deleted)

    @rule(by=st.integers(0, 50), who=st.integers(0, 2), how=st.sampled_from(("token", "secret", "wrong", "nothing")))
    def logout(self, by: int, who: int, how: str) -> None:
        """The same."""
        self._end_account(("POST", "auth", self._name(who), "logout"), by, who, how, self._end_tokens)

    def _deleted(self, account: Account) -> None:
        account.is_there = False
        del self.accounts[account.name]
        self._end_tokens(account)

    def _end_account(self, path: tuple[str, ...], by: int, who: int, how: str, then: Any) -> None:
        account = self.accounts.get(self._name(who))
        token = self._token(by) if how == "token" else None
        secret = {"secret": account.secret if account is not None else "nothing", "wrong": "wrong secret"}.get(how)
        status, _ = self.routes.ask(
            *path, token=token and token.text, body={"old_secret": secret} if secret is not None else None
        )
        if status == 429:
            return
        if token is not None:
            may = token.account is ADMIN or token.account.name == self._name(who)
            expected = 401 if not self._counts(token) else 403 if not may else 200 if account is not None else 404
        elif how == "nothing":
            expected = 401
        else:
            expected = 404 if account is None else 200 if how == "secret" else 401
        self._is(status, expected, f"{path} with {how}")
        if status == 200 and account is not None:
            then(account)

    @rule(who=st.integers(0, 2))
    def somebody_else_gets_the_name(self, who: int) -> None:
        """At once: what the former one had may still be on its way."""
        if self._name(who) in self.accounts:
            self.delete_account(by=0, who=who, how="secret")
            self.enter(who=who, is_right=True)

    @rule(by=st.integers(0, 50), who=st.integers(0, 2), is_right=st.booleans(), has_token=st.booleans())
    def change_secret(self, by: int, who: int, is_right: bool, has_token: bool) -> None:
        """It asks for the old one, token or not."""
        name = self._name(who)
        account = self.accounts.get(name)
        token = self._token(by) if has_token else None
        secret, old = f"a long secret {next(self.serials)}", account.secret if account and is_right else "wrong secret"
        until_ms = self._until_ms()
        status, answer = self.routes.ask(
            "PUT", "auth", name, "secret", token=token and token.text, body={"secret": secret, "old_secret": old}
        )
        if status == 429:
            return
        expected = 404 if account is None else 200 if is_right else 401
        if token is not None:
            if not self._counts(token):
                expected = 401
            elif token.account is ADMIN:
                expected = 200 if account is not None else 404
            elif token.account.name != name:
                expected = 403
        self._is(status, expected, f"{name}'s secret is changed")
        if status == 200 and account is not None:
            account.secret = secret
            self._end_tokens(account)
            self.tokens.append(Token(answer["token"], account, until_ms))

    @rule(by=st.integers(0, 50), who=st.integers(0, 2), what=st.sampled_from(("create", "delete", "logout", "list")))
    def administer(self, by: int, who: int, what: str) -> None:
        """The administrator's routes, with whatever token."""
        name, token = self._name(who), self._token(by)
        account = self.accounts.get(name)
        secret = f"a long secret {next(self.serials)}"
        method, path, expected = {
            "create": ("PUT", ("admin", "users", name), 201 if account is None else 409),
            "delete": ("DELETE", ("admin", "users", name), 200 if account is not None else 404),
            "logout": ("POST", ("admin", "users", name, "logout"), 200 if account is not None else 404),
            "list": ("GET", ("admin", "users"), 200),
        }[what]
        body = {"secret": secret} if what == "create" else None
        status, _ = self.routes.ask(method, *path, token=token.text, body=body)
        if token.account is not ADMIN:
            expected = 403 if self._counts(token) else 401
        elif not self._counts(token):
            expected = 401
        self._is(status, expected, f"{what} {name}")
        if status == 201:
            self.accounts[name] = Account(name, secret)
        elif status == 200 and account is not None and what == "delete":
            self._deleted(account)
        elif status == 200 and account is not None and what == "logout":
            self._end_tokens(account)

    @rule()
    def admin_logs_in(self) -> None:
        """Its former token may have expired."""
        self.admin = Token(
            self.core.users.admin_login(self.core.users.admin_passwords[0], "x"), ADMIN, self._until_ms()
        )
        self.tokens.append(self.admin)

    @precondition(lambda self: not any(row.ends_s < float("inf") for row in self.rows.values()))
    @rule(seconds=st.sampled_from((3, 40, 90)))
    def time_passes_on_the_wall(self, seconds: int) -> None:
        """Tokens expire by it."""
        self.nodes.node.skew_ms += seconds * 1000
        self.is_steady = False
        self._counted_all()

    @rule(seconds=st.sampled_from((0.3, 1.2)))
    def time_passes(self, seconds: float) -> None:
        """A moment in which whoever is connected and has to go is gone."""
        self._counted_all()
        self.nodes.run(seconds)
        self._look_at_connected()

    @precondition(lambda self: any(row.ends_s < float("inf") for row in self.rows.values()))
    @rule()
    def records_end(self) -> None:
        """All that were written for a while."""
        self._counted_all()
        self.nodes.run(EXPIRED_S)
        self.rows = {name: row for name, row in self.rows.items() if row.ends_s == float("inf")}
        self._look_at_connected()

    def _counted_all(self) -> None:
        """Note whose time is over now."""
        for token in self.tokens:
            self._counted_lately(token)

    # Records

    @rule(
        by=st.integers(-1, 50), table=st.integers(0, 1), key=st.sampled_from(KEYS), in_lane=st.booleans(),
        how=st.sampled_from(("PUT", "PUT", "PATCH", "DELETE", "GET", "GET")), over=st.booleans(),
        is_brief=st.sampled_from((False, False, False, True)),
    )  # fmt: skip
    def one_key(self, by: int, table: int, key: str, in_lane: bool, how: str, over: bool, is_brief: bool) -> None:
        """By its own route, or the administrator's; by somebody or nobody."""
        name, token = self._table(table), self._token(by) if by >= 0 else None
        path = ("admin", "table", name, "key", key) if over and how != "PATCH" else (name, "key", key)
        row, serial = self._row(name, key), next(self.serials)
        is_brief = is_brief and self.is_steady and how == "PUT"
        query = {"ttl": str(TTL_S)} if is_brief else {}
        body = {"n": serial} if how in ("PUT", "PATCH") else None
        status, answer = self.routes.ask(
            how, *path, token=token and token.text, body=body, query=query, in_lane=in_lane and path[0] == name
        )
        if path[0] == "admin" and self._counts(token) and token is not None and token.account is not ADMIN:
            expected = 403
        else:
            expected = self._expected(how, token, row, 201 if path[0] == name else 200)
        self._is(status, expected, f"{how} {path}")
        if status < 300:
            self._happened(how, token, (name, key), row, serial, is_brief, answer)

    def _expected(self, how: str, token: Token | None, row: Row | None, put_status: int) -> int:
        if not self._counts(token):
            return 401
        assert token is not None
        if row is None:
            return put_status if how == "PUT" else 404
        if token.account is not ADMIN and row.owner is not token.account:
            return 403
        return put_status if how == "PUT" else 200

    def _happened(
        self,
        how: str,
        token: Token | None,
        name: tuple[str, str],
        row: Row | None,
        serial: int,
        brief: bool,
        answer: Any,
    ) -> None:
        assert token is not None
        if how == "GET":
            assert row is not None
            self._is_row(answer, row)
            return
        if how == "DELETE":
            del self.rows[name]
            self._tell(name, row.owner if row else ADMIN, None)
            return
        owner = row.owner if row is not None else token.account
        ends_s = row.ends_s if row is not None and how == "PATCH" else float("inf")
        if brief:
            ends_s = self.nodes.world.now_s + TTL_S
        self.rows[name] = Row(owner, serial, ends_s)
        self.owner_of[serial] = owner
        self.owners_ever.setdefault(name, set()).add(owner)
        if answer is not None:
            self._is_row(answer, self.rows[name])
        self._tell(name, owner, serial)

    def _is_row(self, record: Any, row: Row) -> None:
        self._is((record["value"], record["owner"]), ({"n": row.serial}, row.owner.name), "a record")

    @rule(by=st.integers(-1, 50), table=st.integers(0, 1), how=st.sampled_from(("keys", "many", "store", "admin")))
    def many_keys(self, by: int, table: int, how: str) -> None:
        """What somebody may not read does not exist for its lists."""
        name, token = self._table(table), self._token(by) if by >= 0 else None
        text = token and token.text
        rows = {key: row for key in KEYS if (row := self._row(name, key)) is not None}
        if self._counts(token) and token is not None and token.account is not ADMIN:
            rows = {key: row for key, row in rows.items() if row.owner is token.account}
        if how == "keys":
            status, answer = self.routes.ask("GET", name, "keys", token=text)
        elif how == "many":
            status, answer = self.routes.ask("POST", name, "keys", token=text, body={"keys": list(KEYS)})
        elif how == "store":
            status, answer = self.routes.ask("GET", name, "store", token=text)
        else:
            status, answer = self.routes.ask("GET", "admin", "table", name, "keys", token=text)
        expected = 200 if self._counts(token) else 401
        if how == "admin" and expected == 200 and token is not None and token.account is not ADMIN:
            expected = 403
        self._is(status, expected, f"{how} of {name}")
        if status != 200:
            return
        if how in ("keys", "admin"):
            self._is(answer if how == "keys" else answer["keys"], sorted(rows), f"{how} of {name}")
        else:
            self._is({key: one["value"]["n"] for key, one in answer.items()},
                     {key: row.serial for key, row in rows.items()}, f"{how} of {name}")  # fmt: skip

    @rule(
        by=st.integers(-1, 50),
        table=st.integers(0, 1),
        ops=st.lists(st.tuples(st.booleans(), st.sampled_from(KEYS)), max_size=3, unique_by=lambda op: op[1]),
    )
    def batch(self, by: int, table: int, ops: list[tuple[bool, str]]) -> None:
        """An outcome each."""
        name, token = self._table(table), self._token(by) if by >= 0 else None
        plan = [("PUT" if is_put else "DELETE", key, self._row(name, key), next(self.serials)) for is_put, key in ops]
        body = {
            "ops": [
                {"op": how.lower(), "key": key, **({"value": {"n": serial}} if how == "PUT" else {})}
                for how, key, _, serial in plan
            ]
        }
        status, answer = self.routes.ask("POST", name, "batch", token=token and token.text, body=body)
        self._is(status, 200 if self._counts(token) else 401, "a batch")
        if status != 200:
            return
        assert token is not None
        happened = []
        for (how, key, row, serial), outcome in zip(plan, answer["results"], strict=True):
            self._is(outcome["status"], self._expected(how, token, row, 201), f"{how} {key} in a batch")
            if outcome["status"] < 300:
                happened.append((how, key, row, serial))
                self.owner_of[serial] = row.owner if row is not None else token.account
        for how, key, row, serial in happened:
            self._happened(how, token, (name, key), row, serial, False, None)

    # Listeners

    @rule(
        by=st.integers(-1, 50),
        table=st.integers(0, 1),
        key=st.sampled_from(KEYS),
        ticket=st.booleans(),
        at=st.integers(0, 9),
    )
    def subscribe(self, by: int, table: int, key: str, ticket: bool, at: int) -> None:
        """An event stream, with a token or a ticket for it; perhaps from a cursor that somebody else was given."""
        name, token = self._table(table), self._token(by) if by >= 0 else None
        query: dict[str, str] = {}
        if self.cursors and at > 4:
            query["from"] = self.cursors[at % len(self.cursors)]
        headers = {"authorization": f"Bearer {token.text}"} if token is not None else {}
        if ticket and token is not None:
            status, answer = self.routes.ask("POST", "auth", "ticket", token=token.text)
            self._is(status, 200 if self._counts(token) else 401, "a ticket")
            if status != 200:
                return
            query["ticket"], headers = answer["ticket"], {}
        listener = Listener(token, name, key, may_miss="from" in query)
        try:
            listener.stream = self.core.live.subscribe(
                Request(query, headers), name, key, lambda: None, lambda: self._left(listener)
            )
        except ApiError as error:
            self._is(error.status, 401, "a subscription")
            self._is(self._counts(token), False, "a token that is refused counts")
            return
        self._is(self._counts(token), True, "a token that is taken counts")
        self.listeners.append(listener)
        self._drain()

    def _left(self, listener: Listener) -> None:
        if listener.stream is not None:
            listener.stream.close()
        if listener in self.listeners:
            self.listeners.remove(listener)

    @rule()
    def connect(self) -> None:
        """A websocket."""
        if len(self.sockets) < 3:
            sent: list[bytes] = []
            socket: list[Socket] = []
            session = self.core.session(
                identity=None, address="x", send=sent.append, wake=lambda: None, end=lambda: self._ended(socket[0])
            )
            socket.append(Socket(session, sent))
            self.sockets.append(socket[0])

    def _ended(self, socket: Socket) -> None:
        socket.was_ended = True
        socket.session.close()
        if socket in self.sockets:
            self.sockets.remove(socket)

    @precondition(lambda self: self.sockets)
    @rule(on=st.integers(0, 2), by=st.integers(0, 50))
    def authenticate(self, on: int, by: int) -> None:
        """On a socket, also on one where somebody else did before."""
        socket, token = self.sockets[on % len(self.sockets)], self._token(by)
        answer = self._say(socket, {"op": "auth", "token": token.text})
        if "error" in answer:
            is_anothers = socket.token is not None and (
                socket.token.account is not token.account or socket.token.ended_s < float("inf")
            )
            if self._counts(token) and not (is_anothers and answer["code"] == "another_user"):
                raise Found(f"a token that counts is refused: {answer}")
            return
        self._is(self._counts(token), True, "a token that is taken counts")
        socket.token = token
        for listener in socket.listeners.values():
            if listener.token is not None and listener.token.account is token.account:
                listener.token = token

    @precondition(lambda self: self.sockets)
    @rule(on=st.integers(0, 2), table=st.integers(0, 1), key=st.sampled_from((*KEYS, None)), at=st.integers(0, 9))
    def listen(self, on: int, table: int, key: str | None, at: int) -> None:
        """On a socket, to a key or a table."""
        socket, name = self.sockets[on % len(self.sockets)], self._table(table)
        sub = next(self.serials)
        frame = {"op": "subscribe", "table": name, "id": sub, **({"key": key} if key else {})}
        if self.cursors and at > 6:
            frame["from"] = self.cursors[at % len(self.cursors)]
        answer = self._say(socket, frame)
        self._is("ok" in answer, self._counts(socket.token), f"a subscription: {answer}")
        if "ok" in answer:
            socket.listeners[sub] = Listener(socket.token, name, key, may_miss="from" in frame)
        self._drain()

    @precondition(lambda self: self.sockets)
    @rule(
        on=st.integers(0, 2), table=st.integers(0, 1), key=st.sampled_from(KEYS),
        how=st.sampled_from(("PUT", "PATCH", "GET", "DELETE")),
    )  # fmt: skip
    def operate(self, on: int, table: int, key: str, how: str) -> None:
        """On a socket."""
        socket, name = self.sockets[on % len(self.sockets)], self._table(table)
        row, serial = self._row(name, key), next(self.serials)
        value = {"value": {"n": serial}} if how in ("PUT", "PATCH") else {}
        answer = self._say(socket, {"op": how.lower(), "table": name, "key": key, **value})
        expected = {200: "ok", 201: "ok", 401: "token", 403: "forbidden", 404: "not_found"}[
            self._expected(how, socket.token, row, 201)
        ]
        found = "ok" if "ok" in answer else answer["code"]
        self._is(found.removeprefix("no_").removeprefix("bad_") if found.endswith("token") else found, expected, how)
        if "ok" in answer:
            self._happened(how, socket.token, (name, key), row, serial, False, answer.get("record"))

    def _say(self, socket: Socket, frame: dict[str, Any]) -> dict[str, Any]:
        """The answer to a frame; events that come before it are taken in."""
        socket.sent.clear()
        out: Any = self.nodes.result(socket.session.receive(msgspec.json.encode({"id": next(self.serials), **frame})))
        if isinstance(out, BaseException):
            raise out
        (answer,) = socket.sent
        said: dict[str, Any] = msgspec.json.decode(answer)
        return said

    def _tell(self, name: tuple[str, str], owner: Account, serial: int | None) -> None:
        """A write was accepted: whoever listens and owns it hears of it, and nobody else does."""
        self.nodes.run(0.01)
        self._drain()
        news = ("Deleted", None) if serial is None else ("Updated", serial)
        for listener in self._all_listeners():
            fits = listener.table == name[0] and listener.key in (None, name[1])
            may = listener.token is not None and (listener.token.account in (owner, ADMIN))
            if fits and may and self._counts(listener.token) and not listener.may_miss and news not in listener.heard:
                raise Found(f"{listener} did not hear {news} of {name}, and heard {listener.heard}")

    def _all_listeners(self) -> list[Listener]:
        return [*self.listeners, *(one for socket in self.sockets for one in socket.listeners.values())]

    def _drain(self) -> None:
        """Take in all events, and judge them."""
        for listener in list(self.listeners):
            assert listener.stream is not None
            while (item := listener.stream.subscription.take()) is not None:
                if isinstance(item, Notice):
                    continue
                assert isinstance(item, Event)
                self.cursors.append(item.cursor)
                value = item.record.value
                self._judge(listener, item.key, None if value is None else msgspec.json.decode(value))
        for socket in self.sockets:
            while (text := socket.session.take()) is not None:
                said = msgspec.json.decode(text)
                if said["op"] == "event":
                    self.cursors.append(said["cursor"])
                    record = said["record"]
                    value = None if record is None else record["value"]
                    self._judge(socket.listeners[said["sub"]], (said["table"], said["key"]), value)

    def _judge(self, listener: Listener, name: tuple[str, str], value: Any) -> None:
        assert listener.token is not None
        account = listener.token.account
        owners = {self.owner_of[value["n"]]} if value is not None else self.owners_ever.get(name, set())
        listener.heard.append(("Deleted", None) if value is None else ("Updated", value["n"]))
        if listener.table != name[0] or listener.key not in (None, name[1]):
            raise Found(f"{listener} hears of {name}")
        if account is not ADMIN and account not in owners:
            raise Found(f"{listener} hears {value} of {name}, whose owner is somebody else")
        if not self._counted_lately(listener.token):
            raise Found(f"{listener} hears {value} of {name} with a token that ended")

    def _look_at_connected(self) -> None:
        """Whoever's token ended more than a moment ago is not connected any more."""
        self._drain()
        for listener in self.listeners:
            if not self._counted_lately(listener.token):
                raise Found(f"{listener} is still connected")
        for socket in self.sockets:
            if socket.token is not None and not self._counted_lately(socket.token):
                raise Found(f"{socket} is still connected")


def check(examples: int, steps: int, seed: int, *, shrinks: bool = True) -> None:
    """Some examples; raises what is found.

    :param shrinks: whether it looks for the shortest way to what is found.
    """
    plan = settings(
        max_examples=examples,
        stateful_step_count=steps,
        deadline=None,
        database=None,
        phases=(Phase.generate, Phase.shrink) if shrinks else (Phase.generate,),
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(seeded(seed)(Ownership), settings=plan)


def campaign(limit_s: float, seed: int) -> int:
    """Examples for a while; answers the exit status."""
    until_s, examples = time.monotonic() + limit_s, 0
    while time.monotonic() < until_s:
        check(100, 50, seed + examples)
        examples += 100
    print(f"ownership: {examples} examples of 50 steps in {limit_s / 60:g} minutes, nothing found")
    return 0
