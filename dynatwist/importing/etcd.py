"""What etcd says of its keys: as ``etcdctl get --prefix -w json`` prints it, and as its gRPC gateway answers.

Both are JSON with keys and values in base64; numbers of 64 bits are texts at the gateway.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import msgspec

from .rows import FAULTS, Item, Refused, SourceError, fault_of, from_base64, row_of, value_of

NOT_THIS = "this is not what 'etcdctl get \"\" --prefix -w json' prints"


class _Header(msgspec.Struct):
    revision: int = 0


class _Range(msgspec.Struct):
    header: _Header = msgspec.field(default_factory=_Header)
    kvs: list[msgspec.Raw] = []
    more: bool = False
    count: int = 0


class _Entry(msgspec.Struct):
    key: str = ""
    value: str = ""
    lease: int = 0


class _Authenticated(msgspec.Struct):
    token: str


class _Lease(msgspec.Struct):
    ttl: int = msgspec.field(default=0, name="TTL")


@dataclass(frozen=True, slots=True)
class Entry:
    """A key of etcd.

    :ivar lease: by whose end it ends; 0 for none.
    """

    key: bytes
    value: bytes
    lease: int


@dataclass(frozen=True, slots=True)
class Page:
    """Some keys of etcd.

    :ivar revision: that of the whole store which they are of.
    :ivar faults: what is no entry.
    :ivar next_key: where the next page begins; empty when this is the last.
    :ivar count: keys in all.
    """

    revision: int
    entries: list[Entry]
    faults: list[Refused]
    next_key: bytes
    count: int


def page_of(answer: bytes) -> Page:
    """What an answer to a range request says.

    :raises SourceError: it is none.
    """
    try:
        told = msgspec.json.decode(answer, type=_Range, strict=False)
    except FAULTS as error:
        raise SourceError(f"{NOT_THIS}: {fault_of(error)}") from None
    entries: list[Entry] = []
    faults: list[Refused] = []
    for place, raw in enumerate(told.kvs):
        try:
            entries.append(_entry_of(raw))
        except FAULTS as error:
            faults.append(Refused(f"entry {place + 1}", fault_of(error)))
    next_key = entries[-1].key + b"\0" if told.more and entries else b""
    return Page(told.header.revision, entries, faults, next_key, told.count)


def _entry_of(raw: msgspec.Raw) -> Entry:
    told = msgspec.json.decode(raw, type=_Entry, strict=False)
    return Entry(from_base64(told.key), from_base64(told.value), told.lease)


def rows_of(page: Page, ends_ms: Mapping[int, int]) -> Iterator[Item]:
    """The rows of a page.

    :param ends_ms: by lease, when it ends, or has ended. A key of a lease that is not named here gets no end.
    """
    yield from page.faults
    for entry in page.entries:
        yield row_of(entry.key, value_of(entry.value), ends_ms=ends_ms.get(entry.lease))


def range_request(begin: bytes, revision: int, limit: int) -> dict[str, object]:
    """The body of a request for a page of all keys.

    :param begin: the first key; empty for the first of all.
    :param revision: which state of the store; 0 for the present one.
    """
    behind_all = b"\0"
    return {
        "key": b64encode(begin or b"\0").decode(),
        "range_end": b64encode(behind_all).decode(),
        "limit": limit,
        "revision": revision,
    }


def token_of(answer: bytes) -> str:
    """The token that etcd gives to whoever logs in.

    :raises SourceError: there is none.
    """
    try:
        return msgspec.json.decode(answer, type=_Authenticated).token
    except FAULTS as error:
        raise SourceError(f"etcd's answer to a login cannot be read: {fault_of(error)}") from None


def seconds_left(answer: bytes) -> int:
    """How long a lease lasts yet; -1 when it has ended.

    :raises SourceError: it is no answer about a lease.
    """
    try:
        return msgspec.json.decode(answer, type=_Lease, strict=False).ttl
    except FAULTS as error:
        raise SourceError(f"etcd's answer about a lease cannot be read: {fault_of(error)}") from None
