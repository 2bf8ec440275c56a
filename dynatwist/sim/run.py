"""One history from one seed: a cluster, clients, faults; then peace, and the oracle's judgement."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from .cluster import SimCluster
from .oracle import Oracle
from .workload import Clients, Faults, History, Mischief
from .world import World

SETTLE_LIMIT_S = 60.0


@dataclass(slots=True)
class Report:
    """What came of a seed.

    :ivar violations: empty when every promise was kept.
    """

    seed: int
    violations: list[str]
    acknowledged: int = 0
    sent: int = 0
    virtual_s: float = 0.0
    events: int = 0
    refused: dict[str, int] = field(default_factory=dict)
    trace: list[str] = field(default_factory=list)


def simulate(
    seed: int,
    nodes: int = 3,
    seconds: float = 20.0,
    faults: Faults | None = None,
    rate_s: float = 25.0,
    tracing: bool = False,
    **settings: Any,
) -> Report:
    """Run one seed.

    :param seconds: of load and faults; what follows is peace until all is equal.
    :param settings: of `dynatwist.config.NodeConfig`.
    """
    world = World(seed, tracing)
    oracle = Oracle()
    settings = {"tombstone_grace_s": 2.0, "snapshot_interval_s": 3.0} | settings
    cluster = SimCluster(world, nodes, oracle.witness, **settings)
    history = History()
    for node in cluster.nodes:
        node.start()
    if not world.run_until(cluster.is_settled, SETTLE_LIMIT_S):
        return Report(seed, ["start: the cluster did not form"], trace=world.trace)
    clients = Clients(cluster, history, rate_s)
    mischief = Mischief(cluster, faults or Faults())
    world.run(world.now_s + seconds)
    clients.stop()
    mischief.stop()
    world.say("peace")
    settled = world.run_until(lambda: cluster.is_settled() and oracle.is_converged(cluster), SETTLE_LIMIT_S, step_s=0.5)
    if not settled and not cluster.is_settled():
        oracle.violations.append(f"P4: not every node is ready and whole {SETTLE_LIMIT_S:g} s after the faults")
    world.run(world.now_s + 5)
    world.run_until(lambda: oracle.is_converged(cluster), SETTLE_LIMIT_S)  # tombstones may be on their way out
    if cluster.is_settled():
        oracle.judge(cluster, history)
    return Report(
        seed,
        oracle.violations,
        len(history.acknowledged),
        history.sent,
        world.now_s,
        world.events,
        history.refused,
        world.trace,
    )
