"""JSON Merge Patch (RFC 7396)."""

from __future__ import annotations

from typing import Any

import msgspec


def merge_patch(target: Any, patch: Any) -> Any:
    """The target with a patch applied; members that are null in the patch are removed."""
    if not isinstance(patch, dict):
        return patch
    merged = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            merged.pop(name, None)
        else:
            merged[name] = merge_patch(merged.get(name), value)
    return merged


def patched(value: bytes, patch: bytes) -> bytes:
    """The same on JSON bytes, minified."""
    return msgspec.json.encode(merge_patch(msgspec.json.decode(value), msgspec.json.decode(patch)))
