"""Agreement, counting and hints."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dynatwist.api.causal import CausalToken
from dynatwist.cluster.walls import Walls
from dynatwist.errors import ApiError
from dynatwist.model.dots import Dot
from dynatwist.net.framing import FrameError, FrameReader, encode
from dynatwist.net.messages import Done, Hello, Ping, Unable
from dynatwist.replication.hints import HintQueues
from dynatwist.replication.paxos import Proposal, Vote, accept, prepare
from dynatwist.replication.quorum import Level, Tally, Verdict

NODES = [b"a", b"b", b"c", b"d", b"e"]


@given(st.lists(st.tuples(st.integers(0, 2), st.sampled_from(["prepare", "accept"]), st.integers(0, 4)), max_size=120))
@settings(max_examples=300)
def test_whatever_is_lost_at_most_one_value_is_chosen(schedule):
    """Three proposers, five acceptors, messages in any order and number."""
    votes = {node: Vote() for node in NODES}
    proposals = [Proposal([NODES], (1, bytes([n])), bytes([n])) for n in range(3)]
    asking = [False] * 3
    chosen = set()
    for who, what, node_number in schedule:
        proposal, node = proposals[who], NODES[node_number]
        if what == "prepare":
            votes[node] = prepare(votes[node], proposal.ballot)
            asking[who] |= proposal.on_promise(node, votes[node])
        elif asking[who]:
            votes[node] = accept(votes[node], proposal.ballot, proposal.value)
            if proposal.on_accepted(node, votes[node]):
                chosen.add(proposal.value)
        if proposal.outbid > proposal.ballot:
            proposals[who] = Proposal([NODES], (proposal.outbid[0] + 1, bytes([who])), bytes([who]))
            asking[who] = False
    assert len(chosen) <= 1


def test_a_change_needs_a_majority_of_both_groups():
    old, new = [b"a", b"b", b"c"], [b"c", b"d", b"e"]
    proposal = Proposal([old, new], (1, b"a"), b"v")
    promised = Vote(proposal.ballot)
    assert [proposal.on_promise(node, promised) for node in (b"a", b"b", b"c", b"d")] == [False, False, False, True]


class TestTally:
    def tally(self, level, answered, reachable=NODES[:3], groups=(tuple(NODES[:3]),)):
        tally = Tally(level, groups, lambda node: node in reachable)
        for owner in answered:
            tally.count(owner)
        return tally

    def test_levels(self):
        assert self.tally(Level.ONE, [b"a"]).is_reached()
        assert not self.tally(Level.QUORUM, [b"a"]).is_reached()
        assert self.tally(Level.QUORUM, [b"a", b"b"]).is_reached()
        assert self.tally(Level.QUORUM, [b"a"], reachable=[b"a"]).is_reached()
        assert not self.tally(Level.MAJORITY, [b"a"], reachable=[b"a"]).is_reached()
        assert not self.tally(Level.ALL, [b"a", b"b"]).is_reached()
        assert self.tally(Level.ALL, NODES[:3]).is_reached()

    def test_both_groups_count_during_a_change(self):
        groups = ((b"a", b"b", b"c"), (b"c", b"d", b"e"))
        assert not self.tally(Level.MAJORITY, [b"a", b"b"], NODES, groups).is_reached()
        assert not self.tally(Level.MAJORITY, [b"c", b"d"], NODES, groups).is_reached()
        assert self.tally(Level.MAJORITY, [b"a", b"c", b"d"], NODES, groups).is_reached()

    def test_hopeless_is_known(self):
        assert not self.tally(Level.ALL, [b"a"]).can_be_reached({b"b"})
        assert self.tally(Level.ALL, [b"a"]).can_be_reached({b"b", b"c"})

    def test_what_is_said_of_it(self):
        assert str(self.tally(Level.ALL, [b"a", b"b"]).reach(False)) == "2/3"

    def test_it_is_open_until_it_is_reached_or_cannot_be(self):
        tally = self.tally(Level.MAJORITY, [])
        tally.expect(*NODES[:3])
        seen = [tally.verdict()]
        for owner, happens in zip(NODES, (tally.count, tally.give_up_on, tally.count), strict=False):
            happens(owner)
            seen.append(tally.verdict())
        assert seen == [Verdict.OPEN, Verdict.OPEN, Verdict.OPEN, Verdict.REACHED]
        hopeless = self.tally(Level.ALL, [])
        hopeless.expect(*NODES[:3])
        hopeless.give_up_on(b"a")
        assert hopeless.verdict() is Verdict.OUT_OF_REACH


class TestHints:
    def test_name_each_key_once_oldest_first_and_are_bounded(self):
        hints = HintQueues(limit=3)
        assert [hints.add(b"n", ("t", key)) for key in "abac"] == [True, True, False, True]
        assert not hints.add(b"n", ("t", "d"))
        assert hints.dropped == 1
        assert hints.next(b"n", 2) == [("t", "a"), ("t", "b")]
        hints.done(b"n", [("t", "a")])
        assert hints.next(b"n", 9) == [("t", "b"), ("t", "c")]
        hints.forget(b"n")
        assert len(hints) == 0


class TestFrames:
    @given(st.lists(st.integers(1, 40), max_size=20))
    def test_survive_being_cut_anywhere(self, cuts):
        data = encode(5, (6, (7, 8)), [(1, Ping()), (-1, Done()), (0, Unable("why"))]) * 3
        reader, frames = FrameReader(), []
        for size in cuts:
            frames += reader.feed(data[:size])
            data = data[size:]
        frames += reader.feed(data)
        assert len(frames) == 3
        assert frames[0].messages == [(1, Ping()), (-1, Done()), (0, Unable("why"))]

    @given(st.binary(min_size=6, max_size=300))
    def test_nonsense_is_an_error_and_nothing_else(self, junk):
        with suppress(FrameError):
            list(FrameReader().feed(junk))

    def test_another_version_is_refused_by_name(self):
        data = bytearray(encode(5, (6, (7, 8)), [(1, Ping())]))
        data[4] = 77
        with pytest.raises(FrameError, match="77"):
            list(FrameReader().feed(bytes(data)))

    def test_too_long_is_refused_before_it_is_gathered(self):
        with pytest.raises(FrameError):
            list(FrameReader().feed(b"\xff\xff\xff\xff\x01"))


def test_hello_has_a_version_first():
    assert Hello.__struct_fields__[0] == "version"


class TestWallClocks:
    def test_one_that_went_back_is_refused_until_it_has_caught_up(self):
        walls = Walls(100_000)
        assert walls.refusal(95_000, 0) == ""
        assert "15 s behind what it was" in walls.refusal(85_000, 0)
        assert walls.refusal(90_001, 0) == ""

    def test_one_that_is_far_from_the_middle_of_three_is_refused(self):
        walls = Walls(0)
        walls.note(b"a", 60_000, 0)
        assert walls.refusal(1_000_000, 1) == ""  # of two, nobody knows which one is wrong
        walls.note(b"b", 61_000, 0)
        assert "60 s behind most" in walls.refusal(1_000_000, 1)
        assert walls.refusal(1_000_000, 60) == ""  # heard long ago
        for node in (b"a", b"b"):
            walls.note(node, -30_000, 60)
        assert "30 s ahead of most" in walls.refusal(1_000_000, 61)

    def test_one_wrong_clock_among_others_refuses_nobody_else(self):
        walls = Walls(0)
        walls.note(b"a", 3_600_000, 0)
        walls.note(b"b", 50, 0)
        assert walls.refusal(1_000_000, 1) == ""


class TestCausalTokens:
    def test_an_earlier_write_of_the_same_actor_stays_named(self):
        """Found by seed 878030404: the later write was of another key, and the replica had met that one only."""
        token = CausalToken.parse("").with_dot(5, Dot(b"a" * 16, 39)).with_dot(5, Dot(b"a" * 16, 41))
        assert CausalToken.parse(token.render()).dots(5) == (Dot(b"a" * 16, 39), Dot(b"a" * 16, 41))
        assert token.dots(6) == ()

    def test_the_newest_are_kept_and_fit_a_header(self):
        token = CausalToken.parse("")
        for number in range(1, 1000):
            token = CausalToken.parse(token.render()).with_dot(
                number % 256, Dot(bytes([number % 9]) * 16, 1 << 40 | number)
            )
        assert len(token.render()) < 8000
        assert token.dots(999 % 256)[-1].seq == 1 << 40 | 999

    @pytest.mark.parametrize("text", ["x", "a" * 9000, "gQ==", "kZMBxBBhYWFhYWFhYWFhYWFhYWFhAA=="])
    def test_others_are_refused(self, text):
        with pytest.raises(ApiError, match="not one that this store gave"):
            CausalToken.parse(text)
