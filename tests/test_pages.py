"""Pages of what there is are read once for all who ask meanwhile, and never before anybody asked."""

from __future__ import annotations

import pytest
from twisted.internet.defer import Deferred

from dynatwist.api.pages import SharedPages
from dynatwist.requests.listing import ListingUnavailable, Page

PAGES = [Page([], f"page {number}") for number in range(3)]


class Listing:
    """Reads nothing until the test says so."""

    def __init__(self):
        self.begun = []

    async def page(self, *what):
        reading = Deferred()
        self.begun.append((what, reading))
        return await reading


class Intake:
    """A turn that has time for so many more."""

    def __init__(self, left):
        self.left, self.postponed = left, []

    def has_time(self):
        self.left -= 1
        return self.left > 0

    def postpone(self, call):
        self.postponed.append(call)


@pytest.fixture
def listing():
    return Listing()


def told_by(pages, *names):
    told = []
    for name in names:
        pages.page("t", name, "").addBoth(told.append)
    return told


def test_who_asks_while_a_page_is_read_gets_the_next_reading(listing):
    pages = SharedPages(listing.page, Intake(100))
    first = told_by(pages, "p")
    later = told_by(pages, "p", "p")
    assert [what for what, _ in listing.begun] == [("t", "p", "")]
    listing.begun[0][1].callback(PAGES[0])
    assert (first, later, len(listing.begun)) == ([PAGES[0]], [], 2), "one more for both, begun after they asked"
    listing.begun[1][1].callback(PAGES[1])
    assert later == [PAGES[1]] * 2
    told_by(pages, "p")
    assert len(listing.begun) == 3, "nothing is kept"


def test_other_pages_are_others(listing):
    pages = SharedPages(listing.page, Intake(100))
    told_by(pages, "p", "q")
    assert len(listing.begun) == 2


def test_a_page_that_cannot_be_read_is_told_so_and_the_next_one_is_read(listing):
    pages = SharedPages(listing.page, Intake(100))
    first, later = told_by(pages, "p"), told_by(pages, "p")
    listing.begun[0][1].errback(ListingUnavailable())
    assert first[0].check(ListingUnavailable)
    listing.begun[1][1].callback(PAGES[0])
    assert later == [PAGES[0]]


def test_a_turn_tells_as_many_as_it_has_time_for(listing):
    intake = Intake(2)
    pages = SharedPages(listing.page, intake)
    told_by(pages, "p")
    told = told_by(pages, *"pppp")
    listing.begun[0][1].callback(PAGES[0])
    intake.left = 2
    listing.begun[1][1].callback(PAGES[1])
    assert len(told) == 2
    intake.left = 100
    intake.postponed.pop()()
    assert told == [PAGES[1]] * 4
