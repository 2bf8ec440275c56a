"""A wall clock that is set ahead: others hear of that before anything is stamped by it."""

from __future__ import annotations

import pytest

from dynatwist.cluster.times import TOLD_FOR_S
from dynatwist.model.record import beats

from .planted import plants
from .rare.requests import forwarded_with_a_slow_answer
from .test_findings import settled


@pytest.mark.parametrize("set_s", [0.0, 0.3, 1.0, 1.9, 2.1, 5.0])
@pytest.mark.parametrize("ahead_ms", [400, 5_000, 9_000])
def test_regression_the_second_attempt_beats_the_first_whenever_the_first_owners_clock_was_set(set_s, ahead_ms):
    """Seed 1600045: a write was acknowledged and deleted, and came back by the attempt of a clock set ahead before."""
    early, late = forwarded_with_a_slow_answer(ahead_ms, set_s)
    assert beats(late, early)


def test_it_would_be_seen(monkeypatch):
    plants()["a_clock_that_was_set_ahead_is_believed_at_once"](monkeypatch)
    early, late = forwarded_with_a_slow_answer(5_000, 0.0)
    assert beats(early, late)


def test_a_clock_that_was_set_ahead_is_believed_after_a_while():
    world, cluster = settled(3)
    core = cluster.nodes[0].core
    before_ms = core.cluster.times.near_ms()
    cluster.nodes[0].set_clock(5_000)
    world.run(world.now_s + 0.5)
    assert core.cluster.times.near_ms() < before_ms + 1_000
    world.run(world.now_s + TOLD_FOR_S + 1)
    assert core.cluster.times.near_ms() > before_ms + 5_000


def test_a_clock_that_was_set_back_is_believed_at_once():
    world, cluster = settled(3)
    core = cluster.nodes[0].core
    before_ms = core.cluster.times.near_ms()
    cluster.nodes[0].set_clock(-5_000)
    world.run(world.now_s + 0.1)
    assert core.cluster.times.near_ms() < before_ms - 4_000
