"""What the cluster holds, read as patiently as somebody can whom nobody waits for."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from typing import TypeVar

from twisted.internet.defer import Deferred

from dynatwist.api.backup import SYSTEM_TABLES, consistency_of
from dynatwist.backups.entries import Entry, Mark
from dynatwist.requests.backups import BackupSource, Page
from dynatwist.requests.changes import Changes
from dynatwist.requests.listing import ListingUnavailable
from dynatwist.requests.tables import Tables
from dynatwist.runtime import Runtime

PATIENCE_S = 60.0
"""For one page: members that are started anew are back by then."""
PAUSE_S = 1.0
"""Before a page is asked for again."""

T = TypeVar("T")


class Reading:
    """See the module.

    :ivar strong: the strong tables that were met.
    :ivar mark: for an increment on what was read; ``None`` where the cluster does not say.
    """

    def __init__(self, runtime: Runtime, source: BackupSource, tables: Tables) -> None:
        self._runtime = runtime
        self._source = source
        self._tables = tables
        self.strong: list[str] = []
        self.mark: Mark | None = None

    async def entries(self, since: Mark | None = None) -> AsyncIterator[list[Entry]]:
        """All records, some at a time.

        :param since: the mark of the backup whose changes are asked for; of what the system keeps there is always all.
        :raises ListingUnavailable: some keys had no majority of their owners for all of `PATIENCE_S`.
        :raises UnknownClock: the mark is of another cluster.
        :raises DeletesForgotten: see there.
        """
        ended = set(since.tables) if since is not None else set[str]()
        async for table in self._names(ended):
            if consistency_of(self._tables, table) == "strong":
                self.strong.append(table)
            after: str | None = ""
            while after is not None:
                page = await self._patiently(partial(self._page, table, after, since))
                yield page.entries(table)
                after = page.next_after

    async def _page(self, table: str, after: str, since: Mark | None) -> Page | Changes:
        if since is None or table in SYSTEM_TABLES:
            return await self._source.page(table, "", after, is_partial=False)
        return await self._source.changes(table, "", after, since.clock.decode())

    async def _names(self, ended: set[str]) -> AsyncIterator[str]:
        """Those that there are, those that there were, and the system's."""
        after: str | None = ""
        names: list[str] = []
        clock: str | None = None
        while after is not None:
            found = await self._patiently(partial(self._source.tables, after, is_partial=False))
            names += found.names
            clock = clock or found.clock
            after = found.next_after
        names += sorted(ended.difference(names))
        self.mark = Mark(clock.encode(), tuple(names)) if clock is not None else None
        for name in (*names, *SYSTEM_TABLES):
            yield name

    async def _patiently(self, ask: Callable[[], Awaitable[T]]) -> T:
        until_s = self._runtime.monotonic_s() + PATIENCE_S
        while True:
            try:
                return await ask()
            except ListingUnavailable:
                if self._runtime.monotonic_s() > until_s:
                    raise
            await self._pause(PAUSE_S)

    def _pause(self, pause_s: float) -> Deferred[None]:
        over: Deferred[None] = Deferred()
        self._runtime.clock.callLater(pause_s, over.callback, None)
        return over
