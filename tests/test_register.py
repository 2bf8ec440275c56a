"""The independent checker of majority histories sees what it should, and nothing else; and the second merge order."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynatwist.model.clock import Stamp
from dynatwist.model.dots import Dot
from dynatwist.model.record import Lineage, Record, beats
from dynatwist.sim.order import is_preferred
from dynatwist.sim.register import ABSENT, Op, check

NEVER = float("inf")


def write(value, start_s, end_s):
    return Op(False, value, start_s, end_s)


def read(value, start_s, end_s):
    return Op(True, value, start_s, end_s)


@pytest.mark.parametrize(
    "ops",
    [
        [],
        [read(ABSENT, 0, 1)],
        [write(1, 0, 1), read(1, 2, 3)],
        [write(1, 0, 5), read(ABSENT, 1, 2), read(1, 3, 4)],  # under way: either
        [write(1, 0, 5), write(2, 0, 5), read(2, 6, 7), read(2, 8, 9)],  # concurrent: some order
        [write(1, 0, 1), write(2, 2, 3), read(1, 4, 5), read(1, 6, 7)],  # the store may order 2 before 1
        [write(1, 0, NEVER), read(ABSENT, 5, 6), read(1, 7, 8)],  # uncertain: may take effect later
        [write(1, 0, 1), write(-2, 2, 3), read(ABSENT, 4, 5)],
        [write(1, 0, 1), write(-2, 2, NEVER), read(1, 4, 5), read(ABSENT, 6, 7)],
    ],
)
def test_what_may_be(ops):
    assert check(ops) == []


@pytest.mark.parametrize(
    ("ops", "text"),
    [
        ([write(1, 0, 1), read(ABSENT, 2, 3)], "no delete explains it"),  # read your writes
        ([write(1, 0, 5), read(1, 1, 2), read(ABSENT, 3, 4)], "no delete explains it"),  # monotonic reads
        ([write(1, 0, 1), write(2, 2, 9), read(2, 3, 4), read(1, 5, 6), read(2, 7, 8)], "contradict"),
        ([write(1, 0, 9), write(2, 0, 9), read(1, 1, 2), read(2, 3, 4), read(1, 5, 6)], "contradict"),
        ([read(7, 0, 1)], "nobody wrote"),
        ([write(1, 5, 6), read(1, 0, 1)], "not written yet"),
        ([write(1, 0, 1), write(-2, 2, 3), read(ABSENT, 4, 5), read(1, 6, 7)], "no delete explains it"),
        ([write(1, 0, 1), write(-2, 9, 9), read(ABSENT, 4, 5)], "no delete explains it"),
    ],
)
def test_what_may_not_be(ops, text):
    faults = check(ops)
    assert faults
    assert text in faults[0].text


def test_a_refused_write_is_not_read():
    assert check([read(3, 1, 2)], frozenset({3}))[0].values == (3,)


@st.composite
def atomic_history(draw):
    """What an atomic register does: each operation takes effect at an instant between its start and its end."""
    moments = draw(st.lists(st.tuples(st.booleans(), st.floats(0, 3), st.floats(0, 3)), max_size=25))
    held, ops = ABSENT, []
    for number, (is_read, before_s, after_s) in enumerate(moments, 1):
        if not is_read:
            held = number
        ops.append(Op(is_read, held, number - before_s, number + after_s))
    return ops


@given(atomic_history())
def test_an_atomic_register_is_never_blamed(ops):
    assert check(ops) == []


stamps = st.builds(Stamp, st.integers(0, 2), st.integers(0, 1), st.sampled_from([b"a" * 16, b"b" * 16]))
records = st.builds(
    lambda stamp, generation, lineage, seq: Record(
        Dot(stamp.actor, seq), b"{}", (), stamp, Lineage(generation, tuple(lineage)), 1, "alice"
    ),
    stamps,
    st.integers(0, 1),
    st.lists(stamps, min_size=1, max_size=3, unique=True).map(sorted),
    st.integers(1, 3),
)


@given(records, records)
def test_the_two_merge_orders_agree(one, other):
    assert is_preferred(one, other) == beats(one, other)
