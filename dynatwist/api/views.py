"""Records as clients see them, as JSON bytes. Values are sent as they are kept; nothing is decoded."""

from __future__ import annotations

from functools import lru_cache

import msgspec

from dynatwist import heart
from dynatwist.auth.user import owner_name
from dynatwist.errors import ApiError
from dynatwist.feed.hub import Event
from dynatwist.model.record import Record
from dynatwist.replication.request import Code, Kind, Operation, Result, etag, quoted

_encode = msgspec.json.encode


def record_json(record: Record, tag: str = "") -> bytes:
    """``{"value", "vector_clock", "version", "timestamp", "owner", "etag"}``, ``expires_at`` where it expires, and
    ``"ephemeral": true`` where its life depends on that of a connection.

    :param tag: its ETag, when that is known already.
    """
    ends = b',"expires_at":%d' % record.expires_ms if record.expires_ms else b""
    if record.lease is not None:
        ends += b',"ephemeral":true'
    owner, tag = _owner_json(record.owner), tag or etag(record)
    return heart.record_json(record.value, record.dot, record.vv, record.version, record.stamp[0], owner, tag, ends)


def written_json(operation: Operation, result: Result) -> bytes:
    """The record that a write became, as its answer.

    Of one that was made before, and that others have written over since, all that is still known: no vector clock, no
    owner, and of a patch no value. It says so: ``"superseded": true``.
    """
    record, was = result.record, result.was
    assert record is not None
    if was is None:
        return record_json(record)
    value = operation.value if operation.kind is Kind.PUT else b"null"
    return b'{"value":%b,"vector_clock":{},"version":%d,"timestamp":%d,"etag":%b,"superseded":true}' % (
        value, was.version, was.ms, tag_of_written(result).encode(),
    )  # fmt: skip


def refused_json(error: ApiError, held: Record | None) -> bytes:
    """An error object with the record that is held, ``null`` where there is none."""
    shown = b"null" if held is None else record_json(held)
    return b'{"error":%b,"code":%b,"record":%b}' % (_encode(error.text), _encode(error.code), shown)


def tag_of_written(result: Result) -> str:
    """The ETag of the record that a write became, or that was read."""
    assert result.record is not None
    return etag(result.record) if result.was is None else quoted(result.was.tag)


def version_of_written(result: Result) -> int:
    """Its version."""
    assert result.record is not None
    return result.record.version if result.was is None else result.was.version


@lru_cache(maxsize=4096)
def _owner_json(uid: str) -> bytes:
    return _encode(owner_name(uid))


def sse_json(event: Event) -> bytes:
    """``{"Updated": record}`` or ``"Deleted"``."""
    return b'"Deleted"' if event.is_deleted else b'{"Updated":' + record_json(event.record) + b"}"


def named_sse_json(event: Event) -> bytes:
    """``{"Updated": record, "key"}`` or ``{"Deleted": "expired" or "deleted", "key"}``, for listeners to many keys."""
    if event.is_deleted:
        return b'{"Deleted":%b,"key":%b}' % (b'"expired"' if event.is_over else b'"deleted"', _encode(event.key[1]))
    return b'{"Updated":%b,"key":%b}' % (record_json(event.record), _encode(event.key[1]))


def event_fields(event: Event) -> bytes:
    """The members of a websocket event that are equal for all listeners, encoded once."""
    if event.encoded is None:
        event.encoded = {}
    encoded = event.encoded.get("ws")
    if encoded is None:
        kind, record, reason = b'"Updated"', b"null", b""
        if event.is_deleted:
            kind, reason = b'"Deleted"', b',"reason":"expired"' if event.is_over else b',"reason":"deleted"'
        else:
            record = record_json(event.record)
        at = b',"initial":true' if event.is_initial else b',"cursor":' + _encode(event.cursor)
        encoded = b'"type":%b,"table":%b,"key":%b,"record":%b%b%b' % (
            kind, _encode(event.key[0]), _encode(event.key[1]), record, at, reason,
        )  # fmt: skip
        event.encoded["ws"] = encoded
    return encoded


_STATUS = {
    Code.ABSENT: (404, "not_found"),
    Code.FORBIDDEN: (403, "forbidden"),
    Code.PRECONDITION: (412, "precondition_failed"),
    Code.CONFLICT: (409, "conflict"),
    Code.TOO_LARGE: (413, "too_large"),
    Code.MALFORMED: (400, "malformed"),
    Code.MISMATCH: (422, "idempotency_mismatch"),
    Code.UNAVAILABLE: (503, "unavailable"),
    Code.UNCERTAIN: (503, "uncertain"),
    Code.FULL: (507, "full"),
    Code.OVERLOADED: (503, "overloaded"),
}


def failure_of(result: Result) -> ApiError:
    """The error that a result is, when it is not OK."""
    status, code = _STATUS[result.code]
    headers = {"X-Replicas": result.replicas} if result.replicas else {}
    if status == 503:
        headers["Retry-After"] = "1"
    return ApiError(status, code, result.text or "there is no such key", headers)
