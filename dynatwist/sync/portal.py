"""An event loop in a thread of its own, for programs that have none: each call is carried out there, and waited for.

One thread serves all clients of a process. It is a daemon, so a program ends when its own threads do.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncIterator, Awaitable, Coroutine, Iterator
from typing import TypeVar

T = TypeVar("T")

_lock = threading.Lock()
_portals: dict[int, Portal] = {}
"""By process: the thread is not there in the child of a fork."""


class Portal:
    """See the module; made by `portal`."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._pid = os.getpid()
        self._thread = threading.Thread(target=self._loop.run_forever, name="dynatwist.sync", daemon=True)
        self._thread.start()

    def run(self, work: Awaitable[T]) -> T:
        """Have something awaited in the thread; answers what it answers, and raises what it raises.

        Ctrl-C in the thread that waits gives it up.

        :raises RuntimeError: the caller is that thread itself, or a process that was forked since.
        """
        self._refuse_what_cannot_be(work)
        going = asyncio.run_coroutine_threadsafe(_awaited(work), self._loop)
        try:
            return going.result()
        except BaseException:
            going.cancel()
            raise

    def _refuse_what_cannot_be(self, work: Awaitable[T]) -> None:
        text = ""
        if threading.current_thread() is self._thread:
            text = "a call from within a callback of this client would wait for itself; make it elsewhere"
        elif os.getpid() != self._pid:
            text = "this client was made before the process was forked; make one in each process"
        if text:
            if isinstance(work, Coroutine):
                work.close()
            raise RuntimeError(text)

    def iterate(self, items: AsyncIterator[T]) -> Iterator[T]:
        """Go through something, item by item."""
        while True:
            try:
                item = self.run(anext(items))
            except StopAsyncIteration:
                return
            yield item


async def _awaited(work: Awaitable[T]) -> T:
    return await work


def portal() -> Portal:
    """This process's."""
    with _lock:
        found = _portals.get(os.getpid())
        if found is None:
            found = _portals[os.getpid()] = Portal()
        return found
