"""What is said once each, whatever strangers make up."""

from __future__ import annotations

from dynatwist.once import MOST_SAID, Once


def test_each_thing_is_new_once():
    once = Once()
    assert [once.is_new(what) for what in ("a", "b", "a", "b")] == [True, True, False, False]


def test_no_more_is_said_or_kept_than_so_many_things():
    once = Once()
    assert sum(once.is_new(number) for number in range(10 * MOST_SAID)) == MOST_SAID
    assert len(once._said) == MOST_SAID
