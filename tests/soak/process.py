"""``python -m tests.soak.process``: twistd on a machine whose clocks and disk are in the soak's hands.

libfaketime cannot do it: it moves wall clock and monotonic clock together, or leaves the monotonic one alone, while
here the one jumps and the other drifts. The code of the node is as it ships: Python's own clocks and syncs are replaced
before anything else is loaded.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.soak.circumstances import VARIABLE, Circumstances

STEP_S = 0.02
"""How often a sync that waits looks whether the disk is quick again."""


class DriftingClock:
    """A monotonic clock that runs too fast or too slow, by an amount that may change while it runs."""

    def __init__(self, real_s: Callable[[], float], circumstances: Circumstances) -> None:
        self._real_s = real_s
        self._circumstances = circumstances
        self._since = (0.0, real_s(), real_s())  # drift, and what the real and this clock showed when it began

    def __call__(self) -> float:
        drift_ppm, real_s, shown_s = self._since
        now_s = self._real_s()
        shown_now_s = shown_s + (now_s - real_s) * (1 + drift_ppm / 1e6)
        if self._circumstances.drift_ppm != drift_ppm:
            self._since = (self._circumstances.drift_ppm, now_s, shown_now_s)
        return shown_now_s


def take_over(circumstances: Circumstances) -> None:
    """Put this process's clocks and disk into the soak's hands."""
    real_wall_ns, real_s, sleep = time.time_ns, time.monotonic, time.sleep
    drifting = DriftingClock(real_s, circumstances)

    def wall_ns() -> int:
        return real_wall_ns() + int(circumstances.wall_offset_s * 1e9)

    def slowly(sync: Callable[[Any], None]) -> Callable[[Any], None]:
        def synced(file: Any) -> None:
            began_s = real_s()
            while (left_s := circumstances.sync_s - (real_s() - began_s)) > 0:
                sleep(min(left_s, STEP_S))
            sync(file)

        return synced

    time.time_ns = wall_ns
    time.time = lambda: wall_ns() / 1e9
    time.monotonic = drifting
    os.fsync, os.fdatasync = slowly(os.fsync), slowly(os.fdatasync)


if __name__ == "__main__":
    take_over(Circumstances(Path(os.environ[VARIABLE])))
    from twisted.scripts.twistd import run

    sys.argv[0] = "twistd"
    run()
