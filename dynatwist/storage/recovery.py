"""Starting from what the disk holds: the newest manifest that verifies, then the log.

A torn tail of the last segment is a write that was cut short and never acknowledged: it is cut off. Damage anywhere
else, a file that cannot be read among it, concerns partitions, clock and records together, never single keys: they are
set aside and become whole again from their other owners. A file that verifies, and is not the one that the manifest or
the next segment names, is damage too: an older one was put in the place of a newer one. Damage never stops the node,
and every finding is a line for people. What is not ours, by its name, is left alone.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from dynatwist import heart
from dynatwist.model.dots import DotSet
from dynatwist.model.record import Key
from dynatwist.model.records import Packed, unpack
from dynatwist.model.replica import Replica
from dynatwist.replication.register import NO_FLOOR, Cell
from dynatwist.sometimes import sometimes

from .entries import Group
from .files import FileSystem, read_or_none
from .manifest import (
    CHUNK_KIND,
    MANIFEST_KIND,
    NOTHING,
    Manifest,
    SavedPartition,
    Slice,
    folders_in,
    manifests_in,
)
from .recovered import Recovered
from .scrub import scrub
from .seal import Keys, Opened, UnknownFormat, open_file
from .segment import LEAP, Segment, segment_name, segments_in

__all__ = ["Recovered", "recover", "scrub"]


def recover(
    fs: FileSystem,
    folder: str,
    data_key: Keys,
    expects_data: bool,
    progress: Callable[[str], None] = lambda text: None,
) -> Recovered:
    """Read the folder; cuts a torn tail, durably, before it returns.

    :param folder: the data folder, with ``cold/`` and ``wal/`` in it.
    :param expects_data: whether this node has run before, so that an empty log means loss.
    :raises OSError: when a folder cannot be listed, or what was read cannot be made durable: with such a disk nothing
        can be promised.
    :raises UnknownFormat: when something was written by another version of this program.
    """
    found = Recovered(progress=progress)
    _load_manifest(fs, f"{folder}/cold", data_key, found)
    _replay(fs, f"{folder}/wal", data_key, found, expects_data)
    found.conclude()
    return found


def _load_manifest(fs: FileSystem, cold: str, data_key: Keys, found: Recovered) -> None:
    listed = fs.names(cold)
    manifests = manifests_in(listed)
    found.next_generation = 1 + max((*manifests, *folders_in(listed)), default=0)
    for generation in sorted(manifests, reverse=True):
        name = manifests[generation]
        data = read_or_none(fs, f"{cold}/{name}")
        opened = open_file(data_key, MANIFEST_KIND, data) if data is not None else Opened(damaged=True)
        manifest = _decode(name, opened.payloads[0]) if opened.intact and opened.payloads else None
        if manifest is not None and manifest.generation == generation:
            found.manifest = manifest
            break
        harm = "is damaged" if manifest is None else "is another save's, under this name"
        harm = "cannot be read" if data is None else harm
        found.findings.append(f"cold/{name} {harm}; the one before it and the log are used")
    manifest = found.manifest
    if manifest is None:
        return
    state = found.state
    state.meta, found.wall_ms = dict(manifest.meta), manifest.wall_ms
    state.pass_by(manifest.lapse_ms)
    found.see(manifest.mark)
    for node, keys in manifest.hints.items():
        for key in keys:
            state.hints.add(node, key)
    chunks = _Chunks(fs, cold, data_key, manifest.salts)
    for saved in manifest.partitions:
        _load_partition(saved, chunks, found)
    found.chunk_salts = chunks.salts


def _decode(name: str, payload: bytes) -> Manifest:
    try:
        return msgspec.msgpack.decode(payload, type=Manifest)
    except msgspec.DecodeError:
        raise UnknownFormat(f"cold/{name} has what this program does not know") from None


class _Chunks:
    """The chunks of a cold save, each read once.

    :param named: the salts of those that the manifest names.
    """

    def __init__(self, fs: FileSystem, cold: str, data_key: Keys, named: dict[str, bytes]) -> None:
        self._fs, self._cold, self._data_key, self._named = fs, cold, data_key, named
        self._opened: dict[str, Opened] = {}
        self._harms: dict[str, str] = {}

    def frame(self, chunk: str, number: int) -> bytes | None:
        if chunk not in self._opened:
            self._opened[chunk] = self._open(chunk)
        payloads = self._opened[chunk].payloads
        return payloads[number] if number < len(payloads) else None

    def _open(self, chunk: str) -> Opened:
        data = read_or_none(self._fs, f"{self._cold}/{chunk}")
        opened = open_file(self._data_key, CHUNK_KIND, data or b"")
        if opened.salt and opened.salt != self._named.get(chunk, opened.salt):
            sometimes("a chunk is not the one that the manifest names")
            self._harms[chunk] = "is not the file that the manifest names"
            return Opened(damaged=True)
        if not opened.intact:
            self._harms[chunk] = "is damaged or cannot be read"
        return opened

    def harm(self, chunk: str) -> str:
        """What is wrong with a chunk that was looked at; empty when nothing is."""
        return self._harms.get(chunk, "")

    @property
    def salts(self) -> dict[str, bytes]:
        """Of those that were read, for the next manifest."""
        return {chunk: opened.salt for chunk, opened in self._opened.items() if opened.salt}


def _load_partition(saved: SavedPartition, chunks: _Chunks, found: Recovered) -> None:
    replica, registers = found.state.replicas[saved.number], found.state.registers[saved.number]
    registers.forget([], saved.floor or NO_FLOOR)
    for piece in saved.pieces:
        payload = chunks.frame(piece.chunk, piece.frame)
        harm = chunks.harm(piece.chunk)
        if payload is None or harm:
            concerned = [saved.number] if payload is None else []
            found.damage_some(f"cold/{piece.chunk} {harm or 'is not as long as it was'}", concerned)
        if payload is None:
            continue
        part = msgspec.msgpack.decode(payload, type=Slice)
        for conflict in part.conflicts:
            found.state.conflicts.add(conflict)
        for name in part.settled:
            found.state.conflicts.settle(saved.number, name)
        for item in part.items:
            packed = b"" if item.record == NOTHING else bytes(item.record)
            if item.cell is not None:
                cell = item.cell
                registers.keep(item.key, cell if cell.value else Cell(cell.promised, cell.accepted, packed))
            if not packed:
                continue
            if item.aside:
                record = unpack(packed)
                found.see_mark(record.stamp[:2])
                replica.aside.hold(item.key, record, packed)
                continue
            found.see_mark(_take(item.key, packed, replica))
            if item.seen:
                replica.seen[item.key] = item.seen
    replica.join(DotSet.from_wire(saved.clock), saved.generation)
    replica.whole = saved.whole


def _take(key: Key, packed: Packed, replica: Replica) -> tuple[int, int]:
    """Hold a record of a save; (ms, counter) of its stamp."""
    usual = heart.succession(*key, packed, replica.records.packed(key))
    if usual is not None and replica.succeed(key, packed, usual, None):
        return usual[2]
    record = unpack(packed)
    replica.take(key, record, packed)
    return record.stamp[:2]


def _replay(fs: FileSystem, folder: str, data_key: Keys, found: Recovered, expects_data: bool) -> None:
    def load(number: int) -> Segment:
        named = found.manifest.wal_salt if found.manifest is not None and number == found.manifest.wal_from else b""
        return Segment(number, read_or_none(fs, f"{folder}/{segment_name(number)}"), data_key, named)

    numbers = segments_in(fs.names(folder))
    if numbers and load(numbers[-1]).is_stillborn:
        fs.remove(f"{folder}/{segment_name(numbers.pop())}")
        fs.sync_folder(folder)
    start = found.manifest.wal_from if found.manifest else 1
    wanted = [number for number in numbers if number >= start]
    if (found.manifest is None or not wanted) and expects_data and (not wanted or wanted[0] != 1):
        found.damage_all("wal/: the log's beginning is missing")
    elif wanted and wanted[0] != start:
        found.damage_all(f"wal/{segment_name(start)} is missing")
    found.next_segment = _next_segment(numbers, start, found)
    before: Segment | None = None
    for number in wanted:
        segment = load(number)
        found.log_bytes += segment.size_bytes
        _check_start(segment, before, found)
        found.starts = max(found.starts, segment.start.starts if segment.start is not None else 0)
        for frame in segment.frames:
            if isinstance(frame, Group):
                found.wall_ms = frame.wall_ms
                found.state.pass_by(frame.lapse_ms)
                for entry in frame.entries:
                    found.replay(entry)
        _check_end(segment, number == wanted[-1], found)
        before = segment
    if before is not None:
        _finish_last(fs, folder, before, found)


def _next_segment(numbers: list[int], start: int, found: Recovered) -> int:
    """A number beyond all that the log ever had: what a manifest, or a peer, says of it has to lie behind."""
    number = max(numbers[-1] + 1 if numbers else 1, start)
    if found.damage or found.findings:
        sometimes("segment numbers leap, since some of the log or a manifest is lost")
        return number + LEAP
    return number


def _check_start(segment: Segment, before: Segment | None, found: Recovered) -> None:
    """Does a segment follow its predecessor as it was written? Only what is logged behind that can mend it."""
    if before is None or segment.start is None or not before.opened.intact:
        return
    if segment.start.previous != before.number:
        found.damage_all(f"wal/{segment_name(segment.number)} does not follow its predecessor")
    elif segment.start.previous_bytes != before.size_bytes:
        found.damage_all(f"wal/{segment_name(before.number)} is not as long as it was")
    elif segment.start.previous_salt not in (b"", before.opened.salt):
        found.damage_all(f"wal/{segment_name(before.number)} is not the file that the next segment names")


def _check_end(segment: Segment, is_last: bool, found: Recovered) -> None:
    """Is all of a segment there? What is logged behind it can mend it, nothing before."""
    name = f"wal/{segment_name(segment.number)}"
    if not segment.is_readable:
        found.damage_all(f"{name} cannot be read")
    elif segment.is_another:
        found.damage_all(f"{name} is another file than it was")
    elif segment.opened.damaged:
        found.damage_all(f"{name} is damaged")
    elif segment.opened.torn and not is_last:
        found.damage_all(f"{name} is cut short")
    elif not segment.frames:  # the one that a crash left without its first frame is gone: no start leaves two of them
        sometimes("two segments at the log's end have no first frame")
        found.damage_all(f"{name} has lost its beginning")


def _finish_last(fs: FileSystem, folder: str, last: Segment, found: Recovered) -> None:
    """Cut what is torn off the newest segment, and have the rest durable before it is shown.

    A process that was killed had written more, perhaps, than it had synced: clients are shown it from now on, and peers
    are told how far it reaches. Its name may not be durable either.
    """
    name = segment_name(last.number)
    found.last_segment, found.last_salt = (last.number, last.size_bytes), last.opened.salt
    if last.opened.torn:
        lost = last.size_bytes - last.opened.good_bytes
        found.last_segment = (last.number, last.opened.good_bytes)
        found.findings.append(f"wal/{name}: its last {lost} bytes were cut short by a crash and are cut off")
        fs.truncate(f"{folder}/{name}", last.opened.good_bytes)
    elif last.is_readable:
        fs.sync(f"{folder}/{name}")
    fs.sync_folder(folder)
