"""Judges conditional writes and patches: what they were carried out on, as the record itself says.

A record names the dots that its writer had seen, and its version is one more than that of what was held. So what it was
written on is known, and compared with what the request demanded.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from dynatwist.model.dots import Dot
from dynatwist.model.record import Record
from dynatwist.replication.request import Kind

from .history import Call, name_of


def broken(call: Call, record: Record, known: Mapping[Dot, Record], wanted: Record | None, latest_ms: int) -> str:
    """What is wrong with a write that was acknowledged; empty for nothing.

    :param record: what it became.
    :param known: all records of the key.
    :param wanted: the one named by ``If-Match``; ``None`` for none, or any.
    :param latest_ms: the greatest wall reading of any node.
    """
    seen = [known[dot] for dot in record.vv if dot in known]
    bases = [one for one in seen if one.version == record.version - 1]
    if call.if_match and not any(_may_live(one) for one in bases):
        return "If-Match holds, though nothing was held"
    if wanted is not None and wanted not in bases:
        return f"If-Match names {name_of(wanted)}, and it was written on {[name_of(one) for one in bases]}"
    if call.if_absent and bases and not any(_is_dead(one, latest_ms) for one in bases):
        return f"If-None-Match: * holds, though {[name_of(one) for one in bases]} was held"
    if call.kind is Kind.PATCH and not any(_patched(one, call.sent) == record.value for one in bases):
        return f"it patches {[one.value for one in bases]} to {record.value!r}"
    if not _ends_as_asked(call, record, bases, latest_ms):
        return f"it was to live for {call.ttl_s} s, and ends at {record.expires_ms}, after {bases}"
    return ""


def _ends_as_asked(call: Call, record: Record, bases: list[Record], latest_ms: int) -> bool:
    """What is to live for some time ends no later than that from now; a patch changes no end unless it says so."""
    if call.kind is Kind.DELETE:
        return record.expires_ms == 0
    if call.ttl_s:
        return 0 < record.expires_ms <= max(record.stamp.ms, latest_ms) + call.ttl_s * 1000
    if call.kind is Kind.PATCH:
        return any(one.expires_ms == record.expires_ms for one in bases)
    return record.expires_ms == 0


def _may_live(record: Record) -> bool:
    return record.value is not None


def _is_dead(record: Record, latest_ms: int) -> bool:
    return record.value is None or 0 < record.expires_ms <= latest_ms


def _patched(base: Record, patch: bytes) -> bytes:
    """RFC 7396 with the patches that simulated clients send: a member or two, no objects in them."""
    if base.value is None:
        return b""
    fields: dict[str, Any] = msgspec.json.decode(base.value)
    return msgspec.json.encode({**fields, **msgspec.json.decode(patch)})
