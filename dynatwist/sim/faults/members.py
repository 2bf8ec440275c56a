"""Faults of membership: nodes join, are struck out, and come back with an empty disk, as others."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from dynatwist.model.registry import Registry, majority

from ..cluster import SMALLEST, SimNode
from .operator import Operator
from .storm import Fault, Storm
from .wounds import Wounds

LARGEST = 9
"""Nobody joins a cluster of so many."""
ZONES = ("here", "there", "elsewhere")
LEAST_FOR_TWO = 5
"""Two burn down only where a majority is left."""


class Members:
    """See the module."""

    def __init__(self, storm: Storm, wounds: Wounds, operator: Operator) -> None:
        self._storm = storm
        self._cluster = storm.cluster
        self._wounds = wounds
        self._operator = operator

    def kinds(self) -> Mapping[str, Fault]:
        """See `Family`."""
        return {
            "joins": self._join,
            "forgets": self._forget,
            "strandings": self._strand,
            "wipes": self._wipe,
            "double_burns": self._burn_two,
            "upheavals": self._upheave,
            "moves": self._move,
        }

    def _join(self, node: SimNode) -> bool:
        if len(self._cluster.active()) >= LARGEST:
            return False
        added, random = self._cluster.add(), self._storm.random
        added.start()
        if random.random() < 0.5:  # it fills slowly
            added.disk.stall_s = random.uniform(0.05, 0.4)
            self._storm.soon(lambda: setattr(added.disk, "stall_s", 0.0), 1.0, 4.0)
        return self._storm.say(f"{added.host} joins")

    def _forget(self, node: SimNode) -> bool:
        core, registry = node.core, self._cluster.registry()
        if core is None or registry is None:
            return False
        stay = registry.ids - self._operator.burnt - self._operator.unwanted  # who is joining is no member yet
        if min(len(stay), len(self._cluster.active())) <= SMALLEST:
            return False
        if not self._operator.strike_out(core.identity.node_id):
            return False
        for delay_s in (3.0, 6.0, 9.0):
            self._storm.soon(self._operator.tidy, delay_s, delay_s)
        return self._storm.say(f"{node.host} is to be forgotten")

    def _strand(self, node: SimNode) -> bool:
        """A node is cut off, and the others change their members meanwhile."""
        network = self._cluster.network
        network.cut([node.host], self._storm.hosts() - {node.host})
        self._storm.soon(partial(network.mend, node.host), 2.0, 5.0)
        others = self._storm.others(node)
        return self._join(node) or bool(others and self._forget(self._storm.random.choice(others)))

    def _move(self, node: SimNode) -> bool:
        """A machine is carried to another zone, or its operator says for the first time where it stands."""
        zone = self._storm.random.choice(ZONES)
        if node.process is None or zone == node.zone:
            return False
        node.move(zone)
        node.stop()
        self._storm.soon(partial(self._wounds.restart, node), 0.2, 2.0)
        return self._storm.say(f"{node.host} is moved to zone {zone}")

    # Empty disks

    def _wipe(self, node: SimNode) -> bool:
        core = node.core
        if core is None or len(self._cluster.active()) < SMALLEST:
            return False
        self._operator.give_up(core.identity.node_id)
        self._wounds.inflict(node, unseen=False)
        node.disk.wipe()
        if self._storm.random.random() < 0.7:
            self._storm.soon(self._operator.tidy, 0.5, 6.0)
        return self._storm.say(f"{node.host} has an empty disk")

    def _burn(self, node: SimNode) -> None:
        """It comes back with an empty disk, as another one; somebody has the old one struck out sooner or later."""
        core = node.core
        if core is not None and self._wounds.inflict(node, unseen=False):
            burnt = core.identity.node_id
            self._operator.give_up(burnt)
            node.disk.wipe()
            self._storm.soon(partial(self._operator.strike_out, burnt), 0.0, 2.0)
            self._storm.say(f"{node.host} burns down")

    def _burn_two(self, node: SimNode) -> bool:
        members = self._running()
        if len(members) < LEAST_FOR_TWO:
            return False
        for one in self._storm.random.sample(members, 2):
            self._burn(one)
        return True

    def _running(self) -> list[SimNode]:
        return [one for one in self._cluster.active() if one.core is not None]

    # All at once

    def _upheave(self, node: SimNode) -> bool:
        """Some join, another one is struck out in the same moment, and then somebody burns down."""
        random, members = self._storm.random, self._running()
        for _ in range(random.choice((0, 1, 1, 2))):
            self._join(node)
        joined = [one for one in self._cluster.active() if one not in members]
        if (not joined or random.random() < 0.5) and not self._forget(random.choice(members)):
            return bool(joined)
        for most_s in (0.5, 2.0):
            self._storm.soon(partial(self._burn_one_of, joined, members), 0.05, most_s)
        return self._storm.say("an upheaval")

    def _burn_one_of(self, joined: list[SimNode], members: list[SimNode]) -> None:
        """In the middle of the change, somebody whom it concerns and can spare."""
        random, registry = self._storm.random, self._cluster.registry()
        victim = random.choice(random.choice((joined, members)) or members)
        if registry is None or not registry.changing or victim.core is None or self._wounds.are_open:
            return
        if _can_spare(registry, victim.core.identity.node_id):
            self._burn(victim)


def _can_spare(registry: Registry, node_id: bytes) -> bool:
    """Whether the others could go on without a node: of two old members both are needed to end a change."""
    groups = (registry.previous_ids, registry.ids)
    return all(len(group - {node_id}) >= majority(len(group)) for group in groups if group)
