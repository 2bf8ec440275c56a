"""Requests that an owner carries out for somebody else, and is not heard of in time."""

from __future__ import annotations

from dynatwist.model.record import Key
from dynatwist.replication.request import Kind

from ..cluster import SimNode
from .stage import Stage

LATE_S = (0.05, 0.12, 0.2, 0.4, 0.9, 0.9)
"""Around the quarter of a second for which an owner may carry out what was forwarded."""


def an_owner_that_answers_late(stage: Stage) -> None:
    """It carries out what was forwarded; the next owner is asked in doubt, while others write, create and delete."""
    key = stage.new_key()
    first, *others = stage.owners(key)
    forwarder = _forwarder(stage, key)
    slow = stage.random.choice((first, first, others[0]))
    skew_ms = slow.skew_ms
    if stage.maybe(0.5):
        slow.set_clock(skew_ms + stage.random.choice((-5_000, 5_000, 5_000)))
    if stage.maybe(0.6):
        stage.put(others[0], key)
        if stage.maybe(0.5):
            stage.delete(others[0], key)
    stage.rest(0.0, 1.0, 3.0, 3.0)
    stage.slow_from(slow, stage.random.choice(LATE_S))
    if stage.maybe(0.5):
        stage.slow_between(forwarder, slow, stage.random.choice(LATE_S[:3]))
    for _ in range(stage.random.randint(1, 3)):
        _race(stage, key, forwarder, others)
    stage.slow_from(slow, 0.0)
    stage.slow_from(forwarder, 0.0)
    slow.set_clock(skew_ms)
    stage.read_at(stage.members(), key)


def an_owner_that_dies_with_a_request(stage: Stage) -> None:
    """Killed or frozen within a moment of a forwarded write; those that stay say what became of it, or that nobody
    knows."""
    key = stage.new_key()
    first, *others = stage.owners(key)
    forwarder = _forwarder(stage, key)
    if stage.maybe(0.5):
        stage.put(others[0], key)
    kind = stage.random.choice((Kind.PUT, Kind.PATCH, Kind.DELETE))
    call = stage.ask(forwarder, kind, key, stage.random.choice(("quorum", "majority")))
    stage.rest(0.0005, 0.002, 0.004, 0.01)
    if stage.maybe(0.5) and first.process is not None:
        first.process.pause()
    else:
        stage.kill(first, power=stage.maybe(0.5))
    stage.rest(0.0, 0.05, 0.3)
    stage.done(stage.ask(others[0], stage.random.choice((Kind.PUT, Kind.DELETE)), key))
    stage.done(call)
    if first.process is not None:
        first.process.thaw()
    stage.start(first)
    stage.read_at(others, key, times=3, within_s=1.0)


def a_creation_between_two_attempts(stage: Stage) -> None:
    """An owner creates a key for somebody else and is not heard of; another creation is acknowledged, then the next
    owner carries the first request out too. What was created first arrives last."""
    key = stage.new_key()
    first, *others = stage.owners(key)
    if stage.maybe(0.5):
        stage.put(others[0], key)
        stage.delete(others[0], key)
    is_alone = stage.maybe(0.3)
    if is_alone:
        stage.part(others[0], first, *others[1:])
        stage.rest(0.3, 1.0)
    stage.slow_from(first, LATE_S[-1])
    call = stage.ask(_forwarder(stage, key), Kind.PUT, key, stage.random.choice(("quorum", "majority")))
    stage.rest(0.03, 0.1, 0.2)
    stage.put(others[0] if is_alone else others[-1], key, "quorum" if is_alone else "majority")
    if stage.maybe(0.3):
        stage.delete(others[-1], key)
    stage.done(call)
    stage.slow_from(first, 0.0)
    stage.put(others[-1] if is_alone else others[0], key)
    if stage.maybe(0.5):
        stage.delete(others[-1], key)
        stage.put(others[-1], key)
    stage.read_at(others[1:], key)
    stage.cluster.network.heal()
    stage.read_at(stage.members(), key, times=3, within_s=1.0)


def _forwarder(stage: Stage, key: Key) -> SimNode:
    """A node that owns nothing of a key; if there is none, the last owner, which forwards some kinds of requests."""
    strangers = stage.strangers(key)
    return strangers[0] if strangers else stage.owners(key)[-1]


def _race(stage: Stage, key: Key, forwarder: SimNode, others: list[SimNode]) -> None:
    """One request that is forwarded, and what others do to the same key until it is answered."""
    level = stage.random.choice(("quorum", "majority"))
    kind = stage.random.choice((Kind.PUT, Kind.PUT, Kind.PATCH, Kind.DELETE))
    is_owner = forwarder in others  # it forwards only what depends on what is held
    call = stage.ask(forwarder, kind, key, level, if_absent=is_owner and kind is Kind.PUT)
    for _ in range(stage.random.choice((0, 0, 1, 2))):
        stage.rest(0.05, 0.25, 0.35)
        stage.ask(stage.random.choice(others), stage.random.choice((Kind.DELETE, Kind.PUT, Kind.PUT, Kind.GET)), key)
    stage.done(call)
    if stage.maybe(0.5):
        stage.put(others[0], key)
        stage.read_at(others[:1], key)


SCENES = (
    an_owner_that_answers_late,
    an_owner_that_answers_late,
    an_owner_that_dies_with_a_request,
    a_creation_between_two_attempts,
)
