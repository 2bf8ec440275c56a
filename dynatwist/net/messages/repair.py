"""What keeps owners equal: rounds, digests, clocks, handing off."""

from __future__ import annotations

from dynatwist.model.dots import Dot, WireDots
from dynatwist.model.record import Key, Record

from .base import BucketNumber, Generation, Message, PartitionNumber


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


class PullFromMe(Message, frozen=True, tag=35):
    """I hold more than I own: pull these partitions from me. Reply `ClocksAre` afterwards."""

    registry: int
    partitions: list[PartitionNumber]


class Restored(Message, frozen=True, tag=36):
    """One-way: I have met start number `starts` of yours, under another epoch: your data folder is an old backup."""

    starts: int
