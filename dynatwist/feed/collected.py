"""Which tombstones were collected here lately: whoever comes back and was told of them all has missed no delete.

A tombstone is collected when all owners' clocks cover it, so a replica that is whole all the while has lost none but
those that it dropped itself. What went earlier is known by a *floor* only: the clock and the lapse at the last drop,
which cover all that had gone by then. The generation does not tell: it need not grow when a tombstone is dropped.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from dynatwist.model.dots import Dot, DotSet
from dynatwist.sometimes import sometimes

REMEMBERED = 64
"""Of one partition: some sixteen thousand deletes in all. Listeners that were away for longer read afresh."""
Gone = tuple[Dot, int]
"""(what was dropped, when it had ended by itself, 0 for a tombstone): a listener may have heard of the record, and not
of its end."""


class Floor(NamedTuple):
    """What covers all that went earlier.

    :ivar clock: empty where nothing did.
    :ivar lapse_ms: whatever had ended by itself had by then.
    """

    clock: DotSet
    lapse_ms: int


class Collected:
    """See the module.

    :param floors: by partition.
    """

    def __init__(self, floors: Iterable[Floor]) -> None:
        self._floors = list(floors)
        self._gone: dict[int, list[Gone]] = {}

    def begin(self, partition: int, floor: Floor) -> None:
        """What went before is known no better than this."""
        self._floors[partition] = floor
        self._gone.pop(partition, None)

    def note(self, partition: int, gone: Iterable[Gone], floor: Floor) -> None:
        """Tombstones are dropped.

        :param floor: covers them.
        """
        known = self._gone.setdefault(partition, [])
        known.extend(gone)
        if len(known) > REMEMBERED:
            sometimes("more tombstones are collected than are remembered for listeners that come back")
            self.begin(partition, floor)

    def of(self, partition: int) -> tuple[Floor, list[Gone]]:
        """(what covers all that went earlier, what went since)."""
        return self._floors[partition], self._gone.get(partition, [])
