"""What may come in: names, sizes, JSON. Every refusal says what, where, and what to do instead."""

from __future__ import annotations

import re
from array import array
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate
from typing import Any

import msgspec

from dynatwist import heart
from dynatwist.budget import Allowance, Budget
from dynatwist.errors import ApiError
from dynatwist.model.flaws import NOT_DECODED
from dynatwist.model.ring import is_system_table

RESERVED_TABLES = frozenset(
    (
        "admin", "auth", "heartbeat", "healthz", "readyz", "membership", "stats", "metrics", "conflicts", "ws",
        "openapi.json", "docs",
    )
)  # fmt: skip
MAX_USER_CHARS = 128
"""A name stands in each record of its user, and in log lines."""
MAX_SECRET_BYTES = 1024
"""Hashing takes the same time for any length; a longer body is only work."""
MAX_IDEMPOTENCY_KEY_BYTES = 128
"""As the contract with clients has it; only a hash is kept."""
MAX_TTL_S = 10 * 365 * 24 * 3600
"""Ten years: what lives longer may as well live for ever, and a larger number is a slip of milliseconds for seconds."""
MAX_BATCH = 1000
"""Some ten milliseconds of work, taken in over several turns."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds on what clients send and on memory; all configurable.

    :ivar store_bytes: memory for records, keys and overhead included.
    :ivar connections: of clients in all; ``None`` for as many as there are descriptors for.
    :ivar address_connections: of one source address; ``None`` for half of all.
    :ivar user_connections: of one user; ``None`` for half of all.
    :ivar logins: at work or waiting, in all: a second's work for two threads, which no client waits longer for.
    :ivar address_logins: of one source address.
    :ivar registrations: likewise.
    :ivar address_registrations: of one source address.
    :ivar receiving_bytes: of long bodies that arrive or are worked on, in all; a user may have a quarter.
    :ivar unread_bytes: of answers and events that their connections have no room for, in all; a quarter for a user.
    :ivar subscriptions: in all.
    :ivar user_subscriptions: of one user.
    :ivar streams: event streams, websockets and long answers in all.
    :ivar user_streams: of one user.
    :ivar head_s: for a request's head, also for the first one of a connection.
    :ivar body_s: for its body.
    :ivar idle_s: for a connection on which nothing is asked.
    :ivar unread_s: for a connection whose client takes nothing of what it was answered.
    """

    value_bytes: int = 1 << 20
    key_bytes: int = 1024
    table_bytes: int = 128
    json_depth: int = 64
    header_bytes: int = 16 << 10
    store_bytes: int = 8 << 30
    connections: int | None = None
    address_connections: int | None = None
    user_connections: int | None = None
    logins: int = 64
    address_logins: int = 16
    registrations: int = 32
    address_registrations: int = 8
    receiving_bytes: int = 64 << 20
    unread_bytes: int = 128 << 20
    subscriptions: int = 65536
    user_subscriptions: int = 4096
    streams: int = 16384
    user_streams: int = 2048
    head_s: float = 20.0
    body_s: float = 60.0
    idle_s: float = 75.0
    unread_s: float = 60.0

    def budget(self, descriptors: int = 1 << 20) -> Budget:
        """What clients may have of a node.

        :param descriptors: how many connections of clients there are descriptors for.
        """
        connections = min(self.connections or descriptors, descriptors)
        each = min(self.address_connections or max(connections // 2, 1), connections)
        of_user = min(self.user_connections or max(connections // 2, 1), connections)
        received, unread = max(self.receiving_bytes, self.body_bytes), max(self.unread_bytes, self.body_bytes)
        return Budget(
            Allowance(
                name="max-connections",
                what="connections",
                most=connections,
                share=each,
                share_name="max-address-connections",
            ),
            Allowance(
                name="max-connections",
                what="connections",
                most=connections,
                share=of_user,
                share_name="max-user-connections",
            ),
            Allowance(
                name="max-receiving",
                what="bytes of bodies under way",
                most=received,
                share=max(received // 4, self.body_bytes),
            ),
            Allowance(
                name="max-unread", what="bytes of unread answers", most=unread, share=max(unread // 4, self.body_bytes)
            ),
            Allowance(
                name="max-subscriptions",
                what="subscriptions",
                most=self.subscriptions,
                share=self.user_subscriptions,
                share_name="max-user-subscriptions",
            ),
            Allowance(
                name="max-streams",
                what="streams and websockets",
                most=self.streams,
                share=self.user_streams,
                share_name="max-user-streams",
            ),
            Allowance(
                name="max-logins",
                what="logins under way",
                most=self.logins,
                share=self.address_logins,
                share_name="max-address-logins",
            ),
            Allowance(
                name="max-registrations",
                what="registrations under way",
                most=self.registrations,
                share=self.address_registrations,
                share_name="max-address-registrations",
            ),
        )

    @property
    def body_bytes(self) -> int:
        """The longest body that any route reads."""
        return self.value_bytes * 4 + (64 << 10)


def _check_name(text: str, what: str, max_bytes: int) -> str:
    if 0 < len(text) <= max_bytes and text.isascii() and text.isprintable():
        return text
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        raise ApiError(400, f"bad_{what}", f"the {what} is not valid UTF-8") from None
    if not 1 <= size <= max_bytes:
        raise ApiError(400, f"bad_{what}", f"the {what} must have 1 to {max_bytes} bytes; it has {size}")
    if any(ord(char) < 32 or 127 <= ord(char) < 160 for char in text):
        raise ApiError(400, f"bad_{what}", f"the {what} contains a control character")
    return text


def check_table(table: str, limits: Limits) -> str:
    """A table that clients may use; 403 for the system's, 400 for what is no table name."""
    _check_name(table, "table", limits.table_bytes)
    if is_system_table(table):
        raise ApiError(403, "system_table", "this table is the system's: no data route reads or writes it")
    if table in RESERVED_TABLES:
        raise ApiError(400, "reserved_table", f"'{table}' is a reserved word, not a table name; choose another")
    return table


def check_key(key: str, limits: Limits) -> str:
    """A key within bounds."""
    return _check_name(key, "key", limits.key_bytes)


def check_prefix(prefix: str, limits: Limits) -> str:
    """The beginning of keys, perhaps empty."""
    if len(prefix.encode(errors="replace")) > limits.key_bytes:
        raise ApiError(400, "bad_prefix", f"the prefix is longer than any key: {limits.key_bytes} bytes")
    return prefix


def check_idempotency_key(name: object) -> str:
    """An Idempotency-Key within bounds."""
    if isinstance(name, str) and 0 < len(name.encode(errors="replace")) <= MAX_IDEMPOTENCY_KEY_BYTES:
        return name
    text = f"an Idempotency-Key is a string of 1 to {MAX_IDEMPOTENCY_KEY_BYTES} bytes; a random UUID does"
    raise ApiError(400, "bad_idempotency_key", text)


def check_user(name: str) -> str:
    """A user's name that can be registered."""
    _check_name(name, "user", MAX_USER_CHARS)
    if name == "admin" or name.startswith(("_", "service:")) or "#" in name or name == "ticket":
        text = "this name is reserved; choose another, without '#', a leading '_' or 'service:'"
        raise ApiError(403, "reserved_name", text)
    return name


def check_group(name: str) -> str:
    """A group's name."""
    return _check_name(name, "group", MAX_USER_CHARS)


DECODED_BYTES = 4 << 10
"""Up to here a value is simply decoded, which is quicker than to look for what is wrong with it."""
_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)', re.DOTALL)
"""A string of JSON, or the rest of the text where it never ends."""
_BRACKETS = bytes.maketrans(b"{}", b"[]")
_NO_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
_STEPS = bytes.maketrans(b"[]", b"\x01\xff")


def check_depth(body: bytes, limits: Limits) -> None:
    """Refuse JSON that is nested too deeply, without parsing it, and in C: nobody has to be logged in to send it."""
    if body.count(b"[") + body.count(b"{") <= limits.json_depth:
        return
    brackets = _STRING.sub(b"", body).translate(_BRACKETS, _NO_BRACKETS)
    if 2 * brackets.count(b"[[") < limits.json_depth:  # whatever holds a bracket has one right behind its own
        return
    removed = 0
    while (left := brackets.replace(b"[]", b"")) and len(left) < len(brackets) // 2:  # what is flat goes at once
        brackets = left
        removed += 1
    if removed + max(accumulate(array("b", brackets.translate(_STEPS))), default=0) > limits.json_depth:
        raise ApiError(400, "too_deep", f"the JSON is nested deeper than {limits.json_depth} levels")


@lru_cache
def _members(names: tuple[str, ...]) -> msgspec.json.Decoder[msgspec.Struct]:
    """Takes some members of an object as they were sent; all others are looked at, and made nothing of."""
    missing = msgspec.field(default=msgspec.UNSET)
    fields = [(name, msgspec.Raw | msgspec.UnsetType, missing) for name in names]
    return msgspec.json.Decoder(msgspec.defstruct("Members", fields))


def parse_object(body: bytes, limits: Limits, *names: str) -> dict[str, Any]:
    """Some members of a JSON object, those that it has. A list or an object stays as it was sent, a `msgspec.Raw`.

    :param names: of the members; nothing is made of any other, however large.
    :raises ApiError: 400 with the position of the fault.
    """
    check_depth(body, limits)
    try:
        members = _members(names).decode(body)
        body.decode()
    except msgspec.ValidationError:
        raise ApiError(400, "not_an_object", "the body must be a JSON object") from None
    except NOT_DECODED as error:
        raise _malformed(error) from None
    found = {name: getattr(members, name) for name in names}
    return {name: _scalar(member) for name, member in found.items() if member is not msgspec.UNSET}


def _scalar(member: msgspec.Raw) -> Any:
    if bytes(memoryview(member)[:1]) in (b"[", b"{"):
        return member
    try:
        return msgspec.json.decode(member)
    except msgspec.MsgspecError as error:
        raise _malformed(error) from None


def _malformed(error: Exception) -> ApiError:
    return ApiError(400, "malformed_json", f"the body is not valid JSON: {error}")


_EXPONENT = re.compile(rb"(?<![0-9.])[0-9.]++[eE]\+?[0-9]{2,}")
_LONG_NUMBER = re.compile(rb"(?<![0-9.])[0-9.]{200,}+(?:[eE][-+]?[0-9]+)?")
"""Numbers that may be beyond what a float holds: with less digits, and one of the exponent, none is."""
_SHAPES = bytes(ord("0") if byte in b"0123456789." else ord("e") if byte in b"eE" else byte for byte in range(256))
_LONG_SHAPE = b"0" * 200


def parse_value(body: bytes, limits: Limits, most_bytes: int = 0) -> bytes:
    """A value as it is kept: a JSON object, minified, every number and string as it was sent.

    :param most_bytes: what its table takes; 0 for as many as the node does.
    :raises ApiError: 413 or 400, with the position of the fault.
    """
    most_bytes = min(most_bytes or limits.value_bytes, limits.value_bytes)
    if len(body) > most_bytes:
        raise ApiError(413, "too_large", f"the value has {len(body)} bytes; the limit is {most_bytes}")
    return heart.minified(body, limits.json_depth) or looked_at(body, limits)


def looked_at(body: bytes, limits: Limits) -> bytes:
    """A value as it is kept, whatever its size, by the way that finds words for what is wrong with it.

    :raises ApiError: 400, with the position of the fault.
    """
    if len(body) > DECODED_BYTES:
        parse_object(body, limits)
        _check_numbers(body)
    else:
        check_depth(body, limits)
        try:
            value = msgspec.json.decode(body)
            body.decode()
        except NOT_DECODED as error:
            raise _malformed(error) from None
        if not isinstance(value, dict):
            raise ApiError(400, "not_an_object", "the body must be a JSON object")
    return msgspec.json.format(body, indent=-1)


def _check_numbers(body: bytes) -> None:
    """Refuse numbers that cannot be decoded. Most bodies have none, and are seen at once to have none."""
    shape = body.translate(_SHAPES)
    if not (b"0e0" in shape or b"0e+0" in shape or _LONG_SHAPE in shape):
        return
    text = _STRING.sub(b" ", body)
    for number in (*_EXPONENT.findall(text), *_LONG_NUMBER.findall(text)):
        _scalar(msgspec.Raw(number))


def string_of(fields: dict[str, Any], name: str, max_bytes: int = MAX_SECRET_BYTES) -> str:
    """A string member of an object."""
    value = fields.get(name)
    if not isinstance(value, str) or not value:
        raise ApiError(400, "malformed", f'the body needs a member "{name}" that is a string and not empty')
    try:
        size = len(value.encode())
    except UnicodeEncodeError:
        raise ApiError(400, "malformed", f'"{name}" is not valid UTF-8') from None
    if size > max_bytes:
        raise ApiError(400, "malformed", f'"{name}" has more than {max_bytes} bytes')
    return value
