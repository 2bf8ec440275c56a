"""What a turn of the reactor takes in, gathers and hands out."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock

from dynatwist.api.heavy import PAUSES, WORK_S_PER_BYTE, Heavy
from dynatwist.api.intake import TURN_S, Intake
from dynatwist.feed.hub import MAX_FANS, Hub, Notice, Subscription
from dynatwist.feed.sight import EVERYTHING
from dynatwist.model.clock import Stamp
from dynatwist.model.dots import Dot
from dynatwist.model.record import Lineage, Record
from dynatwist.model.records import Records, name_of, pack, unpack, value_of
from dynatwist.requests.compare import digest_of
from dynatwist.runtime import Steps, TurnEnd

dots = st.builds(Dot, st.binary(min_size=16, max_size=16), st.integers(1, 2**53))


def record(dot=None, value=b"{}", ms=1):
    stamp = Stamp(ms, 0, b"a" * 16)
    created = Stamp(1, 0, b"a" * 16)
    return Record(dot or Dot(b"a" * 16, ms), value, (), stamp, Lineage(0, (created,)), 1, "alice")


class TestRecordsArePacked:
    @given(dots, st.none() | st.binary(), dots, st.none() | st.binary())
    def test_names_are_equal_for_equal_dots_only(self, one, value, other, other_value):
        first, second = pack(record(one, value)), pack(record(other, other_value))
        if one != other:
            assert name_of(first) != name_of(second)
        assert name_of(first) == name_of(pack(record(one, value)))
        assert name_of(first) != name_of(None)

    @given(st.lists(st.none() | dots, max_size=4), st.lists(st.none() | dots, max_size=4))
    def test_digests_are_equal_for_equal_lists_only(self, ones, others):
        names, other_names = (
            [name_of(pack(record(dot)) if dot is not None else None) for dot in some] for some in (ones, others)
        )
        assert (digest_of(names) == digest_of(other_names)) == (names == other_names)

    @given(dots, st.none() | st.binary())
    def test_nothing_is_lost(self, dot, value):
        made = record(dot, value)
        assert unpack(pack(made)) == made
        assert value_of(pack(made)) == value

    def test_a_record_that_was_looked_at_is_not_shown_when_another_is_held(self):
        records = Records()
        key = ("t", "k")
        records[key] = record(ms=1)
        assert records.get(key) == record(ms=1)
        records.hold(key, record(ms=2), pack(record(ms=2)))
        assert records.get(key) == record(ms=2)
        del records[key]
        assert records.get(key) is None


class TestTurnEnd:
    def test_runs_what_was_given_and_what_that_gives_in_one_turn(self):
        clock, ran = Clock(), []
        end = TurnEnd(clock)
        end(lambda: (ran.append(1), end(lambda: ran.append(3))))
        end(lambda: ran.append(2))
        assert ran == []
        clock.advance(0)
        assert ran == [1, 2, 3]

    def test_one_that_fails_does_not_keep_the_others_waiting(self):
        clock, ran = Clock(), []
        end = TurnEnd(clock)
        end(lambda: 1 / 0)
        end(lambda: ran.append(1))
        with pytest.raises(ZeroDivisionError):
            clock.advance(0)
        clock.advance(0)
        assert ran == [1]


class Turns:
    """Timers of a reactor that are due in its next turn."""

    def __init__(self):
        self.due = []

    def callLater(self, delay_s, call):
        assert delay_s == 0
        self.due.append(call)

    def turn(self):
        due, self.due = self.due, []
        for call in due:
            call()


class TestSteps:
    def test_a_turn_does_one_piece_in_the_order_in_which_they_were_given(self):
        turns, ran = Turns(), []
        steps = Steps(turns)
        steps(lambda: (ran.append(1), steps(lambda: ran.append(3))))
        steps(lambda: ran.append(2))
        for done in ([], [1], [1, 2], [1, 2, 3]):
            assert ran == done
            turns.turn()
        assert not turns.due

    def test_one_that_fails_does_not_keep_the_others_waiting(self):
        turns, ran = Turns(), []
        steps = Steps(turns)
        steps(lambda: 1 / 0)
        steps(lambda: ran.append(1))
        with pytest.raises(ZeroDivisionError):
            turns.turn()
        turns.turn()
        assert ran == [1]


class TestIntake:
    """Requests take a quarter of a turn's time each; the reactor polls between turns."""

    def test_all_are_taken_in_and_in_their_order(self):
        now_s, waiting, taken, turns = 0.0, [], [], []
        intake = Intake(lambda: now_s, waiting.append)

        def take(number):
            nonlocal now_s
            if not intake.has_time():
                intake.postpone(lambda: take(number))
                return
            taken.append(number)
            now_s += TURN_S / 4 + 1e-9

        for number in range(30):
            take(number)
        while waiting:
            calls, waiting[:] = list(waiting), []
            before = len(taken)
            for call in calls:
                call()
            take(100 + len(turns)) if len(turns) < 5 else None  # what arrives meanwhile waits for its turn
            turns.append(len(taken) - before)
        assert taken == [*range(30), *range(100, 105)]
        assert max(turns) == 4

    def test_one_that_fails_does_not_take_the_others_with_it(self):
        now_s, waiting, taken = 0.0, [], []
        intake = Intake(lambda: now_s, waiting.append)
        intake.has_time()
        now_s = 1.0
        assert not intake.has_time()
        intake.postpone(lambda: 1 / 0)
        intake.postpone(lambda: taken.append(1))
        while waiting:
            waiting.pop(0)()
        assert taken == [1]

    def test_strangers_come_behind_users_and_one_a_turn_at_least(self):
        now_s, waiting, taken = 0.0, [], []
        intake = Intake(lambda: now_s, waiting.append)

        def work(name):
            nonlocal now_s
            taken.append(name)
            now_s += TURN_S

        def user(number):
            if not intake.has_time():
                intake.postpone(lambda: user(number))
                return
            work(f"user {number}")

        user(0)
        for number in range(3):
            intake.take_strange("s", lambda number=number: work(f"stranger {number}"))
        for number in range(1, 4):
            user(number)
        while waiting:
            waiting.pop(0)()
        users = [name for name in taken if name.startswith("user")]
        strangers = [name for name in taken if name.startswith("stranger")]
        assert users == [f"user {number}" for number in range(4)]
        assert strangers == [f"stranger {number}" for number in range(3)]
        assert taken.index("user 1") < taken.index("stranger 0") < taken.index("user 3")

    def test_addresses_of_strangers_take_turns(self):
        now_s, waiting, taken = 0.0, [], []
        intake = Intake(lambda: now_s, waiting.append)
        intake.has_time()
        now_s = 1.0
        for number in range(100):
            intake.take_strange("flood", lambda number=number: taken.append(number))
        intake.take_strange("elsewhere", lambda: taken.append("elsewhere"))
        while waiting:
            waiting.pop(0)()
        assert taken.index("elsewhere") == 1
        assert len(taken) == 101


class TestHeavy:
    """Requests that keep a node busy for long."""

    @staticmethod
    def heavy():
        clock = Clock()
        return Heavy(clock.seconds, lambda delay_s, call: clock.callLater(delay_s, call)), clock

    def test_while_nobody_else_asks_they_go_on_at_once(self):
        heavy, _ = self.heavy()
        begun = []
        for number in range(10):
            heavy.begin("alice", 1 << 20, lambda number=number: begun.append(number))
            heavy.met("alice")
        assert begun == list(range(10))

    def test_with_others_a_pause_follows_each(self):
        heavy, clock = self.heavy()
        begun = []
        heavy.met("bob")
        heavy.met("alice")
        for number in range(10):
            heavy.begin("alice", 1 << 20, lambda number=number: begun.append((number, clock.seconds())))
        while len(heavy):
            heavy.met("bob")
            heavy.met("alice")
            clock.advance(0.001)
        assert [number for number, _ in begun] == list(range(10))
        pauses_s = [later - earlier for (_, earlier), (_, later) in pairwise(begun)]
        assert min(pauses_s) >= (1 << 20) * WORK_S_PER_BYTE * PAUSES

    def test_users_take_turns_and_one_that_fails_holds_nobody_up(self):
        heavy, clock = self.heavy()
        begun = []
        heavy.met("carol")
        heavy.met("dave")
        heavy.begin("alice", 1 << 20, lambda: begun.append("alice 0"))
        for number in range(1, 4):
            heavy.begin("alice", 1000, lambda number=number: begun.append(f"alice {number}"))
        heavy.begin("bob", 1000, lambda: begun.append("bob") or 1 / 0)
        clock.advance(1)
        assert begun.index("bob") == 2
        assert len(begun) == 5


class Listening:
    def __init__(self, hub, table="t", key="k"):
        self.subscription = Subscription(table=table, key=key, prefix="", sight=EVERYTHING, wake=lambda: None)
        hub.subscribe(self.subscription, None)

    def heard(self):
        found = []
        while (item := self.subscription.take()) is not None:
            found.append(item if isinstance(item, Notice) else item.record.stamp.ms)
        return found


class TestHandingOut:
    """A hub whose turns are over at every look at the clock."""

    def hub(self):
        self.later = []
        return Hub("e", lambda: False, self.later.append)

    def run(self):
        turns = 0
        while self.later:
            self.later.pop(0)()
            turns += 1
        return turns

    def test_goes_on_in_later_turns(self):
        hub = self.hub()
        listeners = [Listening(hub) for _ in range(200)]
        hub.publish(("t", "k"), record(ms=1))
        hub.publish(("t", "k"), record(ms=2))
        assert listeners[0].heard() == [1]
        assert listeners[-1].heard() == []
        assert self.run() > 10
        assert listeners[0].heard() == [2]
        assert [one.heard() for one in listeners[1:]] == [[1, 2]] * 199

    def test_whoever_ends_meanwhile_hears_nothing_and_whoever_begins_hears_what_follows(self):
        hub = self.hub()
        first, *_, last = [Listening(hub) for _ in range(100)]
        hub.publish(("t", "k"), record(ms=1))
        hub.unsubscribe(last.subscription)
        late = Listening(hub)
        hub.publish(("t", "k"), record(ms=2))
        self.run()
        assert first.heard() == [1, 2]
        assert last.heard() == []
        assert late.heard() == [2]

    def test_too_many_are_not_kept(self):
        """What waits is bounded; what is dropped is said, and what follows is heard."""
        hub = self.hub()
        listeners = [Listening(hub) for _ in range(100)]
        for ms in range(1, 10 * MAX_FANS):
            hub.publish(("t", "k"), record(ms=ms))
        assert len(hub.fans) <= MAX_FANS + 1
        self.run()
        assert listeners[-1].heard() == [Notice.LAGGED]
        hub.publish(("t", "k"), record(ms=10 * MAX_FANS))
        self.run()
        assert listeners[-1].heard() == [10 * MAX_FANS]

    def test_a_reset_takes_the_place_of_what_waits(self):
        hub = self.hub()
        listeners = [Listening(hub) for _ in range(100)]
        hub.publish(("t", "k"), record(ms=1))
        hub.reset()
        self.run()
        assert listeners[0].heard() == [1, Notice.RESET]
        assert listeners[-1].heard() == [Notice.RESET]

    def test_who_leaves_before_a_reset_reaches_him_is_told_when_he_returns(self):
        hub = self.hub()
        listener = Listening(hub)
        hub.publish(("t", "k"), record(ms=1))
        cursor = hub.cursor
        hub.reset()
        hub.unsubscribe(listener.subscription)
        back = Subscription(table="t", key="k", prefix="", sight=EVERYTHING, wake=lambda: None)
        hub.subscribe(back, cursor)
        assert back.take() is Notice.RESET
