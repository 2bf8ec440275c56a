"""A round of anti-entropy: hypothesis plays the peer, its writers, their order, and replicas that start over."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dynatwist.model.digest import BUCKETS
from dynatwist.model.dots import Dot, DotSet
from dynatwist.replication.round import (
    FAILED,
    LARGE_PAGE_BYTES,
    MAX_ENTRIES,
    PARALLEL_LARGE_PULLS,
    PARALLEL_PULLS,
    AskDigests,
    AskEntries,
    Join,
    Over,
    Page,
    PartitionRound,
    Pull,
    Round,
    Side,
)

ACTOR = b"x" * 16
KEYS = [("t", f"k{number}") for number in range(4)]
PAGE_RECORDS = 1


def side(clock=(), root=0, whole=True, generation=0):
    return Side({ACTOR: (len(clock), [])} if clock else {}, generation, root, whole)


def page(*, last=KEYS[0], more=False, walk=7, **given):
    return Page(side(**given), last, more, walk)


def begun(is_same=lambda number: True):
    one = PartitionRound(5, is_same)
    assert one.begin() == Pull(None, 0)
    return one


class TestPages:
    def test_the_clock_of_the_first_page_is_joined_behind_the_last_one(self):
        one = begun()
        assert one.kept(page(more=True, last=KEYS[1], clock=(1,))) == Pull(KEYS[1], 7)
        assert one.kept(page(last=KEYS[3], clock=(1, 2), generation=9)) == Join(side(clock=(1,)))
        assert one.joined(side(clock=(1, 2), root=1)) == Over(ok=True, is_source=True)

    def test_an_empty_page_that_is_not_the_last_has_no_end(self):
        assert begun().kept(page(last=None, more=True)) == FAILED

    def test_a_peer_that_is_not_whole_is_no_source(self):
        one = begun()
        one.kept(page(whole=False))
        assert one.joined(side()) == Over(ok=True, is_source=False)

    def test_a_replica_that_started_over_joins_nothing(self):
        starts = []
        one = begun(lambda number: not starts)
        assert one.may_merge()
        starts.append(1)
        assert not one.may_merge()
        assert one.kept(page()) == FAILED


class TestBuckets:
    def compared(self, mine, theirs):
        one = begun()
        one.kept(theirs)
        return one, one.joined(mine)

    def test_they_are_compared_where_equal_clocks_hold_different_things(self):
        _, todo = self.compared(side(clock=(1,), root=1), page(clock=(1,), root=2))
        assert todo == AskDigests()

    @pytest.mark.parametrize(
        ("mine", "theirs"),
        [
            (side(clock=(1,), root=2), page(clock=(1,), root=2)),
            (side(clock=(1, 2), root=1), page(clock=(1,), root=2)),
            (side(clock=(1,), root=1, whole=False), page(clock=(1,), root=2)),
            (side(clock=(1,), root=1), page(clock=(1,), root=2, whole=False)),
        ],
        ids=["equal", "unlike clocks", "not whole here", "not whole there"],
    )
    def test_otherwise_they_are_not(self, mine, theirs):
        assert isinstance(self.compared(mine, theirs)[1], Over)

    def test_not_behind_several_pages_either(self):
        one = begun()
        one.kept(page(more=True, clock=(1,), root=2))
        one.kept(page(clock=(1,), root=2))
        assert isinstance(one.joined(side(clock=(1,), root=1)), Over)

    @given(st.sets(st.integers(0, BUCKETS - 1)), st.integers(0, 100_000))
    def test_all_that_differ_are_compared_once_and_few_at_a_time(self, numbers, held):
        one, _ = self.compared(side(clock=(1,), root=1), page(clock=(1,), root=2))
        compared = []
        todo = one.differ(sorted(numbers), held)
        while isinstance(todo, AskEntries):
            assert len(todo.numbers) == 1 or len(todo.numbers) * held <= MAX_ENTRIES * BUCKETS
            compared += todo.numbers
            assert one.may_settle(True, True) is None
            todo = one.go_on(held)
        assert todo == Over(ok=True, is_source=True)
        assert compared == sorted(numbers)

    def test_nothing_is_settled_with_one_that_is_not_whole_any_more(self):
        for mine, theirs in ((True, False), (False, True)):
            one, _ = self.compared(side(clock=(1,), root=1), page(clock=(1,), root=2))
            assert isinstance(one.may_settle(mine, theirs), Over)


@dataclass
class World:
    """A peer that one actor writes to, and this node. The n-th write is the n-th dot; the later one of a key wins."""

    writes: list[tuple[str, str]] = field(default_factory=list)
    mine: dict[tuple[str, str], int] = field(default_factory=dict)
    my_clock: DotSet = field(default_factory=DotSet)
    starts: int = 0
    walk: list[tuple[str, str]] = field(default_factory=list)

    @property
    def theirs(self):
        return {key: number for number, key in enumerate(self.writes, 1)}

    def start_over(self):
        self.starts += 1
        self.mine, self.my_clock = {}, DotSet()

    def answer(self, pull):
        """A page as a peer answers it: keys are those of the first page, records and clock those of now."""
        if pull.after is None:
            self.walk = list(self.theirs)
        records = {}
        while self.walk and len(records) < PAGE_RECORDS:
            key = self.walk.pop(0)
            if not self.my_clock.covers(Dot(ACTOR, self.theirs[key])):
                records[key] = self.theirs[key]
        clock = {ACTOR: (len(self.writes), [])} if self.writes else {}
        return Page(Side(clock, 0, 0, True), next(reversed(records), None), bool(self.walk), 1), records

    def merge(self, records):
        for key, number in records.items():
            self.mine[key] = max(number, self.mine.get(key, 0))
            self.my_clock.add(Dot(ACTOR, number))

    def check(self):
        """All that the own clock covers is here, or what superseded it."""
        for number, key in enumerate(self.writes, 1):
            if self.my_clock.covers(Dot(ACTOR, number)):
                assert self.mine.get(key, 0) >= number, "covered, and not held"


@given(st.integers(0, 6), st.lists(st.sampled_from([*range(len(KEYS)), "page", "page", "page"]), max_size=30))
@settings(max_examples=400)
def test_a_round_joins_no_clock_that_it_did_not_cover(before, steps):
    world = World([KEYS[number % len(KEYS)] for number in range(before)])
    one = begun()
    todo = Pull(None, 0)
    for step in [*steps, *["page"] * len(KEYS)]:
        if step != "page":
            world.writes.append(KEYS[step])
        elif isinstance(todo, Pull):
            answer, records = world.answer(todo)
            world.merge(records)
            todo = one.kept(answer)
    assert isinstance(todo, Join)
    world.my_clock.join(DotSet.from_wire(todo.side.clock))
    world.check()


@given(st.integers(0, 3), st.integers(0, 6))
def test_whenever_the_replica_starts_over_nothing_is_joined_afterwards(pages_before, written):
    world = World([KEYS[number % len(KEYS)] for number in range(written)])
    one = begun(lambda number: world.starts == 0)
    todo = Pull(None, 0)
    while isinstance(todo, Pull):
        answer, records = world.answer(todo)
        if one.may_merge():
            world.merge(records)
        if not pages_before:
            world.start_over()
        pages_before -= 1
        todo = one.kept(answer)
    assert todo == FAILED or world.starts == 0


class TestRound:
    def test_partitions_of_which_the_peer_is_whole_and_that_stayed_what_they_were_are_fetched_from_it(self):
        started_over = {4}
        one = Round(range(6), lambda number: number not in started_over)
        one.compared([1, 2], not_whole=[0])
        for number, is_source in ((1, True), (2, False)):
            assert one.take().number == number
            one.over(number, Over(ok=True, is_source=is_source))
        assert one.is_over
        assert one.is_complete
        assert one.sources == {1, 3, 5}

    def test_large_pages_are_asked_for_a_few_at_a_time(self):
        one = Round(range(20), lambda number: True)
        one.compared(range(20), ())
        assert sum(one.take() is not None for _ in range(20)) == PARALLEL_PULLS
        one.weigh(LARGE_PAGE_BYTES)
        for number in range(PARALLEL_PULLS - PARALLEL_LARGE_PULLS):
            one.over(number, Over(ok=True, is_source=True))
            assert one.take() is None
        one.over(10, Over(ok=True, is_source=True))
        assert one.take() is not None

    @given(st.sets(st.integers(0, 15)), st.lists(st.integers(0, 40), max_size=60), st.sets(st.integers(0, 15)))
    def test_each_partition_that_differs_is_taken_once_or_one_has_failed(self, differing, order, failing):
        one = Round(range(16), lambda number: True)
        one.compared(differing, ())
        running, taken = [], []
        for step in [*order, *range(100)]:
            found = one.take() if step % 3 else None
            if found is not None:
                running.append(found.number)
                taken.append(found.number)
            elif running:
                number = running.pop(step % len(running))
                one.over(number, FAILED if number in failing else Over(ok=True, is_source=True))
            assert len(running) <= PARALLEL_PULLS
            assert one.is_over == (not running and (not one.is_complete or set(taken) == differing))
        assert len(taken) == len(set(taken))
        assert one.is_over
        assert one.is_complete == (not set(taken) & failing)
        if one.is_complete:
            assert set(taken) == differing
