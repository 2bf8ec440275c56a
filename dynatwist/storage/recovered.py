"""What a start has found so far, and how an entry of the log changes it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from dynatwist.model.dots import DotSet
from dynatwist.model.record import Key, Record
from dynatwist.model.records import Records, unpack
from dynatwist.model.replica import Replica
from dynatwist.model.ring import ALL_PARTITIONS
from dynatwist.replication.hints import HintQueues
from dynatwist.sometimes import sometimes

from .entries import (
    AnyEntry,
    Dropped,
    Hinted,
    Joined,
    Merged,
    MetaSet,
    Reset,
    SetAside,
    Taken,
    Unhinted,
    Wholeness,
)
from .manifest import Manifest

PROGRESS_RECORDS = 100_000
"""After so many records a start says how far it is: a second or so."""


@dataclass(slots=True)
class Damage:
    """Something that is not as it was written.

    :ivar what: for people.
    :ivar partitions: those that it concerns, and that did not start over since.
    """

    what: str
    partitions: set[int]

    @property
    def finding(self) -> str:
        """A line for the log and ``/readyz``."""
        if not self.partitions:
            return f"{self.what}; nothing that is held now depends on it"
        all_of_them = len(self.partitions) == ALL_PARTITIONS
        concerned = "every partition is" if all_of_them else f"{len(self.partitions)} partitions are"
        return f"{self.what}; {concerned} fetched from other owners"


@dataclass(slots=True)
class Recovered:
    """What a start found.

    :ivar wall_ms: the wall clock, as far as it was believed last.
    :ivar lapse_ms: the time that was over; see `dynatwist.replication.lapse`.
    :ivar damage: what is damaged, in the order in which it was met.
    :ivar changed: partitions that the log changed since the manifest: the next cold save has to rewrite them.
    :ivar findings: lines for the log and ``/readyz``; those about damage come with `conclude`.
    :ivar progress: hears how far it is, now and then.
    :ivar next_segment: number for the new segment; greater than any that the log ever had.
    :ivar log_bytes: how much log was read.
    :ivar last_segment: number and length of the newest one kept.
    :ivar last_salt: names its file; empty when that is not known.
    :ivar chunk_salts: of the chunks that were read; see `dynatwist.storage.manifest.Manifest`.
    :ivar starts: the greatest count of this node's starts that the log names.
    """

    replicas: list[Replica] = field(default_factory=lambda: [Replica(number) for number in range(ALL_PARTITIONS)])
    meta: dict[str, bytes] = field(default_factory=dict)
    hints: HintQueues = field(default_factory=HintQueues)
    mark: tuple[int, int] = (0, 0)
    wall_ms: int = 0
    lapse_ms: int = 0
    manifest: Manifest | None = None
    damage: list[Damage] = field(default_factory=list)
    changed: set[int] = field(default_factory=set)
    findings: list[str] = field(default_factory=list)
    next_segment: int = 1
    last_segment: tuple[int, int] = (0, 0)
    last_salt: bytes = b""
    chunk_salts: dict[str, bytes] = field(default_factory=dict)
    starts: int = 0
    next_generation: int = 1
    log_bytes: int = 0
    loaded: int = 0
    progress: Callable[[str], None] = lambda text: None

    @property
    def damaged(self) -> set[int]:
        """The partitions that some damage concerns: what is here of them is not all, or older than it was."""
        return {number for damage in self.damage for number in damage.partitions}

    def damage_some(self, what: str, partitions: Iterable[int]) -> None:
        """Something that concerns some partitions."""
        for damage in self.damage:
            if damage.what == what:
                damage.partitions.update(partitions)
                return
        self.damage.append(Damage(what, set(partitions)))

    def damage_all(self, what: str) -> None:
        """Something that may concern every partition."""
        self.damage_some(what, range(ALL_PARTITIONS))

    def start_over(self, partition: int) -> None:
        """The log has a partition start over: what was damaged before concerns it no more.

        So a second start, before a cold save has replaced what is damaged, comes to what the first one had come to,
        with all that it acknowledged since.
        """
        for damage in self.damage:
            if partition in damage.partitions:
                sometimes("a start finds damage that an earlier start had found, and that is mended in the log")
                damage.partitions.discard(partition)

    def conclude(self) -> None:
        """All is read: set aside what is damaged, and say so."""
        for number in sorted(self.damaged):
            self.replicas[number].set_aside()
        self.findings += [damage.finding for damage in self.damage]

    def see(self, mark: tuple[int, int]) -> None:
        """Raise the high-water mark of the hybrid clock."""
        self.mark = max(self.mark, mark)

    def see_record(self, record: Record) -> None:
        """A record was read."""
        self.loaded += 1
        if self.loaded % PROGRESS_RECORDS == 0:
            self.progress(f"{self.loaded:,} records loaded")
        stamp = record.stamp
        if stamp[:2] > self.mark:
            self.mark = stamp.ms, stamp.counter


def apply(entry: AnyEntry, found: Recovered) -> None:
    """Do again what an entry says."""
    if isinstance(entry, Merged | Taken | Joined | Dropped | Reset | SetAside | Wholeness):
        found.changed.add(entry.partition)
    match entry:
        case Merged(partition, key, raw):
            packed = bytes(raw)
            merged = unpack(packed)
            found.replicas[partition].merge(key, merged, packed)
            found.see_record(merged)
        case Taken(partition, key, record):
            found.replicas[partition].take(key, record)
            found.see_record(record)
        case Joined(partition, clock, generation):
            found.replicas[partition].join(DotSet.from_wire(clock), generation)
        case Dropped(partition, entries, generation):
            for key, dot in entries:
                found.replicas[partition].drop(key, dot, generation)
            found.replicas[partition].join(DotSet(), generation)
        case Reset(partition, whole):
            found.start_over(partition)
            found.replicas[partition].reset(whole)
        case SetAside(partition):
            found.start_over(partition)
            found.replicas[partition].set_aside()
        case Wholeness(partition, whole):
            found.replicas[partition].whole = whole
            found.replicas[partition].aside = Records()
        case Hinted(node, key):
            found.hints.add(node, key)
        case Unhinted(node, keys):
            _unhint(found.hints, node, keys)
        case MetaSet(name, value):
            if value:
                found.meta[name] = value
            else:
                found.meta.pop(name, None)


def _unhint(hints: HintQueues, node: bytes, keys: list[Key]) -> None:
    if keys:
        hints.done(node, keys)
    else:
        hints.forget(node)
