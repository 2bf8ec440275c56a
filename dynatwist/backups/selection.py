"""What of a cluster goes into a backup, or of a backup into a cluster."""

from __future__ import annotations

from dataclasses import dataclass

from .entries import Entry

SETTINGS, USERS, GROUPS, SERVICES = "_tables", "_users", "_groups", "_services"
SYSTEM = (USERS, GROUPS, SETTINGS, SERVICES)
"""The order in which what the system keeps is brought back, before all else: owners, rules, then what goes by them."""


def is_system(table: str) -> bool:
    """Whether a table holds something that the system keeps."""
    return table.startswith("_")


@dataclass(frozen=True, slots=True)
class Selection:
    """Some tables, and some keys of them. With all of it comes what the system keeps; with some tables their settings
    alone; with some keys of all tables nothing of that.

    :ivar tables: empty for all.
    :ivar prefix: that keys begin with.
    """

    tables: tuple[str, ...] = ()
    prefix: str = ""

    def wants(self, table: str) -> bool:
        """Whether something of a table may belong to it."""
        if not is_system(table):
            return not self.tables or table in self.tables
        return table == SETTINGS if self.tables else table in SYSTEM and not self.prefix

    def takes(self, entry: Entry) -> bool:
        """Whether a record belongs to it."""
        if not self.wants(entry.table):
            return False
        if is_system(entry.table):
            return not self.tables or entry.key in self.tables
        return entry.key.startswith(self.prefix)

    def prefix_in(self, table: str) -> str:
        """What the keys of a table begin with that may belong to it."""
        return "" if is_system(table) else self.prefix
