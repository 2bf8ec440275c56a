"""What travels on a peer link: msgpack arrays, the first element names the kind.

Calls expect one reply each; what is marked one-way expects none. `registry` in a call is the version of the registry
that the sender went by: an older one is answered with `StaleRegistry`.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from dynatwist.model.clock import Stamp
from dynatwist.model.digest import BUCKETS
from dynatwist.model.dots import Dot, WireDots
from dynatwist.model.flaws import BEYOND
from dynatwist.model.record import Key, Record
from dynatwist.model.records import Brief
from dynatwist.model.registry import Member, Registry
from dynatwist.model.ring import ALL_PARTITIONS
from dynatwist.replication.paxos import Ballot, Vote

WIRE_VERSION = 2

PartitionNumber = Annotated[int, Meta(ge=0, lt=ALL_PARTITIONS)]
"""A message with another number does not decode: there would be no such partition to look at."""
Generation = Annotated[int, Meta(ge=0, lt=BEYOND)]
BucketNumber = Annotated[int, Meta(ge=0, lt=BUCKETS)]


class Message(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Base of all messages."""


class Hello(Message, frozen=True, tag=1):
    """The first message either way, one-way.

    :ivar cluster_id: empty while the sender is in no cluster.
    :ivar starts: the sender's count of process starts.
    :ivar recovered: how far its log reached when it started: segment, and bytes of it.
    """

    version: int
    cluster_id: bytes
    member: Member
    epoch: bytes
    starts: int
    registry: Registry | None
    recovered: tuple[int, int] = (0, 0)


class Refused(Message, frozen=True, tag=2):
    """Instead of going on after `Hello`: why not. One-way; the link closes."""

    reason: str


class Ping(Message, frozen=True, tag=3):
    """Are you there? Answered with `Done`, at once."""


class Done(Message, frozen=True, tag=4):
    """Plain reply: it is done, and durable where that applies."""


class StaleRegistry(Message, frozen=True, tag=5):
    """Reply: you went by an older registry, here is mine; nothing was done."""

    registry: Registry


class Unable(Message, frozen=True, tag=6):
    """Reply: not now, not by me; nothing was done."""

    reason: str


class Replicate(Message, frozen=True, tag=7):
    """Merge these records; reply `Done` once all are durable. Not executed after `deadline_ms` in flight.

    :ivar writes: keys, and records as `dynatwist.model.records.pack` makes them.
    """

    registry: int
    deadline_ms: int
    writes: list[tuple[Key, bytes]]


class Compare(Message, frozen=True, tag=40):
    """Do you hold the same for some keys? Reply `Done` if so, durably, and all of them whole; else `Held`.

    :ivar digest: see `dynatwist.requests.compare.digest_of`.
    """

    registry: int
    keys: list[Key]
    digest: bytes


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
    """Entries of a table, in order of keys, from the partitions that the answerer owns. Reply `Scanned`."""

    registry: int
    table: str
    prefix: str
    after: str
    limit: int


class Scanned(Message, frozen=True, tag=15):
    """Reply: (key, dot) in order, tombstones included; `more` when the limit cut it short.

    :ivar briefs: what can be said of each record; none, from older releases.
    """

    entries: list[tuple[str, Dot]]
    more: bool
    briefs: list[Brief] = []


class Summaries(Message, frozen=True, tag=16):
    """Anti-entropy, first step: do we differ? Reply `Differing`.

    :ivar summaries: partition to eight bytes; see `Replica.summary`.
    :ivar wall_ms: what the sender's wall clock says.
    """

    registry: int
    summaries: dict[PartitionNumber, bytes]
    wall_ms: int = 0


class Differing(Message, frozen=True, tag=17):
    """Reply: the partitions that differ; and the answerer's partitions that are not whole."""

    partitions: list[PartitionNumber]
    not_whole: list[PartitionNumber]


class Pull(Message, frozen=True, tag=18):
    """Send what my clock does not cover. Reply `Pulled`.

    :ivar after: the last key of the page before, for the next page of a round.
    :ivar walk: which round that is, as its first page has named it; 0 from older releases.
    """

    registry: int
    partition: PartitionNumber
    clock: WireDots
    after: Key | None
    walk: int = 0


class Pulled(Message, frozen=True, tag=19):
    """Reply: records, and the answerer's durable clock, G and digest root as of this instant.

    :ivar more: there is another page.
    :ivar walk: names this round among those of the asker; 0 from older releases.
    """

    records: list[tuple[Key, Record]]
    more: bool
    clock: WireDots
    generation: Generation
    root: int
    whole: bool
    walk: int = 0


class Buckets(Message, frozen=True, tag=20):
    """Send the bucket digests of a partition. Reply `BucketsAre`."""

    partition: PartitionNumber


class BucketsAre(Message, frozen=True, tag=21):
    """Reply: 1,024 digests of eight bytes, or nothing when empty."""

    digests: bytes


class BucketEntries(Message, frozen=True, tag=22):
    """Send the entries of some buckets. Reply `EntriesAre`."""

    partition: PartitionNumber
    buckets: list[BucketNumber]


class EntriesAre(Message, frozen=True, tag=23):
    """Reply: entries, clock and G of one instant."""

    entries: list[tuple[Key, Dot]]
    clock: WireDots
    generation: Generation
    whole: bool


class DurableClocks(Message, frozen=True, tag=24):
    """Tell me your durable clocks. Reply `ClocksAre`. Left out is what is not whole, or held but not owned."""

    registry: int
    partitions: list[PartitionNumber]


class ClocksAre(Message, frozen=True, tag=25):
    """Reply: durable clocks."""

    clocks: dict[PartitionNumber, WireDots]


class Join(Message, frozen=True, tag=26):
    """Make me a member. Reply `Done`, `Unable` or `Refused`; the registry follows by itself."""

    member: Member
    replicas: int


class Prepare(Message, frozen=True, tag=27):
    """Paxos: promise this ballot. Reply `Voted`, or `StaleRegistry`, or `Unable`."""

    registry: int
    slot: str
    ballot: Ballot


class Accept(Message, frozen=True, tag=28):
    """Paxos: accept this value. Reply like `Prepare`."""

    registry: int
    slot: str
    ballot: Ballot
    value: bytes


class Voted(Message, frozen=True, tag=29):
    """Reply: the vote held now, durably."""

    vote: Vote


class RegistryIs(Message, frozen=True, tag=30):
    """The newest registry, one-way; sent before anything that goes by it."""

    registry: Registry


class Status(Message, frozen=True, tag=31):
    """What peers should know, one-way, sent on every change.

    :ivar ready: whether the data routes answer.
    :ivar not_whole: partitions that are not whole.
    """

    ready: bool
    not_whole: list[PartitionNumber]


class Relay(Message, frozen=True, tag=32):
    """Records that won at an owner, for listeners at a node that does not own them; one-way.

    :ivar cursor: of the sender's feed, right behind them.
    """

    records: list[tuple[Key, Record]]
    cursor: str


class Listen(Message, frozen=True, tag=38):
    """Somebody listens at the sender: relay to it what wins. Reply: `Listening`.

    :ivar tables: to which; an empty string stands for all. These replace what was asked for before.
    :ivar since: a cursor of the receiver's feed, to be told what came behind it too; empty for from now on.
    """

    tables: list[str]
    since: str = ""


class Listening(Message, frozen=True, tag=39):
    """What won since the cursor named, and where the feed is now.

    :ivar gap: the cursor is too old, or of another process: something may have been missed.
    """

    records: list[tuple[Key, Record]]
    cursor: str
    gap: bool = False


class Leaving(Message, frozen=True, tag=33):
    """The sender stops in a moment; one-way. It stays a member."""


class Settle(Message, frozen=True, tag=34):
    """Has the registry change of this version been completed on your part? Reply `Done` or `Unable`."""

    registry: int


class PullFromMe(Message, frozen=True, tag=35):
    """I hold more than I own: pull these partitions from me. Reply `ClocksAre` afterwards."""

    registry: int
    partitions: list[PartitionNumber]


class Restored(Message, frozen=True, tag=36):
    """One-way: I have met start number `starts` of yours, under another epoch: your data folder is an old backup."""

    starts: int


class Rekey(Message, frozen=True, tag=42):
    """One step of a change of the cluster's secrets; see `dynatwist.storage.keyring`. Reply `KeysAre`, or `Unable`.

    :ivar step: ``install``, ``use``, ``retire``, or empty to ask only.
    :ivar secret: to be installed.
    :ivar name: of the secret to be used, or to be left.
    :ivar now_s: seconds since 1970.
    :ivar tokens_s: for how long users' tokens from retired secrets are good.
    """

    registry: int
    step: Literal["", "install", "use", "retire"] = ""
    secret: bytes = b""
    name: str = ""
    now_s: int = 0
    tokens_s: int = 0


class KeysAre(Message, frozen=True, tag=43):
    """The names of the secrets that the sender accepts, the one that it uses first."""

    names: tuple[str, ...]


AnyMessage = (
    Hello
    | Refused
    | Ping
    | Done
    | StaleRegistry
    | Unable
    | Replicate
    | Compare
    | Held
    | ReadDot
    | DotHeld
    | Fetch
    | Fetched
    | Forward
    | Outcome
    | Scan
    | Scanned
    | Summaries
    | Differing
    | Pull
    | Pulled
    | Buckets
    | BucketsAre
    | BucketEntries
    | EntriesAre
    | DurableClocks
    | ClocksAre
    | Join
    | Prepare
    | Accept
    | Voted
    | RegistryIs
    | Status
    | Relay
    | Listen
    | Listening
    | Leaving
    | Settle
    | PullFromMe
    | Restored
    | Rekey
    | KeysAre
)
