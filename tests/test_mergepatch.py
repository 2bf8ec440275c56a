"""JSON Merge Patch: the examples of RFC 7396, and that what is not changed stays as it was sent."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynatwist.requests.mergepatch import patched

EXAMPLES = [  # RFC 7396, appendix A, as far as values are objects
    ({"a": "b"}, {"a": "c"}, {"a": "c"}),
    ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
    ({"a": "b"}, {"a": None}, {}),
    ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
    ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
    ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
    ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
    ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
    ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
    ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
    ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
]


def encoded(value):
    return json.dumps(value, separators=(",", ":")).encode()


@pytest.mark.parametrize(("value", "patch", "result"), EXAMPLES)
def test_the_examples_of_the_rfc(value, patch, result):
    assert json.loads(patched(encoded(value), encoded(patch))) == result


def test_numbers_stay_as_they_were_sent():
    value = b'{"price":1.10,"id":123456789012345678901234567890,"deep":{"x":1e5,"y":2}}'
    assert patched(value, b'{"deep":{"y":null,"z":2.50}}') == (
        b'{"price":1.10,"id":123456789012345678901234567890,"deep":{"x":1e5,"z":2.50}}'
    )


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(st.characters(codec="utf-8"), max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
)
OBJECTS = st.dictionaries(st.sampled_from("abc"), JSON, max_size=3)


def by_definition(target, patch):
    """Section 2 of the RFC, word by word."""
    if not isinstance(patch, dict):
        return patch
    target = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            target.pop(name, None)
        else:
            target[name] = by_definition(target.get(name), value)
    return target


@given(OBJECTS, OBJECTS)
def test_it_is_what_the_rfc_defines(value, patch):
    assert json.loads(patched(encoded(value), encoded(patch))) == by_definition(value, patch)
