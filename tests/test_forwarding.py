"""What is done about a request that an owner has to carry out: no two executions at once, none late, an honest answer.

The owners here are played by hypothesis: each that is asked carries the request out at some moment of its attempt, or
does not, and is heard of, or is not.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dynatwist.replication.forwarding import ATTEMPT_S, FORWARD_TIMEOUT_S, IN_DOUBT_S, Ask, Forwarding, Give, Wait
from dynatwist.replication.request import BEHIND, Code, Result

FLIGHT_S = 0.15
OWNERS = [b"a", b"b", b"c"]
OK, PRECONDITION = Result(Code.OK, replicas="2/3"), Result(Code.PRECONDITION)


def begin(is_write=True, is_conditional=False):
    return Forwarding(is_write=is_write, is_conditional=is_conditional, now_s=0.0, flight_s=FLIGHT_S)


def all_reachable(node):
    return True


class TestAttempts:
    def test_the_first_owner_is_asked_and_its_answer_given(self):
        request = begin()
        assert request.next(0.0, OWNERS, all_reachable) == Ask(b"a", ATTEMPT_S, False, ())
        assert request.next(0.0, OWNERS, all_reachable) == Wait(ATTEMPT_S + FLIGHT_S)
        request.answer(b"a", OK)
        assert request.next(0.1, OWNERS, all_reachable) == Give(OK)

    def test_the_next_owner_is_asked_behind_the_fence_and_in_doubt(self):
        request = begin()
        request.next(0.0, OWNERS, all_reachable)
        fence_s = ATTEMPT_S + FLIGHT_S
        assert isinstance(request.next(fence_s - 0.001, OWNERS, all_reachable), Wait)
        assert request.next(fence_s, OWNERS, all_reachable) == Ask(b"b", IN_DOUBT_S, True, (b"a",))

    def test_a_refusal_is_no_doubt_and_the_next_owner_is_asked_at_once(self):
        request = begin()
        request.next(0.0, OWNERS, all_reachable)
        request.refuse(b"a")
        assert request.next(0.01, OWNERS, all_reachable) == Ask(b"b", ATTEMPT_S, False, ())

    def test_an_owner_that_knew_a_newer_registry_is_asked_again(self):
        request = begin()
        request.next(0.0, OWNERS, all_reachable)
        request.outdate(b"a")
        assert request.next(0.01, OWNERS, all_reachable) == Ask(b"a", ATTEMPT_S, False, ())

    def test_an_owner_that_is_full_has_decided_about_a_condition(self):
        request = begin(is_conditional=True)
        request.next(0.0, OWNERS, all_reachable)
        request.answer(b"a", Result(Code.FULL))
        assert request.next(0.01, OWNERS, all_reachable) == Give(Result(Code.FULL))

    def test_an_owner_whose_log_is_behind_has_decided_too(self):
        request = begin(is_conditional=True)
        request.next(0.0, OWNERS, all_reachable)
        request.answer(b"a", Result(Code.OVERLOADED))
        assert request.next(0.01, OWNERS, all_reachable) == Give(Result(Code.OVERLOADED))

    @pytest.mark.parametrize("code", [Code.FULL, Code.OVERLOADED])
    def test_unless_it_lets_others_go_first_from_now_on(self, code):
        request = begin(is_conditional=True)
        request.next(0.0, OWNERS, all_reachable)
        request.answer(b"a", Result(code), yields=True)
        assert request.next(0.01, OWNERS, all_reachable) == Ask(b"b", ATTEMPT_S, False, ())

    @pytest.mark.parametrize("first", [Code.FULL, Code.PRECONDITION])
    @pytest.mark.parametrize("later", [Code.OK, Code.UNCERTAIN])
    def test_an_attempt_that_has_written_perhaps_is_the_answer_whatever_came_before(self, first, later):
        request = begin(is_conditional=True)
        request.next(0.0, OWNERS, all_reachable)
        request.next(ATTEMPT_S + FLIGHT_S, OWNERS, all_reachable)
        request.answer(b"a", Result(first))  # held up on its way: its attempt was over
        request.answer(b"b", Result(later))
        assert request.next(0.6, OWNERS, all_reachable) == Give(Result(later))

    @pytest.mark.parametrize("code", [Code.UNAVAILABLE, Code.OVERLOADED, Code.FULL])
    def test_where_nothing_was_done_another_owner_is_asked(self, code):
        request = begin()
        request.next(0.0, OWNERS, all_reachable)
        request.answer(b"a", Result(code))
        assert isinstance(request.next(0.01, OWNERS, all_reachable), Ask)

    def test_a_read_has_no_fences(self):
        request = begin(is_write=False)
        request.next(0.0, OWNERS, all_reachable)
        request.lose(b"a")
        asked = request.next(0.01, OWNERS, all_reachable)
        assert isinstance(asked, Ask)
        assert asked.attempt_s == FORWARD_TIMEOUT_S - 0.01


class TestAnswers:
    def test_nobody_to_ask(self):
        (given,) = [begin().next(0.0, [], all_reachable)]
        assert given.result.code is Code.UNAVAILABLE

    def test_all_are_behind(self):
        request = begin()
        for node in OWNERS:
            assert request.next(0.0, OWNERS, all_reachable).node == node
            request.answer(node, Result(Code.OVERLOADED, text=BEHIND))
        assert request.next(0.0, OWNERS, all_reachable).result.code is Code.OVERLOADED

    def test_a_refusal_by_all_but_one_that_was_lost_is_uncertain(self):
        request = begin()
        request.next(0.0, OWNERS, all_reachable)
        request.lose(b"a")
        now_s = ATTEMPT_S + FLIGHT_S
        for node in OWNERS[1:]:
            assert request.next(now_s, OWNERS, all_reachable).node == node
            request.refuse(node)
        assert request.next(now_s, OWNERS, all_reachable).result.code is Code.UNCERTAIN

    def test_an_owner_that_hangs_is_waited_for_until_its_fence_and_no_longer(self):
        request = begin()
        request.next(0.0, [b"a"], all_reachable)
        fence_s = ATTEMPT_S + FLIGHT_S
        assert request.next(0.1, [b"a"], lambda node: False) == Wait(fence_s)
        assert request.next(fence_s, [b"a"], lambda node: False).result.code is Code.UNCERTAIN

    def test_an_answer_waits_for_the_fence_of_an_attempt_that_was_lost(self):
        request = begin()
        request.next(0.0, OWNERS, all_reachable)
        fence_s = ATTEMPT_S + FLIGHT_S
        request.next(fence_s, OWNERS, all_reachable)
        request.answer(b"a", PRECONDITION)
        assert request.next(fence_s, OWNERS, all_reachable) == Wait(fence_s + IN_DOUBT_S + FLIGHT_S, True)

    def test_the_success_of_an_attempt_counts_more_than_the_refusal_that_came_first(self):
        request = begin()
        fence_s = ATTEMPT_S + FLIGHT_S
        request.next(0.0, OWNERS, all_reachable)
        request.next(fence_s, OWNERS, all_reachable)
        request.answer(b"b", PRECONDITION)
        request.answer(b"a", OK)
        assert request.next(fence_s + 0.1, OWNERS, all_reachable) == Give(OK)


@dataclass
class Attempt:
    """An attempt as it goes at its owner: begun and ended within its time, or never begun."""

    ask: Ask
    sent_s: float
    began_s: float
    ended_s: float
    happens: bool
    heard_s: float | None
    code: Code


WRITTEN = (Code.OK, Code.UNCERTAIN)
NOT_WRITTEN = (Code.PRECONDITION, Code.UNAVAILABLE, Code.FULL, Code.OVERLOADED)
HELD_UP = (2.5, 4.0)
"""Times of what a last word takes: an answer that is late on its way, behind its attempt's fence."""


@st.composite
def fates(draw):
    """What becomes of each attempt: shares of its time, and whether it is heard of."""
    share = st.floats(0.0, 1.0)
    return [
        (
            draw(st.booleans()),
            draw(share),
            draw(share),
            draw(st.sampled_from([None, 0.0, 0.5, 1.0, *HELD_UP])),
            draw(st.sampled_from([*WRITTEN, *NOT_WRITTEN])),
        )
        for _ in range(6)
    ]


def play(is_write, fates, reachable, limit=200):
    """Let a request run; answers its attempts, the answer, and when it came.

    Those that can be reached say so of themselves besides that they yield, where a condition is asked for.
    """
    request, now_s, attempts = begin(is_write, is_conditional=bool(reachable)), 0.0, []
    waiting: list[Attempt] = []
    for _ in range(limit):
        todo = request.next(now_s, OWNERS, lambda node: node in reachable)
        if isinstance(todo, Give):
            return attempts, todo.result, now_s
        if isinstance(todo, Ask):
            happens, first, second, delay, code = fates[len(attempts)]
            began_s, ended_s = (now_s + todo.attempt_s * share for share in sorted((first, second)))
            heard_s = None if delay is None else ended_s + delay * FLIGHT_S
            is_done = happens and code in (*WRITTEN, Code.PRECONDITION)
            attempt = Attempt(todo, now_s, began_s, ended_s, is_done, heard_s, code)
            attempts.append(attempt)
            waiting.append(attempt)
            continue
        assert todo.until_s > now_s, "there is no waiting for the past"
        due = min((one for one in waiting if one.heard_s is not None), key=lambda one: one.heard_s, default=None)
        if due is not None and due.heard_s < todo.until_s:
            now_s = max(now_s, due.heard_s)
            waiting.remove(due)
            if due.happens or due.code in (Code.FULL, Code.OVERLOADED):
                request.answer(due.ask.node, Result(due.code), yields=due.ask.node in reachable)
            elif due.code is Code.UNAVAILABLE:
                request.refuse(due.ask.node)
            else:
                request.lose(due.ask.node)
        else:
            now_s = todo.until_s
    raise AssertionError("it never ends")


class TestLaws:
    @settings(max_examples=500, deadline=None)
    @given(fates(), st.sets(st.sampled_from(OWNERS)))
    def test_two_executions_of_a_write_never_overlap(self, fates, reachable):
        attempts, _, _ = play(True, fates, reachable)
        done = [one for one in attempts if one.happens]
        for earlier, later in pairwise(done):
            assert earlier.ended_s <= later.began_s

    @settings(max_examples=500, deadline=None)
    @given(fates(), st.sets(st.sampled_from(OWNERS)))
    def test_an_execution_after_one_that_is_not_accounted_for_is_in_doubt_and_beyond_it(self, fates, reachable):
        attempts, _, _ = play(True, fates, reachable)
        for number, later in enumerate(attempts):
            for earlier in attempts[:number]:
                is_known = earlier.heard_s is not None and earlier.heard_s <= later.sent_s
                if earlier.happens and not is_known:
                    assert later.ask.in_doubt
                    assert earlier.ask.node in later.ask.after

    @settings(max_examples=500, deadline=None)
    @given(fates(), st.sets(st.sampled_from(OWNERS)))
    def test_nothing_is_carried_out_after_the_answer(self, fates, reachable):
        attempts, result, answered_s = play(True, fates, reachable)
        if answered_s < FORWARD_TIMEOUT_S:
            for one in attempts:
                assert not one.happens or one.ended_s <= answered_s or result.code is Code.UNCERTAIN

    @settings(max_examples=500, deadline=None)
    @given(st.booleans(), fates(), st.sets(st.sampled_from(OWNERS)))
    def test_every_client_hears_something_in_time_and_the_truth(self, is_write, fates, reachable):
        attempts, result, answered_s = play(is_write, fates, reachable)
        assert answered_s <= FORWARD_TIMEOUT_S
        if is_write and any(one.happens for one in attempts):
            assert result.code not in (Code.UNAVAILABLE, Code.OVERLOADED)
        if is_write and any(one.happens and one.code in WRITTEN for one in attempts):
            assert result.code in WRITTEN
