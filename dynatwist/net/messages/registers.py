"""Registers: see `dynatwist.replication.register`."""

from __future__ import annotations

import msgspec

from dynatwist.model.dots import Dot
from dynatwist.model.record import Key
from dynatwist.replication.proposal import Vote
from dynatwist.replication.register import NEVER, Ballot, Cell, Floor

from .base import Message, PartitionNumber


class Question(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What is asked of one register.

    :ivar ballot: to promise, or under which to accept; ``None`` to look only.
    :ivar following: to promise besides, where something is to be accepted.
    :ivar value: to accept, as `dynatwist.model.records.pack` makes it; ``None`` to promise.
    :ivar known: names the value that the asker holds; it need not be repeated.
    :ivar op: id of a request that another proposer may have carried out: has the owner accepted what it became?
    """

    key: Key
    ballot: Ballot | None
    following: Ballot = NEVER
    value: bytes | None = None
    known: bytes = b""
    op: bytes = b""


class Poll(Message, frozen=True, tag=44):
    """Vote on some registers. Reply `Polled`, or `StaleRegistry`, or `Unable`."""

    registry: int
    questions: list[Question]


class Polled(Message, frozen=True, tag=45):
    """Reply: the votes, durable, in the order of the questions; ``None`` where the answerer does not vote."""

    votes: list[Vote | None]


class Chose(Message, frozen=True, tag=46):
    """What was accepted is chosen, by key and dot; one-way."""

    chosen: list[tuple[Key, Dot]]


class PullCells(Message, frozen=True, tag=47):
    """Send what your registers of a partition hold. Reply `CellsAre`.

    :ivar walk: which walk through them it is, as its first page has named it; 0 for the first page.
    :ivar at: how many of that walk's registers were sent already.
    """

    registry: int
    partition: PartitionNumber
    walk: int = 0
    at: int = 0


class CellsAre(Message, frozen=True, tag=48):
    """Reply: registers, and their floor; durable.

    :ivar at: how many of the walk's registers were sent by now; -1 when these are the last ones.
    :ivar is_whole: whether the sender holds all of the partition.
    """

    cells: list[tuple[Key, Cell]]
    floor: Floor
    walk: int
    at: int
    is_whole: bool = True


class CountTable(Message, frozen=True, tag=49):
    """How many live records of a table do you hold, which is on its way to other settings? Reply `TableCounted`."""

    registry: int
    table: str


class TableCounted(Message, frozen=True, tag=50):
    """Reply.

    :ivar live: records.
    :ivar is_closing: whether the answerer knows that the table is on its way to other settings, and refuses writes.
    :ivar is_whole: whether it holds all that it should; else it may hold something that it does not count.
    """

    live: int
    is_closing: bool
    is_whole: bool


class CompareCells(Message, frozen=True, tag=51):
    """Have your registers accepted the same, under the same ballots? Reply `Done` if so, durably; else `Held`.

    :ivar digest: see `dynatwist.agreement.looks`.
    """

    registry: int
    keys: list[Key]
    digest: bytes
