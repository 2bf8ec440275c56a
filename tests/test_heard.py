"""What listeners have heard, as clocks; bookmarks that say it of numbers; tombstones that are gone."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynatwist.feed.bookmarks import MAX_BYTES, Bookmark, Bookmarks
from dynatwist.feed.collected import REMEMBERED, Collected, Floor
from dynatwist.feed.heard import Heard, unpacked
from dynatwist.model.dots import Dot, DotSet

ACTORS = [bytes([number]) * 16 for number in range(4)]
dots = st.builds(Dot, st.sampled_from(ACTORS), st.integers(1, 12))
clocks = st.lists(dots).map(DotSet)
heards = st.builds(
    Heard,
    st.dictionaries(st.integers(0, 256), clocks),
    st.integers(0, 1 << 50),
)


def as_text(heard):
    return {number: clock.to_wire() for number, clock in heard.parts()}, heard.lapse_ms


class TestHeard:
    @given(heards)
    def test_what_is_packed_is_what_is_unpacked(self, heard):
        found = unpacked(heard.pack())
        assert found is not None
        assert as_text(found) == as_text(heard)

    @given(st.binary(max_size=60))
    def test_any_other_bytes_are_none_or_something_sound(self, data):
        found = unpacked(data)
        assert found is None or unpacked(found.pack()) is not None

    @given(heards, st.integers(0, 1 << 30))
    def test_damaged_bytes_do_no_harm(self, heard, seed):
        data = bytearray(heard.pack())
        random = Random(seed)
        for _ in range(random.randrange(1, 4)):
            data[random.randrange(len(data))] = random.randrange(256)
        unpacked(bytes(data))

    @given(heards, heards, st.lists(st.integers(0, 256), max_size=4))
    def test_within_means_that_all_of_it_was_heard(self, one, other, partitions):
        if one.is_within(other, partitions):
            for number in partitions:
                clock = one.of(number)
                assert clock is not None
                assert all(other.has(number, dot) for dot in clock)

    def test_a_delete_may_be_missed_where_a_tombstone_went_that_was_not_heard(self):
        one, two = Dot(ACTORS[0], 1), Dot(ACTORS[0], 2)
        nothing = Floor(DotSet(), 9)
        heard = Heard({1: DotSet([one])}, 5)
        assert not heard.may_lack_delete(1, nothing, [])
        assert not heard.may_lack_delete(1, Floor(DotSet([one]), 5), [(one, 0)])
        assert heard.may_lack_delete(1, nothing, [(two, 0)])
        assert heard.may_lack_delete(1, Floor(DotSet([one, two]), 5), [])
        assert not heard.may_lack_delete(2, nothing, [])
        assert heard.may_lack_delete(2, nothing, [(one, 0)])
        assert heard.may_lack_delete(2, Floor(DotSet([one]), 5), [])

    def test_an_end_may_be_missed_though_the_record_was_heard(self):
        one = Dot(ACTORS[0], 1)
        heard = Heard({1: DotSet([one])}, 5)
        assert not heard.may_lack_delete(1, Floor(DotSet(), 0), [(one, 5)])
        assert heard.may_lack_delete(1, Floor(DotSet(), 0), [(one, 6)])
        assert heard.may_lack_delete(1, Floor(DotSet([one]), 6), [])


class TestCollected:
    def test_it_names_what_went_since_the_start(self):
        one, nothing = Dot(ACTORS[0], 1), Floor(DotSet(), 0)
        collected = Collected([nothing, nothing])
        collected.note(1, [(one, 0)], Floor(DotSet([one]), 3))
        assert collected.of(0) == (nothing, [])
        assert collected.of(1) == (nothing, [(one, 0)])

    def test_of_too_many_it_is_only_known_what_covers_them(self):
        dots = [Dot(ACTORS[0], seq) for seq in range(1, REMEMBERED + 2)]
        collected = Collected([Floor(DotSet(), 0)])
        collected.note(0, [(dot, 0) for dot in dots], Floor(DotSet(dots), 3))
        assert collected.of(0) == (Floor(DotSet(dots), 3), [])

    def test_a_partition_that_starts_over_knows_of_nothing_before(self):
        one = Dot(ACTORS[0], 1)
        collected = Collected([Floor(DotSet(), 0)])
        collected.note(0, [(one, 0)], Floor(DotSet([one]), 0))
        later = Floor(DotSet([one, Dot(ACTORS[1], 1)]), 9)
        collected.begin(0, later)
        assert collected.of(0) == (later, [])


def heard_upto(seq):
    return Heard({0: DotSet(Dot(ACTORS[0], number) for number in range(1, seq + 1))}, 0)


class TestBookmarks:
    def marks(self, *numbers, apart_s=1.0):
        bookmarks = Bookmarks("here")
        for at, number in enumerate(numbers):
            bookmarks.note("there", Bookmark(number, number, heard_upto(number).pack()), at * apart_s)
        return bookmarks

    def test_a_cursor_stands_for_the_last_bookmark_in_front_of_it(self):
        bookmarks = self.marks(3, 7)
        for number, upto in ((3, 3), (6, 3), (7, 7), (100, 7)):
            found = bookmarks.find("there", number)
            assert found is not None
            assert as_text(found) == as_text(heard_upto(upto))
        assert bookmarks.find("there", 2) is None
        assert bookmarks.find("elsewhere", 7) is None

    @given(st.lists(st.integers(0, 60), min_size=1, max_size=40), st.integers(0, 60))
    def test_it_never_claims_what_was_announced_behind_the_cursor(self, numbers, cursor):
        """Here event number N announces dot N."""
        found = self.marks(*sorted(numbers)).find("there", cursor)
        if found is not None:
            assert not any(found.has(0, Dot(ACTORS[0], number)) for number in range(cursor + 1, 61))

    def test_the_order_in_which_they_come_does_not_matter(self):
        bookmarks = self.marks(7, 3, 5, 3)
        found = bookmarks.find("there", 4)
        assert found is not None
        assert as_text(found) == as_text(heard_upto(3))

    def test_old_ones_are_thinned_out_and_the_first_and_last_stay(self):
        bookmarks = self.marks(*range(1, 5000))
        told = list(bookmarks.history(5000.0))
        assert len(told) <= 17
        assert told[-1][1].after == 4999
        assert bookmarks.find("there", 1) is not None
        assert sum(1 for number in range(1, 5000) if bookmarks.find("there", number) is not None) == 4999
        assert bookmarks.size_bytes < 5000 * 100

    def test_they_are_bounded_in_bytes(self):
        bookmarks = Bookmarks("here")
        for number in range(100):
            bookmarks.note(f"process {number}", Bookmark(1, 1, bytes(1 << 20)), 0.0)
        assert bookmarks.size_bytes <= MAX_BYTES
        assert bookmarks.find("process 0", 1) is None

    def test_a_listener_from_elsewhere_takes_events_from_the_newest_bookmark_that_it_covers(self):
        bookmarks = Bookmarks("here")
        for number in (2, 4, 6):
            bookmarks.note_own(Bookmark(number, number + 1, heard_upto(number).pack()), heard_upto(number), 0.0)
        assert bookmarks.position(heard_upto(5), [0]) == 4
        assert bookmarks.position(heard_upto(6), [0]) == 6
        assert bookmarks.position(heard_upto(1), [0]) is None
        assert bookmarks.position(heard_upto(6), [0, 1]) is None

    @pytest.mark.parametrize("restarts", [1, 2, 3])
    def test_some_outlive_a_restart_of_all(self, restarts):
        first = Bookmarks("process 0")
        first.note_own(Bookmark(5, 5, heard_upto(5).pack()), heard_upto(5), 0.0)
        kept = first.kept()
        for number in range(1, restarts + 1):
            later = Bookmarks(f"process {number}")
            later.recall(kept, 0.0)
            assert (later.find("process 0", 6) is not None) == (number <= 2)
            later.note_own(Bookmark(1, 1, heard_upto(5).pack()), heard_upto(5), 0.0)
            kept = later.kept()
