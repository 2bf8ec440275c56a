"""What a backup reads of a cluster, through its administrator's requests."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING
from urllib.parse import quote, urlencode

import msgspec

from dynatwist.backups.entries import Entry
from dynatwist.backups.selection import Selection

from .pages import path_of

if TYPE_CHECKING:
    from dynatwist.sync import Client

PATIENCE_S = 20.0
"""For one answer: a member that settles what was agreed on takes five seconds at most, and another one may be asked."""


class Table(msgspec.Struct, frozen=True):
    """A table that there is.

    :ivar keys_about: an estimate.
    """

    name: str
    consistency: str = "available"
    keys_about: int = 0


class _Tables(msgspec.Struct):
    tables: list[Table]
    next_after: str | None
    missing: list[int] = []


class _Record(msgspec.Struct):
    key: str
    value: msgspec.Raw
    owner: str
    expires_at: int
    version: int
    timestamp: int


class _Page(msgspec.Struct):
    records: list[_Record]
    next_after: str | None
    missing: list[int] = []


class Source:
    """See the module.

    :param is_partial: whether what can be read is enough, where some keys have no majority of owners.
    :ivar missing: partitions of which no majority of the owners could be asked.
    """

    def __init__(self, client: Client, *, is_partial: bool) -> None:
        self._client = client
        self._is_partial = is_partial
        self.missing: set[int] = set()

    def tables(self) -> Iterator[Table]:
        """All tables, the system's behind all others."""
        after: str | None = ""
        while after is not None:
            answer = msgspec.json.decode(self._get("/admin/backup", after=after), type=_Tables)
            self.missing.update(answer.missing)
            yield from answer.tables
            after = answer.next_after

    def entries(self, tables: Iterable[Table], selection: Selection) -> Iterator[list[Entry]]:
        """The records of some tables that belong to a selection, some at a time."""
        for table in tables:
            for entries in self._of(table.name, selection.prefix_in(table.name)):
                yield [one for one in entries if selection.takes(one)]

    def _of(self, table: str, prefix: str) -> Iterator[list[Entry]]:
        after: str | None = ""
        while after is not None:
            answer = msgspec.json.decode(
                self._get(path_of("admin", "backup", table), prefix=prefix, after=after), type=_Page
            )
            self.missing.update(answer.missing)
            yield [
                Entry(table, one.key, bytes(one.value), one.owner, one.expires_at, one.version, one.timestamp)
                for one in answer.records
            ]
            after = answer.next_after

    def _get(self, path: str, **asked: str) -> bytes:
        if self._is_partial:
            asked["partial"] = "true"
        query = urlencode({name: text for name, text in asked.items() if text}, quote_via=quote)
        return self._client.ask("GET", f"{path}?{query}", None, {}, timeout_s=PATIENCE_S, repeatable=True)
