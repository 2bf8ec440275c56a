"""Fair weather: what clients may expect of a cluster at rest, and of one of which a single node is frozen."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from twisted.internet.defer import ensureDeferred

from dynatwist.coordinator.request import Kind
from dynatwist.model.record import Key, Record
from dynatwist.model.ring import is_system_table
from dynatwist.replication.quorum import Level

from .clients import Clients
from .cluster import SimCluster, SimNode
from .history import CROWD_TABLE, Call, name_of

PROBE_TABLE = "probe"
ANSWER_S = 1.5
LISTED_AT_ONCE = (3, 256)
FROZEN_READ_S = 0.4


@dataclass(slots=True)
class Probes:
    """See the module.

    :ivar violations: what was not as it may be expected.
    """

    cluster: SimCluster
    clients: Clients
    violations: list[str]

    def run(self, final: dict[Key, Record]) -> None:
        """All probes."""
        self._read_everywhere(final)
        self._list(final)
        self._write_everywhere(self._writers(), "with all nodes up")
        if len(self.cluster.active()) >= 3 and len(self._writers()) == len(self.cluster.active()):
            self._freeze_one()

    def _writers(self) -> list[SimNode]:
        return [node for node in self.cluster.ready_nodes() if node.core and not node.core.cluster.wall_refusal]

    def _ask_all(self, asks: Iterable[Callable[[], Call]], limit_s: float) -> list[Call]:
        calls = [ask() for ask in asks]
        self.cluster.world.run_until(lambda: all(call.code for call in calls), limit_s, step_s=0.02)
        return calls

    def _read_everywhere(self, final: dict[Key, Record]) -> None:
        """Every node answers with what the owners agree on, at every level."""
        random = self.cluster.world.random
        asks: list[Callable[[], Call]] = []
        keys = sorted(key for key in final if not is_system_table(key[0]))
        for node in self.cluster.active():
            for key in random.sample(keys, min(len(keys), 4)):
                level = random.choice(("one", "quorum", "majority", "all"))
                asks.append(lambda n=node, k=key, lv=level: self.clients.ask(n, "probe", Kind.GET, k, lv))  # type: ignore[misc]
        for call in self._ask_all(asks, ANSWER_S):
            record = final[call.key]
            dead = record.value is None or record.expires_ms
            if call.code == "ok" and call.record is not None and call.record.dot != record.dot:
                self.violations.append(f"P6: {call.text()}, but the owners hold {name_of(record)}")
            elif call.code != "ok" and not (dead and call.code == "not_found"):
                self.violations.append(f"P7: {call.text()}, with all nodes up")

    def _list(self, final: dict[Key, Record]) -> None:
        """A listing, page by page, has every live key once and no other."""
        random = self.cluster.world.random
        node, table = (
            random.choice(self.cluster.active()),
            random.choice(sorted({table for table, _ in final} or {"users"})),
        )
        core = node.core
        assert core is not None
        assert node.process is not None
        now_ms = core.store.wall_ms()
        wanted = sorted(name for (one, name), record in final.items() if one == table and not record.is_dead(now_ms))
        found: list[str] = []
        at_once = max(LISTED_AT_ONCE) if table == CROWD_TABLE else random.choice(LISTED_AT_ONCE)

        async def walk() -> None:
            after = ""
            while True:
                page = await core.context.listing.page(table, "", after, Level.QUORUM, at_once)
                found.extend(name for name, _ in page.records)
                if page.next_after is None:
                    return
                after = page.next_after

        over: list[object] = []
        node.process.run(lambda: ensureDeferred(walk()).addBoth(over.append))
        self.cluster.world.run_until(lambda: bool(over), ANSWER_S, step_s=0.02)
        if over != [None] or (found != wanted and not any(record.expires_ms for record in final.values())):
            self.violations.append(f"P7: {table} listed at {node.host}: {found} instead of {wanted}; {over}")

    def _write_everywhere(self, nodes: list[SimNode], when: str) -> None:
        """Writes succeed at every level that the nodes that are up allow, and say so."""
        random = self.cluster.world.random
        asks: list[Callable[[], Call]] = []
        for node in nodes:
            key = (PROBE_TABLE, f"p{random.randrange(4)}")
            level = random.choice(("one", "quorum", "majority"))
            asks.append(lambda n=node, k=key, lv=level: self.clients.ask(n, "probe", Kind.PUT, k, lv))  # type: ignore[misc]
        for call in self._ask_all(asks, ANSWER_S):
            least = 1 if call.level == "one" else 2
            if call.code == "full":
                continue  # the oracle knows whether that is so
            if call.code != "ok" or call.reached < least:
                self.violations.append(f"P7: {call.text()}, {when}")

    def _freeze_one(self) -> None:
        """P7: one frozen node costs the clients of the others no error, and reads no more than a moment."""
        world = self.cluster.world
        frozen = world.random.choice(self.cluster.active())
        assert frozen.process is not None
        frozen.process.pause()
        self._write_everywhere([node for node in self._writers() if node is not frozen], f"with {frozen.host} frozen")
        asks: list[Callable[[], Call]] = []
        for node in self.cluster.ready_nodes():
            key = (PROBE_TABLE, f"p{world.random.randrange(4)}")
            level = world.random.choice(("quorum", "majority"))
            asks.append(lambda n=node, k=key, lv=level: self.clients.ask(n, "probe", Kind.GET, k, lv))  # type: ignore[misc]
        for call in self._ask_all(asks, ANSWER_S):
            if call.code not in ("ok", "not_found") or call.ended_s - call.started_s > FROZEN_READ_S:
                self.violations.append(f"P7: {call.text()}, with {frozen.host} frozen")
        frozen.process.thaw()
