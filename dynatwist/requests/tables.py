"""What is agreed on about tables: how their records are kept.

Settings are registers in a table of the system, so each node has what was chosen, within a moment.
"""

from __future__ import annotations

from enum import Enum

import msgspec

from dynatwist.model.record import Record
from dynatwist.model.ring import SYSTEM_PARTITION
from dynatwist.storage.store import Store

TABLES_TABLE = "_tables"
KNOWN = 10_000
"""Tables of which is kept what was found."""


class Consistency(Enum):
    """How a table's records are kept."""

    AVAILABLE = "available"
    """Any owner that can be reached takes writes; what was written at once is merged."""
    CLOSING = "closing"
    """On its way to be strong: nothing is written, until all members are known to hold nothing."""
    STRONG = "strong"
    """Each key is a register: see `dynatwist.replication.register`."""


class Settings(msgspec.Struct, frozen=True):
    """What is kept of a table."""

    consistency: Consistency = Consistency.AVAILABLE


_decode = msgspec.json.Decoder(Settings).decode
PLAIN = Settings()
"""Of a table of which nothing was set."""


def settings_of(record: Record | None) -> Settings:
    """The settings that a record is."""
    return _decode(record.value) if record is not None and record.value is not None else PLAIN


class Tables:
    """See the module. Each request asks; so what was found is kept until anything of the system's changes."""

    __slots__ = ("_consistencies", "_root", "_store")

    def __init__(self, store: Store) -> None:
        self._store = store
        self._root = 0
        self._consistencies: dict[str, Consistency] = {}

    def settings(self, table: str) -> Settings:
        """What is known here of a table."""
        return settings_of(self._store.replicas[SYSTEM_PARTITION].records.get((TABLES_TABLE, table)))

    def consistency(self, table: str) -> Consistency:
        """How a table's records are kept."""
        root = self._store.replicas[SYSTEM_PARTITION].digests.root
        if root != self._root or len(self._consistencies) >= KNOWN:
            self._root = root
            self._consistencies.clear()
        found = self._consistencies.get(table)
        if found is None:
            found = self._consistencies[table] = self.settings(table).consistency
        return found
