"""Starting from what the disk holds: the newest manifest that verifies, then the log.

A torn tail of the last segment is a write that was cut short and never acknowledged: it is cut off. Damage anywhere
else concerns partitions, clock and records together, never single keys: they are set aside and become whole again from
their other owners. Damage never stops the node, and every finding is a line for people.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import msgspec

from dynatwist.model.dots import DotSet
from dynatwist.model.record import Key, Record
from dynatwist.model.records import Records, unpack
from dynatwist.model.replica import Replica
from dynatwist.model.ring import ALL_PARTITIONS
from dynatwist.replication.hints import HintQueues

from .entries import (
    AnyEntry,
    Dropped,
    Group,
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
from .files import FileSystem
from .manifest import CHUNK_KIND, MANIFEST_KIND, Manifest, SavedPartition, Slice
from .seal import Opened, open_file
from .wal import KIND as WAL_KIND
from .wal import Segment, segment_name

PROGRESS_RECORDS = 100_000


@dataclass(slots=True)
class Recovered:
    """What a start found.

    :ivar damaged: partitions set aside now.
    :ivar changed: partitions that the log changed since the manifest: the next cold save has to rewrite them.
    :ivar findings: lines for the log and ``/readyz``.
    :ivar progress: hears how far it is, now and then.
    :ivar next_segment: number for the new segment.
    :ivar last_segment: number and length of the newest one kept.
    """

    replicas: list[Replica] = field(default_factory=lambda: [Replica(number) for number in range(ALL_PARTITIONS)])
    meta: dict[str, bytes] = field(default_factory=dict)
    hints: HintQueues = field(default_factory=HintQueues)
    mark: tuple[int, int] = (0, 0)
    wall_ms: int = 0
    manifest: Manifest | None = None
    damaged: set[int] = field(default_factory=set)
    changed: set[int] = field(default_factory=set)
    findings: list[str] = field(default_factory=list)
    next_segment: int = 1
    last_segment: tuple[int, int] = (0, 0)
    next_generation: int = 1
    loaded: int = 0
    progress: Callable[[str], None] = lambda text: None

    def damage_all(self, finding: str) -> None:
        """Something that may concern every partition."""
        self.findings.append(finding)
        self.damaged.update(range(ALL_PARTITIONS))

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


def recover(
    fs: FileSystem,
    folder: str,
    data_key: bytes,
    expects_data: bool,
    progress: Callable[[str], None] = lambda text: None,
) -> Recovered:
    """Read the folder; cuts a torn tail, durably, before it returns.

    :param folder: the data folder, with ``cold/`` and ``wal/`` in it.
    :param expects_data: whether this node has run before, so that an empty log means loss.
    """
    found = Recovered(progress=progress)
    _load_manifest(fs, f"{folder}/cold", data_key, found)
    _replay(fs, f"{folder}/wal", data_key, found, expects_data)
    for number in sorted(found.damaged):
        found.replicas[number].set_aside()
    return found


def _load_manifest(fs: FileSystem, cold: str, data_key: bytes, found: Recovered) -> None:
    names = [name for name in fs.names(cold) if name.startswith("manifest-") and not name.endswith(".new")]
    for name in reversed(names):
        found.next_generation = max(found.next_generation, int(name[9:]) + 1)
        opened = open_file(data_key, MANIFEST_KIND, fs.read(f"{cold}/{name}"))
        if not opened.intact or not opened.payloads:
            found.findings.append(f"cold/{name} is damaged; the one before it and the log are used")
            continue
        found.manifest = msgspec.msgpack.decode(opened.payloads[0], type=Manifest)
        break
    manifest = found.manifest
    if manifest is None:
        return
    found.meta, found.wall_ms = dict(manifest.meta), manifest.wall_ms
    found.see(manifest.mark)
    for node, keys in manifest.hints.items():
        for key in keys:
            found.hints.add(node, key)
    chunks = _Chunks(fs, cold, data_key, found)
    for saved in manifest.partitions:
        _load_partition(saved, chunks, found)


class _Chunks:
    """The chunks of a cold save, each read once, findings noted once."""

    def __init__(self, fs: FileSystem, cold: str, data_key: bytes, found: Recovered) -> None:
        self._fs, self._cold, self._data_key, self._found = fs, cold, data_key, found
        self._opened: dict[str, Opened] = {}

    def frame(self, chunk: str, number: int) -> bytes | None:
        if chunk not in self._opened:
            try:
                data = self._fs.read(f"{self._cold}/{chunk}")
            except OSError:
                data = b""
            self._opened[chunk] = opened = open_file(self._data_key, CHUNK_KIND, data)
            if not opened.intact:
                self._found.findings.append(f"cold/{chunk} is damaged; its partitions are fetched from other owners")
        payloads = self._opened[chunk].payloads
        return payloads[number] if number < len(payloads) else None


def _load_partition(saved: SavedPartition, chunks: _Chunks, found: Recovered) -> None:
    replica = found.replicas[saved.number]
    for piece in saved.pieces:
        payload = chunks.frame(piece.chunk, piece.frame)
        if payload is None:
            found.damaged.add(saved.number)
            continue
        for item in msgspec.msgpack.decode(payload, type=Slice).items:
            packed = bytes(item.record)
            record = unpack(packed)
            found.see_record(record)
            if item.aside:
                replica.aside[item.key] = record
                continue
            replica.take(item.key, record, packed)
            if item.seen:
                replica.seen[item.key] = item.seen
    replica.join(DotSet.from_wire(saved.clock), saved.generation)
    replica.whole = saved.whole


def _replay(fs: FileSystem, folder: str, data_key: bytes, found: Recovered, expects_data: bool) -> None:
    numbers = sorted(int(name[:-4]) for name in fs.names(folder) if name.endswith(".wal"))
    if numbers and Segment(numbers[-1], fs.read(f"{folder}/{segment_name(numbers[-1])}"), data_key).is_stillborn:
        fs.remove(f"{folder}/{segment_name(numbers.pop())}")
        fs.sync_folder(folder)
    if numbers:
        found.next_segment = numbers[-1] + 1
    start = found.manifest.wal_from if found.manifest else 1
    wanted = [number for number in numbers if number >= start]
    if (found.manifest is None or not wanted) and expects_data and (not wanted or wanted[0] != 1):
        found.damage_all("wal/: the log's beginning is missing; every partition is fetched from other owners")
    elif wanted and wanted[0] != start:
        found.damage_all(f"wal/{segment_name(start)} is missing; every partition is fetched from other owners")
    before: Segment | None = None
    for number in wanted:
        segment = Segment(number, fs.read(f"{folder}/{segment_name(number)}"), data_key)
        _check(segment, before, number == wanted[-1], found)
        for frame in segment.frames:
            if isinstance(frame, Group):
                found.wall_ms = max(found.wall_ms, frame.wall_ms)
                for entry in frame.entries:
                    apply(entry, found)
        before = segment
    if before is not None:
        found.last_segment = (before.number, before.opened.good_bytes)
        if before.opened.torn:
            lost = before.size_bytes - before.opened.good_bytes
            found.findings.append(
                f"wal/{segment_name(before.number)}: its last {lost} bytes were cut short by a crash and are cut off"
            )
            fs.truncate(f"{folder}/{segment_name(before.number)}", before.opened.good_bytes)
            return
        if before.opened.damaged:
            found.last_segment = (before.number, before.size_bytes)
        # A process that was killed had written more, perhaps, than it had synced; it is shown to clients from now on.
        fs.sync(f"{folder}/{segment_name(before.number)}")


def _check(segment: Segment, before: Segment | None, is_last: bool, found: Recovered) -> None:
    name = f"wal/{segment_name(segment.number)}"
    fetched = "every partition is fetched from other owners"
    if segment.opened.damaged:
        found.damage_all(f"{name} is damaged; {fetched}")
    elif segment.opened.torn and not is_last:
        found.damage_all(f"{name} is cut short; {fetched}")
    if before is None or segment.start is None:
        return
    if segment.start.previous != before.number or segment.number != before.number + 1:
        found.damage_all(f"{name} does not follow its predecessor; {fetched}")
    elif segment.start.previous_bytes != before.size_bytes and not found.damaged:
        found.damage_all(f"wal/{segment_name(before.number)} is not as long as it was; {fetched}")


def scrub(fs: FileSystem, folder: str, data_key: bytes, found: Recovered) -> list[str]:
    """Look at the files that the start did not need, which are kept in case the newest ones are damaged one day.

    :returns: findings, for the log; nothing has to be done, the next cold saves replace these files.
    """
    findings: list[str] = []

    def check(path: str, kind: bytes) -> Opened:
        opened = open_file(data_key, kind, fs.read(f"{folder}/{path}"))
        if not opened.intact:
            findings.append(f"{path} is damaged; it was not needed, and the next cold saves replace it")
        return opened

    newest = found.manifest
    if newest is None:
        return findings
    used = {piece.chunk for saved in newest.partitions for piece in saved.pieces}
    for name in fs.names(f"{folder}/cold"):
        if name.startswith("manifest-") and int(name[9:]) < newest.generation:
            opened = check(f"cold/{name}", MANIFEST_KIND)
            older = msgspec.msgpack.decode(opened.payloads[0], type=Manifest) if opened.intact else newest
            chunks = {piece.chunk for saved in older.partitions for piece in saved.pieces}
            for chunk in sorted(chunks - used):
                check(f"cold/{chunk}", CHUNK_KIND)
    for name in fs.names(f"{folder}/wal"):
        if name.endswith(".wal") and int(name[:-4]) < newest.wal_from:
            check(f"wal/{name}", WAL_KIND)
    return findings


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
            found.replicas[partition].reset(whole)
        case SetAside(partition):
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
