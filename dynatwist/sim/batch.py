"""Many seeds, on all cores."""

from __future__ import annotations

import os
import signal
import traceback
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from multiprocessing.connection import Connection, wait
from typing import Any

from .alone import Alone, Died
from .plan import draw
from .report import Report
from .run import simulate

WATCHDOG_S = 120.0
"""CPU time after which a seed counts as stuck; plus as much for each simulated minute."""


@dataclass(frozen=True, slots=True)
class Options:
    """What all seeds of a batch have in common; see `dynatwist.sim.run.simulate`."""

    minutes: float = 0.0
    nodes: int | None = None
    faults: tuple[str, ...] | None = None


class Stuck(BaseException):
    """The code under test does not come back."""


def run_seed(seed: int, options: Options) -> Report:
    """One seed, under a watchdog: what raises, or never ends, is a violation too."""

    def bark(number: int, frame: Any) -> None:
        raise Stuck

    before = signal.signal(signal.SIGVTALRM, bark)
    signal.setitimer(signal.ITIMER_VIRTUAL, WATCHDOG_S * (1 + options.minutes))
    try:
        return simulate(seed, options.minutes, options.nodes, options.faults)
    except (Exception, Stuck) as error:
        text = "".join(traceback.format_exception(error)[-3:])
        return Report(seed, draw(seed, options.nodes, options.faults), [f"error: {type(error).__name__}: {text}"])
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


def run_seeds(seeds: Iterable[int], options: Options, jobs: int = 0) -> Iterator[Report]:
    """Reports as they come, not in order.

    :param jobs: processes; 0 for one a core.
    """
    jobs = jobs or os.cpu_count() or 1
    left = iter(seeds)
    running: dict[Connection, tuple[int, Alone[Report]]] = {}
    try:
        while True:
            for seed in islice(left, jobs - len(running)):
                one = Alone(run_seed, seed, options)
                running[one.outcome] = seed, one
            if not running:
                return
            for outcome in wait(list(running)):
                assert isinstance(outcome, Connection)
                seed, one = running.pop(outcome)
                try:
                    yield one.result()
                except Died as error:
                    yield Report(seed, draw(seed, options.nodes, options.faults), [f"error: {error}"])
    finally:
        for _, one in running.values():
            one.kill()
