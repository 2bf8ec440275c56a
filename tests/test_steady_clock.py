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


def test_regression_what_a_process_of_before_said_of_its_clock_does_not_count_for_later_requests():
    """Seed 1908252: a member started two hours ahead and started again with its clock right; what a slow owner was
    asked in that second process was written elsewhere with a stamp beyond the first one's clock."""
    world, cluster = settled(3)
    links, wrong = cluster.nodes[0].core.cluster.links, cluster.nodes[1]
    wrong.kill()
    wrong.set_clock(7_200_000)
    wrong.start()
    asked_s = cluster.nodes[0].process.seconds()
    assert world.run_until(
        lambda: links.clock_bound_ms(wrong.node_id, asked_s) > wrong.wall_ms() - 1_000, 5, step_s=0.001
    )
    wrong.kill()
    wrong.set_clock(0)
    wrong.start()
    assert world.run_until(lambda: wrong.node_id in links.linked(), 5, step_s=0.01)
    world.run(world.now_s + 1)
    assert links.clock_bound_ms(wrong.node_id, asked_s) > wrong.wall_ms() + 7_000_000, (
        "it may have been carried out then"
    )
    assert links.clock_bound_ms(wrong.node_id, cluster.nodes[0].process.seconds()) < wrong.wall_ms() + 2_000
