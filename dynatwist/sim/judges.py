"""The judges: all who say whether a cluster keeps its promises, whatever is asked of it."""

from __future__ import annotations

from dynatwist.core import Core

from . import checks
from .answers import Answers
from .autopsy import Autopsy
from .cluster import SimCluster, SimNode
from .contests import Contests
from .entitled import Entitled
from .history import History
from .oracle import Oracle
from .ownership import Ownership
from .plan import Plan
from .sizes import overfull
from .votes import Votes
from .witness import Witness


class Judges:
    """See the module.

    :ivar found: violations, of those who do not tell the witness theirs.
    """

    def __init__(self, cluster: SimCluster, history: History, plan: Plan) -> None:
        self._cluster = cluster
        self._plan = plan
        self.witness = Witness(cluster, plan.grace_s, plan.sizes.store_bytes)
        cluster.time.tell(self.witness.say)
        self._ownership = Ownership(cluster, self.witness)
        self.votes = Votes(cluster, self.witness)
        self.answers = Answers(self.witness)
        self.entitled = Entitled(self.witness.ledger)
        self.oracle = Oracle(cluster, history, self.witness, self.answers, self.entitled)
        self._autopsy = Autopsy(cluster, checks.finds)
        self._contests: dict[SimNode, Contests] = {}
        self.found: list[str] = []

    def watch(self, node: SimNode, core: Core) -> None:
        """Stand beside a node that is about to start."""
        self.witness.watch(node, core)
        self._ownership.watch(core)
        self._contests[node] = Contests(core)
        self.votes.watch(core)
        self.found += self._autopsy.at_start(node, core)

    def damaged(self, node: SimNode, unseen: bool) -> None:
        """What a node held may be gone.

        :param unseen: whether the node has to find out by itself.
        """
        self.witness.damaged(node, unseen)

    def examine(self) -> None:
        """Look at all nodes, which are at rest."""
        self.found += checks.differences(self._cluster)
        for node in self._cluster.active():
            self.found += checks.faults_of(node, self._plan.durability)
            self.found += self._autopsy.of(node) if checks.is_quiet(node) else ()
            if node.core is not None:
                self.found += overfull(node.core, self._plan.sizes)
                self.found += self._contests[node].missing()
