"""The model: accounts, tokens, records and listeners, and what each of them may."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import count
from typing import Any

import msgspec
from hypothesis import assume
from hypothesis.stateful import RuleBasedStateMachine, initialize

from dynatwist.api.live import Stream
from dynatwist.api.session import Session
from dynatwist.feed.hub import Event, Notice

from ..routes import Routes
from ..target import Found
from ..world import Nodes, nothing_logged

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


def text_of(token: Token | None) -> str | None:
    """What is sent of it."""
    return token.text if token is not None else None


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


class Model(RuleBasedStateMachine):
    """What is known of a node, and what follows from it; the rules are in the modules beside this one."""

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
        if len(self.core.hub) or len(self.core.handlers.connected):
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

    # Who hears what

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
