"""What a backup holds."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec


class Entry(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One record; or, in an increment, that a key has none any more.

    :ivar value: JSON, exactly as it was kept; empty where the key has no record any more.
    :ivar owner: uid.
    :ivar expires_ms: the wall time at which it ends by itself; 0 for never.
    :ivar version: for people; a restored record begins with a version of its own.
    :ivar at_ms: when it was written, for people.
    """

    table: str
    key: str
    value: bytes
    owner: str
    expires_ms: int = 0
    version: int = 0
    at_ms: int = 0

    @property
    def is_gone(self) -> bool:
        """Whether the key has no record any more."""
        return not self.value

    @property
    def size_bytes(self) -> int:
        """Of what a client has stored."""
        return len(self.key.encode()) + len(self.value)

    def is_over(self, now_ms: int) -> bool:
        """Whether its time to live has passed."""
        return 0 < self.expires_ms <= now_ms


def gone(table: str, key: str) -> Entry:
    """That a key has no record any more."""
    return Entry(table, key, b"", "")


class Tally(msgspec.Struct, omit_defaults=True):
    """How much of one table is in a backup.

    :ivar gone: how many keys have no record any more.
    """

    records: int = 0
    bytes: int = 0
    gone: int = 0

    def add(self, entry: Entry) -> None:
        """One record more, or one less."""
        if entry.is_gone:
            self.gone += 1
        else:
            self.records += 1
        self.bytes += entry.size_bytes


class Tallies:
    """How much of each table was met.

    :ivar by_table: in the order in which they were met.
    """

    def __init__(self) -> None:
        self.by_table: dict[str, Tally] = {}

    def add(self, entries: Iterable[Entry]) -> None:
        """Some records more."""
        for entry in entries:
            self.by_table.setdefault(entry.table, Tally()).add(entry)


class Mark(msgspec.Struct, frozen=True):
    """From where an increment on a backup goes on.

    :ivar clock: what the backup is sure to hold, as the cluster names it; it means nothing to anybody else.
    :ivar tables: the data tables that there were: of one that is not there any more, all was deleted.
    """

    clock: bytes
    tables: tuple[str, ...]


class Base(msgspec.Struct, frozen=True):
    """The backup that an increment goes on from.

    :ivar id: see `dynatwist.backups.format.Header`.
    :ivar digest: SHA-256 of its file.
    :ivar created: when it was made, for people.
    """

    id: str
    digest: bytes
    created: str


class Totals(msgspec.Struct, frozen=True, omit_defaults=True):
    """The end of a backup: what has to be before it.

    :ivar tables: how much of each.
    :ivar strong: which of these are strong.
    :ivar only: the tables that were asked for; empty for all, and for users, groups and service tokens with them.
    :ivar prefix: that keys had to begin with.
    :ivar missing: partitions of which no majority of the owners could be reached, where that was accepted.
    :ivar mark: for an increment on it; ``None`` where that cannot be.
    :ivar base: of an increment.
    """

    tables: dict[str, Tally]
    strong: tuple[str, ...] = ()
    only: tuple[str, ...] = ()
    prefix: str = ""
    missing: tuple[int, ...] = ()
    mark: Mark | None = None
    base: Base | None = None

    @property
    def is_increment(self) -> bool:
        """Whether it holds only what has changed since another one."""
        return self.base is not None
