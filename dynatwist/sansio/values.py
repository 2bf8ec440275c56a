"""Values of records: what programs give becomes a JSON object, and becomes what programs want again.

A value is a dictionary, or an object with fields: a `msgspec.Struct`, a dataclass, a model of pydantic. What JSON
cannot say is refused here, with the place where it is; otherwise something else would be stored.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from math import isfinite
from typing import Any, TypeVar

import msgspec

from .record import Record

T = TypeVar("T")

_INSTEAD = {
    bytes: "bytes are no JSON; use text, for example base64",
    bytearray: "bytes are no JSON; use text, for example base64",
    memoryview: "bytes are no JSON; use text, for example base64",
    set: "a set is no JSON; use a list",
    frozenset: "a set is no JSON; use a list",
}


def encoded(value: Any, place: str = "value") -> bytes:
    """A value as JSON.

    :param place: what it is called where it is refused.
    :raises TypeError: it is no object, or has something in it that JSON cannot say; names the place.
    """
    plain = _plain(value, place)
    if not isinstance(plain, dict):
        raise TypeError(
            f"{place}: a record's value is an object with fields, a dictionary or a dataclass, and not "
            f"{type(value).__name__}; put it under a name, such as {{'value': ...}}"
        )
    return msgspec.json.encode(plain)


def _plain(value: Any, place: str) -> Any:
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, str):
        return _text(value, place)
    if isinstance(value, float):
        if not isfinite(value):
            raise TypeError(f"{place}: {value} is no JSON number; use null, or text")
        return value
    if isinstance(value, Mapping):
        return {_name(name, place): _plain(one, f"{place}.{name}") for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one, f"{place}[{number}]") for number, one in enumerate(value)]
    for kind, text in _INSTEAD.items():
        if isinstance(value, kind):
            raise TypeError(f"{place}: {text}")
    return _of_fields(value, place)


def _name(name: object, place: str) -> str:
    if not isinstance(name, str):
        raise TypeError(f"{place}: the name {name!r} is no text; JSON's names are")
    return _text(name, place)


def _text(text: str, place: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise TypeError(f"{place}: half a character (a lone surrogate) is no JSON; use whole ones") from None
    return text


def _of_fields(value: Any, place: str) -> Any:
    if not isinstance(value, type):
        if hasattr(value, "model_dump"):  # pydantic says itself what its models are as JSON
            return _plain(value.model_dump(mode="json", by_alias=True, round_trip=True), place)
        if isinstance(value, msgspec.Struct):
            return _tag(value) | _fields(
                value, [(field.name, field.encode_name) for field in msgspec.structs.fields(value)], place
            )
        if dataclasses.is_dataclass(value):
            return _fields(value, [(field.name, field.name) for field in dataclasses.fields(value)], place)
    try:
        plain = msgspec.to_builtins(value)  # a date, an enumeration, a UUID
    except (TypeError, msgspec.MsgspecError):
        raise TypeError(f"{place}: {type(value).__name__} is no JSON; use text, a number, a list or fields") from None
    return _plain(plain, place)


def _tag(value: msgspec.Struct) -> dict[str, Any]:
    """What tells a struct from others where one of several is read."""
    known = value.__struct_config__
    return {} if known.tag_field is None else {known.tag_field: known.tag}


def _fields(value: Any, names: list[tuple[str, str]], place: str) -> dict[str, Any]:
    found = ((shown, getattr(value, name)) for name, shown in names)
    return {shown: _plain(one, f"{place}.{shown}") for shown, one in found if one is not msgspec.UNSET}


def decoded(body: bytes, kind: type[T] | None) -> Record[T]:
    """A record as a program wants it.

    :param kind: of the value; a dictionary where it is ``None``.
    :raises TypeError: the value that is held is none of that kind; says what is wrong with it.
    """
    validate = getattr(kind, "model_validate", None)  # of pydantic
    wanted: Any = dict[str, Any] if kind is None or validate is not None else kind
    try:
        record: Any = msgspec.json.decode(body, type=Record[wanted])
        if validate is not None:
            record = msgspec.structs.replace(record, value=validate(record.value))
    except (msgspec.ValidationError, ValueError) as error:
        raise TypeError(f"the record's value is no {getattr(kind, '__name__', kind)}: {error}") from None
    found: Record[T] = record
    return found
