"""Fair weather: what clients may expect of a cluster at rest, and of one of which a single node is frozen."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial

from twisted.internet.defer import ensureDeferred

from dynatwist.model.record import Key, Record
from dynatwist.model.ring import is_system_table
from dynatwist.replication.quorum import Level
from dynatwist.replication.request import Kind, etag

from .clients import Clients
from .cluster import SimCluster, SimNode
from .contests import Listings
from .history import CROWD_TABLE, Call, name_of
from .witness import Witness

PROBE_TABLE = "probe"
ANSWER_S = 1.5
LISTED_AT_ONCE = (3, 256)
FROZEN_READ_S = 0.4
USUAL_ERROR_MS = 9_500
"""A node whose clock is off by more than 10 s may refuse to write."""
FAR_OFF_MS = 12_000
SOON_GONE_S = 3.0
"""After this a record that has ended, by the clocks of most hosts, is found no more."""


@dataclass(slots=True)
class Probes:
    """See the module.

    :ivar violations: what was not as it may be expected.
    :ivar may_be_full: whether nodes have little memory.
    """

    cluster: SimCluster
    clients: Clients
    witness: Witness
    violations: list[str]
    may_be_full: bool

    def run(self, final: dict[Key, Record]) -> None:
        """All probes."""
        self._read_everywhere(final)
        self._list(final)
        Listings(self.cluster, self.violations).run()
        self._write_everywhere(self._writers(), "with all nodes up")
        self._compete()
        if len(self.cluster.active()) >= 3 and len(self._writers()) == len(self.cluster.active()):
            self._freeze_one()

    def _writers(self) -> list[SimNode]:
        """Nodes that have no reason to refuse a write: whose clock is right, or off by a usual error."""
        most_ms = self.cluster.time.most_ms
        return [node for node in self.cluster.ready_nodes() if abs(node.wall_ms() - most_ms) <= USUAL_ERROR_MS]

    def _must_be_gone(self, record: Record) -> bool:
        return record.value is None or 0 < record.expires_ms <= self.cluster.time.most_ms - 1000 * SOON_GONE_S

    def _may_be_gone(self, record: Record) -> bool:
        return record.value is None or self.cluster.time.may_be_over(record.expires_ms)

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
            if call.code == "ok" and self._must_be_gone(record):
                self.violations.append(f"P3: {call.text()}, which ended at {record.expires_ms}")
            if call.code == "ok" and call.record is not None and call.record.dot != record.dot:
                self.violations.append(f"P6: {call.text()}, but the owners hold {name_of(record)}")
            elif call.code != "ok" and not (self._may_be_gone(record) and call.code == "not_found"):
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
        held = {name: record for (one, name), record in final.items() if one == table}
        gone = {name for name, record in held.items() if self._must_be_gone(record)}
        found: list[str] = []
        at_once = max(LISTED_AT_ONCE) if table == CROWD_TABLE else random.choice(LISTED_AT_ONCE)

        async def walk() -> None:
            after = ""
            while True:
                page = await core.handlers.context.listing.page(table, "", after, Level.QUORUM, at_once)
                found.extend(name for name, _ in page.records)
                if page.next_after is None:
                    return
                after = page.next_after

        over: list[object] = []
        node.process.run(lambda: ensureDeferred(walk()).addBoth(over.append))
        self.cluster.world.run_until(lambda: bool(over), ANSWER_S, step_s=0.02)
        wanted = sorted(name for name, record in held.items() if not self._may_be_gone(record))
        is_right = found == sorted(set(found)) and set(wanted) <= set(found) <= set(held) - gone
        if over != [None] or not is_right:
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
            if call.code == "full" or (self.may_be_full and call.code in ("uncertain", "unavailable")):
                continue  # the oracle knows whether that is so; some owners refused for that, and another for its clock
            if call.code != "ok" or call.reached < least:
                self.violations.append(f"P7: {call.text()}, {when}")
            elif call.record is not None:
                self._judge_stamp(call, call.record)

    def _judge_stamp(self, call: Call, record: Record) -> None:
        """The time that it carries is that of most clocks, but for usual errors, or that of what it replaced."""
        most_ms = self.cluster.time.most_ms
        known = (one.record for one in self.witness.ledger.of(call.key).values() if one.record.dot != record.dot)
        latest_ms = max((one.stamp.ms for one in known), default=0)
        if not most_ms - FAR_OFF_MS <= record.stamp.ms <= max(most_ms + FAR_OFF_MS, latest_ms):
            self.violations.append(f"P2: {call.text()} is stamped {record.stamp.ms - most_ms} ms ahead of most clocks")

    def _compete(self) -> None:
        """Conditions and patches are exact while all owners reach each other: of several writes on one record one
        succeeds, and no patch overwrites another."""
        random = self.cluster.world.random
        nodes = self._writers()
        if not nodes:
            return
        key = (PROBE_TABLE, "contested")
        (seen,) = self._ask_all([partial(self.clients.ask, nodes[0], "probe", Kind.GET, key, "majority")], ANSWER_S)
        tag = etag(seen.record) if seen.record is not None else ""
        put = partial(self.clients.ask, if_absent=not tag, tag=tag)
        asks = [partial(put, random.choice(nodes), "probe", Kind.PUT, key, "quorum") for _ in range(3)]
        calls = self._ask_all(asks, ANSWER_S)
        if sorted(call.code for call in calls) != ["ok", "precondition_failed", "precondition_failed"]:
            if not any(call.code == "full" for call in calls):
                self.violations.append(f"P2: of three writes on one record: {[call.text() for call in calls]}")
            return
        if tag:  # who has the former record is not told that it has this one
            read = partial(self.clients.ask, random.choice(nodes), "probe", Kind.GET, key, "quorum", tag=tag)
            (again,) = self._ask_all([read], ANSWER_S)
            if again.record is not None and etag(again.record) == tag:
                self.violations.append(f"P6: {again.text()}: it was overwritten, and the reader is told that it has it")
        asks = [partial(self.clients.ask, random.choice(nodes), "probe", Kind.PATCH, key, "quorum") for _ in range(3)]
        calls = self._ask_all(asks, ANSWER_S)
        versions = sorted(call.record.version for call in calls if call.record is not None)
        if len(set(versions)) < len(versions):
            self.violations.append(f"P2: patches at once, and all acknowledged: {[call.text() for call in calls]}")

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
