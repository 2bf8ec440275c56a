"""What readers make of a source: rows that can be written, and refusals that are told."""

from __future__ import annotations

import binascii
from base64 import b64decode, b64encode
from dataclasses import dataclass

import msgspec

from dynatwist.errors import DynakvError
from dynatwist.model.flaws import value_flaw

USUAL_KEY_BYTES = 1024
"""As nodes take them unless ``--max-key`` says otherwise."""
SHOWN_CHARS = 80
"""Of a key in a message: longer ones would hide the message."""


class SourceError(DynakvError):
    """A source as a whole cannot be read."""


@dataclass(frozen=True, slots=True)
class Row:
    """A record to be written.

    :ivar value: a JSON object, as it was written.
    :ivar table: where it belongs; empty where the source does not say.
    :ivar ends_ms: when it ends, in milliseconds since the epoch; ``None`` for never.
    """

    key: str
    value: bytes
    table: str = ""
    ends_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Refused:
    """What is no record here.

    :ivar name: the key, as far as it can be shown.
    :ivar why: for people.
    """

    name: str
    why: str


Item = Row | Refused


def shown(name: bytes | str) -> str:
    """A key as a message shows it: in one line, and not too long."""
    text = name.decode(errors="backslashreplace") if isinstance(name, bytes) else name
    text = text.encode("unicode_escape", "backslashreplace").decode() if not text.isprintable() else text
    return text if len(text) <= SHOWN_CHARS else text[: SHOWN_CHARS - 1] + "…"


FAULTS = (ValueError, msgspec.MsgspecError, RecursionError)
"""What reading anything that is sent may raise; bytes that are no UTF-8 are a `ValueError`, too."""


def fault_of(error: Exception) -> str:
    """What one of `FAULTS` says to people."""
    return "the JSON is nested too deeply" if isinstance(error, RecursionError) else str(error)


def key_flaw(key: str, most_bytes: int = USUAL_KEY_BYTES) -> str:
    """Why a text is no key; empty when it is."""
    try:
        size = len(key.encode())
    except UnicodeEncodeError:
        return "the key is no valid UTF-8"
    if not size:
        return "the key is empty"
    if size > most_bytes:
        return f"the key has {size} bytes; at most {most_bytes} are taken"
    if any(char < " " or "\x7f" <= char < "\xa0" for char in key):
        return "the key contains a control character"
    return ""


def row_of(name: bytes | str, value: bytes, *, table: str = "", ends_ms: int | None = None) -> Item:
    """A row, or why there is none.

    :param name: the key; as the other store has it, which may be any bytes.
    :param value: a JSON object.
    """
    try:
        key = name.decode() if isinstance(name, bytes) else name
    except UnicodeDecodeError:
        return Refused(shown(name), "the key is no valid UTF-8")
    flaw = key_flaw(key)
    return Refused(shown(name), flaw) if flaw else Row(key, value, table, ends_ms)


def stripped(item: Item, prefix: str) -> Item:
    """The same under its key without a prefix, where it begins with that."""
    if not prefix or isinstance(item, Refused) or not item.key.startswith(prefix):
        return item
    key = item.key.removeprefix(prefix)
    if not key:
        return Refused(shown(item.key), f"nothing is left of the key without {prefix!r}")
    return Row(key, item.value, item.table, item.ends_ms)


def text_of(data: bytes) -> str | dict[str, str]:
    """Bytes as JSON can say them: text where they are UTF-8, else ``{"base64": ...}``."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        return {"base64": b64encode(data).decode()}


def value_of(data: bytes) -> bytes:
    """Bytes as a value: a JSON object as it is, anything else as ``{"value": ...}``."""
    return data if not value_flaw(data) else wrapped(text_of(data))


def wrapped(value: object) -> bytes:
    """What is no object as the value of a record."""
    return msgspec.json.encode({"value": value})


def from_base64(text: str) -> bytes:
    """What a text in base64 says.

    :raises ValueError: it is none.
    """
    try:
        return b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("not base64") from None
