"""Changing a record that others change too: read it, write it if nobody has since, and otherwise try again.

Of those that try at once one succeeds, and the others have asked for nothing. So whoever fails waits for a random time
that doubles with each failure (full jitter, as in Brooker, "Exponential Backoff And Jitter", 2015), and then reads
anew: with 32 clients on one key most tries succeed, where without waiting one of 32 does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from random import Random
from typing import TYPE_CHECKING, Any

from twisted.internet.task import deferLater

from .errors import NotFound, PreconditionFailed
from .record import Record

if TYPE_CHECKING:
    from .client import Client

LEAST_S = 0.002
"""Of what a try is taken to last: a quicker one was answered by a node on the same machine."""
MOST_DOUBLINGS = 6
"""Some hundred clients find room within 64 tries' time; a longer wait would only leave the record unused."""
UPDATE_TIMEOUT_S = 10.0
"""So long others may be quicker, each time; with 32 clients on one key a change takes a tenth of a second."""

Change = Callable[[dict[str, Any] | None], Mapping[str, Any] | None]


class Contention:
    """How long to wait before a change is tried again; for one change.

    :param random: for the jitter.
    """

    def __init__(self, random: Random) -> None:
        self._random = random
        self._failures = 0

    def failed(self, took_s: float) -> float:
        """Somebody else was quicker; answers how many seconds to wait.

        :param took_s: how long the try lasted, from the beginning of the read.
        """
        self._failures += 1
        most_s = max(took_s, LEAST_S) * 2 ** min(self._failures, MOST_DOUBLINGS)
        return self._random.uniform(0.0, most_s)


async def updated(
    client: Client, reactor: Any, table: str, key: str, change: Change, timeout_s: float
) -> Record | None:
    """See `Client.update`."""
    contention, until_s = Contention(Random()), reactor.seconds() + timeout_s
    while True:
        began_s = reactor.seconds()
        try:
            held = await client.get(table, key)
        except NotFound:
            held = None
        value = change(held.value if held is not None else None)
        if value is None:
            return held
        tag = held.etag if held is not None else None
        try:
            return await client.put(table, key, value, if_match=tag, if_none_match=held is None)
        except PreconditionFailed:
            now_s = reactor.seconds()
            if now_s >= until_s:
                raise
            await deferLater(reactor, contention.failed(now_s - began_s))
