"""A ticket is good once in the whole cluster, and what nodes remember of tickets is bounded and ends."""

from __future__ import annotations

import pytest
from twisted.internet.defer import ensureDeferred

from dynatwist.auth import tickets
from dynatwist.auth.tickets import SKEW_S, TICKETS_TABLE
from dynatwist.auth.tokens import TICKET_S, Identity, Role

from .planted import plants
from .test_findings import settled

KEY = TICKETS_TABLE, "alice"


@pytest.fixture
def place():
    return settled(3)


def ticket_of(node, name="alice"):
    """A ticket for as long as a token is good that ends in an hour."""
    until_s = node.core.cluster.runtime.wall_ms() // 1000 + 3600
    return node.core.users.tokens.issue_ticket(Identity(name, f"{name}#x-1", Role.USER, 0, until_s))


def shown(node, ticket):
    """What becomes of a ticket, in time: a list for a name, ``None`` or an error."""
    out = []
    node.process.run(lambda: ensureDeferred(node.core.users.tickets.redeem(ticket)).addBoth(out.append))
    return out


def named(world, *outcomes):
    """The names that tickets opened for; ``None`` for each that was refused, and the code of an error."""
    assert world.run_until(lambda: all(outcomes), 5, step_s=0.001)
    return [getattr(one.value, "code", one.value) if hasattr(one, "value") else one and one.name for (one,) in outcomes]


def test_a_ticket_is_good_once_on_one_node(place):
    world, cluster = place
    one = cluster.nodes[0]
    ticket = ticket_of(one)
    assert named(world, shown(one, ticket)) == ["alice"]
    assert named(world, shown(one, ticket)) == [None]


def test_a_ticket_that_one_node_took_is_refused_by_the_others(place):
    world, cluster = place
    one, two, three = cluster.nodes
    ticket = ticket_of(one)
    assert named(world, shown(two, ticket)) == ["alice"]
    assert named(world, shown(three, ticket), shown(one, ticket)) == [None, None]


def test_a_ticket_that_all_nodes_are_shown_at_once_opens_once(place):
    world, cluster = place
    for _ in range(5):
        ticket = ticket_of(cluster.nodes[0])
        assert sorted(map(str, named(world, *[shown(node, ticket) for node in cluster.nodes]))) == [
            "None",
            "None",
            "alice",
        ]


def test_different_tickets_of_one_user_open_at_once(place):
    world, cluster = place
    outcomes = [shown(node, ticket_of(node)) for node in cluster.nodes]
    assert named(world, *outcomes) == ["alice"] * 3


def test_what_is_remembered_ends_by_itself(place):
    world, cluster = place
    one = cluster.nodes[0]
    assert named(world, shown(one, ticket_of(one))) == ["alice"]
    held = one.core.store.held(KEY)
    assert held is not None
    world.run(world.now_s + TICKET_S + SKEW_S + 5)
    assert held.is_dead(one.core.store.lapse_ms)


def test_a_user_uses_so_many_and_no_more(place, monkeypatch):
    monkeypatch.setattr(tickets, "MOST_USED", 3)
    world, cluster = place
    one, two, _ = cluster.nodes
    for _ in range(3):
        assert named(world, shown(one, ticket_of(one))) == ["alice"]
    assert named(world, shown(two, ticket_of(one))) == ["too_many_tickets"]
    assert named(world, shown(two, ticket_of(one, "bob"))) == ["bob"], "what one user spends is no other's"
    world.run(world.now_s + TICKET_S + SKEW_S + 5)
    assert named(world, shown(two, ticket_of(two))) == ["alice"]


def test_a_lone_survivor_takes_tickets(place):
    world, cluster = place
    one, *others = cluster.nodes
    for node in others:
        node.kill()
    world.run(world.now_s + 5)
    assert named(world, shown(one, ticket_of(one))) == ["alice"]


def test_it_would_be_seen(place, monkeypatch):
    plants()["a_ticket_is_remembered_by_one_node"](monkeypatch)
    world, cluster = place
    one, two, _ = cluster.nodes
    ticket = ticket_of(one)
    assert named(world, shown(one, ticket), shown(two, ticket)) == ["alice", "alice"]
