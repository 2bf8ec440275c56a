"""Whole clusters in the simulated world: the promises hold, and the same seed gives the same history."""

from __future__ import annotations

import gc
import os
import subprocess
import sys

import msgspec
import pytest

from dynatwist.model.clock import Stamp
from dynatwist.model.record import Draft
from dynatwist.model.records import pack
from dynatwist.model.registry import encode_registry
from dynatwist.net.arrival import Arrival
from dynatwist.net.messages import Accept, Poll, Prepare, Question
from dynatwist.replication.paxos import Vote
from dynatwist.sim.alone import alone
from dynatwist.sim.cluster import SimCluster
from dynatwist.sim.run import simulate
from dynatwist.sim.world import World
from dynatwist.storage.state import State

from .test_model import make

SEEDS = range(5)


@pytest.mark.parametrize("seed", SEEDS)
def test_promises_hold(seed):
    report = alone(simulate, seed)
    assert report.violations == []
    assert report.answers


def kept_over_two_restarts() -> bool:
    """One node: a cold save, a write, kill -9, restart, two cold saves (the second cuts the log), kill -9, restart."""
    world = World(23)
    cluster = SimCluster(world, 1, snapshot_interval_s=1.0)
    node = cluster.nodes[0]
    node.start()
    assert world.run_until(cluster.is_settled, 30)
    assert world.run_until(lambda: node.core.folder.saver.saves >= 2, 10, step_s=0.01)
    node.core.store.write(("t", "k"), Draft(b"{}", "alice"))
    world.run(world.now_s + 0.1)
    for _ in range(2):
        node.kill(power=False)
        node.start()
        assert world.run_until(cluster.is_settled, 30)
        for number in range(3):  # something else changes, so that there is something to save
            node.core.store.write(("t", f"other-{number}"), Draft(b"{}", "alice"))
            world.run(world.now_s + 1.5)
    return node.core.store.held(("t", "k")) is not None


def test_regression_a_cold_save_after_a_restart_keeps_what_the_log_replayed():
    """Found by seed 23 of the first simulator: what recovery replayed did not count as changed, so the next cold save
    left it out, and the log that still had it was cut."""
    assert kept_over_two_restarts()


REGRESSIONS = {
    101: "what a killed process had only written was shown, and gone after a power cut",
    878030745: "an owner's refusal was the answer, though the one asked in doubt had written",
    20157902: "who had slept through a join and a removal brought back the node that was struck out",
}
"""Seeds that failed once, and why. Where the world has changed since, a seed is another history; what keeps the defect
away then is its scene or planted defect. So seeds that take long go when they have become old."""


@pytest.mark.parametrize("seed", REGRESSIONS)
def test_regression(seed):
    assert alone(simulate, seed, minutes=0.5).violations == [], REGRESSIONS[seed]


def test_regression_who_returns_with_a_cursor_from_before_a_reset_is_told():
    """A listener left with the reset still in its queue, came back with its cursor, and heard old events again."""
    assert alone(simulate, 46, minutes=0.5, faults=("joins", "forgets", "backups")).violations == []


def a_cluster_of_one():
    world = World(1)
    cluster = SimCluster(world, 1)
    (node,) = cluster.nodes
    node.start()
    assert world.run_until(cluster.is_settled, 60.0)
    return cluster


@pytest.mark.parametrize("power", [False, True])
def test_an_acceptor_keeps_its_vote_over_a_crash(power):
    """Proposers rarely race in whole histories, so nothing there would show that votes are forgotten."""
    cluster = a_cluster_of_one()
    world, (node,) = cluster.world, cluster.nodes
    answers = []

    def ask(message):
        node.process.run(node.core.cluster.peers.handle, Arrival(node.node_id), message, answers.append)
        world.run(world.now_s + 1)
        return answers.pop().vote

    registry, slot = cluster.registry(), "registry:2"
    value, other = encode_registry(registry), encode_registry(msgspec.structs.replace(registry, version=2))
    ask(Prepare(1, slot, (1, b"a")))
    vote = ask(Accept(1, slot, (1, b"a"), value))
    assert vote.value == value
    node.kill(power)
    node.start()
    assert world.run_until(cluster.is_settled, 60.0)
    assert ask(Prepare(1, slot, (2, b"b"))) == Vote((2, b"b"), (1, b"a"), value)
    assert ask(Accept(1, slot, (1, b"c"), other)).value == value


@pytest.mark.parametrize("power", [False, True])
def test_an_owner_keeps_its_vote_on_a_register_over_a_crash(power):
    cluster = a_cluster_of_one()
    world, (node,) = cluster.world, cluster.nodes
    key, answers = ("_users", "carol"), []
    first, second, third = (Stamp(1 << 41, count, b"p" * 16) for count in range(3))
    record = make(1, 1)

    def ask(*question):
        poll = Poll(1, [Question(key, *question)])
        node.process.run(node.core.cluster.peers.handle, Arrival(node.node_id), poll, answers.append)
        world.run(world.now_s + 1)
        return answers.pop().votes[0]

    ask(second)
    assert ask(second, third, pack(record)).accepted == second
    node.kill(power)
    node.start()
    assert world.run_until(cluster.is_settled, 60.0)
    kept = ask(None)
    assert (kept.promised, kept.accepted, kept.value) == (third, second, pack(record))
    assert ask(first).promised == third


SHORT_REGRESSIONS = {
    856388896: "(a mistake of the operator's) a node that asked to join again and was switched off stayed a member",
    2745490: "(a mistake of the witness's) a damaged replica that nobody reaches serves what verifies, however old",
    1977517: "an end that was told from what is held was told again by an owner that had just started",
}
"""As before, and quicker to replay."""


@pytest.mark.parametrize("seed", SHORT_REGRESSIONS)
def test_short_regression(seed):
    assert alone(simulate, seed, minutes=0.2).violations == [], SHORT_REGRESSIONS[seed]


def test_the_same_seed_gives_the_same_trace_byte_for_byte_whatever_the_hash_seed():
    code = "from dynatwist.sim.run import simulate; print(*simulate(3, minutes=0.5, tracing=True).trace, sep='\\n')"
    traces = {
        subprocess.run(
            [sys.executable, "-c", code], env=os.environ | {"PYTHONHASHSEED": seed}, capture_output=True, check=True
        ).stdout
        for seed in ("1", "2")
    }
    assert len(traces) == 1
    assert traces.pop().count(b"\n") > 500


class TestLevels:
    """Each level does what tells it from the others: three nodes, of which some are cut off."""

    @pytest.fixture
    def world(self):
        return World(1)

    @pytest.fixture
    def cluster(self, world):
        cluster = SimCluster(world, 3)
        for node in cluster.nodes:
            node.start()
        assert world.run_until(cluster.is_settled, 30)
        world.run(world.now_s + 2)
        return cluster

    def write(self, world, node, level):
        return self.ask(world, node, "PUT", level)

    def ask(self, world, node, kind, level):
        from dynatwist.replication.quorum import Level
        from dynatwist.replication.request import Kind, Operation

        results = []
        operation = Operation(Kind(kind.lower()), ("t", "k"), Level(level), b'{"n":1}', "alice")
        node.core.coordinator.execute(operation).addCallback(results.append)
        assert world.run_until(lambda: bool(results), 10, step_s=0.01)
        return results[0]

    @pytest.mark.parametrize(
        ("down", "level", "code", "replicas"),
        [
            (0, "one", "ok", "1/3"),
            (0, "quorum", "ok", "2/3"),
            (0, "majority", "ok", "2/3"),
            (0, "all", "ok", "3/3"),
            (1, "one", "ok", "1/3"),
            (1, "quorum", "ok", "2/3"),
            (1, "majority", "ok", "2/3"),
            (1, "all", "unavailable", "2/3"),
            (2, "one", "ok", "1/3"),
            (2, "quorum", "ok", "1/3"),
            (2, "majority", "unavailable", "1/3"),
            (2, "all", "unavailable", "1/3"),
        ],
    )
    def test_writes(self, world, cluster, down, level, code, replicas):
        for node in cluster.nodes[:down]:
            node.kill(power=False)
        world.run(world.now_s + 1)
        result = self.write(world, cluster.nodes[2], level)
        assert result.code.value == code
        reached, total = result.replicas.split("/")
        assert int(reached) >= int(replicas[0])
        assert total == "3"

    @pytest.mark.parametrize(
        ("down", "level", "code"),
        [
            (1, "one", "ok"),
            (1, "quorum", "ok"),
            (1, "majority", "ok"),
            (1, "all", "unavailable"),
            (2, "one", "ok"),
            (2, "quorum", "ok"),
            (2, "majority", "unavailable"),
        ],
    )
    def test_reads(self, world, cluster, down, level, code):
        assert self.write(world, cluster.nodes[2], "all").code.value == "ok"
        for node in cluster.nodes[:down]:
            node.kill(power=False)
        world.run(world.now_s + 1)
        assert self.ask(world, cluster.nodes[2], "GET", level).code.value == code

    def test_one_reads_its_own_replica_only_and_quorum_repairs(self, world, cluster):
        first, _, third = cluster.nodes
        assert self.write(world, first, "all").record.version == 1
        third.process.pause()
        world.run(world.now_s + 1)
        assert self.write(world, first, "quorum").record.version == 2
        cluster.network.cut([third.host], [first.host, cluster.nodes[1].host])
        third.process.thaw()
        assert self.ask(world, third, "GET", "one").record.version == 1
        cluster.network.heal()
        assert world.run_until(lambda: self.ask(world, third, "GET", "quorum").record.version == 2, 10)
        assert self.ask(world, third, "GET", "one").record.version == 2

    def test_a_paused_node_is_not_waited_for(self, world, cluster):
        assert self.write(world, cluster.nodes[2], "all").code.value == "ok"
        cluster.nodes[0].process.pause()
        for kind in ("PUT", "GET"):
            started_s = world.now_s
            assert self.ask(world, cluster.nodes[2], kind, "quorum").code.value == "ok"
            assert world.now_s - started_s < 0.1
        started_s = world.now_s
        assert self.ask(world, cluster.nodes[2], "GET", "majority").code.value == "ok"
        assert world.now_s - started_s < 0.25


def test_a_history_leaves_nothing_behind():
    """A campaign of two thousand runs in one process; Twisted's log and the judges have kept whole nodes alive."""
    gc.collect()
    before = {id(one) for one in gc.get_objects() if type(one) is State}  # of clusters that other tests share
    simulate(0)
    gc.collect()
    assert not [one for one in gc.get_objects() if type(one) is State and id(one) not in before]
