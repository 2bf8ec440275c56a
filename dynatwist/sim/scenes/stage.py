"""What scenes are played on: a cluster at rest, and verbs that take it where a scene wants it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from random import Random

import msgspec
from twisted.internet.defer import ensureDeferred

from dynatwist.api.request import Request
from dynatwist.auth.tokens import Identity
from dynatwist.core import Core
from dynatwist.model.record import Key
from dynatwist.model.ring import partition_of
from dynatwist.replication.request import Kind

from ..bulk import Bulk
from ..clients import Clients
from ..cluster import SimCluster, SimNode
from ..door import Ask, Reply
from ..history import STRICT_TABLE, Call
from ..keys import OWNERS, ROOT
from ..listeners import Listeners
from ..rivals import Rivals

SESSION = "scene"
NAME = "scene"
"""What the names of all keys of scenes begin with."""
STEP_S = 0.004
"""How closely a scene watches: the moment in which somebody can be reached again is over soon."""
MOST_NODES = 9
"""No scene adds a node to as many."""
PATIENCE_S = 8.0
"""Longer than any request is under way, and than any link takes to come back."""

Damage = Callable[[SimNode, bool], None]


class Stage:
    """See the module.

    :param damaged: is told of a node whose copy is about to be harmed, and whether it has to find out by itself.
    :param power_may_fail: whether what is acknowledged has to outlive a loss of power.
    :param say: hears of what is wrong whatever the state of the cluster.
    :ivar random: chance of the scenes alone, so that a new scene leaves all histories before it as they were.
    """

    def __init__(
        self,
        *,
        cluster: SimCluster,
        clients: Clients,
        bulk: Bulk,
        listeners: Listeners,
        rivals: Rivals,
        damaged: Damage,
        power_may_fail: bool,
        say: Callable[[str], None],
    ) -> None:
        self.cluster = cluster
        self.world = cluster.world
        self.random = Random(f"scenes {cluster.world.seed}")
        self.power_may_fail = power_may_fail
        self.say = say
        self._clients = clients
        self._bulk = bulk
        self._listeners = listeners
        self._rivals = rivals
        self._damaged = damaged
        self._names = 0

    def begin(self, name: str) -> None:
        """A scene begins."""
        self.world.say(f"scene: {name}")

    def end(self) -> None:
        """All is mended and started again."""
        self.cluster.network.heal()
        for node in self.cluster.active():
            self.listen_again(node)
            node.disk.mend(self.world.now_s)
            if node.process is not None:
                node.process.thaw()
            if not node.running:
                node.start()

    # Who and what

    def members(self) -> list[SimNode]:
        """The nodes that are members, in an order of chance."""
        members = [node for node in self.cluster.active() if node.running]
        self.random.shuffle(members)
        return members

    @property
    def is_full(self) -> bool:
        """Whether there are as many members as may be."""
        return len(self.cluster.active()) >= MOST_NODES

    def new_key(self, partition: int | None = None) -> Key:
        """A key that nobody has used, of the table whose every majority is judged.

        :param partition: in which it has to lie.
        """
        while True:
            self._names += 1
            key = STRICT_TABLE, f"{NAME}{self._names}"
            if partition is None or partition_of(*key) == partition:
                self._clients.keys.stage(key[1])
                return key

    def owners(self, key: Key) -> list[SimNode]:
        """The owners of a key that run, best first."""
        registry = self.cluster.registry()
        by_id = {node.node_id: node for node in self.cluster.active() if node.running}
        owners = registry.owners(partition_of(*key)) if registry is not None else ()
        return [by_id[owner] for owner in owners if owner in by_id]

    def shuffled_owners(self, key: Key) -> list[SimNode]:
        """The owners in an order of chance."""
        owners = self.owners(key)
        self.random.shuffle(owners)
        return owners

    def strangers(self, key: Key) -> list[SimNode]:
        """The nodes that own nothing of a key."""
        owners = self.owners(key)
        return [node for node in self.members() if node not in owners]

    def maybe(self, chance: float) -> bool:
        """Whether something is so this time."""
        return self.random.random() < chance

    # Time

    def rest(self, *seconds: float) -> None:
        """Let one of these times pass."""
        self.world.run(self.world.now_s + self.random.choice(seconds))

    def wait(self, condition: Callable[[], bool], limit_s: float = PATIENCE_S) -> bool:
        """Let time pass until something holds; false if it does not."""
        return self.world.run_until(condition, limit_s, step_s=STEP_S)

    def wait_until_reached(self, one: SimNode, other: SimNode) -> bool:
        """Until a node takes another one for reachable."""
        return self.wait(lambda: one.core is not None and one.core.cluster.peers.is_reachable(other.node_id))

    def wait_until_ready(self, *nodes: SimNode) -> bool:
        """Until some nodes would answer clients."""
        return self.wait(lambda: all(node.core is not None and node.core.cluster.standing.is_ready for node in nodes))

    @property
    def is_changing(self) -> bool:
        """Whether members change."""
        registry = self.cluster.registry()
        return registry is not None and registry.changing

    def join(self, *stalls_s: float) -> SimNode:
        """A further node; its disk is as slow as one of these."""
        joiner = self.cluster.add()
        joiner.disk.stall_s = self.random.choice(stalls_s)
        joiner.start()
        return joiner

    def wait_until_settled(self) -> bool:
        """Until every node is ready, whole and connected."""
        return self.world.run_until(self.cluster.is_settled, 4 * PATIENCE_S, step_s=0.05)

    # What clients do

    def ask(
        self,
        node: SimNode,
        kind: Kind,
        key: Key,
        level: str = "majority",
        *,
        tag: str = "",
        ttl_s: int = 0,
        if_absent: bool = False,
        is_large: bool = False,
    ) -> Call | None:
        """Send a request; nothing happens where nobody would answer."""
        if node.core is None or not node.awake:
            return None
        return self._clients.ask(
            node, SESSION, kind, key, level, tag=tag, ttl_s=ttl_s, if_absent=if_absent, is_large=is_large
        )

    def done(self, call: Call | None, limit_s: float = PATIENCE_S) -> Call | None:
        """Wait for an answer."""
        if call is not None:
            self.wait(lambda: bool(call.code), limit_s)
        return call

    def put(self, node: SimNode, key: Key, level: str = "majority") -> Call | None:
        """Write, and wait for the answer."""
        return self.done(self.ask(node, Kind.PUT, key, level))

    def delete(self, node: SimNode, key: Key, level: str = "majority") -> Call | None:
        """Delete, and wait for the answer."""
        return self.done(self.ask(node, Kind.DELETE, key, level))

    def read_at(self, nodes: Iterable[SimNode], key: Key, times: int = 1, within_s: float = 0.0) -> None:
        """Read with majorities at some nodes, now or within some time; then wait for the answers."""
        calls: list[Call | None] = []
        nodes = list(nodes)
        end_s = self.world.now_s + within_s
        for number in range(times):
            calls += [self.ask(node, Kind.GET, key) for node in nodes]
            if within_s and number < times - 1:
                self.world.run(min(end_s, self.world.now_s + self.random.expovariate(times / within_s)))
        for call in calls:
            self.done(call)

    def request(
        self, node: SimNode, method: str, path: tuple[str, ...], *, body: object = None, who: str = "", token: str = ""
    ) -> Reply | None:
        """Ask by any route, and wait for the answer.

        :param who: asks: a user, or the administrator; nobody in particular when empty.
        :param token: instead.
        """
        replies: list[Reply] = []
        headers = {"Authorization": f"Bearer {token}"} if token else self._clients.bearer(node, who) if who else {}
        ask = Ask(method, path, {}, headers, msgspec.json.encode(body) if body is not None else b"")
        if node.process is not None and node.core is not None and node.awake:
            door = self._clients.door(node)
            node.process.run(lambda: door.send(ask, replies.append, self._clients.broke))
        self.wait(lambda: bool(replies), PATIENCE_S / 4)
        return replies[0] if replies else None

    def show_ticket(self, nodes: Iterable[SimNode], ticket: str) -> int:
        """Show a ticket at some nodes at once, as two pages would; how many open something."""
        outcomes: list[object] = []
        shown = 0
        for node in nodes:
            core = node.core
            if core is not None and node.process is not None and node.awake:
                asked = Request({"ticket": ticket})
                shown += 1
                node.process.run(lambda core=core, asked=asked: _identified(core, asked, outcomes.append))
        self.wait(lambda: len(outcomes) == shown, PATIENCE_S / 2)
        return sum(isinstance(outcome, Identity) for outcome in outcomes)

    @property
    def tickets_not_remembered(self) -> int:
        """How many tickets the members that run have taken for want of room to remember them."""
        cores = [node.core for node in self.cluster.active() if node.core is not None]
        return sum(core.handlers.context.users.tickets.not_remembered for core in cores)

    @property
    def all_reach_all(self) -> bool:
        """Whether every member runs and reaches every other one, as far as it knows."""
        nodes = self.cluster.active()
        return all(
            one.core is not None and all(map(one.core.cluster.peers.is_reachable, [two.node_id for two in nodes]))
            for one in nodes
        )

    def list_at(self, nodes: Iterable[SimNode]) -> None:
        """List the table of `new_key` with majorities at some nodes: all of it, or a part, with values or without."""
        for node in nodes:
            if node.core is None or not node.awake:
                continue
            who = self.random.choice((ROOT, *OWNERS))
            if self.maybe(0.3):
                self._bulk.list_values(node, who, STRICT_TABLE, "majority")
            else:
                prefix = self.random.choice(("", NAME, f"{NAME}{self._names}", f"{NAME}{self._names // 10}"))
                limit = self.random.choice((0, 0, 1, 3))
                self._bulk.list_names(node, who, STRICT_TABLE, "majority", prefix=prefix, limit=limit)

    def listen(self, node: SimNode) -> None:
        """Some listen at a node to the table of `new_key`, to its last key, and to keys with a prefix."""
        last = f"{NAME}{self._names}"
        self._listeners.listen_at(node, STRICT_TABLE)
        self._listeners.listen_at(node, STRICT_TABLE, key=last)
        self._listeners.listen_at(node, STRICT_TABLE, prefix=self.random.choice((NAME, last, last[:-1])))

    def stop_listening(self, node: SimNode) -> None:
        """All that listen at a node leave."""
        self._listeners.leave(node)

    def listen_again(self, node: SimNode) -> None:
        """They come back with their cursors."""
        self._listeners.come_back(node)

    def new_slot(self) -> Callable[[SimNode], None]:
        """A slot of agreement; call the answer with a node that proposes something of its own for it."""
        return self._rivals.new_slot()

    # What goes wrong

    def cut_off(self, *alone: SimNode) -> None:
        """Mend the network, and then cut each of these nodes off from all others."""
        network = self.cluster.network
        network.heal()
        for node in alone:
            network.cut([node.host], [other.host for other in self.cluster.nodes if other is not node])

    def part(self, node: SimNode, *others: SimNode) -> None:
        """Cut a node off from some others, and from nobody else."""
        self.cluster.network.cut([node.host], [other.host for other in others])

    def slow_from(self, node: SimNode, late_s: float) -> None:
        """What a node says takes this much longer from now on."""
        for other in self.cluster.nodes:
            if other is not node:
                self.cluster.network.slow(node.host, other.host, late_s)

    def slow_between(self, one: SimNode, other: SimNode, late_s: float) -> None:
        """What one node says to another one takes this much longer from now on."""
        self.cluster.network.slow(one.host, other.host, late_s)

    def kill(self, node: SimNode, power: bool = False) -> None:
        """kill -9, or loss of power where that may be."""
        node.kill(power and self.power_may_fail)

    def start(self, node: SimNode) -> None:
        """Start a node that does not run."""
        if not node.running and not node.retired:
            node.start()

    def lose_log(self, node: SimNode) -> None:
        """A node dies, and its log is gone. At most one node of a scene: that is what three copies promise."""
        node.kill()
        self._damaged(node, True)
        node.disk.lose_log()
        self.world.say(f"the log of {node.host} is lost")


def _identified(core: Core, asked: Request, over: Callable[[object], None]) -> None:
    identified = ensureDeferred(core.handlers.context.identify_listener(asked))
    identified.addBoth(lambda outcome: over(getattr(outcome, "value", outcome)))
