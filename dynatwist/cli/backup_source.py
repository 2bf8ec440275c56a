"""What a backup reads of a cluster, through its administrator's requests."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING
from urllib.parse import quote, urlencode

import msgspec

from dynatwist.backups.entries import Entry, gone
from dynatwist.backups.selection import Selection, is_system

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
    clock: str | None = None


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
    gone: list[str] = []

    def entries(self, table: str) -> list[Entry]:
        """What it says of a table, as a backup holds it."""
        return [
            Entry(table, one.key, bytes(one.value), one.owner, one.expires_at, one.version, one.timestamp)
            for one in self.records
        ] + [gone(table, key) for key in self.gone]


class Source:
    """See the module.

    :param is_partial: whether what can be read is enough, where some keys have no majority of owners.
    :ivar missing: partitions of which no majority of the owners could be asked.
    :ivar clock: what is sure to be in a backup of the tables that were named; ``None`` where the cluster does not say.
    """

    def __init__(self, client: Client, *, is_partial: bool) -> None:
        self._client = client
        self._is_partial = is_partial
        self.missing: set[int] = set()
        self.clock: str | None = None

    def tables(self) -> Iterator[Table]:
        """All tables, the system's behind all others."""
        after: str | None = ""
        while after is not None:
            answer = msgspec.json.decode(self._get("/admin/backup", after=after), type=_Tables)
            self.missing.update(answer.missing)
            if not after:
                self.clock = answer.clock
            yield from answer.tables
            after = answer.next_after

    def entries(self, tables: Iterable[Table], selection: Selection, since: str = "") -> Iterator[list[Entry]]:
        """The records of some tables that belong to a selection, some at a time.

        :param since: the clock of the backup whose changes are asked for; empty for all there is. Of what the system
            keeps there is always all.
        """
        for table in tables:
            prefix = selection.prefix_in(table.name)
            pages = (
                self._changes(table.name, prefix, since)
                if since and not is_system(table.name)
                else (self._of(table.name, prefix))
            )
            for entries in pages:
                yield [one for one in entries if selection.takes(one)]

    def _of(self, table: str, prefix: str) -> Iterator[list[Entry]]:
        after: str | None = ""
        while after is not None:
            path = path_of("admin", "backup", table)
            answer = msgspec.json.decode(self._get(path, prefix=prefix, after=after), type=_Page)
            self.missing.update(answer.missing)
            yield answer.entries(table)
            after = answer.next_after

    def _changes(self, table: str, prefix: str, since: str) -> Iterator[list[Entry]]:
        after: str | None = ""
        while after is not None:
            path, body = (
                path_of("admin", "backup", table, "changes"),
                {"since": since, "prefix": prefix, "after": after},
            )
            answer = self._client.ask("POST", path, body, {}, timeout_s=PATIENCE_S, repeatable=True)
            page = msgspec.json.decode(answer, type=_Page)
            yield page.entries(table)
            after = page.next_after

    def _get(self, path: str, **asked: str) -> bytes:
        if self._is_partial:
            asked["partial"] = "true"
        query = urlencode({name: text for name, text in asked.items() if text}, quote_via=quote)
        return self._client.ask("GET", f"{path}?{query}", None, {}, timeout_s=PATIENCE_S, repeatable=True)
