"""Probes that name the rare states of the code, so that the simulated world can say which of them it never reached.

``sometimes("a hint meets a tombstone")`` stands where a rare state has been reached. Outside the simulator it does
nothing. Inside, `Reached` collects the names, and `dynatwist.sim.reached` knows all that there are, from the source: a
name that a thousand seeds never reach is a blind spot. (The idea is that of FoundationDB's ``TEST`` and ``CODE_PROBE``
macros, and of Antithesis' "sometimes" assertions.)
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

_reached: set[str] | None = None


def sometimes(name: str) -> None:
    """Note that a rare state was reached; the name is a literal, unique in the code."""
    if _reached is not None:
        _reached.add(name)


class Reached:
    """Collects the names of the states that were reached, between `start` and `stop`."""

    def __init__(self) -> None:
        self.names: set[str] = set()

    def start(self) -> None:
        """Collect from now on, in this process."""
        global _reached
        _reached = self.names

    def stop(self) -> None:
        """Collect no more."""
        global _reached
        _reached = None


@contextmanager
def unnoticed() -> Iterator[None]:
    """What the judge tries out is nothing that was reached."""
    global _reached
    before, _reached = _reached, None
    try:
        yield
    finally:
        _reached = before
