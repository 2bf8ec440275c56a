"""The operator: starts what is down, has struck out what will not return, switches off what was struck out."""

from __future__ import annotations

from collections.abc import Callable

from ..cluster import SimNode
from .storm import Storm

OnDamage = Callable[[SimNode, bool], None]
"""Told that what a node held may be gone for good; and whether it is to find out by itself."""


class Operator:
    """See the module.

    :ivar burnt: ids of nodes that will not return.
    :ivar unwanted: ids of nodes that somebody was told to strike out.
    """

    def __init__(self, storm: Storm, on_damage: OnDamage) -> None:
        self._storm = storm
        self._cluster = storm.cluster
        self._on_damage = on_damage
        self.burnt: set[bytes] = set()
        self.unwanted: set[bytes] = set()

    def tidy(self) -> None:
        """Do all that is to be done."""
        for node in self._cluster.nodes:
            core = node.core
            if core is not None and core.cluster.ownership.is_removed and not core.repair.surplus():
                self._retire(node)
            elif not node.running and not node.retired:
                node.start()
            elif core is not None and core.keyring.keys.cluster != self._cluster.keys_of(node.number).cluster:
                self._storm.say(f"{node.host} was started with a key file that is another one by now")
                node.kill()
                node.start()
        for core in self._cluster.cores():
            if core.cluster.standing.is_ready:
                for node_id in self.burnt_members():
                    core.registrar.forget(node_id)

    def is_done(self) -> bool:
        """Whether nothing is to be done."""
        return not self.burnt_members() and all(
            node.retired or (node.core is not None and not node.core.cluster.ownership.is_removed)
            for node in self._cluster.nodes
        )

    def give_up(self, node_id: bytes) -> None:
        """Nothing will come back under this id."""
        self.burnt.add(node_id)

    def burnt_members(self) -> list[bytes]:
        """Ids that will not return, and that the registry has, or has again: a join may have been under way."""
        registry = self._cluster.registry()
        return sorted(self.burnt & registry.ids) if registry is not None else []

    def strike_out(self, node_id: bytes) -> bool:
        """Have a member struck out by any node that is ready; false where none is."""
        able = [core for core in self._cluster.cores() if core.cluster.standing.is_ready]
        if able:
            self._storm.random.choice(able).registrar.forget(node_id)
            self.unwanted.add(node_id)
        return bool(able)

    def _retire(self, node: SimNode) -> None:
        """It is no member, and has handed off everything: switch it off for good."""
        self._storm.say(f"{node.host} is switched off for good")
        self._on_damage(node, False)
        if node.core is not None:
            self.give_up(node.core.identity.node_id)  # it may have asked to join again just before
        node.retired = True
        node.kill()
