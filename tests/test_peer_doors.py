"""The bounds between nodes, one by one: the door, guests, what is served to whom, names, dials, gossip."""

from __future__ import annotations

import os
from typing import get_args

import pytest
from twisted.internet.defer import Deferred, succeed

from dynatwist.cluster.served import TO_ANYBODY, TO_STRUCK_OUT
from dynatwist.membership.members import State
from dynatwist.membership.messages import Alive, Compare, Dead, IndirectPing, Ping, States, Suspect
from dynatwist.membership.settings import SwimSettings
from dynatwist.membership.soundness import MAX_INCARNATION, is_sound
from dynatwist.membership.swim import Swim
from dynatwist.model.registry import MAX_STRUCK_OUT, Member, Registry
from dynatwist.net import names, packet
from dynatwist.net.admission import MAX_GUESTS
from dynatwist.net.dialler import Dialling
from dynatwist.net.dials import DIALS_A_SECOND, Dials
from dynatwist.net.doors import STRANGERS_A_SECOND, DoorLimits, Doors, source_of
from dynatwist.net.framing import FrameError, FrameReader, encode
from dynatwist.net.link import PeerLink
from dynatwist.net.links import PeerLinks
from dynatwist.net.messages import (
    AnyMessage,
    Done,
    Fetch,
    Hello,
    Join,
    Listen,
    PullFromMe,
    RegistryIs,
    Rekey,
    Restored,
    Unable,
)
from dynatwist.net.messages import (
    Ping as PeerPing,
)
from dynatwist.net.names import Names
from dynatwist.net.packet import PacketCodec
from dynatwist.sim.world import World

from .test_findings import ask, settled
from .test_links import Host


class Visit:
    """A connection in the door."""

    def __init__(self):
        self.aborted = False

    def abort(self):
        self.aborted = True


class Street:
    """A door, and a clock."""

    def __init__(self, near=(), **limits):
        self.now_s = 0.0
        self.doors = Doors(lambda: self.now_s, lambda host: host in near)
        self.doors.limits = DoorLimits(**limits)

    def come(self, host):
        self.now_s += 0.1
        if not self.doors.lets_in(host):
            return None
        visit = Visit()
        self.doors.enter(visit, host)
        return visit

    def tidy(self, *visits):
        for visit in visits:
            if visit is not None and visit.aborted:
                self.doors.gone(visit)


class TestTheDoor:
    def test_an_address_that_has_its_share_loses_its_oldest(self):
        street = Street(handshakes=9, handshakes_per_address=3)
        visits = [street.come("1.1.1.1") for _ in range(5)]
        assert [visit.aborted for visit in visits] == [True, True, False, False, False]
        assert len(street.doors) == 3

    def test_in_all_the_address_that_has_most_loses_its_oldest(self):
        street = Street(handshakes=4, handshakes_per_address=3)
        many = [street.come("1.1.1.1") for _ in range(3)]
        one = street.come("2.2.2.2")
        assert street.come("3.3.3.3") is not None
        assert [visit.aborted for visit in many] == [True, False, False]
        assert not one.aborted

    def test_known_addresses_go_last_and_for_no_stranger(self):
        street = Street(near=("10.0.0.1",), handshakes=4, handshakes_per_address=4)
        member = street.come("10.0.0.1")
        strangers = [street.come(f"1.1.1.{number}") for number in range(4)]
        assert not member.aborted
        assert strangers[0].aborted
        street.tidy(*strangers)
        more = [street.come("10.0.0.1") for _ in range(3)]
        assert all(not visit.aborted for visit in more)
        street.tidy(*strangers)
        assert street.come("2.2.2.2") is None

    def test_whoever_has_greeted_is_known(self):
        street = Street(handshakes=2, handshakes_per_address=2)
        street.doors.passed(street.come("1.1.1.1"))
        again = street.come("1.1.1.1")
        for number in range(5):
            street.tidy(street.come(f"2.2.2.{number}"))
        assert not again.aborted

    def test_strangers_begin_so_many_handshakes_a_second(self):
        street = Street()
        came = 0
        for number in range(10 * STRANGERS_A_SECOND):
            street.now_s += 0.001
            if street.doors.lets_in(f"1.1.{number % 256}.1"):
                came += 1
        assert came <= 2 * STRANGERS_A_SECOND + 1

    def test_a_small_limit_of_descriptors_shrinks_it(self):
        small = DoorLimits().within(75)
        assert small.descriptors <= 75
        assert small.handshakes >= 10
        assert DoorLimits().within(10_000) == DoorLimits()

    @pytest.mark.parametrize(
        ("host", "source"),
        [
            ("::ffff:1.2.3.4", "1.2.3.4"),
            ("2001:db8::1", source_of("2001:db8::ffff")),
            ("fe80::1%eth0", source_of("fe80::2")),
        ],
    )
    def test_what_counts_as_one_address(self, host, source):
        assert source_of(host) == source


class TestFrames:
    def test_memory_follows_what_has_arrived(self):
        reader = FrameReader()
        assert list(reader.feed((31 << 20).to_bytes(4) + b"\x02")) == []
        assert len(reader._buffer) == 5

    def test_a_first_frame_may_decide_how_long_the_next_is(self):
        frame = encode(1, (1, (0, 0)), [(1, Fetch([("t", "k" * 1000)]))])
        reader = FrameReader(len(frame))
        long = encode(1, (1, (0, 0)), [(1, Fetch([("t", "k" * 5000)]))])
        frames = reader.feed(frame + long)
        next(frames)
        reader.allow(1 << 20)
        next(frames)
        reader.allow(100)
        with pytest.raises(FrameError):
            list(reader.feed(long))


# Links


class Cluster(Host):
    """A host whose cluster is founded; it knows who is a member."""

    def __init__(self, world, network, number, members=()):
        self.members = set(members)
        super().__init__(world, network, number)

    def is_served(self, node):
        return node in self.members


def test_guests_are_bounded_and_members_are_not_counted_among_them():
    from dynatwist.sim.network import SimNetwork

    world = World(3)
    network = SimNetwork(world)
    node = Cluster(world, network, 200, [bytes([199]) * 8])
    for number in range(1, MAX_GUESTS + 11):
        guest = Host(world, network, number)
        guest.links.dialler.want(node.node, node.name, 1)
        guest.links.dialler.dial(Dialling.NOBODY)  # again
        world.run(world.now_s + 0.2)
    member = Host(world, network, 199)
    member.links.dialler.want(node.node, node.name, 1)
    world.run(world.now_s + 1)
    assert len(node.links.linked()) <= MAX_GUESTS + 1
    assert member.node in node.links.linked()


def test_links_by_a_retired_secret_are_replaced_before_they_end(monkeypatch):
    from dynatwist.sim.network import SimNetwork

    world = World(3)
    network = SimNetwork(world)
    former = []
    is_rotated = []
    monkeypatch.setattr(
        PeerLink, "secrets", property(lambda link: frozenset({"old" if link in former or not is_rotated else "new"}))
    )
    one, two = Host(world, network, 1), Host(world, network, 2)
    for mine, other in ((one, two), (two, one)):
        mine.links.go_by(("old",))
        mine.links.dialler.want(other.node, other.name, 1)
    world.run(1)
    former += [host.links._links[other.node] for host, other in ((one, two), (two, one))]
    replies = []
    two.handle = lambda node, message, respond: two.process.callLater(0.4, respond, Done())
    is_rotated.append(True)
    for host in (one, two):
        host.links.go_by(("new",))
    one.links.call(two.node, Fetch([]), replies.append)
    world.run(world.now_s + 0.95)
    assert replies == [Done()]
    assert all(link._gone for link in former)
    assert one.links.is_reachable(two.node)
    assert two.links.is_reachable(one.node)
    assert "unlinked" not in one.events + two.events


# What is served


def test_every_kind_of_message_is_the_members_except_those_in_the_table():
    _, cluster = settled(1)
    peers = cluster.nodes[0].core.cluster.peers
    for kind in (*peers.switchboard.calls, *peers.switchboard.notices):
        assert kind in get_args(AnyMessage)
    assert {Join} == TO_ANYBODY & peers.switchboard.calls
    assert {Join, PullFromMe} == TO_STRUCK_OUT & peers.switchboard.calls


class Stranger(Host):
    """Somebody with the cluster's key at the simulated network."""

    def __init__(self, world, network, number):
        super().__init__(world, network, number)
        self.heard = []

    def handle(self, node, message, respond):
        self.heard.append(message)


def test_a_stranger_in_the_simulated_world_gets_nothing():
    world, cluster = settled(3)
    stranger = Stranger(world, cluster.network, 255)
    replies = []
    for node in cluster.nodes:
        port = node.core.config.actual_peer_port
        stranger.links.dialler.dial(Dialling.ALL)
        stranger.links.dialler.want(node.node_id, node.host, port)
    world.run(world.now_s + 1)
    assert len(stranger.links.linked()) == 3
    before = cluster.registry()
    forged = before.with_members((Member(stranger.node, stranger.name, 1, 1),))
    for node in cluster.nodes:
        for message in (Fetch([("_users", "alice")]), Rekey(9, "install", bytes(32)), Listen([""])):
            stranger.process.run(stranger.links.call, node.node_id, message, replies.append)
        for notice in (RegistryIs(forged), Restored(1 << 30)):
            stranger.process.run(stranger.links.tell, node.node_id, notice)
    world.run(world.now_s + 10)
    assert replies == [Unable("not a member")] * 9
    assert cluster.registry() == before
    assert cluster.is_settled()
    assert len(cluster.keys.cluster) == 1
    assert {type(one).__name__ for one in stranger.heard} <= {"RegistryIs", "Status"}


def test_what_a_stranger_says_of_the_registry_is_believed_when_nobody_else_is_left():
    """A node comes back and meets only members that have joined while it was away."""
    world, cluster = settled(3)
    away = cluster.nodes[2]
    away.kill()
    for _ in range(2):
        cluster.add().start()
    assert world.run_until(lambda: len(cluster.registry().members) == 5 and not cluster.registry().changing, 60)
    isolate_from = [node.host for node in cluster.nodes[:2]]
    cluster.network.cut([away.host], isolate_from)
    away.start()
    assert world.run_until(lambda: away.core.cluster.version == cluster.registry().version, 20)
    cluster.network.heal()
    assert world.run_until(cluster.is_settled, 60)


def test_clocks_are_asked_for_in_parts_where_they_are_long():
    """Replies between nodes are bounded: tombstones are collected all the same, and a node is emptied."""
    world, cluster = settled(4, tombstone_grace_s=1.0)
    for node in cluster.nodes:
        node.core.cluster.answer_bytes = 100
    first = cluster.nodes[0]
    for number in range(20):
        assert ask(world, first, "put", ("t", f"k{number}")).code.value == "ok"
        assert ask(world, first, "delete", ("t", f"k{number}")).code.value == "ok"
    stores = [node.core.store for node in cluster.nodes]
    assert world.run_until(lambda: not any(r.tombstones for s in stores for r in s.replicas), 60)
    gone = cluster.nodes[3]
    first.core.registrar.forget(gone.node_id)
    assert world.run_until(lambda: gone.core.cluster.ownership.is_removed and not gone.core.repair.surplus(), 60)


class TestStruckOut:
    ME = Member(b"a" * 8, "a", 1, 2)
    OTHER = Member(b"b" * 8, "b", 1, 2)

    def test_who_leaves_is_never_a_member_again(self):
        registry = Registry(b"c", 1, 3, (self.ME, self.OTHER)).with_members((self.ME,))
        assert registry.struck_out == ()
        assert registry.settled().struck_out == (self.OTHER.node_id,)

    def test_a_joiner_that_is_taken_out_of_a_change_is_struck_out_at_once(self):
        registry = Registry(b"c", 1, 3, (self.ME,)).with_members((self.ME, self.OTHER))
        assert registry.without({self.OTHER.node_id}).struck_out == (self.OTHER.node_id,)

    def test_so_many_are_remembered(self):
        registry = Registry(b"c", 1, 3, (self.ME,), struck_out=tuple(os.urandom(8) for _ in range(MAX_STRUCK_OUT)))
        changed = registry.with_members((self.ME, self.OTHER)).without({self.OTHER.node_id})
        assert len(changed.struck_out) == MAX_STRUCK_OUT
        assert changed.struck_out[-1] == self.OTHER.node_id

    @pytest.mark.parametrize("host", ["", "<broadcast>", "a b", "a/b", "a" * 254, "ä"])
    def test_what_can_be_no_host(self, host):
        assert not Member(b"a" * 8, host, 1, 2).is_sound


# Gossip

ME = Alive(b"m" * 8, 1, "10.0.0.1", 1, 2)


def alive(number, incarnation=1, **fields):
    return Alive(number.to_bytes(8), incarnation, "10.0.0.2", 1, 2, **fields)


def test_members_made_up_in_gossip_are_bounded_and_never_displace_registered_ones():
    import random

    swim = Swim(me=ME, seeds=[], settings=SwimSettings(max_up=10), random=random.Random(1))
    registered = {number.to_bytes(8) for number in range(5)}
    swim.claims.prefer(registered.__contains__)
    swim.receive(1.0, b"s" * 8, ("10.0.0.9", 1), [alive(number) for number in range(100, 200)])
    assert len(swim.view) == 10
    swim.receive(2.0, b"s" * 8, ("10.0.0.9", 1), [alive(number) for number in range(5)])
    assert len(swim.view) == 10
    assert all(map(swim.roster.knows, registered))


def test_of_and_from_members_that_were_struck_out_nothing_is_heard():
    import random

    swim = Swim(me=ME, seeds=[], settings=SwimSettings(), random=random.Random(1))
    swim.receive(1.0, b"s" * 8, ("10.0.0.9", 1), [alive(1), alive(2)])
    swim.claims.bar(frozenset({(1).to_bytes(8)}))
    assert not swim.roster.knows((1).to_bytes(8))
    swim.receive(2.0, b"s" * 8, ("10.0.0.9", 1), [alive(1, 5)])
    assert not swim.roster.knows((1).to_bytes(8))
    swim.receive(2.0, (1).to_bytes(8), ("10.0.0.9", 1), [Dead((2).to_bytes(8), 9, b"")])
    assert swim.roster.peer((2).to_bytes(8)).state is State.ALIVE


@pytest.mark.parametrize(
    "message",
    [
        alive(1, MAX_INCARNATION + 1),
        alive(1, zone="z" * 1000),
        Alive(b"", 1, "10.0.0.2", 1, 2),
        Alive(b"a" * 8, 1, "10.0.0.2", 70_000, 2),
        Alive(b"a" * 8, 1, "<broadcast>", 1, 2),
        Suspect(b"a" * 8, MAX_INCARNATION, b"b" * 8),
        Dead(b"short", 1, b""),
        Ping(1 << 63, b"a" * 8),
        IndirectPing(1, b"a"),
        Compare(b"x"),
        States([], {64: b"x" * 8}),
        States([alive(1), Dead(b"", 1, b"")]),
    ],
)
def test_what_cannot_be_meant_is_not_heard(message):
    assert not is_sound(message)


def test_packets_of_strangers_cost_a_bounded_time(monkeypatch):
    now_s = 100.0
    opened = []
    original = PacketCodec._decrypted
    monkeypatch.setattr(PacketCodec, "_decrypted", lambda *args: opened.append(1) or original(*args))
    codec = PacketCodec(
        keys=(bytes(32),),
        node_id=b"n" * 8,
        epoch=b"e" * 8,
        randbytes=os.urandom,
        monotonic_s=lambda: now_s,
        send=lambda data, address: None,
    )
    junk = bytes([packet.PACKET_VERSION, 0]) + os.urandom(16) + b"n" * 8 + bytes(7) + b"\1" + os.urandom(100)
    for _ in range(5000):
        codec.open(junk, ("10.0.0.1", 1))
    assert len(opened) == packet.STRANGE_A_SECOND // 4
    for number in range(200):
        for _ in range(50):
            codec.open(junk, (f"10.0.1.{number}", 1))
    assert len(opened) == packet.STRANGE_A_SECOND
    assert codec.ignored == 15_000 - len(opened)


def test_one_that_is_known_is_heard_through_a_flood():
    now_s = 100.0
    sent = []
    two = PacketCodec(
        keys=(bytes(32),),
        node_id=b"2" * 8,
        epoch=b"f" * 8,
        randbytes=os.urandom,
        monotonic_s=lambda: now_s,
        send=lambda data, address: sent.append(data),
    )
    one = PacketCodec(
        keys=(bytes(32),),
        node_id=b"1" * 8,
        epoch=b"e" * 8,
        randbytes=os.urandom,
        monotonic_s=lambda: now_s,
        send=lambda data, _: two.open(data, ("a", 1)),
    )
    one.open(two.seal(b"first"), ("b", 1))
    one.open(sent[0], ("b", 1))
    junk = bytes([packet.PACKET_VERSION, 0]) + os.urandom(16) + b"1" * 8 + bytes(7) + b"\1" + os.urandom(100)
    for _ in range(5000):
        one.open(junk, ("b", 1))
    assert one.open(two.seal(b"second"), ("b", 1)) == [(b"2" * 8, b"second")]


class TestNames:
    def test_so_many_are_looked_up_at_once_and_what_was_found_stays_good(self):
        now_s = 0.0
        asked: list[tuple[str, Deferred[str]]] = []

        def look_up(host):
            asked.append((host, Deferred()))
            return asked[-1][1]

        known = Names(look_up, lambda: now_s)
        found: list[str | None] = []
        known.find("member", found.append)
        asked[0][1].callback("10.0.0.1")
        assert found == ["10.0.0.1"]
        for number in range(100):
            known.find(f"made-up-{number}", lambda address: None)
        assert len(asked) == 1 + names.MAX_LOOKUPS
        now_s += 2 * names.GOOD_S
        known.find("member", found.append)
        assert found == ["10.0.0.1"] * 2
        known.find("new", found.append)
        assert found[-1] is None

    def test_few_wait_for_one_name(self):
        known = Names(lambda host: Deferred(), lambda: 0.0)
        found: list[str | None] = []
        for _ in range(100):
            known.find("slow", found.append)
        assert len(found) == 100 - names.MAX_WAITING

    def test_so_many_are_remembered(self):
        known = Names(lambda host: succeed("10.0.0.1"), lambda: 0.0)
        for number in range(2 * names.MAX_NAMES):
            known.find(f"n{number}", lambda address: None)
        assert len(known._known) == names.MAX_NAMES

    def test_addresses_are_not_looked_up(self):
        known = Names(lambda host: 1 / 0, lambda: 0.0)
        found: list[str | None] = []
        known.find("::1", found.append)
        assert found == ["::1"]


def test_nodes_that_are_no_members_are_dialled_so_often():
    dials = Dials(lambda: 5.0)
    assert sum(dials.may(failures=0) for _ in range(1000)) == DIALS_A_SECOND
    assert dials.may(failures=9)


def test_a_made_up_cluster_in_gossip_makes_a_node_dial_little():
    from dynatwist.sim.network import SimNetwork

    world = World(3)
    network = SimNetwork(world)
    node = Cluster(world, network, 1)
    dialled = []
    connect = node.host.connect
    node.host.connect = lambda host, port, factory: dialled.append(host) or connect(host, port, factory)
    for number in range(500):
        node.links.dialler.want(b"x" + number.to_bytes(7), f"10.1.{number // 250}.{number % 250}", 80)
    world.run(world.now_s + 10)
    assert len(dialled) < 20 + 10 * 25 + 5
    assert isinstance(node.links, PeerLinks)


def test_only_pings_and_greetings_are_the_links_own():
    assert PeerPing in get_args(AnyMessage)
    assert Hello not in TO_STRUCK_OUT
