"""Which of two processes that run as one node is refused, whatever the order in which their words are read."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from dynatwist.model.registry import Member
from dynatwist.net.lives import Lives, Word
from dynatwist.net.messages import WIRE_VERSION, Hello

from .planted import plants

MEMBER = Member(b"n" * 8, "h", 1, 2)


def hello(starts: int, name: bytes = b"") -> Hello:
    """What a process says first; each has an epoch of its own."""
    return Hello(WIRE_VERSION, b"", MEMBER, (name or b"%d" % starts).ljust(8, b"."), starts, None)


def meet(lives: Lives, one: Hello) -> bool:
    """Whether a process is let in when it greets."""
    if lives.refusal(one) is not None:
        return False
    lives.met(one)
    return True


def test_a_process_that_was_copied_is_refused_once_the_copy_was_met():
    lives = Lives()
    assert meet(lives, hello(3))
    assert meet(lives, hello(4))
    assert "later process" in (lives.refusal(hello(3)) or "")
    assert meet(lives, hello(4))


def test_of_two_started_as_often_the_one_stays_that_was_met_last():
    lives = Lives()
    assert meet(lives, hello(4, b"first"))
    assert meet(lives, hello(4, b"second"))
    assert not meet(lives, hello(4, b"first"))
    assert meet(lives, hello(4, b"second"))


def test_regression_what_a_dead_process_had_sent_does_not_shut_out_the_one_that_runs():
    """Simulator, seed 1820118: a node was started again and again behind a slow network. The greeting of its fourth
    process was read after the fifth had been met, and the fifth was refused for ever."""
    lives = Lives()
    assert meet(lives, hello(5))
    meet(lives, hello(4))
    assert meet(lives, hello(5))
    assert not meet(lives, hello(4))


def test_it_would_be_seen(monkeypatch):
    plants()["the_process_that_was_met_last_is_the_latest"](monkeypatch)
    lives = Lives()
    assert meet(lives, hello(5))
    meet(lives, hello(4))
    assert not meet(lives, hello(5))


@given(st.permutations(range(1, 6)), st.lists(st.integers(1, 5), max_size=8))
def test_whatever_is_read_when_the_latest_is_never_refused(first, more):
    lives = Lives()
    for starts in (*first, *more):
        meet(lives, hello(starts))
        assert lives.refusal(hello(5)) is None


def test_a_word_counts_only_of_the_process_that_is_there():
    lives = Lives()
    meet(lives, hello(4))
    lives.heard(MEMBER.node_id, Word(hello(3).epoch, 9, (1, 1)))
    assert not lives.answered(MEMBER.node_id, Word(hello(3).epoch, 8, (1, 1)))
    lives.heard(MEMBER.node_id, Word(hello(4).epoch, 9, (1, 1)))
    assert lives.answered(MEMBER.node_id, Word(hello(4).epoch, 8, (1, 1)))
