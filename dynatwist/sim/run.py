"""One history from one seed: storms of faults under load, and calms in which everything has to come right again."""

from __future__ import annotations

import gc
from collections.abc import Callable

from dynatwist.api.limits import Limits
from dynatwist.core import Core
from dynatwist.sometimes import Reached
from dynatwist.storage.durability import Durability

from . import checks
from .births import LATEST_S
from .bounds import give_bounds
from .cast import Cast
from .cluster import SimCluster, SimNode
from .effort import Effort, gather_crowd
from .endurance import Endurance
from .faults import Mischief
from .history import History
from .judges import Judges
from .keys import owner_of
from .logs import logged
from .plan import Plan, draw
from .probes import Probes
from .report import Report
from .scenes import play
from .scenes.stage import Stage
from .world import World

SETTLE_LIMIT_S = 60.0
TIDY_S = 1.0
HELD_BACK_S = 1.0
"""A connection that was cut a moment ago looks well until it has to wait for the next attempt of TCP."""
SOON_S = 0.05
MAX_SENT_BYTES = 1 << 20
"""By one turn to all peers together, of values that are a few kilobytes long at most."""


def simulate(
    seed: int,
    minutes: float = 0.0,
    nodes: int | None = None,
    faults: tuple[str, ...] | None = None,
    tracing: bool = False,
    plan: Plan | None = None,
) -> Report:
    """Run one seed.

    :param minutes: of virtual time, at least; one storm and one calm when 0.
    :param nodes: how many, instead of what the seed says.
    :param faults: the only kinds of fault to choose from; see `dynatwist.sim.plan`.
    :param plan: all of it, instead of what the seed says.
    """
    run = _Run(seed, plan or draw(seed, nodes, faults), tracing)
    collecting, reached = gc.isenabled(), Reached()
    gc.disable()  # a short life, and a large share of its time otherwise
    reached.start()
    try:
        with logged(run.world), run.effort.counting():
            run.storms(minutes * 60)
    finally:
        reached.stop()
        if collecting:
            gc.enable()
    report = run.report()
    report.reached = reached.names
    return report


class _Run:
    """A cluster with all that happens to it: those who ask, those who judge, and what makes things go wrong."""

    def __init__(self, seed: int, plan: Plan, tracing: bool) -> None:
        self.seed = seed
        self.plan = plan
        self.world = World(seed, tracing)
        self.world.say(f"seed {seed}: {plan.text()}")
        self.cluster = self._build()
        self.history = History()
        self.judges = Judges(self.cluster, self.history, plan)
        self.cast = Cast(self.cluster, self.history, self.judges, plan)
        self.mischief = Mischief(self.cluster, plan.faults, self.judges.damaged, on_caught=self.cast.traffic.write_over)
        self.effort = Effort(self.judges.witness.say, MAX_SENT_BYTES)

    def _build(self) -> SimCluster:
        """The cluster that the plan asks for."""
        plan = self.plan
        return SimCluster(
            self.world,
            plan.nodes,
            self._on_core,
            durability=plan.durability,
            tombstone_grace_s=plan.grace_s,
            snapshot_interval_s=plan.snapshot_s,
            lone_after_s=plan.lone_s,
            limits=Limits(store_bytes=plan.sizes.store_bytes or Limits().store_bytes),
            disk_reserve_bytes=plan.disk_reserve_bytes,
            drift_ppm=plan.drift_ppm,
            bytes_per_s=plan.sizes.bytes_per_s,
            same_seeds=plan.same_seeds,
            own_key_files=plan.own_key_files,
            zones=plan.zones,
        )

    def _on_core(self, node: SimNode, core: Core) -> None:
        give_bounds(core, self.plan)
        self.judges.watch(node, core)

    # What a seed goes through

    def storms(self, least_s: float) -> None:
        """One storm and calm after the other, until enough time has passed or something broke; then some scenes."""
        if not self._form():
            return
        while True:
            self._storm()
            if not (self._rest() and self._endure() and self._judge()):
                return
            if self.violations() or self.world.now_s >= least_s:
                break
        if not self.violations() and self._play() and self._agree():
            self._judge()

    def _form(self) -> bool:
        """All nodes start, and become one cluster that knows its users."""
        self.cluster.time.start()
        for node in self.cluster.nodes:
            node.start()
        if not self.world.run_until(self.cluster.is_settled, SETTLE_LIMIT_S):
            self.judges.found.append(f"P4: the cluster did not form within {SETTLE_LIMIT_S:g} s")
            return False
        self.cast.users.enroll()
        if not self.world.run_until(self.cast.users.is_enrolled, SETTLE_LIMIT_S, step_s=0.05):
            self.judges.found.append("P4: a write at all nodes was not carried out, with all nodes up")
            return False
        return True

    def _storm(self) -> None:
        self.world.say("a storm begins")
        self.cast.start()
        self.mischief.start()
        if self.plan.sizes.has_crowd:
            gather_crowd(self.cluster, owner_of)
        self.world.run(self.world.now_s + self.plan.storm_s)
        self.cast.stop()
        self.mischief.stop()
        self.world.say("calm")

    def _play(self) -> bool:
        """Some scenes; false where something does not come right again."""
        stage = Stage(
            cluster=self.cluster,
            clients=self.cast.clients,
            bulk=self.cast.bulk,
            listeners=self.cast.listeners,
            rivals=self.cast.rivals,
            damaged=self.judges.damaged,
            power_may_fail=self.plan.durability is Durability.FSYNC,
            say=self.judges.witness.say,
        )
        return play(stage, self.plan.scenes, self._rest, self.plan.scene)

    # Calms

    def _is_silent(self) -> bool:
        """Whether no request is under way any more, not even one that was given up."""
        now_s = self.world.now_s
        recent = (call for call in reversed(self.history.calls) if call.started_s > now_s - LATEST_S)
        return all(call.code not in ("", "uncertain") or not call.process.alive for call in recent)

    def _is_at_rest(self) -> bool:
        soon_s = self.world.now_s + SOON_S
        return (
            self.cluster.is_settled()
            and not any(core.repair.surplus() for core in self.cluster.cores())
            and all(node.disk.busy_until_s <= soon_s or not node.running for node in self.cluster.nodes)
            and all(node.disk.cramped_until_s <= soon_s for node in self.cluster.nodes)
        )

    def _rest(self) -> bool:
        """Everything comes right again."""
        if not self._wait(self._is_silent, "requests are under way"):
            return False
        for wait_s in (0.0, HELD_BACK_S):
            self.world.run(self.world.now_s + wait_s)
            if not self._wait(
                lambda: self.mischief.is_tidy() and self._is_at_rest(), "not every node is ready and whole"
            ):
                return False
        return True

    def _endure(self) -> bool:
        """One node is bad for good, and the clients of the others do not notice."""
        Endurance(
            cluster=self.cluster,
            clients=self.cast.clients,
            violations=self.judges.found,
            power_may_fail=self.plan.durability is Durability.FSYNC,
            may_be_full=self.plan.sizes.store_bytes > 0,
        ).run()
        if not self._wait(self._is_silent, "requests are under way after a permanent fault"):
            return False
        if not self._wait(self._is_at_rest, "after a permanent fault not every node is ready and whole"):
            return False
        return self._agree()

    def _agree(self) -> bool:
        """All owners hold the same, and nothing that is over."""
        if not self._wait(self._is_settled, "the owners differ"):
            self.judges.found += list(checks.differences(self.cluster))[:3]
            return False
        if not self._wait(lambda: not checks.remains(self.cluster), "tombstones, hints or handed-off records are kept"):
            return False
        self._wait(self._is_settled, "the owners differ again")
        return True

    def _judge(self) -> bool:
        """What is held and told now, against all that went before; then the probes of fair weather."""
        self.judges.examine()
        oracle = self.judges.oracle
        final = oracle.final()
        self.cast.judge(final, oracle.born_s())
        oracle.judge(self.cast.listeners.announced)
        self.world.run(self.world.now_s + self.plan.quiet_s)
        is_small = self.plan.sizes.store_bytes > 0
        Probes(self.cluster, self.cast.clients, self.judges.witness, self.judges.found, is_small).run(final)
        return True

    def _is_settled(self) -> bool:
        """Owners agree, and all that they hold is durable: what is not yet is not announced either."""
        return checks.is_converged(self.cluster) and all(core.store.readable.is_all for core in self.cluster.cores())

    def _wait(self, condition: Callable[[], bool], text: str) -> bool:
        """Let time pass until all is well, doing what an operator does meanwhile."""
        end_s = self.world.now_s + SETTLE_LIMIT_S
        while not self.world.run_until(condition, TIDY_S, step_s=0.5):
            if self.world.now_s >= end_s:
                self.judges.found.append(f"P4: {SETTLE_LIMIT_S:g} s after the faults {text}")
                self.world.say(self.judges.found[-1])
                return False
            self.mischief.tidy()
        return True

    # What came of it

    def violations(self) -> list[str]:
        """Everything found so far."""
        errors = [f"error: {text}" for text in self.world.errors]
        return [*self.judges.found, *self.judges.witness.violations, *self.cast.violations, *errors]

    def report(self) -> Report:
        """All of it."""
        return Report(
            seed=self.seed,
            plan=self.plan,
            violations=self.violations(),
            acknowledged=sum(call.is_acknowledged for call in self.history.calls),
            excused=self.judges.oracle.excused,
            races=self.judges.oracle.races,
            virtual_s=self.world.now_s,
            events=self.world.events,
            answers=self.history.counts(),
            struck=self.mischief.struck,
            trace=self.world.trace,
        )
