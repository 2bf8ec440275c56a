"""JSON Merge Patch (RFC 7396), on JSON as it was sent: numbers and strings that it does not change stay as they are."""

from __future__ import annotations

import msgspec

_OBJECT = msgspec.json.Decoder(dict[str, msgspec.Raw])
_NULL = b"null"


def patched(value: bytes, patch: bytes) -> bytes:
    """A value with a patch applied; members that are null in the patch are removed.

    :param value: minified JSON; anything but an object counts as an empty one.
    :param patch: minified JSON; anything but an object takes the value's place.
    """
    if not patch.startswith(b"{"):
        return patch
    merged = _OBJECT.decode(value) if value.startswith(b"{") else {}
    for name, raw in _OBJECT.decode(patch).items():
        change = bytes(raw)
        if change == _NULL:
            merged.pop(name, None)
        else:
            merged[name] = msgspec.Raw(patched(bytes(merged.get(name, b"")), change))
    return msgspec.json.encode(merged)
