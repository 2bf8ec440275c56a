"""Leases: records that live as long as the process that keeps them, in a simulated cluster and part by part."""

from __future__ import annotations

import json

import msgspec
import pytest
from twisted.internet.defer import ensureDeferred
from twisted.internet.task import Clock

from dynatwist.feed.hub import Hub, Notice, Subscription
from dynatwist.feed.sight import EVERYTHING
from dynatwist.model.clock import Stamp
from dynatwist.model.dots import Dot
from dynatwist.model.ends import Ends
from dynatwist.model.flaws import flaw_of
from dynatwist.model.lease import ENDED_MS, MAX_TTL_S, Lease
from dynatwist.model.lineage import Lineage
from dynatwist.model.record import Record
from dynatwist.model.records import name_of, pack, unpack, weight_of
from dynatwist.net.messages import Status
from dynatwist.sim.cluster import SimCluster
from dynatwist.sim.presence import TABLE, USERS, simulate_presence
from dynatwist.sim.world import World
from dynatwist.storage.leases import Leases
from dynatwist.web.heartbeat import ASK_S, SILENT_S, Heartbeat

from .test_findings import ask

ACTOR, OTHER = b"node-onefirst-st", b"node-twofirst-st"
KEY = (TABLE, "k")


def record(lease=None, **more):
    stamp = Stamp(1000, 1, ACTOR)
    fields = {"dot": Dot(ACTOR, 1), "value": b'{"n":1}', "vv": (), "stamp": stamp, "lineage": Lineage(0, (stamp,))}
    return Record(**(fields | {"version": 1, "owner": "ann", "lease": lease} | more))


class Before(msgspec.Struct, frozen=True, array_like=True):
    """A record, as the release before knows it."""

    dot: Dot
    value: bytes | None
    vv: tuple[Dot, ...]
    stamp: Stamp
    lineage: Lineage
    version: int
    owner: str
    expires_ms: int = 0
    op: bytes = b""
    named: tuple[msgspec.Raw, ...] = ()


class TestRecords:
    def test_the_release_before_reads_them_and_what_it_has_packed_bears_the_same_name(self):
        for one in (record(), record(Lease(ACTOR, 15))):
            old = msgspec.msgpack.decode(pack(one), type=Before)
            assert (old.dot, old.value, old.owner) == (one.dot, one.value, one.owner)
            packed = msgspec.msgpack.encode(old)
            assert packed != pack(one)
            assert name_of(packed) == name_of(pack(one))
            assert unpack(packed) == msgspec.structs.replace(one, lease=None)

    def test_a_record_without_one_is_a_byte_longer_than_before(self):
        packed = pack(record())
        old = msgspec.msgpack.encode(msgspec.msgpack.decode(packed, type=Before))
        assert len(packed) == len(old) + 1
        assert weight_of(packed).lease is None
        assert weight_of(pack(record(Lease(ACTOR, 15)))).lease == Lease(ACTOR, 15)

    @pytest.mark.parametrize("lease", [Lease(b"short", 15), Lease(ACTOR, 0), Lease(ACTOR, MAX_TTL_S + 1)])
    def test_what_no_node_would_write_is_refused(self, lease):
        assert flaw_of(record(lease))
        assert not flaw_of(record(Lease(ACTOR, MAX_TTL_S)))

    def test_one_whose_lease_has_ended_is_over_from_the_beginning(self):
        assert Ends().is_over(KEY, ENDED_MS)
        assert not Ends().is_over(KEY, ENDED_MS + 1)


class TestEnds:
    """What a hub tells of a record that two owners have ended: on both sides of a partition, or at the same moment."""

    LATER = Stamp(2000, 1, OTHER)

    def heard(self, *ends):
        hub, words = Hub("e"), []
        subscription = Subscription(table=TABLE, key=None, prefix="", sight=EVERYTHING, wake=lambda: None)
        hub.subscribe(subscription, None)
        hub.publish(KEY, record(Lease(ACTOR, 15)))
        for end in ends:
            hub.publish_end(KEY, end)
        while (event := subscription.take()) is not None:
            words.append(_word(event))
        return words

    def test_it_is_heard_once(self):
        first = record(expires_ms=ENDED_MS, dot=Dot(ACTOR, 2), stamp=Stamp(1500, 1, ACTOR))
        second = record(expires_ms=ENDED_MS, dot=Dot(OTHER, 1), stamp=self.LATER)
        assert self.heard(first, second) == [{"n": 1}, "expired"]
        assert self.heard(second, first) == [{"n": 1}, "expired"]
        assert self.heard(first, first) == [{"n": 1}, "expired"]

    def test_what_was_put_again_meanwhile_ends_for_itself(self):
        first = record(expires_ms=ENDED_MS, dot=Dot(ACTOR, 2), stamp=Stamp(1500, 1, ACTOR))
        again = Lineage(0, (Stamp(1000, 1, ACTOR), Stamp(1800, 1, OTHER)))
        second = record(expires_ms=ENDED_MS, dot=Dot(OTHER, 2), stamp=self.LATER, lineage=again)
        assert self.heard(first, second) == [{"n": 1}, "expired", "expired"]


def test_records_are_found_by_process_and_by_how_long_it_was_not_heard_of():
    leases = Leases()
    leases.add(("t", "a"), Lease(ACTOR, 5))
    leases.add(("t", "b"), Lease(ACTOR, 15))
    leases.add(("t", "c"), Lease(OTHER, 5))
    assert leases.actors() == {ACTOR, OTHER}
    assert list(leases.over(ACTOR, 4.9)) == []
    assert list(leases.over(ACTOR, 5)) == [("t", "a")]
    assert list(leases.over(ACTOR, 60)) == [("t", "a"), ("t", "b")]
    leases.discard(("t", "a"), Lease(ACTOR, 5))
    leases.discard(("t", "a"), Lease(ACTOR, 5))
    leases.discard(("t", "c"), Lease(OTHER, 5))
    assert (leases.actors(), len(leases)) == ({ACTOR}, 1)


class TestHeartbeat:
    @pytest.fixture
    def beating(self):
        clock, happened = Clock(), []
        beat = Heartbeat(clock, lambda: happened.append("asked"), lambda: happened.append("lost"))
        return clock, beat, happened

    def test_nobody_is_asked_who_keeps_nothing(self, beating):
        clock, beat, happened = beating
        clock.advance(100)
        assert (happened, beat.silent_s) == ([], 0.0)

    def test_who_does_not_answer_is_lost_well_within_the_usual_time(self, beating):
        clock, beat, happened = beating
        beat.start()
        for _ in range(10):
            clock.advance(ASK_S)
            beat.heard()
        assert "lost" not in happened
        while "lost" not in happened:
            clock.advance(0.5)
        assert SILENT_S < beat.silent_s < 15 - 2

    def test_a_node_that_was_frozen_reads_first_what_was_sent_meanwhile(self, beating):
        clock, beat, happened = beating
        beat.start()
        clock.advance(60)
        assert "lost" not in happened
        beat.stop()
        clock.advance(60)
        assert happened.count("asked") <= 3


def _word(event):
    if isinstance(event, Notice):
        return event.value
    return "expired" if event.is_over else "deleted" if event.is_deleted else json.loads(event.record.value)


def _changes(heard):
    """Without the words that something may have been missed, which nodes that were cut off say."""
    return [one for one in heard if one not in ("reset", "lagged")]


class Stage:
    """A simulated cluster, sockets at its nodes, and what each node tells of the table."""

    def __init__(self, count=3, **settings):
        self.world = World(7)
        self.cluster = SimCluster(self.world, count, self._listen, **settings)
        self.nodes = self.cluster.nodes
        self.heard = {node.host: [] for node in self.nodes}
        self.answers = []
        for node in self.nodes:
            node.start()
        assert self.world.run_until(self.cluster.is_settled, 60)
        for name in USERS:
            value = json.dumps({"uid": name, "hash": ""}).encode()
            ask(self.world, self.nodes[0], "put", ("_users", name), value, level="all", any_owner=True)

    def _listen(self, node, core):
        def hear():
            while (event := subscription.take()) is not None:
                self.heard[node.host].append(_word(event))

        subscription = Subscription(table=TABLE, key=None, prefix="", sight=EVERYTHING, wake=hear)
        core.hub.subscribe(subscription, None)

    def socket(self, node, name="ann"):
        core = node.core
        identity = core.users.authenticate(core.users.tokens.issue(name, name, 0))
        return core.handlers.session(
            identity=identity,
            address="client",
            send=lambda frame: self.answers.append(json.loads(frame)),
            wake=lambda: None,
            end=lambda: None,
        )

    def put(self, node, session, value, ttl=4, key="k"):
        frame = {"op": "put", "id": 1, "table": TABLE, "key": key, "value": value, "ephemeral": True, "ttl": ttl}
        count = len(self.answers)
        node.process.run(lambda: ensureDeferred(session.receive(json.dumps(frame).encode())))
        assert self.world.run_until(lambda: len(self.answers) > count, 10, 0.01)
        return self.answers[-1]

    def rest(self, seconds):
        self.world.run(self.world.now_s + seconds)

    def is_live(self):
        held = [core.store.held(KEY) for core in self.cluster.cores()]
        return [one is not None and not one.is_dead(ENDED_MS) for one in held]


@pytest.fixture
def stage():
    return Stage()


def test_two_owners_that_end_it_on_both_sides_of_a_partition_have_ended_it_once():
    stage = Stage(4)
    keeper = next(node for node in stage.nodes if not node.core.cluster.ownership.owns(_partition()))
    owners = [node for node in stage.nodes if node is not keeper]
    assert stage.put(keeper, stage.socket(keeper), {"n": 1})["ok"]
    stage.rest(1)
    keeper.kill()
    stage.cluster.network.cut([owners[0].host], [owner.host for owner in owners[1:]])
    stage.rest(20)
    assert stage.is_live() == [False] * 3
    dots = {owner.core.store.held(KEY).dot for owner in owners}
    assert len(dots) == 2, "both sides were to end it"
    stage.cluster.network.heal()
    stage.rest(20)
    assert len({owner.core.store.held(KEY).dot for owner in owners}) == 1
    for owner in owners:  # what is heard after a reset repeats what there is
        assert "expired expired" not in " ".join(map(str, stage.heard[owner.host]))


def _partition():
    from dynatwist.model.ring import partition_of

    return partition_of(*KEY)


def test_who_was_taken_for_gone_on_the_other_side_of_a_partition_is_there_again(stage):
    one, two, three = stage.nodes
    assert stage.put(one, stage.socket(one), {"n": 1})["ok"]
    stage.cluster.network.cut([one.host], [two.host, three.host])
    stage.rest(20)
    assert stage.is_live() == [True, False, False]
    stage.cluster.network.heal()
    assert stage.world.run_until(lambda: stage.is_live() == [True] * 3, 20)
    stage.rest(30)
    for node in (two, three):
        assert _changes(stage.heard[node.host]) == [{"n": 1}, "expired", {"n": 1}]


def test_a_lost_link_between_two_nodes_ends_nothing(stage):
    """The owner hears by way of others that the node is well."""
    one, two, _ = stage.nodes
    assert stage.put(one, stage.socket(one), {"n": 1}, ttl=7)["ok"]
    stage.cluster.network.cut([one.host], [two.host])
    stage.rest(40)
    assert stage.is_live() == [True] * 3
    assert [_changes(heard) for heard in stage.heard.values()] == [[{"n": 1}]] * 3


def test_a_user_who_lost_the_right_is_not_put_again(stage):
    one, two, three = stage.nodes
    session = stage.socket(one)
    assert stage.put(one, session, {"n": 1})["ok"]
    settings = json.dumps({"access": [{"prefix": "", "read": ["*"], "create": []}]}).encode()
    ask(stage.world, two, "put", ("_tables", TABLE), settings, level="all", any_owner=True)
    stage.cluster.network.cut([one.host], [two.host, three.host])
    stage.rest(12)
    stage.cluster.network.heal()
    stage.rest(30)
    assert stage.is_live() == [False] * 3


def test_many_records_of_one_process_end_in_portions(stage):
    one, two, three = stage.nodes
    session = stage.socket(one)
    for number in range(200):
        assert stage.put(one, session, {"n": number}, key=f"k{number}")["ok"]
    one.kill()
    stage.rest(12)
    for node in (two, three):
        assert len(node.core.store.leases) == 0
        assert stage.heard[node.host].count("expired") == 200


def test_a_member_of_an_older_release_is_waited_for(stage):
    one, two, _ = stage.nodes
    status = one.core.cluster.peers.status_of(two.node_id)
    old = msgspec.msgpack.decode(msgspec.msgpack.encode(Status(*msgspec.structs.astuple(status)[:5])), type=Status)
    one.core.cluster.peers.switchboard.handle(_from(two), old, None)
    refused = stage.put(one, stage.socket(one), {"n": 1})
    assert refused["code"] == "upgrading"
    assert two.host in refused["error"]


def _from(node):
    from dynatwist.net.arrival import Arrival

    return Arrival(node.node_id)


def test_what_is_ended_stays_ended_over_a_restart_and_is_collected():
    stage = Stage(tombstone_grace_s=1.0)
    one, two, _ = stage.nodes
    assert stage.put(one, stage.socket(one), {"n": 1})["ok"]
    one.kill()
    stage.rest(8)
    assert stage.is_live() == [False, False]
    two.kill()
    two.start()
    one.start()
    assert stage.world.run_until(stage.cluster.is_settled, 60)
    assert stage.is_live() == [False] * 3
    assert all(core.store.live.of(TABLE) == 0 for core in stage.cluster.cores())
    assert stage.world.run_until(lambda: all(core.store.held(KEY) is None for core in stage.cluster.cores()), 60)


@pytest.mark.parametrize("seed", range(4))
def test_in_histories_of_chance_those_are_there_whose_sockets_live_and_nobody_else(seed):
    wrong, _ = simulate_presence(seed)
    assert not wrong
