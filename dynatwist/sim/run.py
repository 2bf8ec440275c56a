"""One history from one seed: storms of faults under load, and calms in which everything has to come right again."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from twisted.logger import ILogObserver, globalLogPublisher
from zope.interface import implementer

from dynatwist.api.limits import Limits
from dynatwist.core import Core
from dynatwist.sometimes import Reached
from dynatwist.storage.durability import Durability

from . import checks
from .answers import Answers
from .autopsy import Autopsy
from .births import LATEST_S
from .bulk import Bulk
from .clients import Clients
from .cluster import SimCluster, SimNode
from .effort import Effort, crowd, gather_crowd
from .endurance import Endurance
from .faults import Mischief
from .history import STRICT_TABLE, History
from .keys import TABLES, Keys, owner_of
from .leases import LEASE_TABLE, Leases
from .listeners import Listeners
from .locks import Locks
from .oracle import Oracle
from .ownership import Ownership
from .plan import Plan, draw
from .probes import Probes
from .rivals import Rivals
from .scenes import play
from .scenes.stage import Stage
from .sizes import overfull
from .sockets import Sockets
from .traffic import Traffic
from .users import Users
from .votes import Votes
from .witness import Witness
from .world import Killed, World

SETTLE_LIMIT_S = 60.0
TIDY_S = 1.0
HELD_BACK_S = 1.0
"""A connection that was cut a moment ago looks well until it has to wait for the next attempt of TCP."""
SOON_S = 0.05
MAX_SENT_BYTES = 1 << 20
"""By one turn to all peers together, of values that are a few kilobytes long at most."""
CUT_FOR_LENGTH = ("peer link dropped", "a message for {peer} was longer")
"""What a node logs when a peer sends a frame that is too long, or would have to."""
FOUND_ALONE_AFTER_S = 120.0
"""The lowest seed founds alone after a while; here longer than anybody is cut off: a second cluster is a mistake."""


@dataclass(slots=True)
class Report:
    """What came of a seed.

    :ivar violations: empty when every promise was kept.
    :ivar struck: how often each fault happened.
    :ivar reached: the rare states that the code was in; see `dynatwist.sometimes`.
    """

    seed: int
    plan: Plan
    violations: list[str] = field(default_factory=list)
    acknowledged: int = 0
    excused: int = 0
    races: int = 0
    virtual_s: float = 0.0
    events: int = 0
    answers: dict[str, int] = field(default_factory=dict)
    struck: dict[str, int] = field(default_factory=dict)
    trace: list[str] = field(default_factory=list)
    reached: set[str] = field(default_factory=set)


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
        with run.logged(), run.effort.counting():
            run.storms(minutes * 60)
    finally:
        reached.stop()
        if collecting:
            gc.enable()
    report = run.report()
    report.reached = reached.names
    return report


class _Run:
    def __init__(self, seed: int, plan: Plan, tracing: bool) -> None:
        self.seed = seed
        self.plan = plan
        self.world = world = World(seed, tracing)
        world.say(f"seed {seed}: {plan.text()}")
        self.cluster = SimCluster(
            world,
            plan.nodes,
            durability=plan.durability,
            tombstone_grace_s=plan.grace_s,
            snapshot_interval_s=plan.snapshot_s,
            lone_after_s=plan.lone_s,
            limits=Limits(store_bytes=plan.sizes.store_bytes or Limits().store_bytes),
            drift_ppm=plan.drift_ppm,
            disk_reserve_bytes=plan.disk_reserve_bytes,
        )
        self.cluster.network.bytes_per_s = plan.sizes.bytes_per_s
        self.history = History()
        self.witness = Witness(self.cluster, plan.grace_s, plan.sizes.store_bytes)
        self.cluster.time.say = self.witness.say
        self.ownership = Ownership(self.cluster, self.witness)
        self.votes = Votes(self.cluster, self.witness)
        self.cluster.on_core = self._on_core
        self.cluster.same_seeds = plan.same_seeds
        self.oracle = Oracle(self.cluster, self.history, self.witness)
        answers = Answers(self.witness)
        self.oracle.use(answers)
        self.clients = Clients(
            cluster=self.cluster,
            history=self.history,
            keys=Keys(plan.load, crowd()[:5] if plan.sizes.has_crowd else ()),
            value_bytes=plan.sizes.value_bytes,
            on_call=self.oracle.sent,
            on_answer=self.oracle.answered,
            answers=answers,
        )
        self.traffic = Traffic(self.cluster, self.clients, plan.load)
        self.users = Users(self.cluster, self.clients, self.history, plan.load.registrations)
        tables = *TABLES, STRICT_TABLE, LEASE_TABLE
        self.listeners = Listeners(self.cluster, self.witness, plan.load.listeners, tables)
        self.locks = Locks(self.cluster, self.clients, plan.load.locks)
        self.leases = Leases(self.cluster, self.clients, plan.load.leases)
        self.bulk = Bulk(
            cluster=self.cluster,
            clients=self.clients,
            answers=answers,
            witness=self.witness,
            rate_s=plan.load.bulk * plan.load.rate_s,
        )
        self.rivals = Rivals(
            self.cluster, self.witness, self.votes.is_forgotten, rate_s=plan.rivals, faltering=plan.faltering
        )
        self.sockets = Sockets(
            cluster=self.cluster,
            clients=self.clients,
            answers=answers,
            witness=self.witness,
            count=plan.load.sockets,
            tables=tables,
        )
        self.mischief = Mischief(self.cluster, plan.faults, self._on_damage, on_caught=self.traffic.write_over)
        self.stage = Stage(
            cluster=self.cluster,
            clients=self.clients,
            bulk=self.bulk,
            listeners=self.listeners,
            rivals=self.rivals,
            damaged=self._on_damage,
            power_may_fail=plan.durability is Durability.FSYNC,
            say=self.witness.say,
        )
        self.found: list[str] = []
        self.autopsy = Autopsy(self.cluster, checks.finds)
        self.effort = Effort(self.witness.say, MAX_SENT_BYTES)

    def _on_damage(self, node: SimNode, unseen: bool) -> None:
        self.witness.damaged(node, unseen)
        self.votes.damaged(node)

    def _on_core(self, node: SimNode, core: Core) -> None:
        core.folder.saver.least_log_bytes = self.plan.least_log_bytes
        if self.plan.in_small_steps:
            core.folder.saver.slice_records, core.folder.saver.chunk_bytes = 2, 1000
            core.repair.answers.page_bytes, core.repair.hints.batch = 400, 2
            core.cluster.step_records = 3
        self.plan.sizes.give(core)
        core.hub.bound(self.plan.feeds)
        core.relays.interest_s = self.plan.interest_s
        if self.plan.is_busy:
            core.intake.turn_s = 0.0
        core.store.exact_creations = self.plan.exact_creations
        core.registrar.found_without_majority_after_s = FOUND_ALONE_AFTER_S
        self.witness.watch(node, core)
        self.ownership.watch(core)
        self.votes.watch(core)
        self.found += self.autopsy.at_start(node, core)

    def _is_at_rest(self) -> bool:
        soon_s = self.world.now_s + SOON_S
        return (
            self.cluster.is_settled()
            and not any(core.repair.surplus() for core in self.cluster.cores())
            and all(node.disk.busy_until_s <= soon_s or not node.running for node in self.cluster.nodes)
            and all(node.disk.cramped_until_s <= soon_s for node in self.cluster.nodes)
        )

    @contextmanager
    def logged(self) -> Iterator[None]:
        """Have the node's log in the trace, and failures that nobody handled among the errors."""

        @implementer(ILogObserver)
        def observe(event: dict[str, Any]) -> None:
            failure = event.get("log_failure")
            if failure is not None and not failure.check(Killed):
                self.world.errors.append(f"unhandled: {failure.getTraceback()}")
            elif str(event.get("log_format", "")).startswith(CUT_FOR_LENGTH):
                self.world.errors.append("P10: " + str(event["log_format"]).format_map(event))
            elif self.world.tracing and failure is None:
                self.world.say("log: " + str(event.get("log_format", "")).format_map(event))

        globalLogPublisher.addObserver(observe)
        try:
            yield
        finally:
            globalLogPublisher.removeObserver(observe)

    def storms(self, least_s: float) -> None:
        """One storm and calm after the other, until enough time has passed or something broke."""
        self.cluster.time.start()
        for node in self.cluster.nodes:
            node.start()
        if not self.world.run_until(self.cluster.is_settled, SETTLE_LIMIT_S):
            self.found.append(f"P4: the cluster did not form within {SETTLE_LIMIT_S:g} s")
            return
        self.users.enroll()
        if not self.world.run_until(self.users.is_enrolled, SETTLE_LIMIT_S, step_s=0.05):
            self.found.append("P4: a write at all nodes was not carried out, with all nodes up")
            return
        while True:
            self._storm()
            if not (self._rest() and self._endure() and self._judge()):
                return
            if self.violations() or self.world.now_s >= least_s:
                break
        if not self.violations() and play(self.stage, self.plan.scenes, self._rest, self.plan.scene) and self._agree():
            self._judge()

    def _storm(self) -> None:
        self.world.say("a storm begins")
        for part in self._parts():
            part.start()
        if self.plan.sizes.has_crowd:
            gather_crowd(self.cluster, owner_of)
        self.world.run(self.world.now_s + self.plan.storm_s)
        for part in self._parts():
            part.stop()
        self.world.say("calm")

    def _parts(self) -> tuple[Traffic | Users | Locks | Leases | Bulk | Listeners | Sockets | Rivals | Mischief, ...]:
        return (
            self.traffic,
            self.users,
            self.locks,
            self.leases,
            self.bulk,
            self.listeners,
            self.sockets,
            self.rivals,
            self.mischief,
        )

    def _is_silent(self) -> bool:
        """Whether no request is under way any more, not even one that was given up."""
        now_s = self.world.now_s
        recent = (call for call in reversed(self.history.calls) if call.started_s > now_s - LATEST_S)
        return all(call.code not in ("", "uncertain") or not call.process.alive for call in recent)

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
        fails = self.plan.durability is Durability.FSYNC
        Endurance(
            cluster=self.cluster,
            clients=self.clients,
            violations=self.found,
            power_may_fail=fails,
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
            self.found += list(checks.differences(self.cluster))[:3]
            return False
        if not self._wait(lambda: not checks.remains(self.cluster), "tombstones, hints or handed-off records are kept"):
            return False
        self._wait(self._is_settled, "the owners differ again")
        return True

    def _judge(self) -> bool:
        """What is held and told now, against all that went before; then the probes of fair weather."""
        self.found += checks.differences(self.cluster)
        for node in self.cluster.active():
            self.found += checks.faults_of(node, self.plan.durability)
            self.found += self.autopsy.of(node) if checks.is_quiet(node) else ()
            if node.core is not None:
                self.found += overfull(node.core, self.plan.sizes)
        final = self.oracle.final()
        self.listeners.judge(final, self.oracle.born_s())
        self.sockets.judge(final, self.oracle.born_s())
        self.oracle.judge(self.listeners.announced)
        self.world.run(self.world.now_s + self.plan.quiet_s)
        Probes(self.cluster, self.clients, self.witness, self.found, self.plan.sizes.store_bytes > 0).run(final)
        return True

    def _is_settled(self) -> bool:
        """Owners agree, and all that they hold is durable: what is not yet is not announced either."""
        return checks.is_converged(self.cluster) and all(core.store.readable.is_all for core in self.cluster.cores())

    def _wait(self, condition: Any, text: str) -> bool:
        """Let time pass until all is well, doing what an operator does meanwhile."""
        end_s = self.world.now_s + SETTLE_LIMIT_S
        while not self.world.run_until(condition, TIDY_S, step_s=0.5):
            if self.world.now_s >= end_s:
                self.found.append(f"P4: {SETTLE_LIMIT_S:g} s after the faults {text}")
                self.world.say(self.found[-1])
                return False
            self.mischief.tidy()
        return True

    def violations(self) -> list[str]:
        """Everything found so far."""
        parts = (self.found, self.witness.violations, self.clients.violations, self.locks.violations)
        errors = [f"error: {text}" for text in self.world.errors]
        return [text for part in parts for text in part] + errors

    def report(self) -> Report:
        """What came of it."""
        return Report(
            self.seed,
            self.plan,
            self.violations(),
            sum(call.is_acknowledged for call in self.history.calls),
            self.oracle.excused,
            self.oracle.races,
            self.world.now_s,
            self.world.events,
            self.history.counts(),
            self.mischief.struck,
            self.world.trace,
        )
