"""Conflicts, asked of all members; see `dynatwist.replication.conflicts`.

Members of older releases do not know these kinds, and would end the link.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from dynatwist.model.records import Packed
from dynatwist.replication.conflict_pages import Head
from dynatwist.replication.conflicts import ID_BYTES, ConflictId

from .base import Message, PartitionNumber

MAX_ASKED = 1000
"""Conflicts in one message: as many as a client may ask for."""
Id = Annotated[ConflictId, Meta(min_length=ID_BYTES, max_length=ID_BYTES)]
Position = Annotated[ConflictId, Meta(max_length=ID_BYTES)]


class ListConflicts(Message, frozen=True, tag=52):
    """Which conflicts do you keep, the newest first? Reply `ConflictsAre`.

    :ivar table: only those of one; empty for all.
    :ivar after: only those behind this id; empty for all.
    :ivar limit: so many at most.
    """

    table: str
    after: Position
    limit: Annotated[int, Meta(ge=1, le=MAX_ASKED)]


class ConflictsAre(Message, frozen=True, tag=53):
    """Reply.

    :ivar settled: the ids of conflicts that are settled, as far as this answer reaches.
    :ivar upto: the last id that was looked at; empty when that was the last one of all.
    """

    heads: list[Head]
    settled: list[Id]
    upto: Position


class FetchConflicts(Message, frozen=True, tag=54):
    """Send the records that have lost. Reply `ConflictsFetched`."""

    conflicts: Annotated[list[Id], Meta(max_length=MAX_ASKED)]


class ConflictsFetched(Message, frozen=True, tag=55):
    """Reply: those of the records that are kept, or the first of them: a mebibyte, or one."""

    records: list[tuple[Id, Packed]]


class SettleConflicts(Message, frozen=True, tag=56):
    """Keep these no more, and remember that they are settled. Reply `Done`, once that is durable.

    :ivar conflicts: with the partitions of their keys.
    """

    conflicts: Annotated[list[tuple[PartitionNumber, Id]], Meta(max_length=MAX_ASKED)]
