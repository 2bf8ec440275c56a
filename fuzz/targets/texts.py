"""Texts that a client hands back or sends: cursors, causal tokens, JSON."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable
from typing import Any

import msgspec

from dynatwist.api.causal import MAX_DOTS, CausalToken
from dynatwist.api.limits import Limits, check_depth, parse_object, parse_value
from dynatwist.errors import ApiError
from dynatwist.feed.hub import Hub, Notice, Subscription
from dynatwist.feed.sight import EVERYTHING
from dynatwist.model.clock import Stamp
from dynatwist.model.dots import Dot, actor_of
from dynatwist.model.lineage import Lineage
from dynatwist.model.record import Record

from ..target import Found, Target

LIMITS = Limits()
ACTOR = actor_of(b"n" * 8, b"e" * 8)
EPOCH = (b"e" * 8).hex()
EVENTS = 20


def _hub() -> Hub:
    hub = Hub(EPOCH)
    for number in range(1, EVENTS + 1):
        stamp = Stamp(number, 0, ACTOR)
        record = Record(Dot(ACTOR, number), b"{}", (), stamp, Lineage(0, (stamp,)), 1, "alice")
        hub.publish(("t", f"k{number}"), record)
    return hub


_HUB = _hub()
_HUB.subscribe(Subscription(table="t", key=None, prefix="", sight=EVERYTHING, wake=lambda: None), None)
LAST = int(_HUB.cursor.rpartition("-")[2])
"""Of the numbers that were spent: one on the interest of the listener that stays, too."""


def cursor(data: bytes) -> None:
    """``Last-Event-ID``: who comes back is told what it missed, or ``reset``, and nothing else."""
    text = data.decode("latin-1")
    heard = Subscription(table="t", key=None, prefix="", sight=EVERYTHING, wake=lambda: None)
    _HUB.subscribe(heard, text)
    items = []
    while (item := heard.take()) is not None:
        items.append(item)
    _HUB.unsubscribe(heard)
    ours = re.fullmatch(rf"{EPOCH}-([0-9]{{1,47}})", text)
    if ours is not None and int(ours[1]) <= LAST:
        numbers = [item.seq for item in items if not isinstance(item, Notice)]
        if numbers != list(range(int(ours[1]) + 1, EVENTS + 1)):
            raise Found(f"{text!r} brings {items}")
    elif items != [Notice.RESET]:
        raise Found(f"{text!r} brings {items} and no reset")
    if len(_HUB) > 1:
        raise Found("a listener that left is still there")


def causal(data: bytes) -> None:
    """``X-Causal-Token``: 400, or dots, which come out again as they went in."""
    try:
        token = CausalToken.parse(data.decode("latin-1"))
    except ApiError as error:
        if error.status != 400:
            raise Found(f"status {error.status}") from None
        return
    again = CausalToken.parse(token.render())
    if again.render() != token.render():
        raise Found("a token changes when it is read and written")
    more = token.with_dot(3, Dot(ACTOR, 1))
    if Dot(ACTOR, 1) not in more.dots(3) or len(CausalToken.parse(more.render()).render()) > 8192:
        raise Found("a token that was given is not taken")


def _no_such_number(text: str) -> float:
    raise ValueError(text)


def _finite(text: str) -> float:
    number = float(text)
    if number in (float("inf"), float("-inf")):
        raise ValueError(text)
    return number


def _decoded(data: bytes) -> Any:
    """What Python's own decoder makes of some bytes; ``ValueError`` where they are no JSON after RFC 8259 in UTF-8."""
    text = data.decode("utf-8")
    value = json.loads(text, parse_constant=_no_such_number, parse_float=_finite)
    json.dumps(value, ensure_ascii=False).encode("utf-8")  # half a surrogate pair is no UTF-8
    return value


def _depth(text: str) -> int:
    most = depth = 0
    for char in re.sub(r'"(?:[^"\\]|\\.)*"', "", text, flags=re.DOTALL):
        depth += (char in "[{") - (char in "]}")
        most = max(most, depth)
    return most


def parsing(data: bytes) -> None:
    """A value of a record: taken exactly if it is a JSON object within bounds, and kept as it was meant."""
    try:
        expected = _decoded(data)
    except (ValueError, RecursionError):
        expected = None
    is_good = isinstance(expected, dict) and _depth(data.decode()) <= LIMITS.json_depth
    for one in (data, data + b" " * (5 << 10)):  # long values are looked at in another way
        try:
            kept = parse_value(one, LIMITS)
        except ApiError as error:
            if is_good or error.status != 400:
                raise Found(f"{one.strip()!r} is refused: {error.status} {error.text}") from None
            continue
        if not is_good or _decoded(kept) != expected:
            raise Found(f"{one.strip()!r} is kept as {kept!r}")
    _members(data, expected if is_good else None)


def _members(data: bytes, expected: dict[str, Any] | None) -> None:
    """The members of a request's body: what is a text there is the same text here."""
    try:
        found = parse_object(data, LIMITS, "a", "secret")
    except ApiError as error:
        if expected is not None or error.status != 400:
            raise Found(f"{data!r} is refused: {error.status} {error.text}") from None
        return
    for name, value in found.items():
        value = json.loads(bytes(value)) if isinstance(value, msgspec.Raw) else value
        if expected is not None and value != expected[name]:
            raise Found(f"{name} is {value!r} and not {expected[name]!r}")


def depth(data: bytes) -> None:
    """JSON is refused as too deep when it is, and not when it is not; what is no JSON may be either."""
    try:
        text = data.decode()
        json.loads(text)
    except (ValueError, RecursionError):
        expected = None
    else:
        expected = _depth(text) > LIMITS.json_depth
    try:
        check_depth(data, LIMITS)
    except ApiError:
        is_refused = True
    else:
        is_refused = False
    if expected is not None and is_refused is not expected:
        raise Found(f"a depth of {_depth(text)} is {'refused' if is_refused else 'taken'}")


def _cursors() -> Iterable[bytes]:
    for number in (b"0", b"7", b"20", b"21", b"-1", b"007", b"1" * 60, "²".encode("latin-1"), b""):
        yield EPOCH.encode() + b"-" + number
    yield from (b"", b"-", b"5", EPOCH.encode(), b"f" * 16 + b"-3")


def _tokens() -> Iterable[bytes]:
    for dots in (1, 3, MAX_DOTS, MAX_DOTS + 1):
        wire = [(number, ACTOR, number + 1) for number in range(dots)]
        yield base64.urlsafe_b64encode(msgspec.msgpack.encode(wire))
    odds: list[Any] = [[(1, b"x", 1)], [(-1, ACTOR, 1)], [(1 << 63, ACTOR, (1 << 53) - 1)], [(1, ACTOR, 0)], {}, [[]]]
    for odd in odds:
        yield base64.urlsafe_b64encode(msgspec.msgpack.encode(odd))


JSON_WORDS = (
    b"{}", b'{"a":', b"[", b"]", b"{", b"}", b'"', b"\\", b"\\u0000", b"\\ud800", b"\\udc00", b"null", b"true", b"NaN",
    b"Infinity", b"1e309", b"-0", b"1E+999", b"0.1", b"123456789012345678901234567890", b"\xef\xbb\xbf", b"\xff",
    b'"secret":', b"/*", b",", b":", b"0" * 200, b"9" * 310,
)  # fmt: skip


def _values() -> Iterable[bytes]:
    yield from (
        b"{}", b'{"a":1}', b'{"a":"\\ud83d\\ude00"}', b'{"a":{"b":[1,2.50,-0,1e5]}}', b'{"a":1e309}',
        b'{"a":"\\ud800"}',
        b'{"a":1,"a":2}', b'{"secret":"x","a":[]}', b"[1]", b'{"a":' * 64 + b"1" + b"}" * 64, b' {"a" : null} ',
        b'{"a":' * 65 + b"1" + b"}" * 65, b'{"a":123456789012345678901234567890}', b'{"a":"' + b"x" * 300 + b'"}',
        b'{"a":' + b"9" * 310 + b"}", b'{"a":' + b"1" * 300 + b"}", b'{"a":"[[[[\\"]]]"}', b"[" * 100,
        b'{"a":0.' + b"1" * 400 + b"}",
    )  # fmt: skip


TARGETS = (
    Target("cursor", cursor, _cursors, (EPOCH.encode(), b"-", b"reset")),
    Target("causal", causal, _tokens),
    Target("json", parsing, _values, JSON_WORDS),
    Target("depth", depth, _values, (*JSON_WORDS, b"[" * 40, b"]" * 40, b"[]," * 30)),
)
