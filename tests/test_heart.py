"""The heart's two implementations: chosen in one place, equal in all they give."""

from __future__ import annotations

import types

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynatwist import heart
from dynatwist.heart import pure

NATIVE = heart.compiled()
needs_native = pytest.mark.skipif(NATIVE is None, reason="no compiled heart was built: the pure one alone is tested")

names = st.text(max_size=40)
dots = st.tuples(st.binary(max_size=20), st.integers(-(1 << 70), 1 << 70))
numbers = st.integers(-2, 1 << 65)


def outcome(function, *arguments):
    """What a function gives, or the error that it raises."""
    try:
        return function(*arguments)
    except Exception as error:  # a PanicException is none, and ends the test
        return type(error), str(error)


def same(name, *arguments):
    """Both hearts give the same."""
    expected = outcome(getattr(pure, name), *arguments)
    found = outcome(getattr(NATIVE, name), *arguments)
    assert (type(found), found) == (type(expected), expected)


class TestChoice:
    def test_the_compiled_one_where_it_was_built(self):
        native = types.SimpleNamespace(INTERFACE=heart.INTERFACE)
        assert heart.choose(native, {}) == (native, "heart: compiled")
        assert heart.choose(native, {"DYNAKV_PURE": "0"}) == (native, "heart: compiled")

    def test_the_pure_one_where_none_was_built(self):
        assert heart.choose(None, {}) == (pure, "heart: pure (no compiled one was built)")

    def test_the_pure_one_where_it_is_switched_off(self):
        native = types.SimpleNamespace(INTERFACE=heart.INTERFACE)
        assert heart.choose(native, {"DYNAKV_PURE": "1"}) == (pure, "heart: pure (DYNAKV_PURE is set)")

    def test_the_pure_one_where_the_compiled_one_is_of_another_release(self):
        for native in (types.SimpleNamespace(INTERFACE=heart.INTERFACE + 1), types.SimpleNamespace()):
            chosen, says = heart.choose(native, {})
            assert chosen is pure
            assert "install DynaTwist anew" in says

    @needs_native
    def test_what_was_built_is_of_this_release_and_has_all_functions(self):
        assert NATIVE.INTERFACE == heart.INTERFACE
        functions = [name for name in vars(heart.Heart) if not name.startswith("_")]
        for one in (NATIVE, pure, heart):
            assert all(callable(getattr(one, name)) for name in functions)


@needs_native
class TestTwins:
    @given(names, names)
    def test_buckets(self, table, name):
        same("bucket_of", table, name)

    @given(names, names, st.none() | dots, st.none() | dots)
    def test_changes(self, table, name, before, after):
        same("change_of", table, name, before, after)

    @given(st.binary(max_size=300), numbers, numbers, numbers)
    def test_tags(self, actor, seq, ms, counter):
        same("tag_of", actor, seq, ms, counter)
        same("etag_of", actor, seq, ms, counter)

    def test_a_name_that_is_no_unicode(self):
        same("bucket_of", "t", "\ud800")
        same("change_of", "\udfff", "k", None, (b"", 1))
