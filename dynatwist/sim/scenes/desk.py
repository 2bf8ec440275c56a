"""Somebody uses every route that no storm uses: accounts, the administrator's, and what a node says of itself."""

from __future__ import annotations

from ..cluster import SimNode
from ..door import Reply
from .stage import Stage

ASKS = 40
STATUSES = ("healthz", "readyz", "membership", "stats", "metrics", "heartbeat")
RIGHT, OTHER, WRONG = "a long secret", "another long secret", "not the secret"
TOLD = (503, 507)
"""What a node may say of itself, where others say that the fault is theirs."""


def somebody_at_every_counter(stage: Stage) -> None:
    """Registers, logs in, changes the secret, is deleted; an administrator looks on; and a node is away, or dies."""
    desk = _Desk(stage)
    bad = stage.random.choice(stage.members())
    for number in range(ASKS):
        if number == ASKS // 3:
            _goes_wrong(stage, bad)
        stage.random.choice((desk.asks_how_it_is, desk.comes_and_goes, desk.comes_and_goes, desk.administers))()
    stage.slow_from(bad, 0.0)


def _goes_wrong(stage: Stage, node: SimNode) -> None:
    match stage.random.choice(("away", "dead", "slow")):
        case "away":
            stage.cut_off(node)
        case "dead":
            stage.kill(node)
        case "slow":
            stage.slow_from(node, 0.3)


class _Desk:
    """Asks, and knows by itself which answers are wrong whatever the state of the cluster."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._name = f"guest{stage.random.randrange(1 << 30)}"
        self._secret = RIGHT
        self._token = ""
        self._is_known = False  # as nobody else's: its name was not free at any time since

    def _node(self) -> SimNode | None:
        nodes = [node for node in self._stage.members() if node.awake and node.core is not None]
        return self._stage.random.choice(nodes) if nodes else None

    def _ask(self, method: str, *path: str, body: object = None, who: str = "", token: str = "") -> Reply | None:
        node = self._node()
        reply = self._stage.request(node, method, path, body=body, who=who, token=token) if node is not None else None
        if reply is not None and reply.status >= 500 and reply.status not in TOLD:
            self._stage.say(f"P12: {method} /{'/'.join(path)} is answered with {reply.status}: {reply.body!r}")
        return reply

    def asks_how_it_is(self) -> None:
        """What monitors ask, with and without the right to."""
        self._ask("GET", self._stage.random.choice(STATUSES), who=self._stage.random.choice(("", "admin")))

    def comes_and_goes(self) -> None:
        """A user, by every route of accounts; nobody gets in with another secret."""
        match self._stage.random.choice(("enter", "enter", "wrong", "change", "ticket", "logout", "delete")):
            case "enter":
                reply = self._ask("POST", "auth", self._name, body={"secret": self._secret})
                self._token = _token(reply) or self._token
                # 200 may come from a node that has not heard of a delete yet: it has a second for that.
                self._is_known = self._is_known or (reply is not None and reply.status == 201)
            case "wrong" if self._is_known:
                reply = self._ask("POST", "auth", self._name, body={"secret": WRONG})
                if reply is not None and reply.status < 300:
                    self._stage.say(f"P9: {self._name} is let in with a secret that was never right")
            case "change":
                new = OTHER if self._secret != OTHER else RIGHT
                body = {"secret": new, "old_secret": self._secret}
                reply = self._ask("PUT", "auth", self._name, "secret", body=body)
                if reply is not None and reply.status < 300:
                    self._secret = new
            case "ticket":
                self._opens(self._ask("POST", "auth", "ticket", token=self._token))
            case "logout":
                self._ask("POST", "auth", self._name, "logout", token=self._token)
            case "delete":
                self._is_known = False
                self._ask("DELETE", "auth", self._name, body={"secret": self._secret}, token=self._token)

    def _opens(self, reply: Reply | None) -> None:
        """Two pages have one ticket; where all nodes reach each other, one of them opens something.

        Where no owner has room to remember it, each node takes it, and counts that.
        """
        ticket = reply.field("ticket") if reply is not None and reply.status == 200 else ""
        if ticket:
            stage = self._stage
            is_fair = stage.all_reach_all
            forgotten = stage.tickets_not_remembered
            opened = stage.show_ticket(stage.members()[:2], ticket) + stage.show_ticket(stage.members()[:1], ticket)
            forgotten = stage.tickets_not_remembered - forgotten
            if opened > 1 + max(0, forgotten) and is_fair and stage.all_reach_all:
                stage.say(f"P9: a ticket of {self._name} opened {opened} things")

    def administers(self) -> None:
        """Looks at everything, and does what harms nobody."""
        table, key = "things", self._stage.random.choice(("k0", "none"))
        route = self._stage.random.choice(
            (
                ("GET", "admin", "tables"),
                ("GET", "admin", "users"),
                ("GET", "admin", "members"),
                ("GET", "admin", "keys"),
                ("GET", "admin", "table", table, "keys"),
                ("GET", "admin", "table", table, "key", key),
                ("POST", "admin", "save"),
                ("POST", "admin", "users", self._name, "logout"),
                ("DELETE", "admin", "users", self._name),
                ("PUT", "admin", "users", self._name),
                ("POST", "admin", "members", "10.9.9.9:1", "forget"),
                ("POST", "admin", "keys", "use"),
                ("POST", "admin", "login"),
            )
        )
        bodies = {"users": {"secret": self._secret}, "login": {"password": WRONG}, "keys": {"name": "nobody's"}}
        body = next((bodies[part] for part in route if part in bodies and route[0] != "GET"), None)
        if route[0] == "DELETE":
            self._is_known = False
        reply = self._ask(*route, body=body, who=self._stage.random.choice(("admin", "admin", "admin", "alice", "")))
        if route[-1] == "login" and reply is not None and reply.status == 200:
            self._stage.say("P9: an administrator is let in with a password that is none")


def _token(reply: Reply | None) -> str:
    return reply.field("token") if reply is not None and reply.status in (200, 201) else ""


SCENES = (somebody_at_every_counter,)
