"""Long reading gives way to clients: while this node serves any, it takes a tenth of the time, and else all of it.

How long the last page took tells what it costs, and what was served meanwhile whether anybody is there: requests of
clients, and writes that other members brought. So a busy node reads slower, and a slow machine rests longer.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

from twisted.internet.defer import Deferred

from dynatwist.runtime import Runtime

SHARE = 0.1
"""Of the time, for whoever reads long, where others are served: what it may cost them."""
FEW = 3
"""So much served since the page before is nobody whom a page would delay: a scrape, a health check, the page itself."""
LONGEST_REST_S = 2.0
"""After one page: whoever asked for it waits for an answer for some seconds."""

T = TypeVar("T")


class Courtesy:
    """See the module.

    :param served: how much was served so far, the requests for pages among it.
    """

    def __init__(self, runtime: Runtime, served: Callable[[], int]) -> None:
        self._runtime = runtime
        self._served = served
        self._seen = served()

    async def paced(self, page: Awaitable[T]) -> T:
        """A page, once those whom it has delayed have had their time."""
        began_s = self._runtime.monotonic_s()
        found = await page
        rest_s = min((self._runtime.monotonic_s() - began_s) * (1 / SHARE - 1), LONGEST_REST_S)
        if self._served() - self._seen > FEW and rest_s > 0:
            over: Deferred[None] = Deferred()
            self._runtime.clock.callLater(rest_s, over.callback, None)
            await over
        self._seen = self._served()
        return found
