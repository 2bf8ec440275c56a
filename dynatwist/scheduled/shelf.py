"""The folder with a node's backups: one that is being written, those that are there. On a thread of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import TypeVar

from twisted.internet.defer import Deferred

from dynatwist.backups.chain import Link, require_chain
from dynatwist.backups.entries import Entry, Totals
from dynatwist.backups.errors import BackupError
from dynatwist.backups.format import Backup
from dynatwist.backups.schedule import PART, chain_behind, left_over, made_by, name_of, superseded
from dynatwist.storage.files import AppendFile, FileSystem, Writer

from .plan import Plan

T = TypeVar("T")


class Shelf:
    """See the module. All Deferreds may fail with `OSError`.

    :param thread: writes, seals and verifies.
    :param node: names the node in the names of its backups.
    :param spare_bytes: how much room the disk has to keep for what clients write.
    """

    def __init__(
        self, plan: Plan, *, fs: FileSystem, thread: Writer, node: str, spare_bytes: Callable[[], int]
    ) -> None:
        self._plan = plan
        self._fs = fs
        self._thread = thread
        self._node = node
        self._spare_bytes = spare_bytes
        self._file: AppendFile | None = None
        self._name = ""

    def stop(self) -> None:
        """Finish the piece of work that is under way, and begin no other."""
        self._thread.stop()

    def newest(self) -> Deferred[str]:
        """When this node has made its last backup; empty for never."""

        def look() -> str:
            made = made_by(self._node, self._fs.names(self._plan.folder))
            return made[-1].at if made else ""

        return self._do(look)

    def base(self) -> Deferred[Link | None]:
        """The backup that the next one is to go on from; ``None`` where it is to be full: by the plan, or since no
        chain of backups is there that could be gone on from."""

        def look() -> Link | None:
            chain = chain_behind(made_by(self._node, self._fs.names(self._plan.folder)), self._plan.full_each)
            if not chain:
                return None
            try:
                links = [self._link(one.name) for one in chain]
                require_chain(links)
            except BackupError:
                return None
            return links[-1] if links[-1].totals.mark is not None else None

        return self._do(look)

    def begin(self, at: str, *, is_increment: bool) -> Deferred[None]:
        """Begin the file of a backup."""

        def work() -> None:
            self._fs.make_folder(self._plan.folder)
            for name in left_over(self._node, self._fs.names(self._plan.folder)):
                self._fs.remove(self._path(name))
            self._name = name_of(self._node, at, is_increment=is_increment)
            self._file = self._fs.create(self._path(self._name + PART))

        return self._do(work)

    def append(self, make: Callable[[], bytes]) -> Deferred[None]:
        """Append to it what is made by a function, which may take its time."""

        def work() -> None:
            assert self._file is not None
            data = make()
            free_bytes, _ = self._fs.room(self._plan.folder)
            if free_bytes - len(data) < self._spare_bytes():
                raise OSError(f"{self._plan.folder}: the disk is nearly full")
            self._file.write(data)

        return self._do(work)

    async def finish(self) -> None:
        """Make it durable, read it back, and give it its name.

        :raises BackupError: it is not what was written.
        """
        await self._do(self._close)
        pieces = self._pieces()
        while await self._do(lambda: next(pieces, None)) is not None:
            pass
        await self._do(self._give_name)

    def give_up(self) -> Deferred[None]:
        """Nothing becomes of it."""

        def work() -> None:
            if self._file is not None:
                self._file.close()
                self._file = None
            with suppress(OSError):
                self._fs.remove(self._path(self._name + PART))

        return self._do(work)

    def thin_out(self) -> Deferred[None]:
        """Remove the oldest ones, those beyond what is to be kept."""

        def work() -> None:
            for name in superseded(made_by(self._node, self._fs.names(self._plan.folder)), self._plan.keep):
                self._fs.remove(self._path(name))
            self._fs.sync_folder(self._plan.folder)

        return self._do(work)

    # On the thread

    def _path(self, name: str) -> str:
        return f"{self._plan.folder}/{name}"

    def _close(self) -> None:
        assert self._file is not None
        self._file.sync()
        self._file.close()
        self._file = None

    def _pieces(self) -> Iterator[list[Entry] | Totals]:
        yield from self._opened(self._name + PART).opened(self._plan.secret)

    def _link(self, name: str) -> Link:
        backup = self._opened(name)
        totals = backup.totals(self._plan.secret)
        return Link(name, backup.base, totals)

    def _opened(self, name: str) -> Backup:
        path, at = self._path(name), 0

        def read(count: int) -> bytes:
            nonlocal at
            taken = self._fs.read_part(path, at, count)
            at += len(taken)
            return taken

        return Backup(read)

    def _give_name(self) -> None:
        self._fs.rename(self._path(self._name + PART), self._path(self._name))
        self._fs.sync_folder(self._plan.folder)

    def _do(self, work: Callable[[], T]) -> Deferred[T]:
        done: Deferred[T] = Deferred()
        made: list[T] = []

        def over(error: BaseException | None) -> None:
            if error is not None:
                done.errback(error)
            else:
                done.callback(made[0])

        self._thread.submit(lambda: made.append(work()), over)
        return done
