"""The data folder of a running node: the log, the store and the cold saves, and the threads that write them.

It is opened by then (`dynatwist.storage.opening`). One thread writes the log, and nobody else has to wait behind cold
saves, which another thread writes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from dynatwist.config.node import NodeConfig
from dynatwist.metrics import Durations
from dynatwist.model.dots import actor_of
from dynatwist.runtime import Runtime
from dynatwist.storage.identity import Identity
from dynatwist.storage.keyring import Keyring
from dynatwist.storage.opening import Opened
from dynatwist.storage.recovery import scrub
from dynatwist.storage.renewal import Owner, Renewal
from dynatwist.storage.room import DiskRoom
from dynatwist.storage.segment_writer import SegmentWriter
from dynatwist.storage.snapshot import ColdSaver
from dynatwist.storage.store import Store
from dynatwist.storage.wal import Wal
from dynatwist.timed import TimedWriter


class DataFolder:
    """See the module.

    :param mark_ms: asked for the wall reading to note in the log; see `dynatwist.cluster.walls`.
    :param withdraw: called when what was announced may not be what is held any more.
    :ivar recovered: what was found at the start.
    :ivar findings: what was wrong with that, and is mended or left out; for people.
    :ivar log_groups: how long groups of the log took until they were synced.
    :ivar cold_writer: the thread that writes what nobody waits for.
    """

    def __init__(
        self,
        *,
        opened: Opened,
        config: NodeConfig,
        runtime: Runtime,
        mark_ms: Callable[[], int],
        withdraw: Callable[[], None],
    ) -> None:
        self._path = config.actual_data_dir
        self._runtime = runtime
        self._identity = identity = opened.identity
        self.recovered, self.findings = opened.recovered, opened.findings
        self.room = DiskRoom(runtime.fs, self._path, config.disk_reserve_bytes)
        self.log_groups = Durations()
        self._log_writer = TimedWriter(runtime.new_writer("wal"), runtime.monotonic_s, self.log_groups)
        self.cold_writer = runtime.new_writer("cold")
        self.wal = Wal(
            segments=self._segments(identity),
            writer=self._log_writer,
            durability=config.durability,
            number=self.recovered.next_segment,
            wall_ms=mark_ms,
            at_turn_end=runtime.at_turn_end,
            later=runtime.later,
            fatal=runtime.fatal,
            room=self.room,
        )
        self.store = Store(
            recovered=self.recovered,
            wal=self.wal,
            actor=actor_of(identity.node_id, identity.epoch),
            wall_ms=runtime.wall_ms,
            withdraw=withdraw,
        )
        self.saver = ColdSaver(
            store=self.store,
            fs=runtime.fs,
            folder=self._path,
            data_keys=identity.data_keys,
            writer=self.cold_writer,
            randbytes=runtime.randbytes,
            later=runtime.clock.callLater,
            recovered=self.recovered,
            room=self.room,
        )

    def _segments(self, identity: Identity) -> SegmentWriter:
        return SegmentWriter(
            fs=self._runtime.fs,
            folder=f"{self._path}/wal",
            data_keys=identity.data_keys,
            randbytes=self._runtime.randbytes,
            previous=self.recovered.last_segment,
            room=self.room,
            previous_salt=self.recovered.last_salt,
            starts=identity.starts,
        )

    def renewal(self, owner: Owner, keyring: Keyring) -> Renewal:
        """What seals the folder anew."""
        return Renewal(
            owner=owner,
            keyring=keyring,
            segments=self.wal.segments,
            saver=self.saver,
            fs=self._runtime.fs,
            folder=self._path,
            writer=self.cold_writer,
            randbytes=self._runtime.randbytes,
            later=self._runtime.clock.callLater,
        )

    def scrub(self, say: Callable[[Iterable[str]], None]) -> None:
        """Look, in the background, for damage in what a start need not read: before the first cold save can remove it.

        :param say: told of what was found.
        """
        findings: list[str] = []

        def work() -> None:
            findings.extend(scrub(self._runtime.fs, self._path, self._identity.data_keys, self.recovered))

        def done(failure: BaseException | None) -> None:
            self.findings.extend(findings)
            say(findings)

        self.cold_writer.submit(work, done)

    def flush(self, flushed: Callable[[], None]) -> None:
        """Have all that was logged synced, whatever the mode."""
        self.wal.sync()
        self.wal.when_durable(self.wal.lsn, flushed)

    def close(self, closed: Callable[[], None]) -> None:
        """Close the log, then end the threads."""

        def end() -> None:
            self._log_writer.stop()
            self.cold_writer.stop()
            closed()

        self.wal.close(end)
