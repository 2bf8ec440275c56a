"""The ledger: every record that any node ever wrote, by its dot, its partition and its key."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping

from dynatwist.model.dots import Dot
from dynatwist.model.record import Key, Record
from dynatwist.replication.request import etag

from .history import name_of
from .known import Known
from .world import World


class Ledger:
    """See the module.

    :param say: hears of violations.
    :ivar by_key: the records of each key.
    :ivar by_majority: the records of which a client was told that a majority has them.
    """

    def __init__(self, world: World, say: Callable[[str], None]) -> None:
        self._world = world
        self._say = say
        self._records: dict[tuple[int, Dot], Known] = {}
        self._in: defaultdict[int, list[Known]] = defaultdict(list)
        self.by_key: defaultdict[Key, dict[Dot, Known]] = defaultdict(dict)
        self.by_majority: list[Known] = []
        self._proposed: defaultdict[Key, dict[str, Record]] = defaultdict(dict)

    def has(self, partition: int, dot: Dot) -> bool:
        """Whether a record was seen already."""
        return (partition, dot) in self._records

    def enter(self, partition: int, key: Key, record: Record) -> Known:
        """P5: one dot, one record.

        :returns: what is known of it.
        """
        known = self._records.get((partition, record.dot))
        if known is None:
            known = Known(partition, key, record, self._world.now_s)
            self._records[partition, record.dot] = self.by_key[key][record.dot] = known
            self._in[partition].append(known)
        elif (known.key, known.record) != (key, record):
            self._say(f"P5: {name_of(record)} issued twice, for {known.key} {known.record!r} and for {key} {record!r}")
        return known

    def propose(self, key: Key, record: Record) -> None:
        """A register has accepted a record: perhaps it is shown before anybody has merged it."""
        self._proposed[key][etag(record)] = record

    def proposed(self, key: Key, tag: str) -> Record | None:
        """What a register has accepted that has an ETag."""
        return self._proposed[key].get(tag)

    def all(self) -> Iterable[Known]:
        """All records."""
        return self._records.values()

    def within(self, partition: int) -> list[Known]:
        """The records of a partition."""
        return self._in[partition]

    def of(self, key: Key) -> Mapping[Dot, Known]:
        """The records of a key."""
        return self.by_key[key]

    def majority_has(self, known: Known, at_s: float) -> None:
        """A client was told so."""
        if known.by_majority_s == float("inf"):
            self.by_majority.append(known)
        known.by_majority_s = min(known.by_majority_s, at_s)

    def damaged(self, number: int, unseen: bool) -> None:
        """What a node held may be gone.

        :param unseen: whether it has to find out by itself.
        """
        for known in self._records.values():
            if number in known.holders:
                known.holders.discard(number)
                if unseen:
                    known.lost_by.add(number)
