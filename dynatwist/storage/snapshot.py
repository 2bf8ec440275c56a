"""Cold saves: changed partitions into chunked, sealed ``storage.db`` files, and a manifest that names them.

A save is fuzzy: records change while it runs. That is harmless, because the log from its start on is replayed over it
and merging again changes nothing; but clock and G of a partition are those from *before* its first slice, so that the
save never claims a dot whose record it does not hold.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial

import msgspec
from twisted.internet.defer import Deferred

from dynatwist.model.replica import Replica
from dynatwist.model.ring import ALL_PARTITIONS
from dynatwist.replication.register import NO_FLOOR, Registers
from dynatwist.sometimes import sometimes

from .cold import ColdFolder
from .files import FileSystem, Writer
from .manifest import (
    MANIFESTS_KEPT,
    Item,
    Manifest,
    Piece,
    SavedPartition,
    Slice,
    chunk_name,
)
from .recovered import Recovered
from .room import DiskRoom
from .saved import contested, item_of, walk
from .seal import Keys
from .store import Store

SLICE_RECORDS = 256
"""Handed to the writer at a time: about a millisecond of a turn."""
SLICE_BYTES = 1 << 20
"""And no more, or one record."""
CHUNK_BYTES = 1 << 20
"""Sealed, hashed and written in one piece by the thread of the cold saves: some milliseconds of a slow disk."""
MIN_LOG_BYTES = 128 << 20
LOG_PER_STORE = 2
"""A save is due when there is as much log as this since the last one, and as so many times what is held: a store of one
key that is overwritten fills no disk, and a large one is not saved all the time. Of a small disk it is a twentieth."""
REST_S = 0.04
"""After each chunk, which takes about half as long: clients are served in between, also where several nodes share a
machine and save at the same time."""
_ENCODER = msgspec.msgpack.Encoder()


class ColdSaver:
    """Makes cold saves, one at a time.

    :param room: what is left on the disk; where that is little, one save is kept rather than two.
    :param later: runs a function after a number of seconds; after 0, in a later turn of the reactor.
    :ivar slice_records: how many records are taken in one turn.
    :ivar slice_bytes: how many bytes of records, about.
    :ivar chunk_bytes: how big a chunk becomes, about.
    :ivar least_log_bytes: how much log there is at least before a save is due by its size.
    """

    def __init__(
        self,
        *,
        store: Store,
        fs: FileSystem,
        folder: str,
        data_keys: Keys,
        writer: Writer,
        randbytes: Callable[[int], bytes],
        later: Callable[[float, Callable[[], None]], object],
        recovered: Recovered,
        room: DiskRoom | None = None,
    ) -> None:
        self._store = store
        self._cold = ColdFolder(fs, f"{folder}/cold", data_keys)
        self._writer = writer
        self._randbytes = randbytes
        self._later = later
        self._generation = recovered.next_generation
        self._kept = [recovered.manifest] if recovered.manifest else []
        self._room = room
        self._salts = dict(recovered.chunk_salts)
        self._log_mark_bytes = -recovered.log_bytes
        self.least_log_bytes = MIN_LOG_BYTES if room is None else min(MIN_LOG_BYTES, room.total_bytes // 20)
        self._waiters: list[Deferred[None]] = []
        self._keeps = MANIFESTS_KEPT
        self.slice_records, self.slice_bytes = SLICE_RECORDS, SLICE_BYTES
        self.chunk_bytes = CHUNK_BYTES
        self.saves = 0
        self.failures = 0

    def bound(self, least_log_bytes: int) -> None:
        """Another `least_log_bytes` than the usual one, from now on."""
        self.least_log_bytes = least_log_bytes

    def use(self, data_keys: Keys) -> None:
        """Seal by another key from now on; the next save takes nothing over from those before."""
        self._cold.use(data_keys)
        self._store.state.give_back(set(range(ALL_PARTITIONS)))

    def go_in_steps(self, slice_records: int, chunk_bytes: int) -> None:
        """Save in steps of another size than the usual one, from now on."""
        self.slice_records, self.chunk_bytes = slice_records, chunk_bytes

    @property
    def log_bytes(self) -> int:
        """How much log there is since the newest save began."""
        return self._store.wal.segments.bytes_written - self._log_mark_bytes

    @property
    def log_limit_bytes(self) -> int:
        """How much log there is to be before a save is due, whatever the clock says."""
        return max(self.least_log_bytes, LOG_PER_STORE * self._store.size_bytes)

    @property
    def is_saving(self) -> bool:
        """Whether a save is under way."""
        return bool(self._waiters)

    @property
    def frees_room(self) -> bool:
        """Whether a save would leave less on the disk than there is."""
        return len(self._kept) > 1 or self.log_bytes > 0

    def save(self) -> Deferred[None]:
        """Save what changed since the last time; a call while one runs waits for that one.

        The Deferred fails with what the disk raised; the former saves then stay valid.
        """
        waiter: Deferred[None] = Deferred()
        run: _Save | None = None
        if not self._waiters:
            self._keeps = MANIFESTS_KEPT if self._room is None or not self._room.is_low else 1
            run = _Save(self, self._generation, self._previous_partitions())
        self._waiters.append(waiter)
        if run is not None:
            self._generation += 1
            run.finished.addBoth(self._finished)
            run.start()
        return waiter

    @property
    def has_two(self) -> bool:
        """Whether the one before the newest is known to be on the disk too."""
        return len(self._kept) > 1

    @property
    def newest(self) -> Manifest | None:
        """The last one that is known to be on the disk."""
        return self._kept[-1] if self._kept else None

    def _previous_partitions(self) -> dict[int, SavedPartition]:
        return {saved.number: saved for saved in self._kept[-1].partitions} if self._kept else {}

    def _finished(self, result: object) -> None:
        waiters, self._waiters = self._waiters, []
        if isinstance(result, Manifest):
            self._kept, self._salts = self._kept_with(result), dict(result.salts)
            self.saves += 1
        else:
            sometimes("a cold save fails")
            self.failures += 1
        for waiter in waiters:
            waiter.callback(None if isinstance(result, Manifest) else result)  # type: ignore[arg-type]

    def _kept_with(self, manifest: Manifest) -> list[Manifest]:
        return [*self._kept, manifest][-self._keeps :]

    def clean(self, manifest: Manifest) -> None:
        """Remove what no kept manifest needs. In the writer's thread, where no save is being written meanwhile."""
        kept = self._kept_with(manifest)
        self._cold.clean(kept)
        if len(kept) == self._keeps:
            self._store.wal.segments.remove_before(min(one.wal_from for one in kept))


class _Save:
    """One cold save, from rotation of the log to the manifest."""

    def __init__(self, saver: ColdSaver, generation: int, previous: dict[int, SavedPartition]) -> None:
        self._saver = saver
        self._store = saver._store
        self._generation = generation
        self._previous = previous
        self.finished: Deferred[Manifest] = Deferred()
        self._wal_from = self._store.wal.rotate()
        self._log_mark_bytes = self._store.wal.segments.bytes_written
        self._changed = self._store.state.take_changed()
        self._entries: list[SavedPartition] = []
        self._salts = dict(saver._salts)
        self._frames: list[bytes] = []
        self._frame_bytes = 0
        self._chunks = 0
        self._is_writing = False
        self._failure: BaseException | None = None
        self._has_failed = False
        self._work = self._partitions()

    def start(self) -> None:
        self._step()

    def _step(self) -> None:
        """One slice of work a turn; none while a chunk is being written, nor for a rest after it."""
        self._or_fail(self._take_step)

    def _or_fail(self, work: Callable[[], None]) -> None:
        """Whatever goes wrong ends this save, and no later one."""
        try:
            work()
        except Exception as error:
            self._fail(error)

    def _take_step(self) -> None:
        if self._failure is not None:
            self._fail(self._failure)
        elif next(self._work, None) is not None:
            if not self._is_writing:
                self._saver._later(0, self._step)
        elif self._frames:
            self._flush_chunk()
        else:
            self._store.wal.when_durable(self._store.wal.lsn, partial(self._or_fail, self._write_manifest))

    def _partitions(self) -> Iterator[bool]:
        rewritten = self._changed | self._sparse()
        for number in range(ALL_PARTITIONS):
            saved = self._previous.get(number)
            if number in rewritten or saved is None:
                yield from self._partition(self._store.replicas[number], self._store.state.registers[number])
            else:
                self._entries.append(saved)

    def _sparse(self) -> set[int]:
        """Partitions in chunks of which less than half is still in use: rewriting them frees the chunk."""
        live: dict[str, int] = {}
        total: dict[str, int] = {}
        for number, saved in self._previous.items():
            for piece in saved.pieces:
                total[piece.chunk] = max(total.get(piece.chunk, 0), piece.frame + 1)
                if number not in self._changed:
                    live[piece.chunk] = live.get(piece.chunk, 0) + 1
        return {
            number
            for number, saved in self._previous.items()
            if any(2 * live.get(piece.chunk, 0) < total[piece.chunk] for piece in saved.pieces)
        }

    def _partition(self, replica: Replica, registers: Registers) -> Iterator[bool]:
        clock, generation, whole = replica.clock.to_wire(), replica.generation, replica.whole
        floor = registers.floor if registers.floor != NO_FLOOR else None
        pieces: list[Piece] = []
        items: list[Item] = []
        looked = size_bytes = 0
        for records, key in walk(replica, registers):
            looked += 1  # also at what is gone meanwhile: a partition that was reset has a name for each record it had
            item = item_of(replica, registers, records, key)
            if item is not None:
                items.append(item)
                size_bytes += len(item.record) + (len(item.cell.value) if item.cell is not None else 0)
            if looked >= self._saver.slice_records or size_bytes > self._saver.slice_bytes:
                if items:
                    pieces.append(self._add(Slice(replica.number, items)))
                items, looked, size_bytes = [], 0, 0
                yield True
        if items:
            pieces.append(self._add(Slice(replica.number, items)))
        saver, conflicts = self._saver, self._store.state.conflicts
        for part in contested(conflicts, replica.number, saver.slice_records, saver.slice_bytes):
            yield True  # one slice a step: the chunk before may have to be written first
            pieces.append(self._add(part))
        self._entries.append(SavedPartition(replica.number, clock, generation, whole, pieces, floor))
        yield True

    def _add(self, part: Slice) -> Piece:
        payload = _ENCODER.encode(part)
        if self._frame_bytes + len(payload) > self._saver.chunk_bytes and self._frames:
            self._flush_chunk()
        self._frames.append(payload)
        self._frame_bytes += len(payload)
        return Piece(chunk_name(self._generation, self._chunks), len(self._frames) - 1, len(payload))

    def _flush_chunk(self) -> None:
        frames, number = self._frames, self._chunks
        self._frames, self._frame_bytes, self._chunks = [], 0, self._chunks + 1
        salt = self._salts[chunk_name(self._generation, number)] = self._saver._randbytes(16)
        self._is_writing = True
        name = chunk_name(self._generation, number)
        self._saver._writer.submit(lambda: self._saver._cold.write_chunk(name, salt, frames), self._chunk_written)

    def _chunk_written(self, failure: BaseException | None) -> None:
        self._is_writing = False
        self._failure = failure
        self._saver._later(REST_S, self._step)

    def _write_manifest(self) -> None:
        store = self._store
        used = {piece.chunk for saved in self._entries for piece in saved.pieces}
        manifest = Manifest(
            self._generation,
            self._wal_from,
            store.wal.noted_wall_ms,
            store.clock.mark,
            self._entries,
            dict(store.meta),
            store.hints.all(),
            store.lapse_ms,
            {chunk: salt for chunk, salt in self._salts.items() if chunk in used},
            store.wal.segments.salt_of(self._wal_from),
        )
        payload, salt = _ENCODER.encode(manifest), self._saver._randbytes(16)

        def work() -> None:
            self._saver._cold.write_manifest(self._generation, salt, payload)
            with suppress(OSError):  # the save is done; were it discarded now, the one before may be gone already
                self._saver.clean(manifest)

        def done(failure: BaseException | None) -> None:
            if failure is not None:
                self._fail(failure)
            else:
                self._saver._log_mark_bytes = self._log_mark_bytes
                self.finished.callback(manifest)

        self._saver._writer.submit(work, done)

    def _fail(self, failure: BaseException) -> None:
        self._store.state.give_back(self._changed)
        if self._has_failed:
            return
        self._has_failed = True
        self._saver._writer.submit(
            lambda: self._saver._cold.discard(self._generation), lambda _: self.finished.errback(failure)
        )
