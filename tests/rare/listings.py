"""Listings, and reads of many keys, in states that histories reach too seldom.

Each scenario holds, and breaks with a planted defect: so that would show.
"""

from __future__ import annotations

from twisted.internet.defer import ensureDeferred
from twisted.python.failure import Failure

from dynatwist.api.data import DataRoutes
from dynatwist.api.limits import Limits
from dynatwist.auth.rights import Access
from dynatwist.auth.tokens import Identity, Role
from dynatwist.model.access import OWN, Granted, Scope
from dynatwist.replication.quorum import Level
from dynatwist.replication.request import Code, Result
from dynatwist.requests.listing import Names
from tests.test_feed import record
from tests.test_findings import ask, settled

from .requests import KEY, a_damaged_one_and_one_that_was_away, code


def a_page_ends_where_the_first_node_ends():
    """Each says a few keys at a time, for their bytes; and how far they get differs, since they own different ones."""
    world, cluster = settled(6)
    node = cluster.nodes[0]
    for core in cluster.cores():
        core.handlers.context.listing.scan_bytes = 300
    names = sorted(f"k{number:02}" for number in range(40))
    for name in names:
        assert code(ask(world, node, "put", ("t", name), level="all")) == "ok"
    found, after = [], ""
    while after is not None:
        pages = []
        listing = node.core.handlers.context.listing.names("t", "", after, Level.MAJORITY)
        node.process.run(lambda listing=listing, pages=pages: ensureDeferred(listing).addCallback(pages.append))
        assert world.run_until(lambda pages=pages: pages, 5)
        found += [name for name, _ in pages[0].names]
        after = pages[0].next_after
    assert found == names


ALICE = Identity("alice", "alice", Role.USER, 0, 1 << 40)


class _Context:
    """Of a table of two pages, the first of another user, in which there are any number of keys besides."""

    listing = coordinator = rights = property(lambda self: self)
    limits = Limits()

    async def names(self, table, prefix, after, level, limit=0):
        return Names([("b", "alice"), ("c", "alice")], None) if after else Names([("a", "bob")], "a")

    def submit(self, operation, done):
        done(Result(Code.OK, record(("t", "a"), 1, 1)))

    def of(self, identity, table):
        return Access({"": Granted(Scope.OWN, OWN)})

    def may_read(self, identity, key, record):
        return True


def shown(pieces):
    async def gathered():
        return [one async for piece in pieces for one in piece]

    found = []
    ensureDeferred(gathered()).addCallback(found.extend)
    return found


def a_limit_counts_what_is_shown():
    routes = DataRoutes(_Context())
    assert shown(routes._names(ALICE, "t", {}, Level.ONE, 2)) == [b'"b"', b'"c"']


def all_that_are_asked_for_are_shown():
    routes, names = DataRoutes(_Context()), [f"k{number}" for number in range(30)]
    assert len(shown(routes._records(None, "t", names, Level.ONE))) == len(names)


def a_listing_needs_the_old_owners_as_well():
    _, cluster = settled(3)
    core = cluster.nodes[0].core
    core.cluster.adopt(core.cluster.registry.with_members((core.cluster.me,)))
    assert not core.handlers.context.listing.is_covered({core.identity.node_id}, Level.MAJORITY)


def a_listing_does_not_count_a_damaged_owner():
    world, ignorant, _ = a_damaged_one_and_one_that_was_away()
    over = []
    listing = ignorant.core.handlers.context.listing.names("t", "", "", Level.MAJORITY)
    ignorant.process.run(lambda: ensureDeferred(listing).addBoth(over.append))
    assert world.run_until(lambda: over, 5)
    assert isinstance(over[0], Failure)


def a_key_that_equals_the_prefix_has_it():
    world, cluster = settled(3)
    core = cluster.nodes[0].core
    ask(world, cluster.nodes[0], "put", KEY)
    assert list(core.store.keys("t", "k")) == ["k"]


SCENARIOS = {
    "a_listing_goes_as_far_as_the_farthest_node": a_page_ends_where_the_first_node_ends,
    "a_limit_counts_what_others_own": a_limit_counts_what_is_shown,
    "many_keys_are_read_with_gaps": all_that_are_asked_for_are_shown,
    "a_listing_that_one_group_covers": a_listing_needs_the_old_owners_as_well,
    "a_listing_believes_owners_that_are_not_whole": a_listing_does_not_count_a_damaged_owner,
    "a_prefix_that_is_a_key_is_not_listed": a_key_that_equals_the_prefix_has_it,
}
"""By the defect that breaks it."""
