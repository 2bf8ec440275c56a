"""Faults: what a storm does to networks, processes, disks, clocks and members of the simulated cluster.

A plan says how often each kind of fault strikes; `Mischief` draws when, and which node. Each module holds a family: it
names its kinds, and does to that node what one of them is. Three parts serve all families: the `Storm` calls again
later what ends a fault, unless it is over by then; the `Wounds` say whether a copy may be taken away for good; the
`Operator` cleans up.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from dynatwist.model.record import Key

from ..cluster import SimCluster
from ..network import Weather
from ..plan import DAMAGING, KINDS, Faults
from .clocks import Clocks
from .damage import Damage
from .disks import Disks
from .members import Members
from .network import Ways
from .operator import OnDamage, Operator
from .processes import Processes
from .secrets import Secrets
from .storm import Family, Storm
from .traps import Traps
from .wounds import Wounds

DOWN_S = (0.2, 4.0)
"""How long a process stays down."""


class Mischief:
    """Makes things go wrong, as a seed's plan says, and well again.

    :param on_damage: told that what a node held may be gone for good.
    :param on_caught: told of the key of a forwarded write whose owner has just been caught with it.
    :ivar struck: how often each fault happened.
    """

    def __init__(
        self, cluster: SimCluster, rates: Faults, on_damage: OnDamage, on_caught: Callable[[Key], None]
    ) -> None:
        self._cluster = cluster
        self._rates = rates
        self._storm = storm = Storm(cluster, power_may_fail=rates.power_cuts > 0)
        self._operator = operator = Operator(storm, on_damage)
        self._wounds = wounds = Wounds(storm, operator, on_damage)
        self._clocks = Clocks(storm)
        families: tuple[Family, ...] = (
            Ways(storm),
            Processes(storm, wounds),
            Disks(storm),
            self._clocks,
            Secrets(storm),
            Damage(storm, wounds),
            Members(storm, wounds, operator),
            Traps(storm, wounds, on_caught),
        )
        self._kinds = {name: fault for family in families for name, fault in family.kinds().items()}
        self.struck: dict[str, int] = {}

    def start(self) -> None:
        """A storm begins."""
        self._storm.begin()
        rates = self._rates
        self._cluster.network.weather = Weather(rates.loss, rates.duplication, rates.delays, rates.garbling)
        for kind in KINDS:
            self._plan(kind)

    def stop(self) -> None:
        """Everything is well again: all healed, thawed, with room on the disk, on time, and started."""
        self._storm.end()
        self._cluster.network.weather = Weather(delays=0.0)
        self._cluster.network.heal()
        for node in self._cluster.nodes:
            node.disk.mend(self._cluster.world.now_s)
            if node.process is not None:
                node.process.thaw()
        self._clocks.set_right()
        self.tidy()

    def tidy(self) -> None:
        """Do what an operator does."""
        self._operator.tidy()

    def is_tidy(self) -> bool:
        """Whether nothing is left for `tidy` to do."""
        return self._operator.is_done()

    def _plan(self, kind: str) -> None:
        per_ten_s = getattr(self._rates, kind)
        if per_ten_s > 0:
            self._storm.after(self._storm.random.expovariate(per_ten_s / 10), partial(self._strike, kind))

    def _strike(self, kind: str) -> None:
        self._plan(kind)
        node = self._storm.random.choice(self._cluster.active())
        if kind in DAMAGING and not self._wounds.may_damage():
            return
        if not self._kinds[kind](node):
            return
        self.struck[kind] = self.struck.get(kind, 0) + 1
        for down in self._cluster.nodes:
            if not down.running:
                self._storm.soon(partial(self._wounds.restart, down), *DOWN_S)
