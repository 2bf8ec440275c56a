"""What is agreed on about tables: how their records are kept, who may do what, how long records live.

Settings are registers in a table of the system, so each node has what was chosen, within a moment.
"""

from __future__ import annotations

from enum import Enum

import msgspec

from dynatwist.model.access import Rule
from dynatwist.model.record import Record
from dynatwist.model.records import Packed
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


class Settings(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is kept of a table.

    :ivar access: who may do what; ``None`` for the usual rule.
    :ivar default_ttl: seconds that a record lives that is put without ``?ttl=``; 0 for ever.
    :ivar max_value: bytes of a value at most; 0 for as many as the node takes.
    :ivar was: how records were kept before the table was closed.
    :ivar claim: names the change that has closed it.
    :ivar bound: by name, the uid of a user who was registered when the rules were set. A later user of the name is not
        meant by them.
    """

    consistency: Consistency = Consistency.AVAILABLE
    access: tuple[Rule, ...] | None = None
    default_ttl: int = 0
    max_value: int = 0
    bound: dict[str, str] = {}
    was: Consistency = Consistency.AVAILABLE
    claim: str = ""


_decode = msgspec.json.Decoder(Settings).decode
PLAIN = Settings()
"""Of a table of which nothing was set."""


def settings_of(record: Record | None) -> Settings:
    """The settings that a record is."""
    return _decode(record.value) if record is not None and record.value is not None else PLAIN


class Tables:
    """See the module. Each request asks; so what was found is kept until anything of the system's changes."""

    __slots__ = ("_known", "_root", "_store")

    def __init__(self, store: Store) -> None:
        self._store = store
        self._root = 0
        self._known: dict[str, tuple[Settings, Packed | None]] = {}

    @property
    def version(self) -> int:
        """Another number when anything of the system's has changed."""
        return self._store.replicas[SYSTEM_PARTITION].digests.root

    def settings(self, table: str) -> Settings:
        """What is known here of a table."""
        return self._find(table)[0]

    def consistency(self, table: str) -> Consistency:
        """How a table's records are kept."""
        found = self._known.get(table)
        if found is None or self._store.replicas[SYSTEM_PARTITION].digests.root != self._root:
            found = self._find(table)
        return found[0].consistency

    def kept(self, table: str) -> Packed | None:
        """The settings as they are kept: another object when they have changed."""
        return self._find(table)[1]

    def _find(self, table: str) -> tuple[Settings, Packed | None]:
        root = self._store.replicas[SYSTEM_PARTITION].digests.root
        if root != self._root or len(self._known) >= KNOWN:
            self._root = root
            self._known.clear()
        found = self._known.get(table)
        if found is None:
            records = self._store.replicas[SYSTEM_PARTITION].records
            key = TABLES_TABLE, table
            found = self._known[table] = settings_of(records.get(key)), records.packed(key)
        return found
