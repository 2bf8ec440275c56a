"""Which tombstones were collected here lately: whoever comes back and was told of them all has missed no delete.

A tombstone is collected when all owners' clocks cover it, so a replica that is whole all the while has lost none but
those that it dropped itself. What went before a start, or before the replica was filled, nobody knows.
"""

from __future__ import annotations

from collections.abc import Iterable

from dynatwist.model.dots import Dot
from dynatwist.sometimes import sometimes

REMEMBERED_DOTS = 128
"""Of one partition: some thirty thousand deletes in all. Listeners that were away for longer read afresh."""


class Collected:
    """See the module.

    :param generations: G of each partition, in order, when it began to be held here.
    """

    def __init__(self, generations: Iterable[int]) -> None:
        self._floors = list(generations)
        self._dots: dict[int, list[Dot]] = {}

    def begin(self, partition: int, generation: int) -> None:
        """A partition starts over: what went before is not known."""
        self._floors[partition] = generation
        self._dots.pop(partition, None)

    def note(self, partition: int, dots: Iterable[Dot], generation: int) -> None:
        """Tombstones are dropped.

        :param generation: G behind that.
        """
        known = self._dots.setdefault(partition, [])
        known.extend(dots)
        if len(known) > REMEMBERED_DOTS:
            sometimes("more tombstones are collected than are remembered for listeners that come back")
            self.begin(partition, generation)

    def of(self, partition: int) -> tuple[int, list[Dot]]:
        """(the generation up to which it is not known what went, what went since)."""
        return self._floors[partition], self._dots.get(partition, [])
