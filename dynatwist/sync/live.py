"""What goes on beside a program: watches, mirrors, presence and locks, for programs without an event loop."""

from __future__ import annotations

import asyncio
from collections.abc import ItemsView, Iterator, Mapping, ValuesView
from typing import Any

from dynatwist.sansio.lock import Lock as AsyncLock
from dynatwist.sansio.mirror import Changes as AsyncChanges
from dynatwist.sansio.mirror import Mirror as AsyncMirror
from dynatwist.sansio.presence import Presence as AsyncPresence
from dynatwist.sansio.record import AnyRecord
from dynatwist.sansio.watch import Change
from dynatwist.sansio.watch import Watch as AsyncWatch

from .portal import Portal


async def _now(call: Any) -> Any:
    """Call something in the thread of the loop."""
    return call()


class Watch:
    """Changes as they happen, for ``for``; also a context, from whose beginning on nothing is missed."""

    def __init__(self, portal: Portal, inner: AsyncWatch) -> None:
        self._portal = portal
        self._inner = inner

    def subscribed(self) -> None:
        """Until the first subscription stands: from then on nothing is missed.

        :raises WatchRefused: the node does not let this user watch.
        """
        self._portal.run(self._inner.subscribed())

    def __iter__(self) -> Watch:
        return self

    def __next__(self) -> Change:
        try:
            return self._portal.run(anext(self._inner))
        except StopAsyncIteration:
            raise StopIteration from None

    def next(self, timeout_s: float) -> Change | None:
        """The next change, or ``None`` when none has come in time."""

        async def within() -> Change | None:
            try:
                return await asyncio.wait_for(anext(self._inner), timeout_s)
            except TimeoutError:
                return None

        return self._portal.run(within())

    def close(self) -> None:
        """End the watch; iteration stops after what was heard already."""
        self._portal.run(_now(self._inner.close))

    def __enter__(self) -> Watch:
        self.subscribed()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Mirror(Mapping[str, AnyRecord]):
    """A table, or the part of it under a prefix, as a dictionary that is kept current in the background."""

    def __init__(self, portal: Portal, inner: AsyncMirror) -> None:
        self._portal = portal
        self._inner = inner

    def __getitem__(self, key: str) -> AnyRecord:
        return self._inner[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._now())

    def __len__(self) -> int:
        return len(self._inner)

    def items(self) -> ItemsView[str, AnyRecord]:
        """Keys and records, as they are now."""
        return self._now().items()

    def values(self) -> ValuesView[AnyRecord]:
        """Records, as they are now."""
        return self._now().values()

    def _now(self) -> dict[str, AnyRecord]:
        async def copied() -> dict[str, AnyRecord]:
            return dict(self._inner)

        return self._portal.run(copied())

    @property
    def is_synced(self) -> bool:
        """Whether all that there was has been heard, and it is kept current."""
        return self._inner.is_synced

    def wait_synced(self) -> None:
        """Until all that there was has been heard; at once if it was.

        :raises WatchRefused: the node does not let this user listen.
        """
        self._portal.run(self._inner.wait_synced())

    def changes(self) -> Iterator[Change]:
        """What changes from now on, as it does, for ``for``."""
        heard: AsyncChanges = self._portal.run(_now(self._inner.changes))
        return self._portal.iterate(heard)

    def close(self) -> None:
        """It is kept current no more."""
        self._portal.run(_now(self._inner.close))

    def __enter__(self) -> Mirror:
        self.wait_synced()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Presence:
    """A record that is there as long as this program; made by `Client.presence`, used by ``with``."""

    def __init__(self, portal: Portal, inner: AsyncPresence) -> None:
        self._portal = portal
        self._inner = inner

    def update(self, value: Any) -> None:
        """Be seen with another value; returns when a node has it.

        :raises KvError: it was refused, and what was seen before stays; or the presence is lost.
        """
        self._portal.run(self._inner.update(value))

    @property
    def is_lost(self) -> bool:
        """Whether a node has refused the record for good: the token is not valid any more, or the rights were taken."""
        return self._inner.is_lost

    def __enter__(self) -> Presence:
        """Be seen.

        :raises Forbidden: this user may not write there.
        :raises KvError: it is refused for another reason.
        """
        self._portal.run(self._inner.__aenter__())
        return self

    def __exit__(self, *_: object) -> None:
        """Be seen no more: the node has heard of it when this returns, and tells the others."""
        self._portal.run(self._inner.__aexit__())


class Lock:
    """A lock on one key of a strong table; made by `Client.lock`, used by ``with``. It is renewed in the background."""

    def __init__(self, portal: Portal, inner: AsyncLock) -> None:
        self._portal = portal
        self._inner = inner

    @property
    def fence(self) -> int:
        """The fencing number: greater than that of every holder before."""
        return self._inner.fence

    @property
    def is_held(self) -> bool:
        """Whether nobody else can have it now, by this process's clock."""

        async def ask() -> bool:
            return self._inner.is_held

        return self._portal.run(ask())

    @property
    def is_lost(self) -> bool:
        """Whether it was lost, and not released."""
        return self._inner.is_lost

    def wait_lost(self) -> bool:
        """Until the lock is lost, which this answers, or released."""
        return self._portal.run(self._inner.wait_lost())

    def check(self) -> None:
        """Go on only with the lock.

        :raises LockLost: when it is not held any more.
        """
        self._portal.run(_now(self._inner.check))

    def acquire(self) -> Lock:
        """Take it, or wait until it is free.

        :raises Locked: when the time to wait is over.
        """
        self._portal.run(self._inner.acquire())
        return self

    def release(self) -> None:
        """Give it back; whoever waits has it at once. One that is lost stays as it is."""
        self._portal.run(self._inner.release())

    def __enter__(self) -> Lock:
        return self.acquire()

    def __exit__(self, *_: object) -> None:
        self.release()
