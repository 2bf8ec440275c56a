"""The laws of the membership's parts."""

from __future__ import annotations

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from dynatwist.membership.awareness import Awareness
from dynatwist.membership.budget import Budget
from dynatwist.membership.exchange import pages
from dynatwist.membership.members import State
from dynatwist.membership.messages import ENCODER, Alive
from dynatwist.membership.ring import ProbeRing
from dynatwist.membership.round_trips import RoundTrips
from dynatwist.membership.settings import SwimSettings
from dynatwist.membership.suspicion import Suspicions, suspicion_of
from dynatwist.membership.view import BUCKETS, Fate, View

NODES = [bytes([number]) * 8 for number in range(4)]
CLAIMS = st.tuples(st.sampled_from(NODES), st.integers(1, 5), st.sampled_from([State.ALIVE, State.DEAD, State.LEFT]))


def alive(node: bytes, incarnation: int = 0) -> Alive:
    return Alive(node, incarnation, "h", 1, 2)


def met() -> View:
    view = View()
    for node in NODES:
        view.hear_alive(alive(node))
    return view


def hear(view: View, claim) -> bool:
    node, incarnation, state = claim
    if state is State.ALIVE:
        return view.hear_alive(alive(node, incarnation))
    return view.hear_fate(node, Fate(state, incarnation, 0.0))


def known(view: View):
    return {node: (view.incarnation(node), view.state(node)) for node in view.alive}


class TestView:
    @given(st.lists(CLAIMS), st.randoms())
    def test_order_and_repetition_do_not_matter(self, claims, random):
        one, two = met(), met()
        for claim in claims:
            hear(one, claim)
        again = claims * 2
        random.shuffle(again)
        for claim in again:
            hear(two, claim)
        assert known(one) == known(two)
        assert one.digest == two.digest
        assert one.digests() == two.digests()
        assert one.differing(two.digests()) == []

    @given(st.lists(CLAIMS), CLAIMS)
    def test_what_is_known_only_grows_and_digests_tell(self, claims, last):
        view = met()
        for claim in claims:
            hear(view, claim)
        before, digest = known(view), view.digest
        is_news = hear(view, last)
        assert is_news == (known(view) != before) == (view.digest != digest)
        assert all(view.incarnation(node) >= incarnation for node, (incarnation, _) in before.items())

    @given(st.integers(1, 5), st.integers(1, 5))
    def test_who_left_is_never_dead(self, left_at, dead_at):
        view = met()
        view.hear_fate(NODES[0], Fate(State.LEFT, left_at, 0.0))
        view.hear_fate(NODES[0], Fate(State.DEAD, min(left_at, dead_at), 0.0))
        assert view.state(NODES[0]) is State.LEFT

    def test_a_differing_member_is_found_by_its_bucket(self):
        one, two = met(), met()
        two.hear_alive(alive(NODES[3], 7))
        assert one.differing(two.digests()) == [3]
        told = [state for page in pages(two, [3], None, 1000) for state in page.states]
        assert told == [alive(NODES[3], 7)]

    def test_pages_fit_and_hold_everybody(self):
        view = View()
        for number in range(300):
            view.hear_alive(Alive(number.to_bytes(8), 1, "2001:db8::ffff:1234", 6660, 16660, "0.1.0", "zone-a"))
        found = list(pages(view, list(range(BUCKETS)), view.bucket_digest, 1000))
        assert all(len(ENCODER.encode([page])) <= 1000 for page in found)
        assert len({state.node for page in found for state in page.states}) > 200  # as many as 16 pages hold


class TestSuspicion:
    @given(st.integers(2, 5000), st.integers(0, 6))
    def test_it_shortens_with_each_confirmation_down_to_the_shortest(self, members, confirmations):
        settings = SwimSettings()
        suspicion = suspicion_of(1, b"0", members, settings, 10.0)
        deadlines_s = [suspicion.deadline_s]
        for number in range(confirmations):
            suspicion.confirm(b"%d" % (number + 1))
            deadlines_s.append(suspicion.deadline_s)
        assert deadlines_s == sorted(deadlines_s, reverse=True)
        assert suspicion.started_s + suspicion.shortest_s <= deadlines_s[-1]
        assert deadlines_s[0] <= suspicion.started_s + suspicion.longest_s
        if confirmations >= suspicion.wanted:
            assert deadlines_s[-1] == suspicion.started_s + suspicion.shortest_s

    def test_the_same_accuser_counts_once(self):
        suspicion = suspicion_of(1, b"a", 100, SwimSettings(), 0.0)
        assert not suspicion.confirm(b"a")
        assert suspicion.confirm(b"b")
        assert not suspicion.confirm(b"b")

    def test_who_hears_from_nobody_waits_longer_than_the_longest(self):
        suspicions = Suspicions()
        one = suspicions[b"x"] = suspicion_of(1, b"a", 100, SwimSettings(), 10.0)
        suspicions.hear(9.0)
        assert suspicions.due_s(one) > one.started_s + one.longest_s
        suspicions.hear(11.0)
        assert suspicions.due_s(one) == one.deadline_s


@given(st.lists(st.one_of(st.none(), st.integers(1, 4))), st.integers(0, 8))
def test_awareness_stays_within_its_bounds(events, greatest):
    awareness = Awareness(greatest)
    for event in events:
        if event is None:
            awareness.better()
        else:
            awareness.worse(event)
        assert 0 <= awareness.score <= greatest
        assert awareness.stretched(2.0) == 2.0 * (1 + awareness.score)


@given(st.lists(st.floats(0, 10), min_size=1))
def test_timeouts_follow_round_trips_within_bounds(measured):
    trips = RoundTrips()
    assert trips.timeout_s(b"a", 0.1, 0.4) == 0.4
    for rtt_s in measured:
        trips.add(b"a", rtt_s)
    assert 0.1 <= trips.timeout_s(b"a", 0.1, 0.4) <= 0.4
    assert min(measured) - 1e-9 <= trips.smoothed_s(b"a") <= max(measured) + 1e-9
    assert trips.timeout_s(b"not measured yet", 0.1, 0.4) <= 0.4


def test_a_steady_round_trip_shortens_the_timeout():
    trips = RoundTrips()
    for _ in range(50):
        trips.add(b"a", 0.15)
    assert 0.15 <= trips.timeout_s(b"a", 0.1, 0.4) < 0.2


class TestProbeRing:
    @given(st.integers(1, 60), st.integers(0, 1000))
    def test_each_is_probed_once_a_round(self, count, seed):
        ring = ProbeRing(Random(seed))
        ring.fill(range(count))
        for _ in range(3):
            assert sorted(ring.next(lambda node: True) for _ in range(count)) == list(range(count))

    @given(st.integers(2, 40), st.integers(0, 80), st.integers(0, 1000))
    def test_a_new_one_is_probed_within_two_rounds(self, count, probed, seed):
        ring = ProbeRing(Random(seed))
        ring.fill(range(count))
        for _ in range(probed):
            ring.next(lambda node: True)
        ring.add("new")
        assert "new" in [ring.next(lambda node: True) for _ in range(2 * (count + 1))]

    @given(st.integers(1, 80), st.integers(0, 10), st.integers(0, 1000))
    def test_chosen_ones_differ_and_all_come_when_there_are_few(self, members, count, seed):
        ring = ProbeRing(Random(seed))
        ring.fill(range(members))
        chosen = ring.choose(count, lambda node: node % 3 == 0)
        wanted = [node for node in range(members) if node % 3 == 0]
        assert len(chosen) == len(set(chosen)) == min(count, len(wanted))
        assert set(chosen) <= set(wanted)


@given(st.lists(st.tuples(st.floats(0, 1), st.integers(0, 2000))))
def test_a_budget_is_not_exceeded(spendings):
    budget, now_s, spent = Budget(1000), 0.0, 0
    for later_s, size in spendings:
        now_s += later_s
        spent += size if budget.take(now_s, size) else 0
        assert spent <= 1000 * (1 + now_s) + 1e-6
