"""The laws of the histories of creations: who wins, and that the state stays bounded whatever is created how often."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from dynatwist.model.clock import Stamp
from dynatwist.model.dots import Dot
from dynatwist.model.flaws import _is_history
from dynatwist.model.lineage import EXACT_CREATIONS, FILLED, Lineage
from dynatwist.model.record import Draft, Record, beats, write_over
from dynatwist.sim.order import is_created_over, is_preferred

ACTORS = [bytes([n]) * 16 for n in range(3)]
FORMER_LIMIT = 64
"""At so many elements nodes of former versions refuse a creation."""

moments = st.builds(Stamp, st.integers(0, 40), st.integers(0, 1), st.sampled_from(ACTORS))
exact = st.integers(1, 4)


@st.composite
def trees(draw):
    """Histories that branch off each other anywhere, with bounds of their own, and clocks that are behind at times."""
    made = [Lineage(0, (draw(moments),))]
    for _ in range(draw(st.integers(1, 25))):
        parent = draw(st.sampled_from(made[-4:]))
        made.append(parent.created_again(draw(moments), draw(exact)))
    return made


def record_of(lineage: Lineage, number: int = 1) -> Record:
    stamp = Stamp(number, 0, ACTORS[0])
    return Record(Dot(ACTORS[0], number), b"{}", (), stamp, lineage, 1, "alice")


def chain(lineage: Lineage, times: int, start_ms: int, limit: int = EXACT_CREATIONS) -> list[Lineage]:
    """A key that is deleted and created again so often, a millisecond after the other; the first is given."""
    made = [lineage]
    for ms in range(start_ms, start_ms + times):
        made.append(made[-1].created_again(Stamp(ms, 0, ACTORS[0]), limit))
    return made


@given(trees())
def test_the_order_is_total(made):
    distinct = set(made)
    for one in distinct:
        for other in distinct - {one}:
            assert one.beats(other) != other.beats(one)


@given(trees())
def test_the_order_is_transitive(made):
    distinct = list(set(made))[:8]
    for one in distinct:
        for two in distinct:
            for three in distinct:
                if one.beats(two) and two.beats(three):
                    assert one.beats(three)


@given(trees())
def test_comparing_lists_is_comparing_sets_of_moments(made):
    for one in made[-8:]:
        for other in made[-8:]:
            if one != other:
                assert one.beats(other) == is_preferred(record_of(one), record_of(other))


@given(st.data())
def test_a_creation_beats_its_tombstone_and_all_that_this_had_beaten(data):
    made = data.draw(trees())
    parent = data.draw(st.sampled_from(made))
    child = parent.created_again(data.draw(moments), data.draw(exact))
    assert child.beats(parent)
    assert is_created_over(child, parent)
    for other in made:
        if parent.beats(other):
            assert child.beats(other)


@given(trees(), moments, exact)
def test_what_a_request_may_have_created_before_changes_no_winner_but_its_own(made, moment, limit):
    """The history with its moment wins over the one without it, and over all that this had beaten."""
    for parent in made[-6:]:
        besides = parent.created_besides(moment, limit)
        assert besides == parent or besides.beats(parent)
        assert besides.stamps[-1] == parent.stamps[-1]
        assert _is_history(besides.stamps)
        for other in made:
            if parent.beats(other):
                assert besides.beats(other) or besides == other


@given(trees(), st.lists(moments, min_size=1, max_size=4), st.integers(1, 50), exact, st.booleans())
def test_a_request_carried_out_twice_wins_over_its_first_attempt(made, others, gap_ms, limit, is_dead):
    """Over one tombstone the request creates the key, and others do without knowing of that; then it comes again."""
    tombstone = made[-1].created_again(Stamp(50, 0, ACTORS[0]), limit)
    mine = Stamp(50 + gap_ms, 0, ACTORS[1])
    first, known = tombstone.created_again(mine, limit), tombstone
    for other in others:
        known = known.created_again(Stamp(50 + other.ms + 1, other.counter, ACTORS[2]), limit)
    second = known.created_besides(mine, limit)
    if is_dead:
        second = second.created_again(mine, limit)
    if second.stamps[-1] > mine:
        assert second.beats(first) or second == first
        assert len(second.stamps) <= max(limit + 3, len(tombstone.stamps) + 1)


@given(trees(), moments, exact, st.integers(0, 3))
def test_a_history_shows_each_creation_that_was_kept_apart(made, moment, limit, times):
    """Also one whose moment was moved behind the tombstone's, until the stretch is filled over it."""
    made = made[-1].created_again(moment, limit)
    assert made.shows(moment)
    assert not made.shows(Stamp(10_000, 0, ACTORS[0]))
    for ms in range(100, 100 + times):
        made = made.created_again(Stamp(ms, 0, ACTORS[2]), EXACT_CREATIONS)
        if FILLED not in made.stamps:
            assert made.shows(moment)


@given(st.integers(1, 300), exact)
def test_the_state_is_bounded(times, limit):
    made = chain(Lineage(0, (Stamp(0, 0, ACTORS[0]),)), times, 1, limit)
    assert all(len(one.stamps) <= limit + 3 for one in made)
    assert EXACT_CREATIONS + 3 < FORMER_LIMIT


@given(moments, st.integers(1, 200), st.integers(0, 200))
def test_of_two_that_know_nothing_of_each_other_the_earlier_wins_whatever_follows(alice, gap_ms, times):
    """Alice created the key before Bob did, and Bob deletes and creates it on his side of the partition ever again."""
    bob_ms = alice.ms + gap_ms
    bob = chain(Lineage(0, (Stamp(bob_ms, 0, ACTORS[1]),)), times, bob_ms + 1)[-1]
    assert Lineage(0, (alice,)).beats(bob)


@given(st.integers(0, EXACT_CREATIONS - 2), st.integers(0, 300))
def test_a_member_that_left_early_is_judged_exactly_for_ever(common, times):
    """Both sides knew the same tombstone when they lost each other; the side that created first keeps the key."""
    before = chain(Lineage(0, (Stamp(0, 0, ACTORS[0]),)), common, 1)[-1]
    early = before.created_again(Stamp(1000, 0, ACTORS[1]))
    busy = chain(before.created_again(Stamp(1001, 0, ACTORS[2])), times, 1002)[-1]
    assert early.beats(busy)


@given(st.integers(0, 300))
def test_two_creations_over_one_tombstone_are_told_apart_however_long_the_history_is(common):
    before = chain(Lineage(0, (Stamp(0, 0, ACTORS[0]),)), common, 1)[-1]
    early = before.created_again(Stamp(1000, 0, ACTORS[1]))
    late = before.created_again(Stamp(1001, 0, ACTORS[2]))
    assert early.beats(late)


def test_late_in_a_long_history_whoever_creates_the_key_again_wins():
    before = chain(Lineage(0, (Stamp(0, 0, ACTORS[0]),)), 300, 1)[-1]
    early = before.created_again(Stamp(1000, 0, ACTORS[1]))
    busy = chain(before.created_again(Stamp(1001, 0, ACTORS[2])), 1, 1002)[-1]
    assert busy.beats(early)


def test_a_stale_member_brings_nothing_back():
    """It left at any point of a long history; whatever it holds of it gives way."""
    made = chain(Lineage(0, (Stamp(0, 0, ACTORS[0]),)), 500, 1)
    assert all(made[-1].beats(stale) for stale in made[:-1])


def test_a_list_of_a_former_version_is_taken_over():
    """It may be longer than the bounds, and moments may be out of order where a clock was behind."""
    stamps = tuple(Stamp(ms, 0, ACTORS[0]) for ms in (5, 3, *range(6, 68)))
    former = Lineage(0, stamps)
    again = former.created_again(Stamp(70, 0, ACTORS[1]))
    assert len(again.stamps) == EXACT_CREATIONS + 3
    assert FILLED in again.stamps
    assert again.beats(former)


def test_a_lock_is_taken_and_released_without_end():
    held = None
    for number in range(1, 1001):
        for value in (b"{}", None):
            dot, stamp = Dot(ACTORS[1], 2 * number + (value is None)), Stamp(number, value is None, ACTORS[1])
            before, held = held, write_over(held, (), 0, Draft(value, "alice"), dot, stamp, 0)
            assert before is None or beats(held, before)
    assert len(held.lineage.stamps) == EXACT_CREATIONS + 3


@given(
    st.integers(1, 10),
    st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9), st.sampled_from([b"a" * 16, b"b" * 16])), unique=True),
)
def test_regression_no_two_creations_over_one_tombstone_are_one(exact, moments):
    """Simulator, seed 1200060: a node whose clock was behind forwarded two users' creations of one key. Both were moved
    to the next moment after the tombstone's; the two users had created it together, and each wrote over the other."""
    tombstone = Lineage(0, (Stamp(5, 5, b"a" * 16),))
    created = [tombstone.created_again(Stamp(*moment), exact) for moment in moments]
    assert len(set(created)) == len(created)
    assert created == [tombstone.created_again(Stamp(*moment), exact) for moment in moments], "a repetition is the same"
    assert all(one.beats(tombstone) for one in created)
