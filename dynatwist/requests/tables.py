"""What is agreed on about tables: how their records are kept.

Settings are registers in a table of the system, so each node has what was chosen, within a moment.
"""

from __future__ import annotations

from enum import Enum

import msgspec

from dynatwist.model.record import Record
from dynatwist.model.records import Packed, value_of
from dynatwist.model.ring import SYSTEM_PARTITION
from dynatwist.storage.store import Store

TABLES_TABLE = "_tables"
KNOWN = 10_000
"""Tables whose settings are kept decoded."""


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
    """See the module."""

    __slots__ = ("_known", "_records", "_store")

    def __init__(self, store: Store) -> None:
        self._store = store
        self._known: dict[str, tuple[Packed, Settings]] = {}

    def settings(self, table: str) -> Settings:
        """What is known here of a table."""
        packed = self._store.replicas[SYSTEM_PARTITION].records.packed((TABLES_TABLE, table))
        if packed is None:
            return PLAIN
        known = self._known.get(table)
        if known is not None and known[0] is packed:
            return known[1]
        value = value_of(packed)
        settings = _decode(value) if value is not None else PLAIN
        if len(self._known) >= KNOWN:
            self._known.clear()
        self._known[table] = packed, settings
        return settings

    def consistency(self, table: str) -> Consistency:
        """How a table's records are kept."""
        return self.settings(table).consistency
