"""A phase under a permanent fault: one node is bad for good, and the clients of all others do not notice.

Storms end before anything is judged, so they say little about how long a client waits. Here exactly one node is slow,
full, frozen, dead or away, from one moment to the next, and nobody mends it. From that moment on, before anybody has
noticed, requests of every kind go to all other nodes: each has to be answered without an error within half a second. A
client of the bad node itself hears something within two seconds.
"""

from __future__ import annotations

from dynatwist.replication.request import Kind

from .clients import KINDS, Clients
from .cluster import SimCluster, SimNode
from .history import Call

TABLE = "endurance"
KEYS = 30
"""Of this phase alone, each of one user: what is refused would have been refused in fair weather too."""
PHASE_S = 3.0
RATE_S = 30.0
PATIENCE_S = 0.5
OWN_PATIENCE_S = 2.0
MARGIN_S = 0.05
"""A request may be under way, and a timer late, by about this much."""
NOTICED_S = 0.75
"""By then every node has noticed. Before, a delete or condition that the second owner refuses may have been carried out
by the first one, which is not heard of any more: then nobody knows, and that is said."""
NO_ERRORS = frozenset({"ok", "not_found", "precondition_failed"})
WAYS = ("slow", "full", "frozen", "dead", "away")
LEVELS = ("quorum", "majority", "one")
WEIGHTS = (5, 2, 2, 5, 2)
"""Of put, delete, patch, get, and put only if absent."""


class Endurance:
    """See the module.

    :param power_may_fail: whether a node that dies may lose its power.
    :param may_be_full: whether nodes have little memory. Then all owners but the bad one may refuse what adds, and
        nobody knows what became of a request that the bad one was asked first.
    :ivar violations: what was not as it may be expected.
    """

    def __init__(
        self,
        *,
        cluster: SimCluster,
        clients: Clients,
        violations: list[str],
        power_may_fail: bool,
        may_be_full: bool,
    ) -> None:
        self._cluster = cluster
        self._world = cluster.world
        self._clients = clients
        self._power_may_fail = power_may_fail
        self._may_be_full = may_be_full
        self.violations = violations
        self.way = ""
        self._began_s = 0.0
        self._refusable: set[Call] = set()

    def run(self) -> None:
        """Make one node bad, ask all nodes, and judge their answers."""
        world = self._world
        bad = self._choose()
        self.way = world.random.choice(WAYS)
        world.say(f"{bad.host} is {self.way} for good")
        self._began_s = world.now_s
        getattr(self, f"_{self.way}")(bad)
        others = [node for node in self._cluster.active() if node is not bad and not _refuses(node)]
        calls: list[Call] = []
        end_s = world.now_s + PHASE_S
        while world.now_s < end_s:
            calls.append(self._ask(bad if bad.awake and world.random.random() < 0.15 else world.random.choice(others)))
            world.run(world.now_s + world.random.expovariate(RATE_S))
        world.run(world.now_s + OWN_PATIENCE_S + MARGIN_S)
        for call in calls:
            self._judge(call, bad)
        self._mend(bad)

    def _choose(self) -> SimNode:
        """Where a clock is still wrong, its node: that would be the second bad one."""
        active = self._cluster.active()
        wrong = [node for node in active if node.skew_ms or _refuses(node)]
        return self._world.random.choice(wrong or active)

    def _ask(self, node: SimNode) -> Call:
        random = self._world.random
        choice = random.choices(range(len(WEIGHTS)), WEIGHTS)[0]
        kind = KINDS[choice] if choice < len(KINDS) else Kind.PUT
        level = random.choice(LEVELS)
        key = TABLE, f"e{random.randrange(KEYS)}"
        call = self._clients.ask(node, "endurance", kind, key, level, if_absent=choice == 4)
        if choice in (1, 2, 4):
            self._refusable.add(call)
        return call

    def _judge(self, call: Call, bad: SimNode) -> None:
        """P7: no error, and no wait; of the bad node itself an answer."""
        if call.host == bad.host:
            if call.ended_s - call.started_s > OWN_PATIENCE_S + MARGIN_S:
                self.violations.append(f"P7: {call.text()}, where the node itself is {self.way}")
        elif not self._is_well(call) or call.ended_s - call.started_s > PATIENCE_S:
            self.violations.append(f"P7: {call.text()}, with {bad.host} {self.way}")

    def _is_well(self, call: Call) -> bool:
        if self._may_be_full and call.is_write and call.code == "unavailable":
            return True  # the other owners had no memory left
        early = (call in self._refusable or self._may_be_full) and call.started_s < self._began_s + NOTICED_S
        full = call.code == "full" and call.is_write and self._may_be_full
        return full or call.code in NO_ERRORS or (early and call.code == "uncertain")

    # What is bad about it

    def _slow(self, node: SimNode) -> None:
        node.disk.stall_s = self._world.random.choice((0.15, 1.0, 8.0, 60.0))

    def _full(self, node: SimNode) -> None:
        node.disk.cramp(0)

    def _frozen(self, node: SimNode) -> None:
        assert node.process is not None
        node.process.pause()

    def _dead(self, node: SimNode) -> None:
        node.kill(power=self._power_may_fail and self._world.random.random() < 0.5)

    def _away(self, node: SimNode) -> None:
        self._cluster.network.cut([node.host], [one.host for one in self._cluster.active() if one is not node])

    def _mend(self, node: SimNode) -> None:
        self._cluster.network.heal()
        node.disk.mend(self._world.now_s)
        if not node.running:
            node.start()
        elif node.process is not None:
            node.process.thaw()


def _refuses(node: SimNode) -> bool:
    """Whether a node takes no writes because of its wall clock, and says so."""
    return node.core is not None and bool(node.core.cluster.times.refusal)
