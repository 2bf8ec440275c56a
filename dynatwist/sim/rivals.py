"""Proposers that race for one slot, and come back to it later: registrations are too rare for that."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

from twisted.python.failure import Failure

from dynatwist.agreement.agreement import Acceptors, Agreement, NoAgreement
from dynatwist.cluster.cluster import Cluster
from dynatwist.core import Core
from dynatwist.net.messages import Accept, Prepare
from dynatwist.replication.paxos import Proposal, Vote

from .cluster import SimCluster, SimNode
from .recurring import Recurring
from .witness import Witness

SLOT = "rivals "
RETURNING = 0.4
"""Share of proposals for a slot of lately."""
REMEMBERED = 6
REACHED = 0.4
"""Share of the acceptors that hear from one that falters."""
TOGETHER_S = 0.01
"""Within so short a time rivals begin: their messages cross each other."""


class _Faltering(Agreement):
    """Only some acceptors hear what it asks them to accept; then it gives up: votes are divided, and stay so.

    :param reached: who hears of it.
    """

    def __init__(self, *, cluster: Cluster, acceptors: Acceptors, slot: str, value: bytes, reached: frozenset[bytes]):
        self._reached = reached
        super().__init__(cluster, acceptors, slot, value)

    def _ask(self, node: bytes, message: Prepare | Accept, voted: Callable[[bytes, Vote], None]) -> None:
        if isinstance(message, Prepare) or node in self._reached:
            super()._ask(node, message, voted)

    def _next_ballot(self, proposal: Proposal) -> None:
        if proposal is self._proposal and not self.result.called:
            self._end(None)


@dataclass(slots=True, eq=False)
class _Slot:
    """What was agreed on.

    :ivar since_s: when it was first proposed for.
    :ivar version: of the registry. Joiners know nothing of what was agreed on before: after a change nothing is judged.
    """

    name: str
    version: int
    since_s: float
    values: dict[bytes, str] = field(default_factory=dict)


class Rivals:
    """See the module.

    :param is_forgotten: whether slots of before a time count no more; see `dynatwist.sim.votes`.
    :param rate_s: races in a second.
    :param faltering: share of proposers of whose wish to have something accepted only some hear.
    """

    def __init__(
        self,
        cluster: SimCluster,
        witness: Witness,
        is_forgotten: Callable[[float], bool],
        *,
        rate_s: float,
        faltering: float = 0.0,
    ) -> None:
        self._cluster = cluster
        self._witness = witness
        self._is_forgotten = is_forgotten
        self._faltering = faltering
        self._random = Random(f"rivals {cluster.world.seed}")
        self._proposing = Recurring(cluster.world, rate_s, self._propose_anything, self._random)
        self._slots: list[_Slot] = []
        self._count = 0

    def start(self) -> None:
        """Begin to propose."""
        self._proposing.start()

    def stop(self) -> None:
        """No more proposals."""
        self._proposing.stop()

    def _propose_anything(self) -> None:
        random = self._random
        nodes = self._cluster.ready_nodes()
        registry = self._cluster.registry()
        if not nodes or registry is None or registry.changing:
            return
        self._slots = [
            slot for slot in self._slots if slot.version == registry.version and not self._is_forgotten(slot.since_s)
        ][-REMEMBERED:]
        if not self._slots or random.random() >= RETURNING:
            self._count += 1
            self._slots.append(_Slot(f"{SLOT}{self._count}", registry.version, self._cluster.world.now_s))
        slot = random.choice(self._slots)
        for _ in range(random.choice((1, 2, 2, 3))):
            node = random.choice(nodes)
            value = b"%d %d" % (node.number, random.randrange(1 << 32))
            self._cluster.world.later(
                random.uniform(0.0, TOGETHER_S),
                lambda node=node, value=value: self._propose(node, slot, value),  # type: ignore[misc]
            )

    def new_slot(self) -> Callable[[SimNode], None]:
        """A slot that nobody has proposed for; answers what has a node propose something of its own for it."""
        registry = self._cluster.registry()
        self._count += 1
        slot = _Slot(f"{SLOT}{self._count}", registry.version if registry else 0, self._cluster.world.now_s)
        return lambda node: self._propose(node, slot, b"%d %d" % (node.number, self._random.randrange(1 << 32)))

    def _propose(self, node: SimNode, slot: _Slot, value: bytes) -> None:
        if node.core is None or node.process is None or not node.process.alive:
            return

        def begin(core: Core) -> None:
            agreed = self._agreement(core, slot.name, value).result
            agreed.addCallbacks(lambda found: self._agreed(node, slot, found), self._failed)

        node.process.run(begin, node.core)

    def _agreement(self, core: Core, slot: str, value: bytes) -> Agreement:
        registry, random = core.cluster.registry, self._random
        if registry is None or not self._faltering or random.random() >= self._faltering:
            return Agreement(core.cluster, core.acceptors, slot, value)
        reached = frozenset(node for node in sorted(registry.ids) if random.random() < REACHED)
        return _Faltering(cluster=core.cluster, acceptors=core.acceptors, slot=slot, value=value, reached=reached)

    @staticmethod
    def _failed(failure: Failure) -> None:
        failure.trap(NoAgreement)

    def _agreed(self, node: SimNode, slot: _Slot, value: bytes) -> None:
        registry = self._cluster.registry()
        if registry is None or registry.version != slot.version or self._is_forgotten(slot.since_s):
            return
        slot.values.setdefault(value, node.host)
        if len(slot.values) > 1:
            self._witness.say(f"P9: {slot.name!r} was agreed on twice: {slot.values}")
