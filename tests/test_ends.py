"""What was once told as over stays over: three scenarios, each with the shipped code and with the rule taken away.

Histories of chance reach these too seldom: the knowledge of two nodes has to differ at the very end of a record.
"""

from __future__ import annotations

import msgspec
import pytest

from dynatwist.cluster.ownership import Ownership
from dynatwist.replication.request import Code
from dynatwist.sim.cluster import SimCluster
from dynatwist.sim.world import World
from tests.planted import disk, findings_time
from tests.test_findings import ask

KEY = ("t", "k")
AHEAD_MS = 9_000


def settled():
    world = World(3)
    cluster = SimCluster(world, 3)
    for node in cluster.nodes:
        node.start()
    assert world.run_until(cluster.is_settled, 60)
    world.run(world.now_s + 2)
    return world, cluster


def read_at_two_that_know_different_times() -> tuple[Code, Code]:
    """A hears that A and C are ahead, a majority; B, cut off from A, hears of C and itself: the lesser of these."""
    world, cluster = settled()
    a, b, c = cluster.nodes
    cluster.network.cut([a.host], [b.host])
    world.run(world.now_s + 4)
    put = ask(world, c, "put", KEY, level="majority", ttl_ms=5_000)
    assert put.code is Code.OK
    a.skew_ms = c.skew_ms = AHEAD_MS
    assert world.run_until(lambda: dict(a.core.cluster.links.walls())[c.node_id][0] > put.record.expires_ms, 2, 0.005)
    if a.core.store.lapse_ms >= put.record.expires_ms:
        pytest.fail("A has looked at the time already: the scenario needs another moment")
    at_a = ask(world, a, "get", KEY, level="majority")
    at_b = ask(world, b, "get", KEY, level="majority")
    return at_a.code, at_b.code


def read_at_one_after_the_other_at_the_end() -> tuple[Code, Code]:
    """B has not looked at the time since the end, and is cut off from A, who was told of it by a majority."""
    world, cluster = settled()
    a, b, c = cluster.nodes
    for number in range(20):
        key = ("t", f"k{number}")
        cluster.network.heal()
        world.run(world.now_s + 1)
        put = ask(world, c, "put", key, level="all", ttl_ms=1_500)
        assert put.code is Code.OK
        cluster.network.cut([a.host], [b.host])
        world.run_until(lambda end=put.record.expires_ms: c.wall_ms() > end + 20, 5, step_s=0.01)
        a.process.run(a.core.cluster.times.tick)
        at_a = ask(world, a, "get", key, level="majority")
        if b.core.store.lapse_ms < put.record.expires_ms:
            return at_a.code, ask(world, b, "get", key, level="majority").code
    raise AssertionError("B always knew")


def read_before_and_after_all_were_killed() -> tuple[Code, Code]:
    """A majority of the clocks was ahead for a while; then all nodes are killed, and the clocks are right again."""
    world, cluster = settled()
    a, b, c = cluster.nodes
    assert ask(world, b, "put", KEY, level="all", ttl_ms=5_000).code is Code.OK
    a.skew_ms = c.skew_ms = AHEAD_MS
    world.run(world.now_s + 1.5)
    before = ask(world, a, "get", KEY, level="majority")
    a.skew_ms = c.skew_ms = 0
    for node in cluster.nodes:
        node.kill()
        node.start()
    assert world.run_until(lambda: len(cluster.ready_nodes()) == 3, 2, step_s=0.01)
    return before.code, ask(world, b, "get", KEY, level="majority").code


SCENARIOS = {
    findings_time.an_answer_that_does_not_ask_again: read_at_two_that_know_different_times,
    findings_time.an_end_that_was_not_asked_for_does_not_count: read_at_one_after_the_other_at_the_end,
    findings_time.a_lapse_that_is_not_kept: read_before_and_after_all_were_killed,
}


@pytest.mark.parametrize("plant", SCENARIOS, ids=lambda plant: plant.__name__)
def test_what_was_told_as_over_stays_over(plant):
    assert SCENARIOS[plant]() == (Code.ABSENT, Code.ABSENT)


@pytest.mark.parametrize("plant", SCENARIOS, ids=lambda plant: plant.__name__)
def test_the_scenario_sees_the_rule_missing(plant, monkeypatch):
    plant(monkeypatch)
    assert SCENARIOS[plant]() == (Code.ABSENT, Code.OK)


def stamp_of_a_jump_ms() -> int:
    """How far ahead of the others' clocks a write is stamped at once after its node's clock has jumped by ten years."""
    world, cluster = settled()
    a, b, _c = cluster.nodes
    a.skew_ms = 10 * 365 * 86_400_000
    put = ask(world, a, "put", KEY)
    assert put.code is Code.OK
    return put.record.stamp.ms - b.wall_ms()


def test_a_jump_is_not_stamped_before_the_node_notices():
    assert stamp_of_a_jump_ms() <= 10_100


def test_a_jump_would_be_stamped_by_the_nodes_own_clock(monkeypatch):
    findings_time.this_nodes_clock_stamps_whatever_it_says(monkeypatch)
    assert stamp_of_a_jump_ms() > 86_400_000


def time_over_while_a_node_with_a_wrong_clock_takes_over_ms() -> int:
    """All but A leave, whose clock is ahead. Answers by how much it takes more for over than the others' clocks say."""
    world, cluster = settled()
    a, b, _c = cluster.nodes
    registry = a.core.cluster.registry
    members = (registry.find(a.node_id),)
    changing = msgspec.structs.replace(registry, members=members, previous=registry.members)
    a.core.cluster.ownership = Ownership(changing, a.node_id)
    a.skew_ms = AHEAD_MS
    assert a.core.cluster.times.walls.steady_ms(a.wall_ms(), world.now_s) <= a.wall_ms()
    a.core.cluster.times.walls._believe(a.wall_ms(), a.process.seconds())
    return a.core.cluster.times.lapse_ms() - b.wall_ms()


def test_while_members_change_a_majority_of_the_old_has_to_have_passed_a_time_too():
    assert time_over_while_a_node_with_a_wrong_clock_takes_over_ms() <= 100


def test_the_clocks_of_the_new_members_alone_would_not_do(monkeypatch):
    disk.clocks_of_the_new_members_alone(monkeypatch)
    assert time_over_while_a_node_with_a_wrong_clock_takes_over_ms() > 5_000


def time_over_after_an_old_reading_ms() -> int:
    """C is lost while its clock is ahead; ten seconds later A's clock goes wrong too. Answers as above."""
    world, cluster = settled()
    a, b, c = cluster.nodes
    c.skew_ms = 10 * AHEAD_MS
    world.run(world.now_s + 1.5)
    c.kill()
    c.skew_ms = 0
    world.run(world.now_s + 10)
    a.skew_ms = 9 * AHEAD_MS
    world.run(world.now_s + 0.2)
    return a.core.cluster.times.lapse_ms() - b.wall_ms()


def test_what_a_lost_node_said_last_does_not_count_beside_another_wrong_clock():
    assert time_over_after_an_old_reading_ms() <= 100


def test_what_a_lost_node_said_last_would_count(monkeypatch):
    disk.readings_count_however_old(monkeypatch)
    assert time_over_after_an_old_reading_ms() > 5_000


def is_absence_told_before_it_would_outlive_a_crash() -> bool:
    """A record is over by what peers have just told; the log does not say so yet."""
    world, cluster = settled()
    core = cluster.nodes[0].core
    put = ask(world, cluster.nodes[0], "put", KEY, level="all", ttl_ms=60_000)
    told = []
    core.cluster.peers.passed(put.record.expires_ms)
    core.store.readable.when_over(put.record.expires_ms, lambda: told.append(core.store.wal.durable_lapse_ms))
    at_once = bool(told)
    world.run(world.now_s + 1)
    assert told
    assert at_once or told[0] >= put.record.expires_ms
    return at_once


def test_absence_is_told_once_a_crash_does_not_take_it_back():
    assert not is_absence_told_before_it_would_outlive_a_crash()


def test_absence_would_be_told_too_early(monkeypatch):
    disk.absence_is_told_before_the_lapse_is_durable(monkeypatch)
    assert is_absence_told_before_it_would_outlive_a_crash()
