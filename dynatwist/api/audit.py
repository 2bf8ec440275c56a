"""Who did what, and who was refused what: one JSON line each, for ``--audit-log``. No value and no secret is in it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

import msgspec

from .request import Answer, Request
from .tail import Tail

REFUSED = frozenset((401, 403, 421, 429))
"""What of the data routes is noted: answers that refuse somebody, not those that depend on the data."""
NOTED = frozenset(("accounts", "admin", "backup", "groups", "keys", "restore", "services", "tables"))
"""Parts of which every request is noted that was carried out."""
QUIET = frozenset(
    (
        "accounts.show", "accounts.ticket", "admin.tables", "admin.keys", "admin.users", "admin.members", "keys.show",
        "keys.storage", "groups.list",
        "groups.show", "services.list", "tables.show", "backup.tables",
    )
)  # fmt: skip
"""Routes that show lists and change nothing; only their refusals are noted."""


class Line(msgspec.Struct, omit_defaults=True):
    """One line.

    :ivar time: RFC 3339, UTC.
    :ivar who: a user's name, ``admin``, or empty for somebody unknown.
    :ivar address: of the client.
    :ivar what: the route, or what was asked for.
    :ivar on: whom or what it was about: names of a user, a member, a table and key.
    :ivar outcome: ``ok``, ``created``, or the code of the refusal.
    :ivar by: ``certificate`` where that says who, and no token or password does.
    """

    time: str
    node: str
    what: str
    outcome: str
    who: str = ""
    address: str = msgspec.field(default="", name="from")
    on: tuple[str, ...] = ()
    by: str = ""


class Audit:
    """See the module.

    :param wall_ms: the time.
    :param node: whose audit log it is, by address.
    :param append: takes the lines; ``None`` where nobody wants an audit log.
    :ivar is_on: whether anything is noted.
    :ivar tail: the last lines.
    """

    def __init__(
        self, wall_ms: Callable[[], int] = lambda: 0, node: str = "", append: Callable[[bytes], None] | None = None
    ) -> None:
        self._wall_ms = wall_ms
        self._node = node
        self._append = append
        self.tail = Tail()
        self.is_on = append is not None

    def note(
        self, what: str, outcome: str, *, who: str = "", address: str = "", on: tuple[str, ...] = (), by: str = ""
    ) -> None:
        """Add a line."""
        if self._append is not None:
            line = self.line(what, outcome, who, address, on, by)
            self._append(line)
            self.tail.add(line)

    def line(
        self, what: str, outcome: str, who: str = "", address: str = "", on: tuple[str, ...] = (), by: str = ""
    ) -> bytes:
        """A line, not added yet."""
        moment = datetime.fromtimestamp(self._wall_ms() / 1000, UTC).isoformat(timespec="milliseconds")
        line = Line(moment.replace("+00:00", "Z"), self._node, what, outcome, who, address, on, by)
        return msgspec.json.encode(line) + b"\n"

    def answered(self, route: str, request: Request, on: tuple[str, ...], answer: Answer, who: str) -> None:
        """A request was answered: note it if it is of those that are noted.

        :param route: its handler's name, such as ``accounts.enter``.
        :param on: what its path names.
        :param who: the name of whoever asked, if known.
        """
        is_refused = answer.status in REFUSED
        part = route.partition(".")[0]
        is_noted = part in NOTED and route not in QUIET
        if part in ("data", "conflicts") and who == "admin" and answer.status < 400:
            is_noted = True
        if is_refused or is_noted:
            outcome = "created" if answer.status == 201 else "ok" if answer.status < 400 else _code_of(answer)
            by = "certificate" if who and request.token is None and request.certificate is not None else ""
            self.note(route, outcome, who=who, address=request.address, on=on, by=by)


class _Error(msgspec.Struct):
    code: str = "refused"


def _code_of(answer: Answer) -> str:
    try:
        return msgspec.json.decode(answer.body, type=_Error).code
    except msgspec.DecodeError:
        return "refused"
