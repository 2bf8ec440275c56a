"""Lines of JSON: what ``dynakv export`` writes, with a first and a last line that tell whether it is whole; and plain
lines ``{"key": ..., "value": ...}``.

The names of fields here are the format. A reader of a later version has to go on reading earlier ones.
"""

from __future__ import annotations

import msgspec

from dynatwist.model.flaws import value_flaw

from .rows import FAULTS, Item, Refused, SourceError, fault_of, row_of, wrapped

FORMAT, VERSION = "dynakv-export", 1


class Head(msgspec.Struct, omit_defaults=True):
    """The first line.

    :ivar at: when the export began, RFC 3339.
    :ivar tables: which ones are in it.
    :ivar prefix: only keys that begin so.
    """

    format: str
    version: int
    at: str = ""
    tables: list[str] = []
    prefix: str = ""


class Foot(msgspec.Struct):
    """The last line.

    :ivar records: how many there are, by table.
    :ivar total: how many in all.
    """

    end: str
    total: int
    records: dict[str, int]


class Line(msgspec.Struct, omit_defaults=True, kw_only=True):
    """A record. Only table, key, value and end are read again; the others are for people and other programs.

    :ivar expires_at: when it ends, in milliseconds since the epoch.
    """

    table: str = ""
    key: str
    value: msgspec.Raw
    owner: str = ""
    version: int = 0
    timestamp: int = 0
    expires_at: int | None = None


class _Any(msgspec.Struct):
    """What tells the kinds of lines apart."""

    key: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    format: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    end: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


class Lines:
    """Reads line by line, and knows at the end whether all were there."""

    def __init__(self) -> None:
        self._number = 0
        self._records = 0
        self._head: Head | None = None
        self._foot: Foot | None = None

    def read(self, line: bytes) -> Item | None:
        """What a line says; ``None`` where it is no record, or empty.

        :raises SourceError: the file is of a format that is not known here.
        """
        self._number += 1
        if not line.strip():
            return None
        try:
            kind = msgspec.json.decode(line, type=_Any)
            if kind.key is not msgspec.UNSET:
                self._records += 1
                return self._record(line)
            if kind.format is not msgspec.UNSET:
                self._head = self._known(msgspec.json.decode(line, type=Head))
                return None
            if kind.end is not msgspec.UNSET:
                self._foot = msgspec.json.decode(line, type=Foot)
                return None
        except FAULTS as error:
            return Refused(f"line {self._number}", fault_of(error))
        return Refused(f"line {self._number}", 'it has no "key"')

    def _known(self, head: Head) -> Head:
        if head.format != FORMAT or head.version != VERSION:
            raise SourceError(
                f"line {self._number}: format {head.format!r}, version {head.version}, is not known here; this release "
                f"reads {FORMAT!r}, version {VERSION}"
            )
        return head

    def _record(self, line: bytes) -> Item:
        told = msgspec.json.decode(line, type=Line)
        line.decode()
        value = bytes(told.value)
        if value_flaw(value):
            value = wrapped(told.value)
        return row_of(told.key, value, table=told.table, ends_ms=told.expires_at)

    def fault(self) -> str:
        """What is wrong with the whole, once all lines were read; empty when nothing is. Plain lines have no end by
        which it could be known that some are missing."""
        if self._head is None:
            return ""
        if self._foot is None:
            return f"the file is cut: its last line is missing; records up to there: {self._records}"
        if self._foot.total != self._records:
            return f"the file is damaged: records in it: {self._records}, by its last line: {self._foot.total}"
        return ""
