"""Founding a cluster, joining it, and changing its members, in small simulated clusters."""

from __future__ import annotations

import pytest
from msgspec import structs

from dynatwist.agreement.registrar import FOUND_AFTER_S, FOUND_WITHOUT_MAJORITY_AFTER_S
from dynatwist.cluster.greeting import refusal_of
from dynatwist.model.registry import Member, Registry
from dynatwist.model.ring import PARTITIONS
from dynatwist.net.arrival import Arrival
from dynatwist.net.messages import WIRE_VERSION, Done, Hello, Join, Unable
from dynatwist.sim.cluster import SimCluster
from dynatwist.sim.mount import Mount
from dynatwist.sim.world import World
from dynatwist.storage.identity import COPIES
from dynatwist.storage.seal import NEWEST_VERSION


def common_list(nodes):
    world = World(1)
    cluster = SimCluster(world, nodes)
    cluster.same_seeds = True
    return world, cluster


def started(nodes):
    world, cluster = common_list(nodes)
    for node in cluster.nodes:
        node.start()
    return world, cluster


def test_the_lowest_of_a_common_list_founds():
    world, cluster = started(3)
    assert world.run_until(cluster.is_settled, FOUND_AFTER_S + 5)


def test_a_lowest_node_with_an_empty_disk_joins_again_though_the_others_are_slow_to_be_found():
    world, cluster = started(3)
    assert world.run_until(cluster.is_settled, 30)
    lowest, *others = cluster.nodes
    lowest.kill()
    lowest.disk.wipe()
    burnt = lowest.node_id
    cluster.network.cut([lowest.host], [node.host for node in others])
    lowest.start()
    world.run(world.now_s + FOUND_WITHOUT_MAJORITY_AFTER_S - 4)
    assert lowest.core.cluster.registry is None
    cluster.network.heal()
    others[0].core.registrar.forget(burnt)
    assert world.run_until(cluster.is_settled, 60)
    assert len({core.cluster.registry.cluster_id for core in cluster.cores()}) == 1


def test_one_that_met_a_founded_node_never_founds():
    world, cluster = started(2)
    assert world.run_until(cluster.is_settled, 30)
    lowest, other = cluster.nodes
    lowest.kill()
    lowest.disk.wipe()
    lowest.start()
    assert world.run_until(lambda: lowest.core.cluster.peers.has_met_founded, 5, step_s=0.005)
    assert lowest.core.cluster.registry is None
    other.kill()
    world.run(world.now_s + 2 * FOUND_WITHOUT_MAJORITY_AFTER_S)
    assert lowest.core.cluster.registry is None


def test_the_lowest_founds_alone_if_nobody_ever_comes():
    world, cluster = common_list(3)
    lowest = cluster.nodes[0]
    lowest.start()
    world.run(world.now_s + FOUND_WITHOUT_MAJORITY_AFTER_S / 2)
    assert lowest.core.cluster.registry is None
    world.run(world.now_s + FOUND_WITHOUT_MAJORITY_AFTER_S)
    assert lowest.core.cluster.registry is not None


@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_member_that_refuses_everything_is_struck_out_whatever_its_place(place):
    """It answers pings, and nothing else: were it the first of the members, the change would wait for it to end it."""
    world, cluster = started(3)
    assert world.run_until(cluster.is_settled, 30)
    mute = sorted(cluster.nodes, key=lambda node: node.node_id)[place]
    others = [node for node in cluster.nodes if node is not mute]

    def refuse(node, message, respond):
        if respond is not None:
            respond(Unable("no"))

    mute.core.cluster.peers.handle = refuse
    mute.core.registrar.stop()
    others[0].core.registrar.forget(mute.node_id)

    def is_out(node):
        registry = node.core.cluster.registry
        return mute.node_id in registry.struck_out and not registry.changing

    assert world.run_until(lambda: all(map(is_out, others)), 30)


def test_regression_what_a_node_asked_for_before_it_was_struck_out_does_not_bring_it_back():
    """Simulator, seed 1100044: a node had asked one member to join, and was forgotten at another within two seconds.
    The first one had it in the registry again, of which everybody refused its links: a member that nobody let in."""
    world, cluster = started(4)
    assert world.run_until(cluster.is_settled, 30)
    first, second, _, gone = sorted(cluster.nodes, key=lambda node: node.node_id)
    asked = Join(cluster.registry().find(gone.node_id), 3)

    def asks(before, after):
        if after.changing:  # while it is on its way out, and nobody has told it
            second.core.registrar._on_join(Arrival(gone.node_id), asked, lambda reply: None)
            second.core.registrar._proposing = True  # for a moment, of something else

    second.core.cluster.on_registry.append(asks)
    second.core.registrar._want(asked.member)
    first.core.registrar.forget(gone.node_id)
    assert world.run_until(lambda: gone.node_id in first.core.cluster.registry.struck_out, 10, step_s=0.001)
    second.core.registrar._proposing = False
    world.run(world.now_s + 10)
    registry = first.core.cluster.registry
    assert gone.node_id in registry.struck_out
    assert registry.find(gone.node_id) is None


@pytest.mark.parametrize("place", [0, -1])
def test_regression_who_was_struck_out_while_cut_off_hears_of_it_when_it_is_back(place):
    """Whatever its id: the one with the highest was dialled by nobody any more, and dialled nobody itself."""
    world, cluster = started(4)
    assert world.run_until(cluster.is_settled, 30)
    away = sorted(cluster.nodes, key=lambda node: node.node_id)[place]
    others = [node for node in cluster.nodes if node is not away]
    cluster.network.cut([away.host], [node.host for node in others])
    others[0].core.registrar.forget(away.node_id)
    assert world.run_until(lambda: away.node_id in others[0].core.cluster.ownership.struck_out, 60)
    world.run(world.now_s + 20)
    assert away.core.cluster.standing.is_ready
    cluster.network.heal()
    assert world.run_until(lambda: away.core.cluster.ownership.is_removed, 30)
    assert world.run_until(lambda: not away.core.repair.surplus(), 30)


class TestZones:
    """Nodes say where they run; once all have, owners lie in different zones."""

    def restarted(self, world, cluster, node, zone):
        node.kill()
        node.move(zone)
        node.start()
        assert world.run_until(cluster.is_settled, 60)

    def test_are_given_one_by_one_and_then_data_move(self):
        world, cluster = started(4)
        assert world.run_until(cluster.is_settled, 30)
        for number, zone in enumerate("aab"):
            self.restarted(world, cluster, cluster.nodes[number], zone)
            assert not cluster.registry().zoned
        self.restarted(world, cluster, cluster.nodes[3], "c")
        registry = cluster.registry()
        assert (registry.zoned, registry.changing) == (True, False)
        places = {member.node_id: member.zone for member in registry.members}
        assert all({places[owner] for owner in registry.owners(number)} == set("abc") for number in range(PARTITIONS))

    def test_a_member_that_is_started_without_one_stays_where_it_was(self):
        world, cluster = started(3)
        for node, zone in zip(cluster.nodes, "abc", strict=True):
            self.restarted_later(node, zone)
        assert world.run_until(cluster.is_settled, 60)
        assert world.run_until(lambda: cluster.registry().zoned, 30)
        before = cluster.registry()
        self.restarted(world, cluster, cluster.nodes[1], "")
        world.run(world.now_s + 5)
        assert cluster.registry() == before

    def restarted_later(self, node, zone):
        node.kill()
        node.move(zone)
        node.start()

    def test_nobody_joins_without_one(self):
        world, cluster = started(3)
        for node, zone in zip(cluster.nodes, "abc", strict=True):
            self.restarted_later(node, zone)
        assert world.run_until(lambda: cluster.registry() is not None and cluster.registry().zoned, 60)
        stranger = Member(b"stranger", "10.0.0.9", 7000, 17000)
        said = []
        for member in (stranger, structs.replace(stranger, zone="d")):
            join = Join(member, 3, cluster.nodes[0].core.registrar._secrets())
            cluster.nodes[0].core.registrar._on_join(Arrival(member.node_id), join, said.append)
        assert "start 10.0.0.9:7000 with --zone" in said[0].reason
        assert said[1] == Done()

    def test_a_release_that_knows_none_is_told_so_and_does_not_start_with_such_data(self):
        world, cluster = started(3)
        for node, zone in zip(cluster.nodes, "abc", strict=True):
            self.restarted_later(node, zone)
        assert world.run_until(lambda: cluster.registry() is not None and cluster.registry().zoned, 60)
        core = cluster.nodes[0].core
        hello = Hello(WIRE_VERSION, core.cluster.registry.cluster_id, core.cluster.me, b"epoch 12", 1, None)
        assert "upgrade it" in refusal_of(hello, core.cluster.me, core.cluster.ownership)
        assert refusal_of(structs.replace(hello, knows_zones=True), core.cluster.me, core.cluster.ownership) is None
        for name in COPIES:
            header = Mount(cluster.nodes[0].disk, cluster.nodes[0].process).read(f"/sim/0/{name}")[:8]
            assert int.from_bytes(header[6:8]) == NEWEST_VERSION

    def test_do_not_count_while_somebody_leaves_or_may_not_know_them(self):
        """Who leaves takes part in the change, and who is not linked may have been set back to an earlier release."""
        members = [Member(bytes([number]) * 8, "h", number, number, zone) for number, zone in enumerate("abc ", 1)]
        members[3] = structs.replace(members[3], zone="")
        registry = Registry(b"c", 1, 3, tuple(members))
        without = registry.with_members(members[:3])
        assert (without.zoned, without.changing) == (False, True)
        settled = without.settled()
        assert not settled.with_members(members[:3], know_zones=False).zoned
        assert settled.with_members(members[:3]).zoned

    def test_wait_for_a_member_that_is_away(self):
        world, cluster = started(4)
        assert world.run_until(cluster.is_settled, 30)
        away, last = cluster.nodes[0], cluster.nodes[3]
        for node, zone in zip(cluster.nodes[:3], "abc", strict=True):
            self.restarted(world, cluster, node, zone)
        away.kill()
        last.kill()
        last.move("d")
        last.start()
        assert world.run_until(lambda: cluster.registry().find(last.node_id).zone == "d", 60)
        world.run(world.now_s + 5)
        assert not cluster.registry().zoned
        away.start()
        assert world.run_until(lambda: cluster.registry().zoned, 60)
