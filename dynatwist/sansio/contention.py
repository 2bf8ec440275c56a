"""Changing a record that others change too: read it, write it if nobody has since, and otherwise try again.

Whoever fails is shown what is held, and tries once more with that, at once: two clients then take turns. Where there
are more, one of them succeeds at a time, and the others have asked for nothing. So whoever fails again waits for a
random time that grows fourfold with each failure (full jitter, as in Brooker, "Exponential Backoff And Jitter", 2015),
and then reads anew: with 32 clients on one key half of the tries succeed, where without waiting one of 32 does.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from random import Random
from typing import Any

from .errors import PreconditionFailed
from .record import AnyRecord
from .trail import one_id
from .world import World, pause

LEAST_S = 0.002
"""Of what a try is taken to last: a quicker one was answered by a node on the same machine."""
GROWTH = 4
"""Measured with 32 clients: twofold, a fifth fewer changes are made, since more tries fail."""
MOST_GROWTHS = 3
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
        """Somebody else was quicker; answers how many seconds to wait, none the first time.

        :param took_s: how long the try lasted.
        """
        self._failures += 1
        if self._failures == 1:
            return 0.0
        return self._random.uniform(0.0, max(took_s, LEAST_S) * GROWTH ** min(self._failures - 1, MOST_GROWTHS))


Read = Callable[[], Awaitable[AnyRecord | None]]
Write = Callable[[Mapping[str, Any], AnyRecord | None], Awaitable[AnyRecord]]
"""Writes a value over what was held, if that still is."""


async def updated(world: World, read: Read, write: Write, change: Change, timeout_s: float) -> AnyRecord | None:
    """See `Verbs.update`."""
    with one_id(world.random):
        return await _updated(world, read, write, change, timeout_s)


async def _updated(world: World, read: Read, write: Write, change: Change, timeout_s: float) -> AnyRecord | None:
    contention, until_s = Contention(world.random), world.now_s() + timeout_s
    held = await read()
    while True:
        began_s = world.now_s()
        value = change(held.value if held is not None else None)
        if value is None:
            return held
        try:
            return await write(value, held)
        except PreconditionFailed as error:
            now_s = world.now_s()
            if now_s >= until_s:
                raise
            wait_s = contention.failed(now_s - began_s)
            if error.is_shown and not wait_s:
                held = error.held
            else:
                await pause(world, wait_s)
                held = await read()
