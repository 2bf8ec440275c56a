"""A wall clock that is set ahead: others hear of that before anything is stamped by it."""

from __future__ import annotations

import pytest

from dynatwist.cluster.times import TOLD_FOR_S
from dynatwist.model.record import beats
from dynatwist.model.ring import partition_of
from dynatwist.storage.effects import Held

from .planted import plants
from .test_findings import ask, settled


@pytest.mark.parametrize("set_s", [0.0, 0.3, 1.0, 1.9, 2.1, 5.0])
@pytest.mark.parametrize("ahead_ms", [400, 5_000, 9_000])
def test_regression_the_second_attempt_beats_the_first_whenever_the_first_owners_clock_was_set(set_s, ahead_ms):
    """Seed 1600045: a write was acknowledged and deleted, and came back by the attempt of a clock set ahead before."""
    early, late = attempts(set_s, ahead_ms)
    assert beats(late, early)


def test_it_would_be_seen(monkeypatch):
    plants()["a_clock_that_was_set_ahead_is_believed_at_once"](monkeypatch)
    early, late = attempts(0.0, 5_000)
    assert beats(early, late)


def attempts(set_s, ahead_ms):
    """What one request became, carried out by an owner whose clock was set and who is not heard of, and by the next."""
    world, cluster = settled(4)
    forwarder, registry = cluster.nodes[0], cluster.registry()
    keys = (("t", f"k{number}") for number in range(1000))
    key = next(one for one in keys if forwarder.node_id not in registry.owners(partition_of(*one)))
    first = next(node for node in cluster.nodes if node.node_id == registry.owners(partition_of(*key))[0])
    written = []
    for node in cluster.nodes:
        actor = node.core.store.actor

        def kept(entry, effect, actor=actor):
            if isinstance(effect, Held) and effect.record.dot.actor == actor:
                written.append(effect.record)

        node.core.store.observe(kept)
    first.set_clock(ahead_ms)
    world.run(world.now_s + set_s)
    for node in cluster.nodes:
        cluster.network.slow(first.host, node.host, 0.9)
    assert ask(world, forwarder, "put", key).code.value == "ok"
    early, late = written
    return early, late


def test_a_clock_that_was_set_ahead_is_believed_after_a_while():
    world, cluster = settled(3)
    core = cluster.nodes[0].core
    before_ms = core.cluster.times.near_ms()
    cluster.nodes[0].set_clock(5_000)
    world.run(world.now_s + 0.5)
    assert core.cluster.times.near_ms() < before_ms + 1_000
    world.run(world.now_s + TOLD_FOR_S + 1)
    assert core.cluster.times.near_ms() > before_ms + 5_000


def test_a_clock_that_was_set_back_is_believed_at_once():
    world, cluster = settled(3)
    core = cluster.nodes[0].core
    before_ms = core.cluster.times.near_ms()
    cluster.nodes[0].set_clock(-5_000)
    world.run(world.now_s + 0.1)
    assert core.cluster.times.near_ms() < before_ms - 4_000
