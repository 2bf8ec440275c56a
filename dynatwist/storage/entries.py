"""The entries of the write-ahead log: every way in which what a node holds can change."""

from __future__ import annotations

import msgspec

from dynatwist.model.dots import Dot, WireDots
from dynatwist.model.record import Key, Record
from dynatwist.replication.conflicts import ConflictId, Winner
from dynatwist.replication.register import Ballot, Cell, Floor


class Entry(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Base of all entries."""


class Merged(Entry, frozen=True, tag=1):
    """A record was merged and won, or was set aside and is so no more; where the log is replayed it may lose.

    :ivar record: as `dynatwist.model.records.pack` makes it.
    """

    partition: int
    key: Key
    record: msgspec.Raw


class Taken(Entry, frozen=True, tag=2):
    """A record was taken over although the clock covered its dot: digests differed, or it was set aside before."""

    partition: int
    key: Key
    record: Record


class Joined(Entry, frozen=True, tag=3):
    """A peer's clock and G were joined; or a record arrived and lost, and its dot is noted.

    :ivar lost_key: the key of the record that lost; ``None`` when a clock was joined. Logs of former releases never say
        it, and former releases pass over it.
    """

    partition: int
    clock: WireDots
    generation: int
    lost_key: Key | None = None


class Dropped(Entry, frozen=True, tag=4):
    """Tombstones were collected, or a peer's collection was followed; G was raised in the same step."""

    partition: int
    entries: list[tuple[Key, Dot]]
    generation: int


class Reset(Entry, frozen=True, tag=5):
    """The partition was handed off, wiped or newly taken over: it starts over, empty."""

    partition: int
    whole: bool


class SetAside(Entry, frozen=True, tag=6):
    """The partition was damaged: what verified was put aside, and it started over, not whole."""

    partition: int


class Wholeness(Entry, frozen=True, tag=7):
    """The partition became whole, or ceased to be; what was aside has been merged when it became."""

    partition: int
    whole: bool


class Hinted(Entry, frozen=True, tag=8):
    """A node missed a key."""

    node: bytes
    key: Key


class Unhinted(Entry, frozen=True, tag=9):
    """A node has these keys now; an empty list means that all its hints are void."""

    node: bytes
    keys: list[Key]


class MetaSet(Entry, frozen=True, tag=10):
    """A small named value changed; empty means gone."""

    name: str
    value: bytes


class Promised(Entry, frozen=True, tag=11):
    """A register promised a ballot; see `dynatwist.replication.register`."""

    partition: int
    key: Key
    ballot: Ballot


class Accepted(Entry, frozen=True, tag=12):
    """A register accepted a value, and promised the proposer's next ballot.

    :ivar record: as `dynatwist.model.records.pack` makes it.
    """

    partition: int
    key: Key
    ballot: Ballot
    following: Ballot
    record: msgspec.Raw


class Learnt(Entry, frozen=True, tag=13):
    """What a register has accepted is chosen: it is merged, if it is still there.

    :ivar dot: of the record.
    """

    partition: int
    key: Key
    dot: Dot


class Forgotten(Entry, frozen=True, tag=14):
    """Registers were forgotten that had promised nothing beyond the floor, which rises with that."""

    partition: int
    keys: list[Key]
    floor: Floor


class CellJoined(Entry, frozen=True, tag=15):
    """What another owner's register holds was joined, since this one may have forgotten something."""

    partition: int
    key: Key
    cell: Cell


class Contested(Entry, frozen=True, tag=16):
    """Two records met neither of whose writers had seen the other, and one of them lost.

    :ivar lost: that one, as `dynatwist.model.records.pack` makes it.
    :ivar won: the other one.
    """

    key: Key
    lost: msgspec.Raw
    won: Winner


class Settled(Entry, frozen=True, tag=17):
    """A conflict is settled; see `dynatwist.replication.conflicts`.

    :ivar partition: of its key.
    """

    partition: int
    conflict: ConflictId


AnyEntry = (
    Merged
    | Taken
    | Joined
    | Dropped
    | Reset
    | SetAside
    | Wholeness
    | Hinted
    | Unhinted
    | MetaSet
    | Promised
    | Accepted
    | Learnt
    | Forgotten
    | CellJoined
    | Contested
    | Settled
)


class SegmentStart(msgspec.Struct, frozen=True, array_like=True, tag=1):
    """The first frame of a segment: how long its predecessor became, so that a cut there is seen.

    :ivar previous: number of the predecessor; 0 when this process found none.
    :ivar previous_bytes: its final length.
    :ivar previous_salt: names the predecessor's file (see `dynatwist.storage.seal`); empty when there is none, or it is
        not known. What follows is left out in segments of former releases.
    :ivar number: of this segment; 0 when it is not said.
    :ivar starts: of this node, when this segment was begun.
    """

    previous: int
    previous_bytes: int
    previous_salt: bytes = b""
    number: int = 0
    starts: int = 0


class Group(msgspec.Struct, frozen=True, array_like=True, tag=2):
    """One group commit.

    :ivar wall_ms: the wall clock when it was written, as far as it was believed.
    :ivar lapse_ms: the time that was over by then; 0 in groups of former releases.
    """

    wall_ms: int
    entries: list[AnyEntry]
    lapse_ms: int = 0


Frame = SegmentStart | Group
