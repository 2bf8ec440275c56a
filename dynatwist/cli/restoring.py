"""Bringing the records of a backup back, through an administrator's request, some at a time."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import msgspec

from dynatwist.backups.entries import Entry
from dynatwist.backups.selection import SETTINGS
from dynatwist.sansio.errors import Unavailable

from .pages import path_of

if TYPE_CHECKING:
    from dynatwist.sync import Client

MOST_RECORDS, MOST_BYTES = 256, 48 << 10
"""Of one request: a node takes no more records, and a node of the smallest limits no more bytes; or one record."""
MOST_BY_TABLE = {SETTINGS: 1}
"""All members have to know of a strong table before it is one, which takes seconds."""
RECORD_BYTES = 200
"""A record's share of a request beside its key and value, roughly."""
PASSING = frozenset({"unavailable", "uncertain", "overloaded", "starting"})
"""Refusals that pass: a record may be tried again, since by default what is there stays, and else it is the same."""
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.1, 2.0
"""Before a try: members come back within seconds."""


class Tally(msgspec.Struct):
    """What became of the records.

    :ivar taken: users whose names others have by now.
    :ivar refused: how many would not go back.
    :ivar examples: the first of them, with the reasons.
    """

    written: int = 0
    kept: int = 0
    expired: int = 0
    taken: int = 0
    refused: int = 0
    examples: list[str] = []

    def refuse(self, entry: Entry, why: str) -> None:
        """One would not."""
        self.refused += 1
        if len(self.examples) < 5:
            self.examples.append(f"{entry.table}/{entry.key}: {why}")


class _Refusal(msgspec.Struct):
    error: str
    code: str


class _Answer(msgspec.Struct):
    outcomes: list[str | _Refusal]


class Restoring:
    """See the module.

    :param patience_s: how long one record is tried for.
    :ivar tally: what became of all so far.
    """

    def __init__(self, client: Client, *, overwrite: bool, is_dry: bool, patience_s: float) -> None:
        self._client = client
        self._terms = {"overwrite": overwrite, "dry": is_dry}
        self._patience_s = patience_s
        self.tally = Tally()

    def restore(self, entries: Sequence[Entry]) -> None:
        """Bring some records back.

        :raises KvError: the cluster does not take them now, or never will.
        """
        for table, some in _requests(entries):
            until_s, pause_s = time.monotonic() + self._patience_s, FIRST_PAUSE_S
            left = self._try(table, some)
            while left:
                if time.monotonic() > until_s:
                    raise Unavailable(503, left[0][1].code, f"{left[0][1].error}; run it again to go on")
                time.sleep(pause_s)
                pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
                left = self._try(table, [entry for entry, _ in left])

    def _try(self, table: str, entries: Sequence[Entry]) -> list[tuple[Entry, _Refusal]]:
        """One request; answers what is to be tried again, and why."""
        records = [
            {"key": one.key, "value": msgspec.Raw(one.value), "owner": one.owner, "expires_at": one.expires_ms}
            for one in entries
        ]
        path, body = path_of("admin", "restore", table), {"records": records, **self._terms}
        answer = self._client.ask("POST", path, body, {}, timeout_s=30.0, repeatable=True)
        again: list[tuple[Entry, _Refusal]] = []
        for entry, outcome in zip(entries, msgspec.json.decode(answer, type=_Answer).outcomes, strict=True):
            if isinstance(outcome, _Refusal):
                if outcome.code in PASSING:
                    again.append((entry, outcome))
                else:
                    self.tally.refuse(entry, outcome.error)
            else:
                setattr(self.tally, outcome, getattr(self.tally, outcome) + 1)
        return again


def _requests(entries: Sequence[Entry]) -> Iterator[tuple[str, list[Entry]]]:
    """What goes into one request each: records of one table, so many and so long at most."""
    some: list[Entry] = []
    size_bytes = 0
    for entry in entries:
        entry_bytes = RECORD_BYTES + entry.size_bytes
        is_full = len(some) == MOST_BY_TABLE.get(entry.table, MOST_RECORDS) or size_bytes + entry_bytes > MOST_BYTES
        if some and (entry.table != some[0].table or is_full):
            yield some[0].table, some
            some, size_bytes = [], 0
        some.append(entry)
        size_bytes += entry_bytes
    if some:
        yield some[0].table, some
