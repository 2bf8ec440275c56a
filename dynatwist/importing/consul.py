"""What Consul says of its keys: as ``consul kv export`` prints it, and as its HTTP API answers ``/v1/kv/?recurse``."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from .rows import FAULTS, Item, Refused, SourceError, fault_of, from_base64, row_of, value_of

NOT_THIS = "this is not what 'consul kv export' prints"


class _Exported(msgspec.Struct):
    key: str
    value: str | None = None


class _Answered(msgspec.Struct, rename="pascal"):
    key: str
    value: str | None = None


_ENTRIES = msgspec.json.Decoder(list[msgspec.Raw])
_EXPORTED = msgspec.json.Decoder(_Exported)
_ANSWERED = msgspec.json.Decoder(_Answered)


def rows_of(document: bytes) -> Iterator[Item]:
    """The rows of either.

    :raises SourceError: it is neither.
    """
    try:
        entries = _ENTRIES.decode(document)
    except FAULTS as error:
        raise SourceError(f"{NOT_THIS}: {fault_of(error)}") from None
    for place, raw in enumerate(entries):
        try:
            entry = _entry_of(raw)
            value = value_of(from_base64(entry.value or ""))
        except FAULTS as error:
            yield Refused(f"entry {place + 1}", fault_of(error))
        else:
            yield row_of(entry.key, value)


def _entry_of(raw: msgspec.Raw) -> _Exported | _Answered:
    try:
        return _EXPORTED.decode(raw)
    except msgspec.ValidationError:
        return _ANSWERED.decode(raw)
