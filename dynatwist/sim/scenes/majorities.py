"""Majorities at their edges: of three owners one missed something, one is not well, and one is away."""

from __future__ import annotations

from dynatwist.model.record import Key
from dynatwist.replication.request import Kind, etag

from ..cluster import SimNode
from ..history import Call
from .stage import Stage

PAGES_KEYS = 40
SEEN_S = 1.5
"""A node looks once a second how much room its disk has."""
ROUNDS, AT_ONCE = 8, 4
GAPS_S = (0.0, 0.001, 0.003)
"""About as long as what is forwarded takes to its owner."""


def a_write_that_one_owner_missed(stage: Stage) -> None:
    """The owner that missed it is soon all that another one reaches, which has lost its disk, or is slow, or full."""
    key = stage.new_key()
    able, ignorant, away = stage.shuffled_owners(key)
    if stage.maybe(0.6):
        stage.put(able, key)
        stage.rest(0.0, 0.5)
    _missed_by(stage, key, ignorant, (able, away))
    way = stage.random.choice(("damaged", "full", "slow", "well"))
    if way == "damaged":
        stage.lose_log(able)
    elif way == "full":
        ignorant.disk.cramp(0)
    elif way == "slow":
        stage.random.choice((able, ignorant)).disk.stall_s = 2.0
    stage.cut_off(away)
    stage.start(able)
    together = stage.wait_until_reached(ignorant, able)
    if together:
        _look_around(stage, key, (able, ignorant))
    _without(stage, key, able, (ignorant, away))


def a_write_that_only_one_owner_has(stage: Stage) -> None:
    """It was cut off. Whoever reads it with a majority leaves it at a majority, or does not show it."""
    key = stage.new_key()
    able, *others = stage.shuffled_owners(key)
    ignorant, away = others
    if stage.maybe(0.3):
        stage.put(able, key)
    stage.cut_off(able)
    stage.rest(0.0, 3.0)
    stage.done(stage.ask(able, stage.random.choice((Kind.PUT, Kind.PUT, Kind.DELETE)), key, "one"))
    match stage.random.choice(("full", "full", "slow", "well")):
        case "full":
            ignorant.disk.cramp(0)
        case "slow":
            ignorant.disk.stall_s = 2.0
    stage.cut_off(away)
    if stage.wait_until_reached(*stage.random.choice(((able, ignorant), (ignorant, able)))):
        _look_around(stage, key, (able, ignorant))
    _without(stage, key, able, (ignorant, away))


def a_condition_at_an_owner_that_missed_a_write(stage: Stage) -> None:
    """The first owner decides conditions; right after it is reached again it holds the record before the last one."""
    key = stage.new_key()
    ignorant, *others = stage.owners(key)
    first = stage.put(ignorant, key)
    stage.rest(0.0, 0.5)
    _missed_by(stage, key, ignorant, others)
    stage.cut_off()
    other = stage.random.choice(others)
    if first is None or first.record is None or not stage.wait_until_reached(ignorant, other):
        return
    tag = etag(first.record)
    kind = stage.random.choice((Kind.PUT, Kind.PUT, Kind.DELETE, Kind.PATCH))
    stage.done(stage.ask(stage.random.choice((ignorant, other)), kind, key, tag="" if kind is Kind.PATCH else tag))
    stage.read_at(others, key)


def conditions_at_an_owner_that_is_not_well(stage: Stage) -> None:
    """The first owner's disk is full or slow: it could decide about some requests, and others about the rest."""
    key = stage.new_key()
    first, *others = stage.owners(key)
    stage.put(first, key)
    if stage.maybe(0.7):
        first.disk.cramp(0)
    else:
        first.disk.stall_s = stage.random.choice((0.02, 0.3, 2.0))
    stage.rest(SEEN_S)
    for _ in range(ROUNDS):
        held = stage.done(stage.ask(others[0], Kind.GET, key))
        if held is None or held.record is None or held.record.value is None:
            stage.put(others[0], key)
            continue
        is_fair = stage.all_reach_all
        calls = [_changes_what_is_held(stage, key, etag(held.record)) for _ in range(AT_ONCE)]
        done = [call for call in map(stage.done, calls) if call is not None and call.code == "ok"]
        if len(done) > 1 and is_fair and stage.all_reach_all:
            stage.say(f"P2: one record was replaced twice: {[call.text() for call in done]}")


def _changes_what_is_held(stage: Stage, key: Key, tag: str) -> Call | None:
    """Sent through any node, within the few milliseconds that the others take."""
    kind = stage.random.choice((Kind.PUT, Kind.PUT, Kind.DELETE))
    is_large = kind is Kind.PUT and stage.maybe(0.5)
    call = stage.ask(stage.random.choice(stage.members()), kind, key, "quorum", tag=tag, is_large=is_large)
    stage.rest(*GAPS_S)
    return call


def a_table_that_is_listed_in_pages(stage: Stage) -> None:
    """Owners have missed some of its keys, and deletes of others; pages of each end somewhere else."""
    keys = [stage.new_key() for _ in range(PAGES_KEYS)]
    nodes = stage.members()
    ignorant, *others = nodes
    for key in keys:
        stage.ask(stage.random.choice(nodes), Kind.PUT, key)
    stage.rest(1.0)
    stage.cut_off(ignorant)
    for key in stage.random.sample(keys, PAGES_KEYS // 3):
        stage.ask(stage.random.choice(others), stage.random.choice((Kind.PUT, Kind.DELETE)), key)
    stage.rest(1.0)
    stage.cut_off()
    stage.wait_until_reached(ignorant, others[0])
    for _ in range(4):
        stage.list_at(nodes)
        stage.rest(0.0, 0.1, 0.5)


def _missed_by(stage: Stage, key: Key, ignorant: SimNode, others: list[SimNode] | tuple[SimNode, ...]) -> None:
    """Some owners write something that another one, cut off, does not hear of."""
    stage.cut_off(ignorant)
    stage.rest(0.0, 0.3, 3.0)
    for _ in range(stage.random.randint(1, 3)):
        kind = stage.random.choice((Kind.PUT, Kind.PUT, Kind.PATCH, Kind.DELETE))
        stage.done(stage.ask(stage.random.choice(others), kind, key))


def _without(stage: Stage, key: Key, able: SimNode, others: tuple[SimNode, SimNode]) -> None:
    """The owner that was asked is away, and the two others are asked."""
    stage.cut_off(able)
    stage.wait_until_reached(*others)
    _look_around(stage, key, others)


def _look_around(stage: Stage, key: Key, nodes: tuple[SimNode, ...]) -> None:
    """Reads and writes of a pair of owners that can reach each other, and nobody else."""
    stage.read_at(nodes, key)
    stage.list_at(nodes)
    if stage.maybe(0.3):
        stage.done(stage.ask(stage.random.choice(nodes), stage.random.choice((Kind.PUT, Kind.DELETE)), key))
    stage.list_at(nodes)
    stage.read_at(nodes, key, times=4, within_s=2.0)


SCENES = (
    a_write_that_one_owner_missed,
    a_write_that_only_one_owner_has,
    a_condition_at_an_owner_that_missed_a_write,
    conditions_at_an_owner_that_is_not_well,
    a_table_that_is_listed_in_pages,
)
