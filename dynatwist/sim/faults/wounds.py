"""Wounds: nodes whose disk has lost something, and that are not whole again.

Copies of a record are lost one at a time: the next fault that takes one away waits until all others are where they
should be. A node that has just found its damage often dies again, so that what it does about that has to outlive this.
"""

from __future__ import annotations

from functools import partial

from ..cluster import SMALLEST, SimNode
from ..world import Process
from .operator import OnDamage, Operator
from .storm import Storm

RELAPSES = 0.7
"""Share of the starts after damage that are followed by another death."""


class Wounds:
    """See the module."""

    def __init__(self, storm: Storm, operator: Operator, on_damage: OnDamage) -> None:
        self._storm = storm
        self._cluster = storm.cluster
        self._operator = operator
        self._on_damage = on_damage
        self._open: dict[SimNode, Process] = {}

    @property
    def are_open(self) -> bool:
        """Whether a node was damaged, and nobody has looked since whether it is whole again."""
        return bool(self._open)

    def may_damage(self) -> bool:
        """Whether every copy is where it should be, on disk at least: one loss at a time."""
        healed = [node for node, process in self._open.items() if node.retired or _has_recovered(node, process)]
        for node in healed:
            del self._open[node]
        registry = self._cluster.registry()
        return (
            not self._open
            and not self._operator.burnt_members()
            and registry is not None
            and not registry.changing
            and not any(
                core.cluster.ownership.is_removed or core.cluster.standing.not_whole() or core.repair.surplus()
                for core in self._cluster.cores()
            )
        )

    def inflict(self, node: SimNode, unseen: bool = True) -> list[str]:
        """Kill a node that is about to lose something; answers its files, none if it may lose nothing.

        :param unseen: whether it has to find out by itself what it has lost.
        """
        if not node.disk.paths() or len(self._cluster.active()) < SMALLEST:
            return []
        assert node.process is not None
        node.kill()
        self._open[node] = node.process
        self._on_damage(node, unseen)
        return node.disk.paths()

    def restart(self, node: SimNode) -> None:
        """Start a node that is down; if it was damaged, it may die again soon."""
        if node.running or node.retired:
            return
        node.start()
        random = self._storm.random
        if node in self._open and random.random() < RELAPSES:
            self._storm.soon(partial(self._relapse, node), 0.005, random.choice((0.03, 0.1, 0.4)))

    def _relapse(self, node: SimNode) -> None:
        self._storm.say(f"{node.host} dies again")
        node.kill(power=self._storm.power_may_fail and self._storm.random.random() < 0.5)
        self._storm.soon(partial(self.restart, node), 0.05, 0.5)


def _has_recovered(node: SimNode, before: Process) -> bool:
    core = node.core
    return (
        node.process is not before
        and core is not None
        and core.cluster.standing.is_ready
        and not core.cluster.standing.not_whole()
    )
