"""An owner whose disk is not well lets others go first, so that one owner decides about whatever has a condition."""

from __future__ import annotations

import pytest

from dynatwist.cluster.yielding import YIELDS_S, Yielding
from dynatwist.model.ring import partition_of
from dynatwist.replication.request import Code, etag

from .real import RealCluster, path
from .test_findings import ask, register, settled
from .test_tickets import named, shown, ticket_of

KEY = "t", "k"
USERS = "_users", "alice"


class Disk:
    """A log as far as whoever yields looks at it."""

    is_behind = False
    is_full = False

    def refusal(self, adds):
        return "full" if self.is_full and adds else ""


class TestYielding:
    @pytest.fixture
    def place(self):
        self.now_s, self.told, self.disk = 0.0, [], Disk()
        self.yielding = Yielding(self.disk, lambda: self.now_s, lambda: self.told.append(self.yielding.yields))

    @pytest.mark.parametrize("way", ["is_behind", "is_full"])
    def test_it_begins_at_once_and_ends_when_the_disk_has_been_well_for_a_while(self, place, way):
        self.yielding.look()
        assert not self.yielding.yields
        for self.now_s in (1.0, 2.0):
            setattr(self.disk, way, True)
            self.yielding.look()
            setattr(self.disk, way, False)
            self.yielding.look()
            assert self.yielding.yields, "a disk that is well between two groups of its log is not well"
        self.now_s = 2.0 + YIELDS_S - 0.01
        self.yielding.look()
        assert self.yielding.yields
        self.now_s = 2.0 + YIELDS_S
        assert self.yielding.yields, "it ends when all are told, not before"
        self.yielding.look()
        assert self.told == [True, False]


def first_owner(cluster, key):
    owners = cluster.registry().owners(partition_of(*key))
    return next(node for owner in owners for node in cluster.nodes if node.node_id == owner)


@pytest.fixture
def full():
    """Five nodes, where the first owner of a key, or of all users, has no room on its disk."""

    def begun(key):
        world, cluster = settled(5)
        register(world, cluster.nodes[0], "alice", "a long secret")
        assert ask(world, cluster.nodes[0], "put", KEY, level="all").code is Code.OK
        bad = first_owner(cluster, key)
        bad.disk.cramp(0)
        world.run(world.now_s + 2)
        assert bad.core.folder.room.is_low or bad.core.store.wal.stuck
        return world, cluster, bad, next(node for node in cluster.nodes if node is not bad)

    return begun


def test_conditions_and_deletes_go_on_where_others_have_room(full):
    world, _, bad, well = full(KEY)
    for node in (well, bad):
        held = ask(world, node, "get", KEY).record
        result = ask(world, node, "put", KEY, if_match=(etag(held),))
        assert result.code is Code.OK
        assert result.record.dot.actor != bad.core.store.actor
    assert ask(world, well, "delete", KEY, if_match=(etag(result.record),)).code is Code.OK


def test_users_register_and_a_ticket_is_good_once_where_one_owner_of_users_is_full(full):
    world, cluster, bad, well = full(USERS)
    assert register(world, well, "carol", "a long secret")[0]
    ticket = ticket_of(well)
    others = [node for node in cluster.nodes if node is not bad]
    assert named(world, *(shown(node, ticket) for node in others)).count("alice") == 1


def test_it_is_the_first_again_when_there_is_room(full):
    world, _, bad, well = full(KEY)
    assert well.core.coordinator.candidates(partition_of(*KEY))[-1] == bad.node_id
    bad.disk.mend(world.now_s)
    world.run(world.now_s + YIELDS_S + 3)
    for node in (bad, well):
        assert node.core.coordinator.candidates(partition_of(*KEY))[0] == bad.node_id
    result = ask(world, well, "patch", KEY)
    assert result.code is Code.OK
    assert result.record.dot.actor == bad.core.store.actor


def test_where_none_is_well_the_first_one_says_so(full):
    world, cluster, _, well = full(KEY)
    for node in cluster.nodes:
        node.disk.cramp(0)
    world.run(world.now_s + 2)
    assert ask(world, well, "patch", KEY).code is Code.FULL


@pytest.mark.processes
def test_a_real_node_that_is_low_on_disk_leaves_conditions_to_the_others(tmp_path):
    """A third of all keys, and all users perhaps, have it for their first owner."""
    cluster = RealCluster(tmp_path)
    try:
        low = cluster.add("--disk-reserve", str(1 << 49))
        well = [cluster.add() for _ in range(2)]
        cluster.wait_ready()
        alice = well[0].register("alice")
        for number in range(12):
            key = path("t", f"k{number}")
            assert well[0].request("PUT", key, {"n": 1}, alice, If_None_Match="*").status == 201
            assert well[1].request("PATCH", key, {"m": 2}, alice).status == 200
            assert low.request("PATCH", key, {"l": 3}, alice).status == 200, "it passes on what has a condition"
            held = low.request("GET", key, None, alice)
            assert held.json["value"] == {"n": 1, "m": 2, "l": 3}
            assert well[0].request("DELETE", key, None, alice, If_Match=held.headers["etag"]).status == 200
        assert low.put("t", "plain", {"n": 1}, alice).status == 507
    finally:
        cluster.close()
