"""Judges which writes a node keeps as lost ones: each that lost against another one whose writer had not seen it.

Written from that sentence: of each record that a store takes in, and of what it held then. Whether that is durable is
looked at elsewhere. In fair weather all nodes list the same, which is all that any of them keeps; and what is settled
at one is listed by none.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterator
from typing import Any

from twisted.internet.defer import ensureDeferred

from dynatwist.core import Core
from dynatwist.model.dots import Dot
from dynatwist.model.record import Key, Record
from dynatwist.model.records import pack, unpack
from dynatwist.model.ring import is_system_table
from dynatwist.replication.conflicts import ConflictId, id_of
from dynatwist.requests.conflicts import Conflicts, Page
from dynatwist.storage.effects import Effect, Lost, Won
from dynatwist.storage.entries import AnyEntry, Taken

from .cluster import SimCluster, SimNode

ANSWER_S = 5.0
"""For a listing of all, page by page, each of which takes some milliseconds."""


class Contests:
    """See the module; of one process."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._lost: dict[tuple[Key, Dot], Record] = {}
        core.store.observe(self._observe)

    def _observe(self, entry: AnyEntry, effect: Effect) -> None:
        if isinstance(entry, Taken):
            return  # a record that the clock covers: it was merged, and judged, before
        if isinstance(effect, Won) and effect.before is not None:
            self._met(effect.key, effect.before, effect.record)
        elif isinstance(effect, Lost) and (held := self._core.store.held(effect.key)) is not None:
            self._met(effect.key, effect.record, held)

    def _met(self, key: Key, loser: Record, winner: Record) -> None:
        is_over = loser.value is not None and loser.is_dead(self._core.store.lapse_ms)
        if is_system_table(key[0]) or is_over or loser.value == winner.value:
            return
        if not _has_seen(loser, winner.dot) and not _has_seen(winner, loser.dot):
            self._lost[key, loser.dot] = loser

    def missing(self) -> Iterator[str]:
        """What the node does not keep, and has not dropped for want of room."""
        conflicts = self._core.store.state.conflicts
        kept = {(one.key, unpack(one.lost).dot) for _, one in conflicts.newest()}
        if conflicts.dropped:
            return
        for (key, dot), loser in self._lost.items():
            if (key, dot) not in kept and not conflicts.is_settled(id_of(key, pack(loser))):
                yield f"P2: {self._core.cluster.me.host} does not keep what lost of {'/'.join(key)}: {loser.value!r}"


def _has_seen(record: Record, dot: Dot) -> bool:
    """Whether the writer of a record had seen a dot of its key, or it is its own."""
    return record.dot == dot or any(seen.actor == dot.actor and seen.seq >= dot.seq for seen in record.vv)


class Listings:
    """See the module: what clients are shown in fair weather."""

    def __init__(self, cluster: SimCluster, violations: list[str]) -> None:
        self._cluster = cluster
        self._violations = violations

    def run(self) -> None:
        """Two nodes list all; what the one settles, the other one lists no more."""
        random, nodes = self._cluster.world.random, self._cluster.ready_nodes()
        one, other = random.choice(nodes), random.choice(nodes)
        listed = self._list(one)
        if not listed:
            return
        settled = random.choice(listed)
        self._ask(one, lambda conflicts: _settle(conflicts, settled))
        if settled in self._list(other):
            self._violations.append(f"P2: {other.host} lists a conflict that was settled at {one.host}")

    def _list(self, node: SimNode) -> list[ConflictId]:
        """All that a node lists; it has to be what the members keep, in order."""
        before = self._kept()
        pages: list[Page] = []
        self._ask(node, lambda conflicts: _walk(conflicts, pages))
        listed = [one.found.id for page in pages for one in page.conflicts]
        if any(page.missing for page in pages):
            return listed
        is_right = self._kept() <= set(listed) <= before and listed == sorted(set(listed), reverse=True)
        if not is_right:
            self._violations.append(f"P2: {node.host} lists {len(listed)} conflicts; members keep {len(before)}")
        return listed

    def _kept(self) -> set[ConflictId]:
        stores = [core.store.conflicts for core in self._cluster.cores() if core.cluster.ownership.is_registered]
        kept = {name for store in stores for name, _ in store.newest()}
        return {name for name in kept if not any(store.is_settled(name) for store in stores)}

    def _ask(self, node: SimNode, ask: Callable[[Conflicts], Coroutine[Any, Any, None]]) -> None:
        assert node.core is not None
        assert node.process is not None
        over: list[object] = []
        conflicts = node.core.handlers.conflicts.conflicts
        node.process.run(lambda: ensureDeferred(ask(conflicts)).addBoth(over.append))
        self._cluster.world.run_until(lambda: bool(over), ANSWER_S, step_s=0.02)
        if over != [None]:
            self._violations.append(f"P7: {node.host} is asked about conflicts: {over}")


async def _walk(conflicts: Conflicts, pages: list[Page]) -> None:
    after = b""
    while after or not pages:
        pages.append(await conflicts.page("", after, 20, lambda found: True))
        after = pages[-1].next_after


async def _settle(conflicts: Conflicts, name: ConflictId) -> None:
    found, _ = await conflicts.find(name)
    if found is not None:
        await conflicts.settle(found)
