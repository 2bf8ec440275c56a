"""Judges which writes a node keeps as lost ones: each that lost against another one whose writer had not seen it.

Written from that sentence: of each record that a store takes in, and of what it held then. How a conflict is found, and
whether it is durable, is looked at elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterator

from dynatwist.core import Core
from dynatwist.model.dots import Dot
from dynatwist.model.record import Key, Record
from dynatwist.model.records import unpack
from dynatwist.model.ring import is_system_table
from dynatwist.storage.effects import Effect, Held, Lost
from dynatwist.storage.entries import AnyEntry, Taken


class Contests:
    """See the module; of one process."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._lost: dict[tuple[Key, Dot], Record] = {}
        core.store.observe(self._observe)

    def _observe(self, entry: AnyEntry, effect: Effect) -> None:
        if isinstance(entry, Taken):
            return  # a record that the clock covers: it was merged, and judged, before
        if isinstance(effect, Held) and effect.before is not None:
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
            if (key, dot) not in kept:
                yield f"P2: {self._core.cluster.me.host} does not keep what lost of {'/'.join(key)}: {loser.value!r}"


def _has_seen(record: Record, dot: Dot) -> bool:
    """Whether the writer of a record had seen a dot of its key, or it is its own."""
    return record.dot == dot or any(seen.actor == dot.actor and seen.seq >= dot.seq for seen in record.vv)
