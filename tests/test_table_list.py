"""Which tables there are: put together from what members hold, in pages, whoever is asked and whoever is away."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import ensureDeferred

from dynatwist.net.messages import ListTables, TablesAre
from dynatwist.replication.quorum import Level
from dynatwist.replication.request import Code, Kind, Operation
from dynatwist.requests.table_list import is_sound, put_together
from dynatwist.sim.cluster import SimCluster
from dynatwist.sim.world import World

TABLES = [f"t{number}" for number in range(9)]


def told(held, after, limit):
    """What a member answers that holds so many keys of some tables."""
    behind = sorted((name, count) for name, count in held.items() if name > after)
    return TablesAre(behind[:limit], len(behind) > limit)


@given(st.lists(st.dictionaries(st.sampled_from(TABLES), st.integers(1, 9)), min_size=1, max_size=4), st.integers(1, 4))
def test_page_by_page_each_table_comes_once_with_all_copies(members, limit):
    found, after = [], ""
    while True:
        counts, horizon = put_together([told(held, after, limit) for held in members])
        assert not found or min(counts, default="z") > found[-1][0]
        found += sorted(counts.items())
        if not horizon:
            break
        after = horizon
    names = sorted(set().union(*members))
    assert found == [(name, sum(held.get(name, 0) for held in members)) for name in names]


@pytest.mark.parametrize(
    ("tables", "more"),
    [([("b", 1), ("a", 1)], False), ([("b", 1), ("b", 1)], False), ([("a", 1)], False), ([], True),
     ([("b", 1), ("c", 1), ("d", 1)], False), ([("b" * 1025, 1)], False)],
    ids=["out of order", "twice", "not behind", "no end", "too many", "a long name"],
)  # fmt: skip
def test_what_can_be_no_answer(tables, more):
    assert not is_sound(TablesAre(tables, more), ListTables("a", 2))
    assert is_sound(TablesAre([("b", 1), ("c", 1)], True), ListTables("a", 2))


@pytest.fixture(scope="module")
def cluster():
    """Five nodes and three copies: no node knows of all tables."""
    cluster = SimCluster(World(5), 5)
    for node in cluster.nodes:
        node.start()
    assert cluster.world.run_until(cluster.is_settled, 60)
    one = cluster.nodes[0]
    done = []
    for name in TABLES:
        operation = Operation(Kind.PUT, (name, "k"), Level.MAJORITY, b"{}", "alice")
        one.process.run(lambda operation=operation: one.core.coordinator.submit(operation, done.append))
    assert cluster.world.run_until(lambda: len(done) == len(TABLES), 20)
    assert {result.code for result in done} == {Code.OK}
    cluster.world.run(cluster.world.now_s + 2)
    changing = one.core.handlers.tables._changes
    settings = []
    for name in ("t3", "empty"):
        set_ = changing.set(name, lambda held: msgspec.structs.replace(held, default_ttl=9))
        one.process.run(lambda set_=set_: ensureDeferred(set_).addCallback(settings.append))
    assert cluster.world.run_until(lambda: len(settings) == 2, 20)
    cluster.world.run(cluster.world.now_s + 2)
    return cluster


def page_of(cluster, node, after, limit):
    """A page, as one of the nodes answers it."""
    pages = []
    table_list = node.core.handlers.admin.table_list
    node.process.run(lambda: ensureDeferred(table_list.page(after, limit)).addCallback(pages.append))
    assert cluster.world.run_until(lambda: bool(pages), 10)
    return pages[0]


def listed(cluster, node, limit=100):
    """All tables, and who was missing."""
    found, missing, after = [], set(), ""
    while after is not None:
        page = page_of(cluster, node, after, limit)
        assert len(page.tables) <= limit
        found += page.tables
        missing |= set(page.missing)
        after = page.next_after
    return found, missing


def test_every_node_lists_the_tables_of_all(cluster):
    assert any(len(node.core.store.live) < len(TABLES) for node in cluster.nodes), "else this shows nothing"
    for node in cluster.nodes:
        for limit in (1, 3, 100):
            found, missing = listed(cluster, node, limit)
            assert [one.name for one in found] == sorted([*TABLES, "empty"])
            assert [one.name for one in found if one.has_settings] == ["empty", "t3"]
            assert {one.keys for one in found if one.name != "empty"} == {1}
            assert missing == set()


def test_who_is_away_is_named_once_tables_may_be_theirs_alone(cluster):
    one, _, *others = cluster.nodes
    for away in (others[:2], others):
        cluster.network.cut([node.host for node in away], [node.host for node in cluster.nodes if node not in away])
        cluster.world.run(cluster.world.now_s + 5)
        found, missing = listed(cluster, one)
        if len(away) < 3:
            assert len(found) == len(TABLES) + 1
            assert missing == set()
        else:
            assert missing == {node.node_id for node in others}
        cluster.network.heal()
        assert cluster.world.run_until(cluster.is_settled, 60)


def test_a_member_of_an_older_release_is_not_asked(cluster):
    one, *_, old = cluster.nodes
    status = old.core.cluster._status
    old.core.cluster._status = lambda: msgspec.structs.replace(status(), has_table_lists=False)
    old.process.run(old.core.cluster.publish)
    heard = []
    handle = old.core.cluster.peers.handle

    def listening(arrival, message, respond):
        heard.append(type(message))
        handle(arrival, message, respond)

    old.core.cluster.peers.handle = listening
    cluster.world.run(cluster.world.now_s + 1)
    assert len(listed(cluster, one)[0]) == len(TABLES) + 1, "others hold copies"
    assert ListTables not in heard
