"""What may come in, against plain definitions: nesting, numbers, and how long it takes to look."""

from __future__ import annotations

import json
import time

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from dynatwist.api.limits import DECODED_BYTES, Limits, check_depth, parse_object, parse_value
from dynatwist.errors import ApiError

LIMITS = Limits(json_depth=4)

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=12,
)
PIECES = (
    "{", "}", "[", "]", '"', ",", ":", "\\", '"a":', '"[{"', '"\\"]"', "1", "-0", "1e999", "1e308", "9" * 400,
    ".5", "tru", "null", "\\u005b", "é", " ", "\n", "\x01",
)  # fmt: skip
fragments = st.lists(st.sampled_from(PIECES), max_size=12).map("".join)
texts = json_values.map(json.dumps).map(str.encode) | fragments.map(lambda text: f'{{"v":{text}}}'.encode())


def depth_of(value):
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return 0 if inner is None else 1 + max(map(depth_of, inner), default=0)


def refused(call, *arguments):
    try:
        call(*arguments)
    except ApiError as error:
        return error.text
    return None


def plain_refusal(body):
    """What a value is refused for, by decoding all of it."""
    try:
        value = msgspec.json.decode(body)
        body.decode()
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        return "too great" if "Number out of range" in str(error) else "malformed"
    return None if isinstance(value, dict) and depth_of(value) <= LIMITS.json_depth else "shape"


@given(texts)
@example(b'{"a":[[[[]]]]}')
@example(b'["]]]]]",[[["[[[["]]]]')
@example(b'{"a":"\\\\","b":[[[[1]]]]}')
def test_depth_is_that_of_the_decoded_value(body):
    if plain_refusal(body) not in ("malformed", "too great"):
        too_deep = depth_of(msgspec.json.decode(body)) > LIMITS.json_depth
        assert (refused(check_depth, body, LIMITS) is not None) == too_deep


@given(texts)
def test_values_are_taken_or_refused_as_if_they_were_decoded(body):
    """Short ones are; long ones, here with much space behind them, are looked at in another way."""
    taken = plain_refusal(body) is None
    assert (refused(parse_value, body, LIMITS) is None) == taken
    assert (refused(parse_value, body + b" " * DECODED_BYTES, LIMITS) is None) == taken


@given(texts)
@example(b'{"v":11e308}')
def test_objects_are_taken_or_refused_as_if_they_were_decoded(body):
    """All but numbers that are too great: nothing is made of them."""
    taken, plain = refused(parse_object, body, LIMITS) is None, plain_refusal(body)
    assert taken or plain is not None
    assert not taken or plain in (None, "too great")


def test_members_that_are_asked_for_and_no_others():
    found = parse_object(b'{"a":"x","b":[1],"c":true,"d":{}}', LIMITS, "a", "b", "c", "e")
    assert found == {"a": "x", "b": msgspec.Raw(b"[1]"), "c": True}


@pytest.mark.parametrize("part", [b"[]", b"[" * 60 + b"]" * 60, b'{"a":1}', b'"]"', b"1e10", b'"\\\\"', b"9" * 190])
def test_no_body_takes_long(part):
    limits = Limits()
    body = b'{"secret":"x","v":[' + b",".join([part] * (limits.body_bytes // (len(part) + 1) - 10)) + b"]}"
    began_s = time.process_time()
    assert parse_object(body, limits, "secret") == {"secret": "x"}
    value = b'{"v":[' + b",".join([part] * (limits.value_bytes // (len(part) + 1) - 10)) + b"]}"
    middle_s = time.process_time()
    parse_value(value, limits)
    assert middle_s - began_s < 0.4
    assert time.process_time() - middle_s < 0.4
