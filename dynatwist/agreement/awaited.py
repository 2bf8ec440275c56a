"""Reading and changing what is agreed on, for coroutines: they await how that ends."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import Deferred

from dynatwist.model.record import Draft, Key, Record

from .registers import Registers
from .rewriting import Rewriting
from .turns import Ended


async def read(registers: Registers, key: Key, timeout_s: float) -> Ended:
    """What is chosen for a key, if that is known in time."""
    over: Deferred[Ended] = Deferred()
    registers.read(key, _until_s(registers, timeout_s), over.callback)
    return await over


async def rewrite(
    registers: Registers, key: Key, draft: Callable[[Record | None], Draft | None], timeout_s: float
) -> tuple[Ended, Record | None]:
    """Change the record that is chosen for a key.

    :param draft: see `Rewriting`.
    :returns: how it ended; and what this change has made, if it is chosen.
    """
    rewriting = Rewriting(registers.cluster.store, key, draft)
    over: Deferred[Ended] = Deferred()
    registers.change(key, rewriting, _until_s(registers, timeout_s), over.callback)
    ended = await over
    return ended, rewriting.result(ended)


def _until_s(registers: Registers, timeout_s: float) -> float:
    return registers.cluster.runtime.monotonic_s() + timeout_s
