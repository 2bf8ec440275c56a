"""A ticket is good once in the whole cluster, and what nodes remember of tickets is bounded and ends."""

from __future__ import annotations

import pytest
from twisted.internet.defer import ensureDeferred

from dynatwist.auth import tickets
from dynatwist.auth.tickets import SKEW_S, TICKETS_TABLE
from dynatwist.auth.tokens import TICKET_S

from .planted import plants
from .test_findings import ask, register, settled

KEY = TICKETS_TABLE, "alice"


@pytest.fixture
def place():
    world, cluster = settled(3)
    for name in ("alice", "bob"):
        register(world, cluster.nodes[0], name, "a long secret")
    world.run(world.now_s + 1)
    return world, cluster


def ticket_of(node, name="alice"):
    """A ticket that a user asks for at a node, with a token that was just issued."""
    users = node.core.users
    return users.tokens.issue_ticket(users.authenticate(users.tokens.issue(name, users._find(name).uid, 0)))


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


@pytest.mark.parametrize("at_each", [10, 60])
def test_all_pages_of_a_user_may_come_back_at_once(place, at_each):
    """As after the restart of a node, or of a proxy: fifty pages a node, each with a ticket of its own."""
    world, cluster = place
    outcomes = [shown(node, ticket_of(node)) for _ in range(at_each) for node in cluster.nodes]
    assert named(world, *outcomes) == ["alice"] * len(outcomes)


def test_one_ticket_shown_twice_at_once_on_one_node_opens_once(place):
    world, cluster = place
    one = cluster.nodes[0]
    ticket = ticket_of(one)
    assert sorted(map(str, named(world, shown(one, ticket), shown(one, ticket)))) == ["None", "alice"]


def test_a_ticket_of_somebody_who_logged_out_is_nobodys(place):
    world, cluster = place
    one = cluster.nodes[0]
    ticket = ticket_of(one)
    one.process.run(lambda: ensureDeferred(one.core.users.logout("alice")))
    world.run(world.now_s + 1)
    assert named(world, shown(one, ticket)) == [None]
    assert one.core.store.held(KEY) is None, "nothing is written for it"


def test_a_node_whose_clock_is_far_behind_takes_none(place):
    """To it a ticket that was used, and forgotten since, is still good."""
    world, cluster = place
    one, two, _ = cluster.nodes
    ticket = ticket_of(one)
    assert named(world, shown(one, ticket)) == ["alice"]
    two.set_clock(-60_000)
    world.run(world.now_s + TICKET_S + SKEW_S + 5)
    assert named(world, shown(two, ticket)) == ["unavailable"]


def test_a_record_that_a_broken_member_has_written_is_written_over(place):
    world, cluster = place
    one = cluster.nodes[0]
    assert ask(world, one, "put", KEY, b'{"a":"b"}').code.value == "ok"
    assert named(world, shown(one, ticket_of(one))) == ["alice"]


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
