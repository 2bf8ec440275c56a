"""Peer links in the simulated network: one per pair, redialled for ever, stalls told."""

from __future__ import annotations

import pytest

from dynatwist.model.registry import Member
from dynatwist.net.link import LAST_WORD_S
from dynatwist.net.links import PeerLinks
from dynatwist.net.messages import WIRE_VERSION, Done, Fetch, Hello, ReadDot, Refused
from dynatwist.net.replies import NoAnswer
from dynatwist.runtime import Runtime
from dynatwist.sim.network import SimNetwork
from dynatwist.sim.world import Process, World


class Host:
    """A process with nothing but its links; answers every call with `Done`."""

    def __init__(self, world, network, number, refusal=None, name="", epoch=b"e" * 8):
        self.node = bytes([number]) * 8
        self.name = name or f"h{number}"
        self.epoch = epoch
        self.refusal = refusal
        self.events = []
        self.ages_s = []
        self.written = 0
        self.process = Process(world, self.name)
        host = self.host = network.host(self.name, self.process)
        clock = lambda: world.now_s  # noqa: E731
        runtime = Runtime(self.process, clock, int, world.random, world.random.randbytes, None, host, None, None, None)
        self.links = PeerLinks(self.node, self, runtime)
        self.links.start(1)

    def hello(self):
        return Hello(WIRE_VERSION, b"", Member(self.node, self.name, 1, 1), self.epoch, 1, None)

    def state(self):
        return 1, (1, self.written)

    def judge(self, hello):
        return self.refusal

    def is_served(self, node):
        return True

    is_founded = True

    def passed(self, lapse_ms):
        pass

    def linked(self, node, hello):
        self.events.append("linked")

    def unlinked(self, node):
        self.events.append("unlinked")

    def reachability_changed(self, node):
        self.events.append("reachability")

    def handle(self, arrival, message, respond):
        self.events.append(type(message).__name__)
        self.ages_s.append(arrival.age_ms / 1000)
        if respond is not None:
            respond(Done())


@pytest.fixture
def world():
    return World(3)


@pytest.fixture
def pair(world):
    network = SimNetwork(world)
    one, two = Host(world, network, 1), Host(world, network, 2)
    for mine, other in ((one, two), (two, one)):
        mine.links.dialler.want(other.node, other.name, 1)
    world.run(1)
    return one, two


def test_the_lower_id_dials_and_one_link_is_enough(pair):
    one, two = pair
    assert one.links.linked() == [two.node]
    assert two.links.linked() == [one.node]
    assert len(one.host.streams) == len(two.host.streams) == 1


def test_a_node_that_has_just_started_does_not_wait_for_others_to_try_again(world):
    network = SimNetwork(world)
    one = Host(world, network, 1)
    one.links.dialler.want(bytes([2]) * 8, "h2", 1)
    world.run(20)  # by now the pauses between attempts are long
    two = Host(world, network, 2)
    two.links.dialler.want(one.node, one.name, 1)
    assert world.run_until(lambda: two.links.linked(), 0.25)
    world.run(world.now_s + 5)
    assert len(one.host.streams) == len(two.host.streams) == 1


def test_calls_are_answered_in_one_frame_or_many(pair, world):
    one, two = pair
    replies = []
    for _ in range(10):
        one.links.call(two.node, ReadDot(1, ("t", "k")), replies.append)
    world.run(world.now_s + 1)
    assert replies == [Done()] * 10


def test_a_lost_link_ends_its_calls_and_is_redialled(pair, world):
    one, two = pair
    replies = []
    two.process.pause()
    one.links.call(two.node, Fetch([]), replies.append)
    world.run(world.now_s + 0.05)
    for stream in list(one.host.streams.values()):
        stream.abortConnection()
    two.process.thaw()
    world.run(world.now_s + 3)
    assert replies == [NoAnswer.LOST]
    assert one.links.linked() == [two.node]
    assert two.links.linked() == [one.node]


@pytest.mark.parametrize("way", ["ask", "call"])
def test_regression_only_what_may_arrive_twice_is_asked_again_on_a_new_connection(pair, world, way):
    """Simulator, seed 200210: a write was uncertain, since its message went down with a connection that the owner had
    replaced already: reachable, and never heard of again."""
    one, two = pair
    for stream in (*one.host.streams.values(), *two.host.streams.values()):
        stream.stuck_until_s = world.now_s + 600
    replies = []
    getattr(one.links, way)(two.node, ReadDot(1, ("t", "k")), replies.append)
    two.links.dialler.try_once("h1", 1)
    world.run(world.now_s + 1)
    assert replies == [Done() if way == "ask" else NoAnswer.LOST]


def test_what_is_asked_of_a_peer_that_is_gone_is_given_up(pair, world):
    one, two = pair
    replies = []
    two.process.pause()
    one.links.ask(two.node, ReadDot(1, ("t", "k")), replies.append)
    world.run(world.now_s + 0.05)
    for stream in list(one.host.streams.values()):
        stream.abortConnection()
    world.run(world.now_s + 0.05)
    assert replies == [NoAnswer.LOST]


def test_regression_a_link_dialled_the_other_way_is_redialled_too(pair, world):
    """A joiner with the higher id had dialled to find out why nobody answered; its link replaced the regular one, and
    nobody dialled again when it was lost."""
    one, two = pair
    two.links.dialler.try_once("h1", 1)
    world.run(world.now_s + 5)
    assert len(one.host.streams) == 1
    for stream in list(one.host.streams.values()):
        stream.abortConnection()
    world.run(world.now_s + 5)
    assert one.links.linked() == [two.node]
    assert two.links.linked() == [one.node]


def test_a_stall_is_told_within_a_moment_and_so_is_its_end(pair, world):
    one, two = pair
    stalls, replies = [], []
    two.process.pause()
    one.links.call(two.node, ReadDot(1, ("t", "k")), replies.append, lambda: stalls.append(world.now_s))
    asked_s = world.now_s
    world.run(world.now_s + 0.2)
    assert stalls
    assert stalls[0] - asked_s < 0.15
    assert not one.links.is_reachable(two.node)
    two.process.thaw()
    world.run(world.now_s + 0.2)
    assert replies == [Done()]
    assert one.links.is_reachable(two.node)


@pytest.mark.parametrize("slow_from_the_start", [True, False])
def test_no_message_seems_younger_than_it_is(world, slow_from_the_start):
    """Clocks of two machines have nothing in common; round trips tell how long the fastest frame took at most."""
    network = SimNetwork(world)
    one, two = Host(world, network, 1), Host(world, network, 2)
    if slow_from_the_start:
        network.slow(one.name, two.name, 0.4)
    for mine, other in ((one, two), (two, one)):
        mine.links.dialler.want(other.node, other.name, 1)
    world.run(5)
    network.slow(one.name, two.name, 0.4)
    for _ in range(5):
        one.links.call(two.node, ReadDot(1, ("t", "k")), lambda reply: None)
        world.run(world.now_s + 1)
    assert min(two.ages_s) >= 0.4
    network.heal()
    world.run(world.now_s + 5)
    one.links.call(two.node, ReadDot(1, ("t", "k")), lambda reply: None)
    world.run(world.now_s + 1)
    assert two.ages_s[-1] < 0.02


def test_one_that_slept_does_not_blame_its_peers(pair, world):
    one, two = pair
    one.process.pause()
    world.run(world.now_s + 3)
    one.process.thaw()
    world.run(world.now_s + 0.02)
    assert one.links.is_reachable(two.node)


def test_a_connection_on_which_nothing_is_answered_is_given_up_and_replaced(pair, world):
    one, two = pair
    for stream in (*one.host.streams.values(), *two.host.streams.values()):
        stream.stuck_until_s = world.now_s + 600
    world.run(world.now_s + 1)
    assert not one.links.is_reachable(two.node)
    world.run(world.now_s + 7)
    assert one.links.is_reachable(two.node)
    assert two.links.is_reachable(one.node)


def test_a_refused_peer_is_told_and_not_linked(world):
    network = SimNetwork(world)
    one, two = Host(world, network, 1), Host(world, network, 2, refusal="go away")
    one.links.dialler.want(two.node, two.name, 1)
    world.run(2)
    assert world.run_until(lambda: one.links.linked() == [], 1, step_s=0.005)  # it hears of the refusal after greeting
    assert two.links.linked() == []
    assert "linked" not in two.events


def test_how_far_a_peers_log_reached_is_remembered_when_the_link_is_lost(pair, world):
    one, two = pair
    two.written = 500
    world.run(world.now_s + 1)
    for stream in list(one.host.streams.values()):
        stream.abortConnection()
    world.run(world.now_s + 1)
    assert one.links.position(two.node) == (1, 500)


class TestTwoProcessesOfOneNode:
    @pytest.fixture
    def peer(self, world):
        network = SimNetwork(world)
        peer = Host(world, network, 1)
        peer.network = network
        return peer

    def meet(self, world, peer, name, written, epoch=b"e" * 8):
        """A process of node 2 comes, and stays until another one takes its place."""
        host = Host(world, peer.network, 2, name=name, epoch=epoch)
        host.written = written
        host.links.dialler.try_once(peer.name, 1)
        world.run(world.now_s + 2)
        return host

    def test_whose_machine_was_resumed_twice_are_refused_both(self, world, peer):
        self.meet(world, peer, "original", 7)
        assert peer.links.linked() == [b"\2" * 8]
        self.meet(world, peer, "copy", 6)
        assert peer.links.linked() == []
        again = self.meet(world, peer, "original again", 8)
        assert peer.links.linked() == []
        assert "linked" not in again.events[again.events.index("unlinked") :]

    def test_that_says_no_less_than_before_is_served(self, world, peer):
        for written in (7, 7, 9):
            self.meet(world, peer, f"process {written} {world.now_s}", written)
            assert peer.links.linked() == [b"\2" * 8]

    def test_that_was_started_anew_may_say_less(self, world, peer):
        self.meet(world, peer, "before", 7)
        self.meet(world, peer, "copy", 6)
        self.meet(world, peer, "after", 0, b"f" * 8)
        assert peer.links.linked() == [b"\2" * 8]

    def test_on_copies_of_a_data_folder_the_later_one_stays(self, world, peer):
        first = self.meet(world, peer, "first", 7)
        second = self.meet(world, peer, "second", 3, b"f" * 8)
        first.links.dialler.try_once(peer.name, 1)
        world.run(world.now_s + 2)
        assert peer.links.linked() == [b"\2" * 8]
        assert second.links.linked() == [peer.node]
        assert first.links.linked() == []


def test_a_link_that_was_left_is_dropped_though_the_other_end_does_not_close(world, pair):
    """TLS waits for the other end's last word; the twin of a copied machine may be frozen and never say it."""
    one, two = pair
    link = one.links._links[two.node]
    dropped_s = []
    link.transport.loseConnection = lambda: None
    link.transport.abortConnection = lambda: dropped_s.append(world.now_s)
    two.process.pause()
    left_s = world.now_s
    one.process.run(link.leave, Refused("two processes run as one node"))
    world.run(world.now_s + 5)
    assert [round(at_s - left_s, 1) for at_s in dropped_s] == [LAST_WORD_S]
