"""Keys of one partition that are deleted, collected and created again, of several generations at once."""

from __future__ import annotations

from dynatwist.model.record import Key
from dynatwist.model.ring import partition_of
from dynatwist.replication.request import Kind

from ..cluster import SimNode
from ..leases import LEASE_TABLE
from .stage import Stage


def generations_that_are_collected_together(stage: Stage) -> None:
    """An old tombstone and a young one go in one look; their keys are created again at once, at another owner."""
    old = stage.new_key()
    partition = partition_of(*old)
    first, young = stage.new_key(partition), stage.new_key(partition)
    nodes = stage.members()
    for key in (old, first):
        stage.put(nodes[0], key, "all")
    stage.delete(nodes[0], first, "all")
    _wait_until_collected(stage, first)
    stage.put(nodes[0], young, "all")
    away = stage.random.choice(stage.owners(old))
    if stage.maybe(0.4):
        stage.cut_off(away)
    for key in stage.random.sample((old, young), 2):
        stage.delete(stage.random.choice(nodes), key)
    stage.rest(0.0, 0.5)
    stage.cut_off()
    if stage.maybe(0.5):
        _wait_until_collected(stage, stage.random.choice((old, young)))
    for key in (old, young):
        stage.put(stage.random.choice(nodes), key)
    stage.rest(0.0, 1.0)
    for key in (old, young):
        stage.read_at(nodes, key)


def a_delete_that_a_damaged_owner_missed(stage: Stage) -> None:
    """It comes back without its log, with what a cold save has of before the delete; the tombstone is about to go."""
    key = stage.new_key()
    damaged, *others = stage.shuffled_owners(key)
    stage.put(damaged, key, "all")
    stage.rest(0.0, 4.0)
    stage.cut_off(damaged)
    stage.rest(0.0, 3.0)
    if stage.maybe(0.5):
        stage.done(stage.ask(damaged, Kind.PUT, key, "one"))
    stage.delete(others[0], key)
    stage.lose_log(damaged)
    stage.rest(0.0, 0.5)
    stage.cut_off(*stage.random.choice(((), (others[0],), (others[1],))))
    stage.start(damaged)
    stage.rest(0.5, 2.0, 5.0)
    stage.read_at([damaged], key)
    stage.cut_off()
    _wait_until_collected(stage, key)
    stage.read_at([damaged, *others], key, times=2, within_s=1.0)


def an_end_that_clocks_do_not_agree_on(stage: Stage) -> None:
    """A record ends; some clocks are ahead or behind; nodes are read one right after the other, and all are killed."""
    key = LEASE_TABLE, stage.new_key()[1]
    nodes = stage.members()
    clocks = {node: node.skew_ms for node in nodes}
    life_s = stage.random.choice((1, 2, 3))
    stage.done(stage.ask(nodes[0], Kind.PUT, key, ttl_s=life_s))
    ends_s = stage.world.now_s + life_s - 0.3
    stage.rest(0.0, 0.2)
    ahead = nodes[: stage.random.choice((1, 1, len(nodes) // 2 + 1))]
    for node in ahead if stage.maybe(0.7) else ():
        node.set_clock(node.skew_ms + stage.random.choice((-1_500, 400, 900, 2_500, 9_000)))
    stage.world.run(max(stage.world.now_s, ends_s))
    dies_when_over = stage.maybe(0.5)
    for _ in range(stage.random.randint(20, 60)):
        call = stage.done(stage.ask(stage.random.choice(nodes), Kind.GET, key), 0.3)
        if dies_when_over and call is not None and call.code == "not_found":
            dies_when_over = False
            _kill_all(stage, nodes, clocks)
        stage.done(stage.ask(stage.random.choice(nodes), Kind.GET, key), 0.3)
        if stage.maybe(0.03):
            _kill_all(stage, nodes, clocks)
        stage.rest(0.0, 0.02, 0.1)
    _set_clocks(clocks)
    stage.read_at(nodes, key, times=2, within_s=0.5)


def a_clock_of_a_node_that_is_gone(stage: Stage) -> None:
    """It was ahead when its node was lost; later another one is. Two that were never ahead together end nothing."""
    key = LEASE_TABLE, stage.new_key()[1]
    gone, wrong, *others = stage.members()
    clocks = {node: node.skew_ms for node in (gone, wrong)}
    stage.done(stage.ask(others[0], Kind.PUT, key, ttl_s=12))
    gone.set_clock(gone.skew_ms + stage.random.choice((9_000, 60_000)))
    stage.rest(0.6, 1.2)
    stage.kill(gone)
    gone.set_clock(clocks[gone])
    stage.rest(3.1, 3.6, 5.0)
    wrong.set_clock(wrong.skew_ms + stage.random.choice((9_000, 60_000)))
    stage.read_at([wrong, *others], key, times=4, within_s=2.0)
    _set_clocks(clocks)
    stage.start(gone)
    stage.wait_until_settled()
    stage.read_at([gone, wrong, *others], key)


def _kill_all(stage: Stage, nodes: list[SimNode], clocks: dict[SimNode, int]) -> None:
    """And set their clocks right, as far as they were."""
    power = stage.maybe(0.5)
    for node in nodes:
        stage.kill(node, power)
    _set_clocks(clocks)
    for node in nodes:
        stage.start(node)
    stage.wait_until_settled()


def _set_clocks(clocks: dict[SimNode, int]) -> None:
    for node, skew_ms in clocks.items():
        node.set_clock(skew_ms)


def _wait_until_collected(stage: Stage, key: Key) -> None:
    """Until no owner holds a tombstone any more, or a while has passed."""
    stage.wait(lambda: not any(node.core is not None and node.core.store.held(key) for node in stage.owners(key)), 12.0)


SCENES = (
    generations_that_are_collected_together,
    a_delete_that_a_damaged_owner_missed,
    an_end_that_clocks_do_not_agree_on,
    a_clock_of_a_node_that_is_gone,
)
