"""The membership protocol by the hundred, simulated: load, detection, healing, and what must never happen."""

from __future__ import annotations

from dataclasses import replace
from math import e
from statistics import mean, stdev

import pytest

from dynatwist.membership.members import State
from dynatwist.membership.settings import PARTS, SwimSettings
from dynatwist.net.packet import MAX_PAYLOAD_BYTES
from dynatwist.sim.detection import mean_detection_in_step, random_tail
from dynatwist.sim.hostile import HostileWorld
from dynatwist.sim.members import MembersWorld
from dynatwist.sim.survey import Scenario, survey


def last(scenario: Scenario, seed: int = 1):
    return list(survey(scenario, seed))[-1][1]


@pytest.mark.parametrize("nodes", [10, 300])
def test_at_rest_each_sends_two_packets_a_period_however_many_there_are(nodes):
    seen = last(Scenario(nodes, quiet_s=20, crashes=1))
    assert seen.packets == pytest.approx(2.0, rel=0.05)
    assert seen.violations == []


@pytest.mark.parametrize(("nodes", "crashes", "at_random"), [(10, 300, False), (10, 300, True), (60, 60, False)])
def test_the_first_suspicion_comes_when_the_model_says(nodes, crashes, at_random):
    scenario = Scenario(nodes, quiet_s=1, crashes=crashes, random_probes=at_random)
    seen = last(scenario)
    mean_s, error_s = seen.mean_first_s
    assert abs(mean_s - scenario.expected_first_s()) < 3 * error_s
    assert seen.violations == []
    assert seen.false_alarms == 0


def test_random_probes_in_step_detect_after_e_over_e_less_one_periods():
    """Das, Gupta, Motivala (2002), section 3.2; the first whole period begins half a one after the crash."""
    settings = SwimSettings(payload_bytes=MAX_PAYLOAD_BYTES, random_probes=True)
    times = []
    for seed in range(150):
        world = MembersWorld(nodes=60, seed=seed, settings=settings, in_step=True)
        world.run(3 + world.random.random())
        crash = world.kill(0)
        world.run(world.now_s + 12)
        times.append(crash.suspected_s)
    error_s = stdev(times) / len(times) ** 0.5
    assert abs(mean(times) - mean_detection_in_step(random_tail(59), 59)) < 3 * error_s
    in_theory_s = e / (e - 1) - 1 + 0.5 + 0.95  # a probe sent in the k-th period ends in it
    assert mean_detection_in_step(random_tail(5000), 5000) == pytest.approx(in_theory_s, abs=0.01)


def test_regression_periods_begin_independently_of_each_other():
    """Whoever was pinged before its first period began at once; in a cascade all were in step within milliseconds."""
    world = MembersWorld(nodes=300, seed=2)
    world.run(3.0)
    phases = [host.swim._prober._next_s % 1.0 for host in world.hosts]
    assert mean(phases) == pytest.approx(0.5, abs=0.06)
    assert stdev(phases) == pytest.approx(12**-0.5, rel=0.1)
    assert {host.swim.awareness.score for host in world.hosts} == {0}


def test_news_reaches_almost_all_soon_though_a_tenth_is_lost():
    seen = last(Scenario(300, loss=0.1, quiet_s=20, crashes=3))
    assert seen.known_to_most_s < 3.0
    assert seen.whole_s < 6.0
    assert seen.false_alarms == 0
    assert seen.packets < 10
    assert seen.violations == []


def test_nothing_wrong_follows_from_what_is_lost_repeated_and_overtaken():
    world = MembersWorld(nodes=40, seed=7, loss=0.2, latency_s=(0.0, 0.3), duplication=0.3)
    world.run(10)
    for number in range(5):
        world.kill(number)
        world.leave(10 + number)
        world.run(world.now_s + 20)
        world.restart(number)
        world.run(world.now_s + 20)
    world.loss = 0.0
    world.run(world.now_s + 30)
    assert world.check() == []
    assert world.views_agree()
    states = {world.hosts[20].swim.roster.peer(world.hosts[10 + number].swim.me.node).state for number in range(5)}
    assert states == {State.LEFT}


@pytest.mark.parametrize("loss", [0.0, 0.1])
def test_an_attacker_without_a_key_changes_nothing(loss):
    world = HostileWorld(20, 3, hostility=1.0, loss=loss)
    world.run(10)
    world.join()
    world.leave(15)
    for number in range(5):
        world.kill(number)
        world.run(world.now_s + 12)
        world.restart(number)
        world.run(world.now_s + 5)
    assert world.attacks > 5000
    assert world.check() == []
    world.hostility = world.loss = 0.0
    world.run(world.now_s + 20)
    assert world.views_agree()
    assert {len(host.swim.view) for host in world.awake()} == {20}


def test_a_partition_of_any_length_heals():
    world = MembersWorld(nodes=30, seed=4)
    world.run(5)
    world.cut_off(set(range(12)))
    world.run(300)
    assert {len(host.swim.view) for host in world.hosts} == {12, 18}
    world.cut_off(set())
    world.run(310)
    assert {len(host.swim.view) for host in world.hosts} == {30}
    assert world.views_agree()
    assert world.check() == []


def test_after_a_mass_restart_nobody_stays_dead():
    world = MembersWorld(nodes=30, seed=5)
    world.run(5)
    for number in range(1, 30):
        world.kill(number)
    world.run(500)  # whoever hears from nobody doubts itself first, and probes less often
    assert len(world.hosts[0].swim.view) == 1
    for number in range(1, 30):
        world.restart(number)
    world.run(510)
    assert {len(host.swim.view) for host in world.hosts} == {30}
    assert world.check() == []


def test_members_that_are_cut_off_at_times_do_not_make_the_healthy_bury_each_other():
    """Lifeguard's experiment (Dadgar et al., 2018, section V), with what it is worth."""
    scenario = Scenario(40, quiet_s=60, crashes=3, disturbed=6, blocked=True)
    alarms = {frozenset(): 0, frozenset(PARTS): 0}
    for seed in range(3):
        for without in alarms:
            seen = last(replace(scenario, without=without), seed)
            alarms[without] += seen.false_alarms
            assert seen.violations == []
    assert alarms[frozenset(PARTS)] > 500
    assert alarms[frozenset()] <= alarms[frozenset(PARTS)] / 50


def test_frozen_members_blame_themselves():
    seen = last(Scenario(40, quiet_s=60, crashes=3, disturbed=6))
    assert seen.false_alarms == 0
    assert seen.violations == []


def test_only_so_many_of_the_dead_are_remembered():
    world = MembersWorld(nodes=20, seed=6, settings=SwimSettings(payload_bytes=MAX_PAYLOAD_BYTES, max_down=3))
    world.run(3)
    for number in range(8):
        world.kill(number)
    world.run(60)
    assert world.check() == []
    assert {len(host.swim.view.fates) for host in world.awake()} <= {0, 1, 2, 3}
    assert {len(host.swim.view) for host in world.awake()} == {12}


def test_a_node_that_cannot_send_suspects_itself():
    world = MembersWorld(nodes=5, seed=8)
    world.run(3)
    swim = world.hosts[0].swim
    swim.cannot_send()
    assert swim.awareness.score == 1
    assert swim._prober.probe is None
