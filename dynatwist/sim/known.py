"""What is known of each record that any node ever wrote."""

from __future__ import annotations

from dataclasses import dataclass, field

from dynatwist.model.record import Key, Record

from .history import name_of


@dataclass(slots=True, eq=False)
class Known:
    """What is known of one record.

    :ivar holders: numbers of the nodes in custody of it.
    :ivar held_by: numbers of all nodes that ever were.
    :ivar lost_by: numbers of nodes whose disk had it until it was damaged.
    :ivar acknowledged: whether a client was told of success.
    :ivar by_majority_s: when a client was told that a majority has it; infinite until then.
    """

    partition: int
    key: Key
    record: Record
    born_s: float
    holders: set[int] = field(default_factory=set)
    held_by: set[int] = field(default_factory=set)
    lost_by: set[int] = field(default_factory=set)
    acknowledged: bool = False
    by_majority_s: float = float("inf")

    @property
    def name(self) -> str:
        """For people."""
        return f"{'/'.join(self.key)} {self.record.value!r} {name_of(self.record)}"
