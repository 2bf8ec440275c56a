"""Members change while an owner has missed something, and others are damaged, away, or die at the wrong moment."""

from __future__ import annotations

from dynatwist.model.record import Key
from dynatwist.replication.request import Kind

from ..cluster import SimNode
from .stage import MOST_NODES, Stage

FEWEST = 3
KEYS = 12
"""Enough that any change of owners concerns some of them."""


def a_joiner_that_finds_only_those_who_missed_something(stage: Stage) -> None:
    """Old owners: one has missed the last writes, one has them and is away, one is damaged or well."""
    if stage.is_full:
        return
    keys = [stage.new_key() for _ in range(KEYS)]
    ignorant, away, third, *others = stage.members()
    stage.cut_off(ignorant)
    stage.rest(0.0, 3.0)
    _write_all(stage, keys, [third, away, *others])
    if stage.maybe(0.6):
        stage.lose_log(third)
    joiner = stage.join(0.0, 0.1, 0.4)
    stage.rest(0.0, 0.2, 1.0)
    stage.cut_off(away)
    stage.start(third)
    stage.rest(0.5, 2.0, 4.0)
    stage.read_at([ignorant, joiner], keys[0])
    stage.list_at([ignorant, joiner])
    if stage.maybe(0.4):
        stage.cut_off(ignorant)
        stage.rest(0.2, 1.0)
    stage.cut_off()
    joiner.disk.stall_s = 0.0
    stage.wait_until_settled()
    _read_all(stage, keys)


def members_that_are_struck_out_while_they_are_away(stage: Stage) -> None:
    """Two that alone have some writes; they come back in time, or late, and hand off what they have."""
    members = stage.members()
    if len(members) < FEWEST + 2:
        return
    key = stage.new_key()
    ignorant, *struck = stage.shuffled_owners(key)
    stage.cut_off(ignorant)
    stage.rest(0.0, 3.0)
    stage.put(struck[0], key)
    if stage.maybe(0.5):
        struck = struck[: stage.random.choice((1, 2))]
    stage.cut_off(*struck)
    stage.rest(0.0, 0.5)
    for node in struck:
        _forget(stage, ignorant, node)
    stage.rest(1.0, 4.0, 7.0)
    stage.read_at([ignorant], key)
    stage.cut_off()
    stage.wait(lambda: not stage.is_changing, 30.0)
    stage.read_at([ignorant], key, times=3, within_s=2.0)


def a_node_that_dies_as_it_hears_of_a_change(stage: Stage) -> None:
    """It alone has some writes, and loses partitions, or gets some, in the moment in which it loses its power."""
    if stage.is_full:
        return
    lost, *others = stage.members()
    keys = [stage.new_key() for _ in range(KEYS)]
    stage.cut_off(lost)
    stage.rest(3.0)
    for key in keys:
        stage.done(stage.ask(lost, Kind.PUT, key, "one"), 1.0)
    stage.rest(0.1)
    if stage.maybe(0.7):
        stage.kill(lost)
    stage.join(0.0)
    stage.wait(lambda: _version(others[0]) > _version(lost) and not stage.is_changing, 20.0)
    stage.cut_off()
    stage.start(lost)
    before = _version(lost)
    stage.wait(lambda: lost.core is not None and _version(lost) > before, 20.0)
    stage.rest(0.0, 0.0005, 0.002, 0.01)
    stage.kill(lost, power=stage.maybe(0.7))
    stage.rest(0.0, 0.3)
    stage.start(lost)
    stage.wait_until_settled()
    _read_all(stage, keys)


def a_change_that_is_amended(stage: Stage) -> None:
    """While somebody joins slowly, others join or are struck out, or the joiner dies; clients go on writing."""
    members = stage.members()
    if len(members) >= MOST_NODES - 1:
        return
    keys = [stage.new_key() for _ in range(KEYS)]
    _write_all(stage, keys, members)
    joiner = stage.join(0.2, 0.5)
    stage.wait(lambda: stage.is_changing, 10.0)
    stage.rest(0.0, 0.05, 0.4)
    missing = stage.random.choice(members)
    if stage.maybe(0.5):
        stage.cut_off(missing)
    _write_all(stage, keys, [node for node in members if node is not missing])
    able = next(node for node in members if node is not missing)
    stage.list_at([able, joiner])
    match stage.random.choice(("join", "strike out a member", "strike out the joiner", "power")):
        case "join":
            stage.join(0.0, 0.2)
        case "strike out a member" if len(members) > FEWEST:
            _forget(stage, able, next(node for node in members if node not in (missing, able)))
        case "strike out the joiner":
            _forget(stage, able, joiner)
        case "power":
            stage.kill(joiner, power=True)
    stage.rest(0.0, 0.3, 1.5)
    stage.cut_off()
    stage.rest(0.0, 0.5)
    joiner.disk.stall_s = 0.0
    stage.start(joiner)
    stage.wait(lambda: not stage.is_changing, 20.0)
    _read_all(stage, keys)


def a_joiner_that_loses_its_power_when_the_change_ends(stage: Stage) -> None:
    """What it said that it had fetched has to be there, since soon somebody else loses a copy."""
    members = stage.members()
    if stage.is_full:
        return
    keys = [stage.new_key() for _ in range(KEYS)]
    _write_all(stage, keys, members)
    joiner = stage.join(0.05, 0.3)
    stage.wait(lambda: stage.is_changing, 10.0)
    stage.wait(lambda: not stage.is_changing, 20.0)
    stage.rest(0.0, 0.002)
    stage.kill(joiner, power=True)
    joiner.disk.stall_s = 0.0
    stage.rest(0.0, 0.5)
    stage.start(joiner)
    stage.wait_until_settled()
    _read_all(stage, keys)


def _forget(stage: Stage, by: SimNode, node: SimNode) -> None:
    if by.core is not None and by.process is not None and node.node_id:
        by.process.run(by.core.registrar.forget, node.node_id)


def _version(node: SimNode) -> int:
    return node.core.cluster.version if node.core is not None else 0


def _write_all(stage: Stage, keys: list[Key], nodes: list[SimNode]) -> None:
    calls = [stage.ask(stage.random.choice(nodes), Kind.PUT, key) for key in keys]
    for call in calls:
        stage.done(call, 2.0)


def _read_all(stage: Stage, keys: list[Key]) -> None:
    members = stage.members()
    stage.list_at(members)
    calls = [stage.ask(stage.random.choice(members), Kind.GET, key) for key in keys]
    for call in calls:
        stage.done(call)


SCENES = (
    a_joiner_that_finds_only_those_who_missed_something,
    members_that_are_struck_out_while_they_are_away,
    a_node_that_dies_as_it_hears_of_a_change,
    a_change_that_is_amended,
    a_joiner_that_loses_its_power_when_the_change_ends,
)
