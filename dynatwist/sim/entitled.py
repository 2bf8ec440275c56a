"""Who may do what in the table that people share, found out anew for each question (P9).

It has nothing in common with `dynatwist.auth.rights`, which compiles rules for a caller and keeps what it has found.
The rules themselves are read off what a node holds: a node that is cut off goes by what it knows. A request that took a
while may be answered by any rules that the node held meanwhile.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from dynatwist.model.clock import Stamp
from dynatwist.model.record import Record
from dynatwist.requests.tables import TABLES_TABLE

from .cluster import SimNode
from .history import SHARED_TABLE, Call
from .keys import OWNERS, ROOT
from .ledger import Ledger

_SETTINGS = TABLES_TABLE, SHARED_TABLE

Rules = Mapping[str, Mapping[str, Iterable[str]]]
"""By prefix, and by right: principals."""
USUAL: Rules = {"": {"read": ["owner"], "create": ["*"], "update": ["owner"], "delete": ["owner"]}}
NEVER = Stamp(0, 0, b"")
"""Older than all rules: those of a table of which nothing was set."""


def may(rules: Rules, who: str, right: str, key: str, owner: str) -> bool:
    """Whether some rules let a user do something with a record.

    :param owner: whose the record is; empty where there is none.
    """
    if who == ROOT:
        return True
    matching = []
    for prefix, rights in rules.items():
        text = prefix.replace("{user}", who)
        if key.startswith(text):
            matching.append(((len(text), text == prefix), list(rights.get(right, ()))))
    if not matching:
        return False
    principals = max(matching, key=lambda one: one[0])[1]
    is_own = "owner" in principals and (right == "create" or who == owner)
    return is_own or "*" in principals or f"user:{who}" in principals


class Entitled:
    """See the module.

    :param ledger: knows all rules that were ever set.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._read: dict[Stamp, Rules] = {NEVER: USUAL}
        self._begun: dict[Call, tuple[SimNode, Stamp]] = {}
        self._ended: dict[Call, Stamp] = {}

    def held(self, node: SimNode) -> Stamp:
        """Which rules a node holds: when they were written."""
        assert node.core is not None
        record = node.core.store.held(_SETTINGS)
        return record.stamp if record is not None else NEVER

    def between(self, first: Stamp, last: Stamp) -> list[Rules]:
        """All rules that were ever set, from some to others that one node held later."""
        known = (one.record for one in self._ledger.of(_SETTINGS).values())
        for record in known:
            if record.stamp not in self._read:
                self._read[record.stamp] = _read(record.value) if record.value is not None else USUAL
        low, high = min(first, last), max(first, last)
        return [rules for stamp, rules in self._read.items() if low <= stamp <= high]

    def sent(self, call: Call, node: SimNode) -> None:
        """A client asks a node something."""
        if call.key[0] == SHARED_TABLE:
            self._begun[call] = node, self.held(node)

    def answered(self, call: Call) -> None:
        """It has its answer."""
        begun = self._begun.get(call)
        if begun is not None and begun[0].core is not None:
            self._ended[call] = self.held(begun[0])

    def _of(self, call: Call) -> list[Rules]:
        begun, ended = self._begun.get(call), self._ended.get(call)
        return [USUAL] if begun is None or ended is None else self.between(begun[1], ended)

    def allows(self, call: Call, right: str, record: Record) -> bool:
        """Whether some rules let the user of a call do what was done with a record."""
        owner = record.owner.partition("#")[0]
        return any(may(rules, call.user, right, call.key[1], owner) for rules in self._of(call))

    def refuses(self, call: Call, rights: tuple[str, ...], owners: Iterable[str]) -> bool:
        """Whether some rules refuse a user one of these rights, of a record that is one of these owners'."""
        return any(
            not may(rules, call.user, right, call.key[1], owner)
            for rules in self._of(call)
            for right in rights
            for owner in (owners if right != "create" else ("",))
        )


def _read(settings: bytes) -> Rules:
    access: list[dict[str, Any]] | None = msgspec.json.decode(settings).get("access")
    if access is None:
        return USUAL
    return {one.get("prefix", ""): one for one in access}


PRINCIPALS = ("owner", "*", *(f"user:{name}" for name in OWNERS))
PREFIXES = ("", "", "{user}/", "pub/", "alice/", "k", "k1")
