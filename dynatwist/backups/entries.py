"""What a backup holds."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec


class Entry(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One record.

    :ivar value: JSON, exactly as it was kept.
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
    def size_bytes(self) -> int:
        """Of what a client has stored."""
        return len(self.key.encode()) + len(self.value)

    def is_over(self, now_ms: int) -> bool:
        """Whether its time to live has passed."""
        return 0 < self.expires_ms <= now_ms


class Tally(msgspec.Struct):
    """How much of one table is in a backup."""

    records: int = 0
    bytes: int = 0

    def add(self, entry: Entry) -> None:
        """One record more."""
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


class Totals(msgspec.Struct, frozen=True):
    """The end of a backup: what has to be before it.

    :ivar tables: how much of each.
    :ivar strong: which of these are strong.
    :ivar only: the tables that were asked for; empty for all, and for users, groups and service tokens with them.
    :ivar prefix: that keys had to begin with.
    :ivar missing: partitions of which no majority of the owners could be reached, where that was accepted.
    """

    tables: dict[str, Tally]
    strong: tuple[str, ...] = ()
    only: tuple[str, ...] = ()
    prefix: str = ""
    missing: tuple[int, ...] = ()
