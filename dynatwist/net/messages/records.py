"""What is asked of owners for clients: writes, reads, forwarded requests, listings."""

from __future__ import annotations

from dynatwist.model.clock import Stamp
from dynatwist.model.dots import Dot, WireDots
from dynatwist.model.record import Key, Record
from dynatwist.model.records import Brief

from .base import Message, PartitionNumber


class Replicate(Message, frozen=True, tag=7):
    """Merge these records; reply `Done` once all are durable. Not executed after `deadline_ms` in flight.

    :ivar writes: keys, and records as `dynatwist.model.records.pack` makes them.
    :ivar traces: ``traceparent`` of those requests among them that are traced; earlier releases do not read so far.
    """

    registry: int
    deadline_ms: int
    writes: list[tuple[Key, bytes]]
    traces: tuple[str, ...] = ()


class Compare(Message, frozen=True, tag=40):
    """Do you hold the same for some keys? Reply `Done` if so, durably, and all of them whole; else `Held`.

    :ivar digest: see `dynatwist.requests.compare.digest_of`.
    :ivar traces: see `Replicate`.
    """

    registry: int
    keys: list[Key]
    digest: bytes
    traces: tuple[str, ...] = ()


class Held(Message, frozen=True, tag=41):
    """Reply: what names the records held for the keys asked about, in their order.

    :ivar names: as `dynatwist.model.records.name_of` makes them; ``None`` where the answerer is not whole.
    """

    names: list[bytes | None]


class ReadDot(Message, frozen=True, tag=8):
    """Which dot do you hold for a key? Reply `DotHeld`.

    :ivar op: id of a request; have you met the record that it became?
    """

    registry: int
    key: Key
    op: bytes = b""


class DotHeld(Message, frozen=True, tag=9):
    """Reply: the dot held; ``None`` when nothing is.

    :ivar whole: whether the answer may count for a majority.
    :ivar written: what the request asked about became.
    :ivar has_met: the answerer has met that record, even if it does not know it any more.
    """

    dot: Dot | None
    whole: bool
    written: Record | None = None
    has_met: bool = False


class Fetch(Message, frozen=True, tag=10):
    """Send me what you hold for some keys. Reply `Fetched`.

    :ivar room_bytes: how much the answer may hold, about; one record always. 0, as older releases have it: anything.
    """

    keys: list[Key]
    room_bytes: int = 0


class Fetched(Message, frozen=True, tag=11):
    """Reply: records, for those keys that are held.

    :ivar covered: for how many of the keys, the first ones, this is the answer; -1 for all.
    """

    records: list[tuple[Key, Record]]
    covered: int = -1


class Forward(Message, frozen=True, tag=12):
    """Carry this request out as an owner; reply `Outcome`. Never executed after `deadline_ms` in flight.

    :ivar op: id of the request: a retry with the same id is the same write.
    :ivar request: msgpack of a `dynatwist.replication.request.Operation`.
    :ivar created: the stamp of creation, if the key is created.
    :ivar in_doubt: another owner was asked before, and not heard of.
    :ivar after_ms: hybrid time beyond which the write is to be stamped.
    """

    registry: int
    deadline_ms: int
    op: bytes
    request: bytes
    created: Stamp | None = None
    in_doubt: bool = False
    after_ms: int = 0


class Outcome(Message, frozen=True, tag=13):
    """Reply to `Forward`: msgpack of a `dynatwist.replication.request.Result`."""

    result: bytes


class Scan(Message, frozen=True, tag=14):
    """Entries of a table, in order of keys, from the partitions that the answerer owns. Reply `Scanned`.

    :ivar collected_of: of which partitions it is to be said which tombstones went lately; ``None`` of none.
    :ivar is_live: whether tombstones may be left out, but for one at the end. Older releases name all of them.
    """

    registry: int
    table: str
    prefix: str
    after: str
    limit: int
    collected_of: list[PartitionNumber] | None = None
    is_live: bool = False


class Scanned(Message, frozen=True, tag=15):
    """Reply: (key, dot) in order, tombstones included unless they may be left out; `more` when the limit cut it short.

    :ivar briefs: what can be said of each record; none, from older releases.
    :ivar collected: of partitions of which tombstones went, as `dynatwist.feed.collected` has it: (partition, its
        floor: a clock and a lapse, those that went since); ``None`` where nobody asked, or the release does not know.
    """

    entries: list[tuple[str, Dot]]
    more: bool
    briefs: list[Brief] = []
    collected: list[tuple[PartitionNumber, WireDots, int, list[tuple[Dot, int]]]] | None = None
