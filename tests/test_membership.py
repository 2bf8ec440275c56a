"""SWIM as a state machine, and the sealed packets."""

from __future__ import annotations

import os
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from dynatwist.membership.actions import Changed, PingLink, Send
from dynatwist.membership.members import State
from dynatwist.membership.messages import (
    DECODER,
    ENCODER,
    Ack,
    Alive,
    Dead,
    IndirectPing,
    Ping,
    States,
    Suspect,
)
from dynatwist.membership.settings import SwimSettings
from dynatwist.membership.swim import Swim
from dynatwist.net.packet import MAX_PACKET_BYTES, MAX_PAYLOAD_BYTES, PacketCodec


class Net:
    """Some members and what they send each other; packets can be withheld."""

    def __init__(self, count: int) -> None:
        self.now_s = 0.0
        self.random = Random(5)
        self.silent: set[int] = set()
        self.cut: set[tuple[int, int]] = set()
        self.packets = 0
        self.largest = 0
        self.swims = [self.make(number) for number in range(count)]

    def make(self, number: int, incarnation: int = 1) -> Swim:
        me = Alive(bytes([number]) * 8, incarnation, f"h{number}", number, 0)
        seeds = [("h0", 0)] if number else []
        return Swim(me=me, seeds=seeds, settings=SwimSettings(payload_bytes=MAX_PAYLOAD_BYTES), random=self.random)

    def run(self, seconds: float) -> None:
        end_s = self.now_s + seconds
        while self.now_s < end_s:
            self.now_s += 0.05
            for number, swim in enumerate(self.swims):
                if number not in self.silent:
                    self.perform(number, swim.tick(self.now_s))

    def perform(self, number: int, actions) -> None:
        for action in actions:
            if not isinstance(action, Send):
                continue
            self.packets += 1
            self.largest = max(self.largest, len(ENCODER.encode(action.messages)))
            target = int(action.address[0][1:])
            if target in self.silent or number in self.silent or (number, target) in self.cut:
                continue
            if action.whom.node not in (b"", self.swims[target].me.node):
                continue
            me = self.swims[number].me
            messages = DECODER.decode(ENCODER.encode(action.messages))
            self.perform(target, self.swims[target].receive(self.now_s, me.node, (me.host, me.port), messages))

    def states(self, seen_by: int, of: int) -> State | None:
        swim, node = self.swims[seen_by], bytes([of]) * 8
        return swim.roster.peer(node).state if swim.roster.knows(node) else None


def test_everybody_finds_everybody():
    net = Net(12)
    net.run(3)
    assert all(len(swim.roster.up()) == 11 for swim in net.swims)


def test_a_joiner_whose_first_answer_is_lost_asks_again_soon():
    net = Net(3)
    net.run(3)
    net.swims.append(net.make(3))
    perform = net.perform

    def lossy(number, actions):
        perform(
            number,
            [a for a in actions if not (isinstance(a, Send) and isinstance(a.messages[0], States) and number == 0)],
        )

    net.perform = lossy
    net.run(0.3)
    net.perform = perform
    net.run(2)
    assert len(net.swims[3].roster.up()) == 3


def test_a_silent_member_is_suspected_then_dead_everywhere():
    net = Net(6)
    net.run(3)
    net.silent.add(5)
    net.run(15)
    assert {net.states(n, 5) for n in range(5)} == {State.DEAD}
    assert {net.states(n, m) for n in range(5) for m in range(5) if n != m} == {State.ALIVE}


def test_who_answers_over_its_stream_connection_is_not_suspected():
    net = Net(3)
    net.run(3)
    net.cut |= {(0, 2), (1, 2)}
    perform = net.perform

    def linked(number, actions):
        for action in actions:
            if isinstance(action, PingLink):
                net.swims[number].link_answered(action.node, action.seq)
        perform(number, actions)

    net.perform = linked
    net.run(30)
    assert net.states(0, 2) is net.states(1, 2) is State.ALIVE
    net.perform = perform
    net.run(30)
    assert net.states(0, 2) is State.DEAD


def test_one_bad_path_is_no_death_because_others_are_asked():
    net = Net(5)
    net.run(3)
    net.cut |= {(0, 4), (4, 0)}
    net.run(40)
    assert net.states(0, 4) is State.ALIVE


def test_a_member_refutes_its_suspicion_by_a_higher_incarnation():
    net = Net(3)
    net.run(3)
    before = net.swims[2].me.incarnation
    net.perform(1, net.swims[1].receive(net.now_s, b"x", ("h0", 0), [Suspect(bytes([2]) * 8, before, b"x" * 8)]))
    net.run(3)
    assert net.swims[2].me.incarnation > before
    assert net.states(1, 2) is State.ALIVE
    assert net.states(0, 2) is State.ALIVE


def test_a_thawed_node_blames_itself_and_not_the_others():
    net = Net(3)
    net.run(3)
    swim = net.swims[0]
    net.now_s += 30
    changes = [action for action in swim.tick(net.now_s) if isinstance(action, Changed)]
    assert changes == []
    assert all(peer.state is State.ALIVE for peer in swim.roster.up())


def test_a_long_partition_heals():
    net = Net(6)
    net.run(3)
    net.cut |= {(a, b) for a in range(6) for b in range(6) if (a < 3) != (b < 3)}
    net.run(40)
    assert net.states(0, 5) is State.DEAD
    net.cut.clear()
    net.run(25)
    assert all(net.states(a, b) is State.ALIVE for a in range(6) for b in range(6) if a != b)


def test_leaving_is_not_dying_and_a_restart_counts_again():
    net = Net(3)
    net.run(3)
    net.perform(2, net.swims[2].leave())
    net.run(1)
    assert net.states(0, 2) is State.LEFT
    net.swims[2] = net.make(2, incarnation=2)
    net.run(3)
    assert net.states(0, 2) is State.ALIVE


def test_another_node_at_the_address_of_a_dead_one_is_told_apart():
    """As after its data folder was wiped."""
    net = Net(4)
    net.run(3)
    other = bytes([9]) * 8
    net.swims[2] = Swim(
        me=Alive(other, 1, "h2", 2, 0),
        seeds=[("h0", 0)],
        settings=SwimSettings(payload_bytes=MAX_PAYLOAD_BYTES),
        random=net.random,
    )
    net.run(15)
    for number in (0, 1, 3):
        assert net.states(number, 2) is State.DEAD
        assert net.states(number, 9) is State.ALIVE
    assert len(net.swims[2].roster.up()) == 3


def test_news_is_told_a_bounded_number_of_times():
    net = Net(8)
    net.run(5)
    assert all(swim.news == 0 for swim in net.swims)
    before = net.packets
    net.run(10)
    assert (net.packets - before) / 10 / 8 < 6  # packets a member and second, at rest


def test_packets_stay_small_however_many_members_there_are():
    net = Net(60)
    net.run(4)
    assert net.largest <= MAX_PAYLOAD_BYTES
    assert len(net.swims[0].roster.up()) == 59


def test_an_answer_to_somebody_else_does_not_count():
    """An ack of a live member for another's ping, sent on by an attacker, must not vouch for a dead one."""
    net = Net(3)
    net.run(3)
    net.silent.add(2)
    swim = net.swims[0]
    while swim._prober.probe is None or swim._prober.probe.node != bytes([2]) * 8:
        net.run(0.05)
    swim.receive(net.now_s, bytes([1]) * 8, ("h1", 1), [Ack(swim._prober.probe.seq)])
    assert swim._prober.probe is not None
    swim.receive(net.now_s, bytes([2]) * 8, ("h2", 2), [Ack(swim._prober.probe.seq)])
    assert swim._prober.probe is None


def test_counts_of_pings_begin_anywhere():
    assert len({swim._prober._seq for swim in Net(8).swims}) == 8


def test_every_message_survives_the_wire():
    messages = [
        Ping(1, b"n" * 8),
        Ack(1),
        IndirectPing(2, b"n" * 8),
        Alive(b"n" * 8, 3, "h", 1, 2),
        Suspect(b"n" * 8, 1, b"a" * 8),
        Dead(b"n" * 8, 1, b"a" * 8),
        States([Alive(b"n" * 8, 3, "h", 1, 2)], {3: b"d" * 8}),
    ]
    assert DECODER.decode(ENCODER.encode(messages)) == messages


class TestPackets:
    def pair(self):
        """Two codecs that hear each other, and what they believe."""
        boxes = {}

        def send_to(name):
            return lambda data, address: boxes[name].append(data)

        self.now_s = 100.0
        one = self.codec(b"1", b"e", send_to("two"))
        two = self.codec(b"2", b"e", send_to("one"))
        boxes |= {"one": [], "two": []}
        return one, two, boxes

    def codec(self, name, epoch, send=lambda data, address: None, keys=(b"k" * 32,)):
        return PacketCodec(
            keys=keys,
            node_id=name * 8,
            epoch=epoch * 8,
            randbytes=os.urandom,
            monotonic_s=lambda: self.now_s,
            send=send,
        )

    def settle(self, one, two, boxes):
        believed = []
        while boxes["one"] or boxes["two"]:
            for name, codec in (("one", one), ("two", two)):
                while boxes[name]:
                    believed += codec.open(boxes[name].pop(0), ("h", 1))
        return believed

    def test_a_new_sender_is_believed_after_a_round_trip(self):
        one, two, boxes = self.pair()
        assert two.open(one.seal(b"hello"), ("h", 1)) == []
        assert self.settle(one, two, boxes) == [(b"1" * 8, b"hello")]
        assert two.open(one.seal(b"again"), ("h", 1)) == [(b"1" * 8, b"again")]

    def test_regression_all_that_arrives_before_the_proof_is_taken_in(self):
        """Only the last packet was held, and with it a joiner lost the seed's view of the cluster."""
        one, two, boxes = self.pair()
        for payload in (b"view", b"ping"):
            two.open(one.seal(payload), ("h", 1))
        assert self.settle(one, two, boxes) == [(b"1" * 8, b"view"), (b"1" * 8, b"ping")]

    def test_a_replay_is_dropped(self):
        one, two, boxes = self.pair()
        packet = one.seal(b"hello")
        two.open(packet, ("h", 1))
        self.settle(one, two, boxes)
        again = one.seal(b"x")
        assert two.open(again, ("h", 1))
        assert two.open(again, ("h", 1)) == []
        assert two.open(packet, ("h", 1)) == []

    def test_a_restarted_receiver_does_not_believe_a_recording(self):
        one, _two, _boxes = self.pair()
        recording = one.seal(b"old news")
        fresh = self.codec(b"2", b"f")
        assert fresh.open(recording, ("h", 1)) == []
        assert fresh.open(recording, ("h", 1)) == []

    def test_regression_a_recording_is_not_believed_with_the_proof_of_its_sender(self):
        """What was held back until the proof came could be a recording, and so could what came right after it."""
        one, _, boxes = self.pair()
        recordings = [one.seal(b"old news") for _ in range(3)]
        self.now_s += 2
        fresh = self.codec(b"2", b"f", lambda data, address: boxes["one"].append(data))
        boxes["two"] = []
        assert fresh.open(recordings[0], ("h", 1)) == []
        assert fresh.open(one.seal(b"news"), ("h", 1)) == []
        assert self.settle(one, fresh, boxes) == [(b"1" * 8, b"news")]
        assert [fresh.open(recording, ("h", 1)) for recording in recordings] == [[], [], []]
        assert fresh.open(one.seal(b"more"), ("h", 1)) == [(b"1" * 8, b"more")]

    def test_a_former_process_of_a_sender_is_not_believed(self):
        """What it sent to others may never have reached this node."""
        one, two, boxes = self.pair()
        two.open(one.seal(b"hello"), ("h", 1))
        self.settle(one, two, boxes)
        recording = one.seal(b"sent elsewhere")
        again = self.codec(b"1", b"f", lambda data, address: boxes["two"].append(data))
        two.open(again.seal(b"hello"), ("h", 1))
        assert self.settle(again, two, boxes) == [(b"1" * 8, b"hello")]
        assert two.open(recording, ("h", 1)) == []
        assert self.settle(again, two, boxes) == []

    def test_keys_can_be_changed_under_way(self):
        one, two, boxes = self.pair()
        two.open(one.seal(b"hello"), ("h", 1))
        self.settle(one, two, boxes)
        old, new = b"k" * 32, b"n" * 32
        for keys in ((old, new), (new, old), (new,)):
            for codec in (one, two):
                codec.use(keys)
                for sender, receiver in ((one, two), (two, one)):
                    receiver.open(sender.seal(b"news"), ("h", 1))
                    self.settle(one, two, boxes)
                    assert receiver.open(sender.seal(b"news"), ("h", 1)) != []
        late = self.codec(b"3", b"e", keys=(old,))
        assert two.open(late.seal(b"hello"), ("h", 1)) == []
        assert boxes == {"one": [], "two": []}

    def test_reordered_packets_are_taken_once_each(self):
        one, two, boxes = self.pair()
        two.open(one.seal(b"hello"), ("h", 1))
        self.settle(one, two, boxes)
        packets = [one.seal(bytes([n])) for n in range(50)]
        Random(1).shuffle(packets)
        assert sorted(two.open(packet, ("h", 1))[0][1][0] for packet in packets) == list(range(50))

    @given(st.binary(max_size=200))
    def test_what_does_not_authenticate_is_dropped(self, junk):
        _, two, _ = self.pair()
        assert two.open(junk, ("h", 1)) == []
        assert two.dropped == 1

    def test_another_clusters_packets_are_dropped_and_nothing_is_sent(self):
        one, two, boxes = self.pair()
        stranger = self.codec(b"3", b"e", keys=(b"x" * 32,))
        assert two.open(stranger.seal(b"hello"), ("h", 1)) == []
        assert boxes == {"one": [], "two": []}
        assert one.dropped == 0

    @given(st.data())
    @settings(max_examples=300)
    def test_what_is_cut_short_or_flipped_changes_nothing(self, data):
        one, two, boxes = self.pair()
        two.open(one.seal(b"hello"), ("h", 1))
        self.settle(one, two, boxes)
        packet = bytearray(one.seal(b"news"))
        if data.draw(st.booleans()):
            del packet[data.draw(st.integers(0, len(packet) - 1)) :]
        else:
            packet[data.draw(st.integers(0, len(packet) - 1))] ^= 1 << data.draw(st.integers(0, 7))
        assert two.open(bytes(packet), ("h", 1)) == []
        assert two.open(one.seal(b"news"), ("h", 1)) == [(b"1" * 8, b"news")]

    def test_size(self):
        one, _, _ = self.pair()
        assert len(one.seal(bytes(MAX_PAYLOAD_BYTES))) <= MAX_PACKET_BYTES
