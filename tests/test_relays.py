"""Listeners at nodes that own nothing of what they listen to miss nothing, in a simulated cluster."""

from __future__ import annotations

import pytest

from dynatwist.core import Core
from dynatwist.feed.hub import Event, Hub, Notice, Subscription
from dynatwist.feed.sight import EVERYTHING
from dynatwist.model.clock import Stamp
from dynatwist.model.dots import Dot
from dynatwist.model.lineage import Lineage
from dynatwist.model.record import Key, Record
from dynatwist.model.records import pack
from dynatwist.model.ring import partition_of
from dynatwist.net.arrival import Arrival
from dynatwist.net.messages import Relay
from dynatwist.relays.besides import MOST, Besides
from dynatwist.replication.quorum import Level
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
    core.relays.keep_interest(60.0)

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


def test_an_owner_relays_also_what_it_was_told_before_it_held_it():
    """While members change, owners relay to one another. The first one dies before its own relay has arrived."""
    world, cluster = settled(3)
    lonely, *others = cluster.nodes
    assert lonely.core is not None
    key = key_of_others(lonely.core)
    first, second, third = others
    listener = Subscription(table=key[0], key=key[1], prefix="", sight=EVERYTHING, wake=lambda: None)
    lonely.core.hub.subscribe(listener, None)
    put(world, first.core, key, b'{"n":1}')
    world.run(world.now_s + 2)
    cluster.network.cut([first.host], [lonely.host, second.host, third.host])
    done: list[Result] = []
    operation = Operation(Kind.PUT, key, value=b'{"n":2}', uid="alice", level=Level.ONE)
    first.core.coordinator.submit(operation, done.append)
    assert world.run_until(lambda: bool(done), 10)
    record = first.core.store.held(key)
    assert record is not None
    assert record.value == b'{"n":2}'
    relayed = Relay([(key, record)], first.core.hub.cursor)
    for node in (second, third):
        node.process.run(node.core.cluster.peers.handle, Arrival(first.node_id), relayed, None)
    cluster.network.heal()
    cluster.network.cut([first.host], [lonely.host])
    assert world.run_until(lambda: all(node.core.store.held(key) == record for node in (second, third)), 60)
    first.kill()
    world.run(world.now_s + 20)
    heard = []
    while (item := listener.take()) is not None:
        heard.append(item.record.value if isinstance(item, Event) else item)
    assert heard == [b'{"n":1}', b'{"n":2}']


def test_what_was_relayed_besides_is_told_again_to_whoever_may_have_missed_it():
    hub, besides = Hub("e" * 16), Besides()
    actor = bytes(16)
    record = Record(Dot(actor, 1), b"{}", (), Stamp(1, 0, actor), Lineage(0, (Stamp(1, 0, actor),)), 1, "alice")
    for number in range(MOST + 2):
        hub.publish(("t", f"k{number}"), record)
        besides.note(("t", f"b{number}"), pack(record), hub)
    assert besides.behind(1) is None
    assert besides.behind(2) is None
    told = besides.behind(3)
    assert told is not None
    assert [event.key[1] for event in told] == [f"b{number}" for number in range(2, MOST + 2)]
    assert besides.behind(hub.position + 1) == []


def test_what_was_relayed_besides_is_bounded_in_bytes():
    hub, besides, actor = Hub("e" * 16), Besides(), bytes(16)
    value = b'{"x":"%b"}' % (b"x" * (1 << 20))
    record = Record(Dot(actor, 1), value, (), Stamp(1, 0, actor), Lineage(0, (Stamp(1, 0, actor),)), 1, "alice")
    for number in range(8):
        hub.publish(("t", f"k{number}"), record)
        besides.note(("t", f"b{number}"), pack(record), hub)
    assert besides.behind(1) is None
    told = besides.behind(hub.position)
    assert told is not None
    assert [event.key[1] for event in told] == ["b7"]
