"""Whether a peer answers: what the table at the head of `dynatwist.net.pulse` says, event by event."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from dynatwist.net.pulse import GIVE_UP_S, IDLE_PING_S, SLEEP_S, STALL_S, WATCH_S, Beat, Pulse


def watched(pulse: Pulse, from_s: float, upto_s: float) -> tuple[Beat, float]:
    """Looked at in time until there is something to do; that, and when."""
    now_s = from_s
    while now_s < upto_s:
        now_s += WATCH_S
        pulse.wake(now_s)
        beat = pulse.look(now_s)
        if beat is not Beat.NOTHING:
            return beat, now_s
    return Beat.NOTHING, now_s


def test_a_peer_that_nobody_calls_is_pinged_now_and_then():
    pulse = Pulse(10.0)
    pulse.ask(10.0)
    pulse.answer(10.01)
    beat, at_s = watched(pulse, 10.01, 20.0)
    assert beat is Beat.PING
    assert IDLE_PING_S <= at_s - 10.0 <= IDLE_PING_S + 2 * WATCH_S


def test_a_peer_that_does_not_answer_is_stalled_then_given_up():
    pulse = Pulse(10.0)
    pulse.ask(10.0)
    beat, at_s = watched(pulse, 10.0, 20.0)
    assert beat is Beat.STALL
    assert STALL_S <= at_s - 10.0 <= STALL_S + 2 * WATCH_S
    beat, at_s = watched(pulse, at_s, 20.0)
    assert beat is Beat.GIVE_UP
    assert GIVE_UP_S <= at_s - 10.0 <= GIVE_UP_S + 2 * WATCH_S


def test_a_stalled_peer_that_answers_is_back():
    pulse = Pulse(10.0)
    pulse.ask(10.0)
    watched(pulse, 10.0, 10.2)
    assert pulse.is_stalled
    assert round(pulse.answer(11.0) or 0.0, 6) == 1.0
    assert not pulse.is_stalled
    assert pulse.has_answered


def test_a_process_that_slept_blames_itself_and_not_the_peer():
    pulse = Pulse(10.0)
    pulse.ask(10.0)
    woke_s = 10.0 + 30.0
    assert pulse.slept_s(woke_s) > SLEEP_S
    pulse.wake(woke_s)
    assert pulse.look(woke_s) is Beat.NOTHING, "what the peer answered meanwhile is still to be read"
    assert pulse.answer(woke_s + 0.001) is None, "nobody knows how long that took"


@given(st.lists(st.tuples(st.sampled_from(("answer", "call", "look")), st.floats(0.001, 0.4)), max_size=60))
def test_a_peer_is_stalled_only_while_a_ping_is_out(events):
    now_s = 10.0
    pulse = Pulse(now_s)
    for event, wait_s in events:
        now_s += wait_s
        if event == "answer" and pulse.is_asked:
            pulse.answer(now_s)
        elif event == "call" and not pulse.is_asked:
            pulse.ask(now_s)
        else:
            pulse.wake(now_s)
            if pulse.look(now_s) is Beat.PING:
                pulse.ask(now_s)
        assert pulse.is_asked or not pulse.is_stalled
