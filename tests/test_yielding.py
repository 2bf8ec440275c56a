"""An owner whose disk is not well lets others go first, so that one owner decides about whatever has a condition."""

from __future__ import annotations

import pytest

from dynatwist.cluster.yielding import FULL, SLOW, SLOW_S, WELL, YIELDS_S, Yielding
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
    lsn = 7

    def __init__(self):
        self.waiting = []

    def when_durable(self, lsn, call):
        self.waiting.append(call)

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
        assert self.told == [SLOW if way == "is_behind" else FULL, WELL]

    def test_an_owner_that_is_full_goes_behind_one_that_is_slow(self, place):
        self.disk.is_behind = self.disk.is_full = True
        self.yielding.look()
        assert self.yielding.yields == FULL > SLOW > WELL

    @pytest.mark.parametrize("took_s", [SLOW_S, SLOW_S + 0.01, 60.0])
    def test_a_log_that_takes_long_is_slow_while_it_does_and_afterwards(self, place, took_s):
        self.yielding.try_log()
        self.yielding.try_log()
        self.now_s = took_s
        self.yielding.look()
        is_slow = took_s > SLOW_S
        assert self.yielding.yields == (SLOW if is_slow else WELL)
        (written,) = self.disk.waiting
        self.disk.waiting.clear()
        written()
        assert self.told == [SLOW] * is_slow
        self.yielding.try_log()
        self.disk.waiting.pop()()
        self.now_s += YIELDS_S
        self.yielding.look()
        assert self.yielding.yields == WELL


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
    deleted = ask(world, well, "delete", KEY, if_match=(etag(result.record),))
    assert deleted.code is Code.OK
    assert deleted.record.dot.actor != bad.core.store.actor, "it needs no room, and is decided by the same owner"


def test_whoever_has_not_heard_that_an_owner_yields_is_told_by_it(full, monkeypatch):
    """As a node of the release before, which knows no such word."""
    world, _, bad, well = full(KEY)
    monkeypatch.setattr(well.core.cluster.peers, "yields", lambda node: 0)
    assert well.core.coordinator.candidates.of(partition_of(*KEY))[0] == bad.node_id
    result = ask(world, well, "patch", KEY)
    assert result.code is Code.OK
    assert result.record.dot.actor != bad.core.store.actor


def test_users_register_and_a_ticket_is_good_once_where_one_owner_of_users_is_full(full):
    world, cluster, bad, well = full(USERS)
    assert register(world, well, "carol", "a long secret")[0]
    ticket = ticket_of(well)
    others = [node for node in cluster.nodes if node is not bad]
    assert named(world, *(shown(node, ticket) for node in others)).count("alice") == 1


def test_it_is_the_first_again_when_there_is_room(full):
    world, _, bad, well = full(KEY)
    assert well.core.coordinator.candidates.of(partition_of(*KEY))[-1] == bad.node_id
    bad.disk.mend(world.now_s)
    world.run(world.now_s + YIELDS_S + 3)
    for node in (bad, well):
        assert node.core.coordinator.candidates.of(partition_of(*KEY))[0] == bad.node_id
    result = ask(world, well, "patch", KEY)
    assert result.code is Code.OK
    assert result.record.dot.actor == bad.core.store.actor


def test_where_none_is_well_the_first_one_says_so(full):
    world, cluster, _, well = full(KEY)
    for node in cluster.nodes:
        node.disk.cramp(0)
    world.run(world.now_s + 2)
    assert ask(world, well, "patch", KEY).code is Code.FULL


@pytest.mark.parametrize(
    ("first", "others", "is_passed_on"),
    [(WELL, WELL, False), (SLOW, WELL, True), (FULL, SLOW, True), (SLOW, SLOW, False), (FULL, FULL, False)],
)
def test_a_condition_is_passed_on_only_where_another_owner_is_better(monkeypatch, first, others, is_passed_on):
    _, cluster = settled(3)
    owner, well, _ = (node for node in cluster.nodes)
    candidates = well.core.coordinator.candidates
    monkeypatch.setattr(well.core.cluster.yielding, "yields", others)
    monkeypatch.setattr(well.core.cluster.peers, "yields", lambda node: first if node == owner.node_id else others)
    for partition in range(8):
        assert candidates.others_go_first(partition, owner.node_id) == is_passed_on
        assert len(candidates.of(partition)) == 3
        assert not is_passed_on or candidates.of(partition)[-1] == owner.node_id


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
        assert b"dynakv_yields 2.0" in low.request("GET", "/metrics").body
        assert b"dynakv_yields 0.0" in well[0].request("GET", "/metrics").body
    finally:
        cluster.close()
