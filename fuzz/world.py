"""Nodes of the simulated world for targets, and what they complain of."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any, cast

from twisted.internet.defer import Deferred, ensureDeferred
from twisted.logger import ILogObserver, LogEvent, LogLevel, formatEvent, globalLogPublisher

from dynatwist.core import Core
from dynatwist.sim.cluster import SimCluster, SimNode
from dynatwist.sim.world import World

from .target import Found

SETTLED_S = 60.0
ANSWERED_S = 20.0


class Nodes:
    """A cluster that has settled.

    :ivar world: see `dynatwist.sim.world`.
    :ivar nodes: its nodes, all of which run.
    """

    def __init__(self, count: int = 1, seed: int = 1, **settings: Any) -> None:
        self.world = World(seed)
        self._cluster = SimCluster(self.world, count, **settings)
        self.nodes: list[SimNode] = self._cluster.nodes
        self._complaints: list[str] = []
        for node in self.nodes:
            node.start()
        assert self.world.run_until(self._cluster.is_settled, SETTLED_S)
        self.world.run(self.world.now_s + 1)

    @property
    def node(self) -> SimNode:
        """The first one."""
        return self.nodes[0]

    @property
    def core(self) -> Core:
        """Of the first one."""
        core = self.node.core
        if core is None:
            raise Found(f"the node ended: {self.node.fatal}")
        return core

    def run(self, seconds: float) -> None:
        """Let time pass."""
        self.world.run(self.world.now_s + seconds)

    def result(self, asked: Awaitable[Any]) -> Any:
        """What becomes of something that takes a while; an exception where it raises one."""
        out: list[Any] = []
        deferred = asked if isinstance(asked, Deferred) else ensureDeferred(asked)  # type: ignore[arg-type]
        deferred.addBoth(out.append)
        for step_s in (0.001, 0.01, 0.1):
            if self.world.run_until(lambda: bool(out), 10 * step_s, step_s):
                break
        if not out and not self.world.run_until(lambda: bool(out), ANSWERED_S, 0.25):
            raise Found("no answer")
        return getattr(out[0], "value", out[0])

    def check(self) -> None:
        """Nothing was raised where nobody expected it, and no node has ended itself."""
        if self.world.errors:
            raise Found(self.world.errors[0])
        for node in self.nodes:
            if node.core is None:
                raise Found(f"a node ended: {node.fatal}")


class _Log:
    """Keeps the failures that are logged: a handler that raises is answered with 500, or not at all."""

    def __init__(self) -> None:
        self.failures: list[str] = []

    def __call__(self, event: LogEvent) -> None:
        if "log_failure" in event or event["log_level"] is LogLevel.critical:
            failure = event.get("log_failure")
            self.failures.append(f"{formatEvent(event)}\n{failure.getTraceback() if failure else ''}")


_LOG = _Log()
globalLogPublisher.addObserver(cast(ILogObserver, _LOG))  # interfaces of zope are no types


def forget_logged() -> None:
    """What was logged so far is somebody else's: other tests of the same process break things on purpose."""
    _LOG.failures = []


def nothing_logged() -> None:
    """No failure was logged since this was asked last."""
    failures, _LOG.failures = _LOG.failures, []
    if failures:
        raise Found(failures[0])
