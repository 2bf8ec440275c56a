"""Nodes that are struck out and will not give what they hold: when nobody waits for them any more."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from dynatwist.replication.losses import LOST_AFTER_LOOKS, SILENT_ROUNDS, Losses

GONE, STAYS = b"gone", b"stays"


def losses():
    found = Losses()
    found.strike_out(frozenset({GONE}))
    return found


def test_a_node_that_is_not_reached_at_so_many_looks_is_lost():
    found = losses()
    for _ in range(LOST_AFTER_LOOKS):
        found.look(lambda node: False)
    assert not found.is_lost(GONE)
    found.look(lambda node: False)
    assert found.among([GONE, STAYS]) == [GONE]


def test_a_node_that_is_reached_once_is_counted_anew():
    found = losses()
    for _ in range(LOST_AFTER_LOOKS):
        found.look(lambda node: False)
    found.look(lambda node: True)
    found.look(lambda node: False)
    assert not found.is_lost(GONE)


def test_a_node_that_refuses_is_lost_after_so_many_rounds():
    found = losses()
    for second in range(SILENT_ROUNDS):
        assert not found.is_lost(GONE)
        found.fail(GONE, float(second), timed_out=False)
    assert found.is_lost(GONE)


def test_rounds_that_time_out_count_for_two_and_one_is_never_enough():
    found = losses()
    found.fail(GONE, 10.0, timed_out=True)
    assert not found.is_lost(GONE)
    found.fail(GONE, 20.0, timed_out=True)
    found.fail(GONE, 30.0, timed_out=True)
    assert found.is_lost(GONE)


def test_rounds_that_fail_at_once_one_behind_the_other_count_once():
    found = losses()
    for step in range(100):
        found.fail(GONE, step / 1000, timed_out=False)
    assert not found.is_lost(GONE)


@given(st.lists(st.sampled_from(["look", "fail", "complete", "other change"])))
def test_a_node_that_stays_is_never_lost(happenings):
    found = losses()
    for second, what in enumerate(happenings):
        if what == "look":
            found.look(lambda node: False)
        elif what == "fail":
            found.fail(STAYS, float(second), timed_out=True)
        elif what == "complete":
            found.complete(GONE)
        else:
            found.strike_out(frozenset({GONE}))
        assert not found.is_lost(STAYS)
    found.strike_out(frozenset())
    assert not found.is_lost(GONE)
