"""What every target has in common: a name, what it does with bytes, and what may not come of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

CORPUS = Path(__file__).parent / "corpus"
MAX_S_A_KIB = 0.05
"""Of this thread's time. What takes longer lets whoever sends a megabyte stop a node for a minute."""
MOST_BYTES = 8 << 10
"""Of one input. Longer ones are rarely about anything else, and cost the campaign its tries."""
TRIES = 4
"""An input is too slow when each of so many tries is: one alone may meet the garbage collector, or a cold cache."""


class Found(AssertionError):
    """A target did what it may not."""


@dataclass(frozen=True, slots=True)
class Target:
    """One door.

    :ivar name: on the command line, and of its folder in ``corpus``.
    :ivar run: takes bytes; whatever it raises is a finding.
    :ivar made_seeds: makes inputs to begin with, beside those in ``corpus``.
    :ivar words: pieces that mean something there.
    :ivar prepare: called before each run, outside its time.
    """

    name: str
    run: Callable[[bytes], None]
    made_seeds: Callable[[], Iterable[bytes]] = tuple
    words: tuple[bytes, ...] = ()
    prepare: Callable[[], object] = lambda: None

    def check(self, data: bytes) -> None:
        """Run it, within its time.

        :raises Found: when it takes too long; beside that, whatever `run` raises.
        """
        limit_s = MAX_S_A_KIB * max(1.0, len(data) / 1024)
        took_s = min_s = self._timed(data)
        for _ in range(TRIES - 1):
            if took_s <= limit_s:
                return
            took_s = self._timed(data)
            min_s = min(min_s, took_s)
        if min_s > limit_s:
            raise Found(f"{self.name}: {len(data)} bytes took {min_s * 1000:.0f} ms of at most {limit_s * 1000:.0f}")

    def _timed(self, data: bytes) -> float:
        self.prepare()
        began_s = time.thread_time()
        self.run(data)
        return time.thread_time() - began_s

    def seeds(self) -> list[bytes]:
        """Those that are made, and those that are kept."""
        folder = CORPUS / self.name
        kept = [path.read_bytes() for path in sorted(folder.iterdir())] if folder.is_dir() else []
        return [*self.made_seeds(), *kept]
