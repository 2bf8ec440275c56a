"""Listeners at nodes that own nothing of what they listen to miss nothing, in a simulated cluster."""

from __future__ import annotations

import pytest

from dynatwist.core import Core
from dynatwist.feed.hub import Event, Notice, Subscription
from dynatwist.feed.sight import EVERYTHING
from dynatwist.model.record import Key
from dynatwist.model.ring import partition_of
from dynatwist.replication.request import Code, Kind, Operation, Result
from dynatwist.sim.cluster import SimCluster
from dynatwist.sim.world import World

from .planted.mistakes import a_feed_that_is_not_resumed


def settled(seed: int) -> tuple[World, SimCluster]:
    world = World(seed)
    cluster = SimCluster(world, 4)
    for node in cluster.nodes:
        node.start()
    assert world.run_until(cluster.is_settled, 60)
    return world, cluster


def key_of_others(core: Core) -> Key:
    """One of which a node owns nothing."""
    keys = (("t", f"k{number}") for number in range(100))
    return next(key for key in keys if core.identity.node_id not in core.cluster.ownership.owners(partition_of(*key)))


def put(world: World, core: Core, key: Key, value: bytes) -> None:
    results: list[Result] = []
    core.coordinator.submit(Operation(Kind.PUT, key, value=value, uid="alice"), results.append)
    assert world.run_until(lambda: bool(results), 10)
    assert results[0].code is Code.OK


def heard_across_a_cut() -> list[object]:
    """What a listener hears of a write made while its node was cut off from all owners."""
    world, cluster = settled(3)
    lonely, *others = cluster.nodes
    assert lonely.core is not None
    key = key_of_others(lonely.core)
    owner = next(
        node.core
        for node in others
        if node.core and node.core.identity.node_id in lonely.core.cluster.ownership.owners(partition_of(*key))
    )
    listener = Subscription(table=key[0], key=key[1], prefix="", sight=EVERYTHING, wake=lambda: None)
    lonely.core.hub.subscribe(listener, None)
    world.run(world.now_s + 2)
    put(world, owner, key, b'{"n":1}')
    world.run(world.now_s + 2)
    cluster.network.cut([lonely.host], [node.host for node in others])
    world.run(world.now_s + 10)
    put(world, owner, key, b'{"n":2}')
    cluster.network.heal()
    world.run(world.now_s + 20)
    heard: list[object] = []
    while (item := listener.take()) is not None:
        heard.append(item.record.value if isinstance(item, Event) else item)
    return heard


def test_what_was_written_while_a_node_was_cut_off_is_heard_when_it_is_back():
    assert heard_across_a_cut() == [b'{"n":1}', b'{"n":2}']


def test_this_would_be_seen(monkeypatch: pytest.MonkeyPatch):
    a_feed_that_is_not_resumed(monkeypatch)
    heard = heard_across_a_cut()
    assert heard == [b'{"n":1}']
    assert Notice.RESET not in heard


def test_a_table_is_relayed_for_a_while_after_its_last_listener_left():
    world, cluster = settled(3)
    core = cluster.nodes[0].core
    assert core is not None
    core.relays.interest_s = 60.0

    def listen_for(seconds: float) -> None:
        listener = Subscription(table="t", key=None, prefix="", sight=EVERYTHING, wake=lambda: None)
        core.hub.subscribe(listener, None)
        world.run(world.now_s + seconds)
        core.hub.unsubscribe(listener)

    listen_for(1)
    world.run(world.now_s + 50)
    listen_for(1)
    world.run(world.now_s + 50)
    assert core.hub.interest.names() == ["t"], "it goes by the listener that left last"
    world.run(world.now_s + 11)
    assert core.hub.interest.names() == []
