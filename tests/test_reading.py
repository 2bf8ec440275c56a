"""What a read does next: hypothesis plays the owners, their order, and those that are lost on the way."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dynatwist.model.dots import Dot
from dynatwist.replication.quorum import Level
from dynatwist.replication.reading import Choose, Give, Push, Reading

OWNERS = (b"a", b"b", b"c", b"d", b"e")
ME = b"a"


def dot(number):
    return Dot(b"x" * 16, number) if number else None


def begin(level=Level.MAJORITY, owners=OWNERS[:3], reachable=OWNERS):
    reading = Reading(level, (owners,), ME, lambda owner: owner in reachable)
    for owner in owners:
        reading.expect(owner)
    return reading


class TestReading:
    def test_owners_that_agree_are_enough(self):
        reading = begin()
        assert reading.next() is None
        reading.hear(b"b", dot(3))
        assert reading.next() is None
        reading.hear(b"c", dot(3))
        assert reading.next() == Choose()
        reading.choose(dot(3))
        assert reading.next() == Give(reading.next().reach)
        assert reading.next().reach.is_enough
        assert str(reading.next().reach) == "2/3"

    def test_an_owner_that_lacks_what_was_chosen_is_given_it_first(self):
        reading = begin()
        reading.hear(b"b", dot(3))
        reading.hear(b"c", dot(2))
        assert reading.next() == Choose()
        reading.choose(dot(3))
        assert reading.next() == Push((b"c",))
        assert reading.next() is None
        reading.hold(b"c")
        assert reading.next().reach.is_enough

    def test_where_a_push_fails_a_late_owner_is_as_good(self):
        reading = begin()
        reading.hear(b"b", dot(3))
        reading.hear(b"c", None)
        reading.choose(dot(3))
        assert reading.next() == Push((b"c",))
        reading.lose(b"c")
        assert reading.next() is None
        reading.hear(ME, dot(3))
        assert reading.next() == Push((ME,))  # its log has to have what is held by now
        reading.hold(ME)
        assert reading.next().reach.is_enough

    def test_too_few_that_can_answer(self):
        reading = begin()
        reading.lose(b"b")
        assert reading.next() is None
        reading.lose(b"c")
        assert not reading.next().reach.is_enough

    def test_that_there_is_nothing_is_an_answer_too(self):
        reading = begin()
        reading.hear(b"b", None)
        reading.hear(b"c", None)
        reading.choose(None)
        assert reading.next().reach.is_enough


@dataclass
class Cluster:
    """Owners with a record each, named by its place in the order of merges; a read that this node coordinates."""

    held: dict[bytes, int]
    lost: set[bytes]
    durable_here: int = 0
    in_memory_here: int = 0
    chosen: int | None = None
    pushing: list[bytes] = field(default_factory=list)

    def run(self, reading, order):
        """Let things happen in some order; the answer's reach, if it comes."""
        asked = list(reading._heard.expected)
        for step in order:
            while (todo := reading.next()) is not None:
                if isinstance(todo, Give):
                    return todo.reach
                if isinstance(todo, Choose):
                    self.chosen = self.in_memory_here
                    reading.choose(dot(self.chosen))
                else:
                    self.pushing += todo.owners
            happenings = [("ask", owner) for owner in asked] + [("push", owner) for owner in self.pushing]
            if not happenings:
                return None
            kind, owner = happenings[step % len(happenings)]
            (asked if kind == "ask" else self.pushing).remove(owner)
            if owner in self.lost:
                reading.lose(owner)
            elif kind == "ask":
                self.in_memory_here = max(self.in_memory_here, self.held[owner])
                reading.hear(owner, dot(self.held[owner]))
            else:
                news = self.in_memory_here if owner == ME else self.chosen
                self.held[owner] = max(self.held[owner], news)
                reading.hold(owner)
        return None


@settings(max_examples=1000, deadline=None)
@given(
    st.sampled_from([3, 4, 5]),
    st.lists(st.integers(0, 3), min_size=5, max_size=5),
    st.sets(st.sampled_from(OWNERS), max_size=3),
    st.lists(st.integers(0, 100), min_size=30, max_size=30),
)
def test_no_later_read_of_a_majority_finds_less(count, numbers, lost, order):
    owners = OWNERS[:count]
    held = dict(zip(owners, numbers, strict=False))
    before = sorted(held.values(), reverse=True)[count // 2]  # a majority holds this, or something greater
    cluster = Cluster(held, lost, in_memory_here=held[ME])
    reach = cluster.run(begin(Level.MAJORITY, owners), order)
    if reach is not None and reach.is_enough:
        assert cluster.chosen is not None
        assert cluster.chosen >= before, "what was acknowledged by a majority is read"
        assert sum(one >= cluster.chosen for one in held.values()) > count // 2, "and every majority has it now"


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from(list(Level)),
    st.lists(st.integers(0, 3), min_size=3, max_size=3),
    st.sets(st.sampled_from(OWNERS[:3]), max_size=3),
    st.lists(st.integers(0, 100), min_size=30, max_size=30),
)
def test_every_read_ends_once_all_have_answered_or_are_lost(level, numbers, lost, order):
    held = dict(zip(OWNERS[:3], numbers, strict=True))
    reach = Cluster(held, lost, in_memory_here=held[ME]).run(begin(level, reachable=set(OWNERS) - lost), order)
    assert reach is not None
    if level in (Level.ALL, Level.MAJORITY) or not lost:
        assert reach.is_enough == (len(lost) <= {Level.ALL: 0, Level.MAJORITY: 1}.get(level, 3))


@pytest.mark.parametrize("level", list(Level))
def test_giving_up_says_how_far_it_came(level):
    reading = begin(level)
    reading.hear(b"b", dot(1))
    assert str(reading.give_up().reach) == "1/3"
    assert not reading.give_up().reach.is_enough
