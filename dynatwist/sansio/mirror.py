"""A table, or the part of it under a prefix, as a dictionary that is kept current.

Whatever was missed while no node could be reached is made good: from the cursor where that is possible, else by what
there is now; then keys that are gone by then are told as deleted.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping

from .record import AnyRecord
from .watch import Change, Watch
from .world import Waiter, World, beside

MOST_CHANGES = 10_000
"""Changes that wait for one reader of them; then it is told ``lagged``, and looks at the dictionary."""


class Mirror(Mapping[str, AnyRecord]):
    """See the module; made by `Client.mirror`. Look keys up as in any dictionary.

    :param watch: of what is mirrored, that begins with what there is.
    :ivar is_synced: whether all that there was has been heard, and it is kept current.
    """

    def __init__(self, world: World, watch: Watch) -> None:
        self._world = world
        self._watch = watch
        self._records: dict[str, AnyRecord] = {}
        self._told: set[str] | None = None
        self._waiting: list[Waiter] = []
        self._readers: list[Changes] = []
        self._failure: Exception | None = None
        self.is_synced = False
        beside(world, self._follow())

    def __getitem__(self, key: str) -> AnyRecord:
        return self._records[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._records)

    def __len__(self) -> int:
        return len(self._records)

    async def wait_synced(self) -> None:
        """Until all that there was has been heard; at once if it was.

        :raises WatchRefused: the node does not let this user listen.
        """
        if self._failure is not None:
            raise self._failure
        if not self.is_synced:
            waits = self._world.waiter()
            self._waiting.append(waits)
            await waits.awaited

    def changes(self) -> Changes:
        """What changes from now on, as it does, for ``async for``."""
        reader = Changes(self._world, self._readers.remove)
        self._readers.append(reader)
        return reader

    def close(self) -> None:
        """It is kept current no more."""
        self._watch.close()

    async def __aenter__(self) -> Mirror:
        try:
            await self.wait_synced()
        except BaseException:
            self.close()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()

    # What is heard

    async def _follow(self) -> None:
        try:
            async for change in self._watch:
                self._hear(change)
        except Exception as error:
            self._failure = error
        self.is_synced = False
        waiting, self._waiting = self._waiting, []
        for waits in waiting:
            waits.fail(self._failure or RuntimeError("the mirror was closed"))
        for reader in list(self._readers):
            reader.end(self._failure)

    def _hear(self, change: Change) -> None:
        match change.type:
            case "begin":
                self._told = set()
            case "synced":
                self._synced()
            case "Updated":
                self._updated(change)
            case "Deleted":
                self._deleted(change)

    def _updated(self, change: Change) -> None:
        if self._told is not None:
            self._told.add(change.key)
        record = change.record
        assert record is not None
        before = self._records.get(change.key)
        if before is None or before.etag != record.etag:
            self._records[change.key] = record
            self._tell(change)

    def _deleted(self, change: Change) -> None:
        if self._records.pop(change.key, None) is not None:
            self._tell(change)

    def _synced(self) -> None:
        """All that there is was told: what was not is gone."""
        told, self._told = self._told, None
        for key in [] if told is None else self._records.keys() - told:
            self._deleted(Change("Deleted", key=key))
        self.is_synced = True
        waiting, self._waiting = self._waiting, []
        for waits in waiting:
            waits.happen()

    def _tell(self, change: Change) -> None:
        for reader in self._readers:
            reader.add(change)


class Changes:
    """Changes of a mirror, as they happen.

    :param closed: told when nobody reads on.
    """

    def __init__(self, world: World, closed: Callable[[Changes], object]) -> None:
        self._world = world
        self._closed = closed
        self._changes: deque[Change] = deque()
        self._waiting: Waiter | None = None
        self._is_over = False
        self._failure: Exception | None = None

    def __aiter__(self) -> Changes:
        return self

    async def __anext__(self) -> Change:
        while not self._changes:
            if self._failure is not None:
                raise self._failure
            if self._is_over:
                raise StopAsyncIteration
            self._waiting = self._world.waiter()
            await self._waiting.awaited
        return self._changes.popleft()

    def add(self, change: Change) -> None:
        """One more."""
        if len(self._changes) >= MOST_CHANGES:
            self._changes.clear()
            change = Change("lagged")
        self._changes.append(change)
        self._wake()

    def end(self, failure: Exception | None = None) -> None:
        """No more come.

        :param failure: why, if not for being closed.
        """
        self._is_over, self._failure = True, failure
        self._wake()

    def close(self) -> None:
        """Nobody reads on."""
        if not self._is_over:
            self._closed(self)
        self.end()

    def _wake(self) -> None:
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            waiting.happen()
