"""Clocks lie: the laws of what a node makes of them, each over clocks and delays of all kinds."""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st

from dynatwist.cluster.walls import STEADY_S, Walls
from dynatwist.model.clock import FAR_MS, HybridClock, Stamp
from dynatwist.model.ends import Ends
from dynatwist.net.ways import WINDOW_S, Ways
from dynatwist.replication.lapse import FRESH_S, Lapse, passed_ms

ACTORS = [bytes([n]) * 16 for n in range(4)]
rates = st.floats(-500, 500).map(lambda ppm: 1 + ppm * 1e-6)
delays = st.one_of(st.floats(0.0001, 0.01), st.floats(0.01, 3.0))


class TestWays:
    @given(rates, rates, st.floats(0, 1e6), st.lists(st.tuples(delays, delays, st.floats(0.3, 40.0)), max_size=60))
    @settings(max_examples=300)
    def test_no_frame_seems_younger_than_it_is_nor_much_older(self, mine, theirs, offset_s, steps):
        """A ping goes and comes back, once a step; whenever an answer arrives its age is known within bounds that do
        not grow with the age of the connection."""
        real_s = 1000.0
        ways = Ways(real_s * mine)
        for there_s, back_s, pause_s in steps:
            sent_s = real_s
            real_s += there_s
            answered_s = real_s
            real_s += back_s
            now_s = real_s * mine
            ways.arrived(int(1000 * (answered_s * theirs + offset_s)), now_s)
            ways.went_round((real_s - sent_s) * mine)
            drift_ms = 1000 * 0.0011 * (2 * WINDOW_S + 2 * 46.0) + 5
            age_ms = ways.age_ms(now_s)
            assert age_ms >= 1000 * back_s - drift_ms
            assert age_ms <= 1000 * (back_s + there_s + back_s) + drift_ms + 1
            real_s += pause_s

    def test_an_hour_of_drift_leaves_no_trace(self):
        """Regression: the fastest frame ever was kept as the measure, and 100 ppm are 0.36 s in an hour."""
        ways = Ways(0.0)
        for half_second in range(7200):
            now_s = half_second / 2
            ways.arrived(int(1000 * now_s * (1 - 200e-6)), now_s + 0.001)
            ways.went_round(0.002)
        assert ways.age_ms(now_s + 0.001) < 20

    def test_before_any_round_trip_a_frame_is_as_old_as_the_connection(self):
        ways = Ways(10.0)
        ways.arrived(5, 12.0)
        assert ways.age_ms(12.0) == 2000


class TestHybridClock:
    @given(
        st.lists(
            st.tuples(
                st.sampled_from(["next", "see", "over", "notice"]),
                st.integers(0, 100_000),
                st.integers(0, 3),
                st.sampled_from(ACTORS[1:]),
            ),
            max_size=60,
        )
    )
    @settings(max_examples=500)
    def test_no_stamp_is_given_twice_and_later_is_greater_for_each_key(self, steps):
        """Times jump ahead and back; records are stamped far ahead; what is held may go back, by a reset."""
        clock = HybridClock(ACTORS[0])
        given_before: set[Stamp] = set()
        for what, ms, counter, actor in steps:
            if what == "see":
                clock.see(Stamp(ms, counter, actor))
            elif what == "notice":
                clock.notice(ms)
            else:
                after = (counter * 40_000, counter) if what == "over" else (0, 0)
                stamp = clock.next(ms, after)
                assert stamp not in given_before
                assert stamp[:2] > after
                assert stamp.ms >= ms
                assert stamp.ms <= max(ms + FAR_MS, after[0])
                given_before.add(stamp)

    @given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 9_000), st.booleans()), max_size=60))
    def test_causally_later_is_greater_where_clocks_are_off_by_usual_errors(self, steps):
        """Nodes whose clocks are up to 9 s apart tell each other of what they wrote: what is written then is later,
        whatever the key."""
        clocks = [HybridClock(actor) for actor in ACTORS]
        last: list[Stamp | None] = [None] * 4
        for now_ms, (node, error_ms, tells) in enumerate(steps, 1_000_000):
            before = last[node]
            stamp = last[node] = clocks[node].next(now_ms + error_ms - node)
            assert before is None or stamp > before
            if tells:
                other = (node + 1) % 4
                clocks[other].notice(now_ms)
                clocks[other].see(stamp)
                last[other] = max(stamp, last[other] or stamp)

    def test_one_far_ahead_does_not_drag(self):
        clock = HybridClock(ACTORS[0])
        clock.next(1000)
        far = Stamp(10**12, 7, ACTORS[1])
        clock.see(far)
        assert clock.next(1001).ms == 1001
        over = clock.next(1002, far[:2])
        assert over[:2] == (10**12, 8)
        assert clock.next(1003).ms == 1003

    def test_comes_back_when_its_time_was_ahead(self):
        clock = HybridClock(ACTORS[0])
        ahead = clock.next(10**9)
        assert clock.next(1000).ms == 1000
        clock.restore((10**9, 3))
        assert clock.next(1001).ms == 1001
        assert ahead.ms == 10**9


@dataclass
class Member:
    """A host of the little world below."""

    rate: float
    wall_rate: float
    skew_ms: int = 0
    lapse: Lapse = field(init=False)
    heard: dict = field(default_factory=dict)
    durable_ms: int = 0

    def monotonic_s(self, real_s: float) -> float:
        return real_s * self.rate

    def wall_ms(self, real_s: float) -> int:
        return 10_000_000 + int(1000 * real_s * self.wall_rate) + self.skew_ms


def by_clock(lately):
    """For each clock the (time, reading) pairs."""
    return zip(*([(at_s, wall) for wall in walls] for at_s, walls in lately), strict=True)


class TestLapse:
    @given(st.lists(st.integers(0, 100), max_size=7), st.integers(1, 7))
    def test_a_majority_has_passed_it_and_nothing_later(self, readings, count):
        readings = readings[:count]
        found = passed_ms(readings, count)
        assert found == max(
            (t for t in (0, *readings) if t == 0 or sum(r >= t for r in readings) > count // 2), default=0
        )

    @given(st.data(), st.integers(1, 5))
    @settings(max_examples=200, deadline=None)
    def test_is_over_at_a_majority_and_never_falls(self, data, count):
        """Members whose clocks jump, and drift, who hear of each other or not, and restart: nobody ever takes a time
        for over that no majority's clocks had passed within one moment (`FRESH_S`), or would have, had they gone on.
        """
        nodes = [bytes([number]) for number in range(count)]
        members = {node: Member(data.draw(rates), data.draw(rates)) for node in nodes}
        real_s, passed = 100.0, 0.0
        lately: list[tuple[float, list[int]]] = []
        for member in members.values():
            member.lapse = Lapse(0, member.monotonic_s(real_s))
        for _ in range(data.draw(st.integers(1, 25))):
            node = data.draw(st.sampled_from(nodes))
            member = members[node]
            what = data.draw(st.sampled_from(["wait", "jump", "hear", "hear", "look", "look", "restart"]))
            if what == "wait":
                waited_s = data.draw(st.sampled_from([0.1, 1.0, 60.0, 3600.0]))
                real_s += waited_s
                passed += 1000 * waited_s * 0.9995
            elif what == "jump":
                member.skew_ms = data.draw(st.sampled_from([0, 9_000, 3_600_000, -3_600_000, 86_400_000]))
            elif what == "restart":
                member.lapse = Lapse(member.durable_ms, member.monotonic_s(real_s))
                member.heard.clear()
            lately.append((real_s, [one.wall_ms(real_s) for one in members.values()]))
            lately = [(at_s, walls) for at_s, walls in lately if real_s - at_s <= FRESH_S + 0.01]
            greatest = [max(w + 1000 * (real_s - at_s) for at_s, w in zip_of) for zip_of in by_clock(lately)]
            passed = max(passed, passed_ms(map(int, greatest), count))
            if what == "hear":
                name = data.draw(st.sampled_from(nodes))
                member.heard[name] = members[name].wall_ms(real_s), member.monotonic_s(real_s)
                member.lapse.learn(members[name].lapse.ms)
            elif what == "look":
                before, now_s = member.lapse.ms, member.monotonic_s(real_s)
                walls = member.heard | {node: (member.wall_ms(real_s), now_s)}
                after = member.durable_ms = member.lapse.look([nodes], walls, member.wall_ms(real_s), now_s)
                assert before <= after <= passed + 10

    def test_one_clock_of_three_moves_nothing(self):
        lapse = Lapse(0, 0.0)
        walls = {b"a": (9_000_000, 1.0), b"b": (1000, 1.0), b"c": (1010, 1.0)}
        assert lapse.look([walls], walls, 9_000_000, 1.0) == 1010

    def test_while_members_change_a_majority_of_both_is_needed(self):
        lapse = Lapse(0, 0.0)
        walls = {b"a": (9000, 1.0), b"b": (9000, 1.0), b"c": (1000, 1.0), b"d": (1000, 1.0)}
        assert lapse.look([(b"a", b"b", b"c"), (b"b", b"c", b"d")], walls, 9000, 1.0) == 1000

    def test_without_a_majority_it_goes_on_more_slowly(self):
        lapse = Lapse(500_000, 0.0)
        walls = {b"a": (9_000_000, 100.0)}
        assert lapse.look([(b"a", b"b", b"c")], walls, 9_000_000, 100.0) == 599_900
        assert lapse.look([(b"a", b"b", b"c")], walls, 550_000, 200.0) == 599_900

    def test_a_reading_from_long_ago_does_not_count_beside_a_new_one(self):
        lapse = Lapse(0, 0.0)
        walls = {b"a": (9_000_000, 0.0), b"b": (9_000_000, 60.0), b"c": (61_000, 60.0)}
        assert lapse.look([walls], walls, 9_000_000, 60.0) == 61_000

    def test_near_is_within_the_usual_error_of_the_majority(self):
        lapse = Lapse(0, 0.0)
        assert lapse.near(77, 0.0, 10) == 77
        walls = {b"a": (1_000_000, 1.0), b"b": (1_000_000, 1.0), b"c": (1, 1.0)}
        lapse.look([walls], walls, 1, 1.0)
        assert lapse.near(1_000_100, 1.0, 10_000) == 1_000_100
        assert lapse.near(9_000_000, 1.0, 10_000) == 1_010_000
        assert lapse.near(1, 1.0, 10_000) == 990_000


class TestEnds:
    @given(
        st.lists(
            st.tuples(st.sampled_from(["put", "drop", "pass"]), st.integers(0, 4), st.integers(1, 30)), max_size=60
        ),
        st.integers(1, 3),
    )
    def test_knows_what_is_to_come_and_takes_it_out_once(self, steps, limit):
        ends, coming, over, now = Ends(), {}, {}, 0
        for what, number, ms in steps:
            key = ("t", f"k{number}")
            if what == "pass":
                now = max(now, ms)
                for out in ends.take_over(now, limit):
                    assert coming.pop(out) <= now
                    over[out] = True
                continue
            if key in coming:
                ends.discard(key, coming.pop(key))
            if what == "put" and not ends.is_over(key, ms):
                ends.add(key, ms)
                coming[key] = ms
            assert len(ends) == len(coming)
            assert ends.next_ms == min(coming.values(), default=ends.next_ms)
        for _ in range(100):
            for out in ends.take_over(10**6, limit):
                coming.pop(out)
        assert not coming


class TestWalls:
    def test_a_clock_that_was_ahead_for_a_moment_leaves_no_mark(self):
        walls = Walls(1_000_000, 1_000_000)
        for second in range(1, 4):
            for node in (b"b", b"c"):
                walls.note(node, -86_400_000, second)
            assert "ahead of" in walls.refusal(87_400_000 + 1000 * second, second, 3)
        assert walls.mark_ms == 1_000_000

    def test_most_members_are_believed_rather_than_the_mark(self):
        walls = Walls(90_000_000, 1_000_000)
        assert "behind what it was" in walls.refusal(1_000_000, 1, 3)
        walls.note(b"b", 20, 2)
        assert walls.refusal(1_001_000, 2, 3) == ""
        assert walls.mark_ms == 1_001_000

    def test_one_of_four_others_is_not_most(self):
        walls = Walls(90_000_000, 1_000_000)
        walls.note(b"b", 20, 2)
        assert "behind what it was" in walls.refusal(1_001_000, 2, 5)

    def test_a_lone_clock_is_believed_when_it_was_steady(self):
        walls = Walls(0, 1_000_000)
        jumped_ms = 90_000_000
        for second in range(1, int(STEADY_S)):
            assert walls.refusal(jumped_ms + 1000 * second, second, 1) == ""
            assert walls.mark_ms == 0
            assert walls.steady_ms(jumped_ms + 1000 * second, second) <= 1_000_000 + 1000 * second + 1000
        for second in range(int(STEADY_S), int(2 * STEADY_S)):
            walls.refusal(jumped_ms + 1000 * second, second, 1)
        assert walls.mark_ms > jumped_ms
        assert walls.steady_ms(jumped_ms + 1000 * second, second) == jumped_ms + 1000 * second
