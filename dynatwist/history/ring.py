"""A bounded series of samples: a slot for each step of time, the oldest ones written over."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from math import isnan, nan


class Blend(Enum):
    """What several samples of one step come to."""

    MEAN = "mean"
    MAX = "max"
    """Of quantiles, whose mean says nothing."""


Blends = Mapping[str, Blend]
"""By series."""


class Ring:
    """Samples of some series. Those of one step are blended as they come, so a step under way is there already.

    :param slots: how many steps are kept.
    :param ticks: how many ticks of the clock make a step.
    """

    def __init__(self, blends: Blends, slots: int, ticks: int = 1) -> None:
        self._blends = blends
        self._slots = slots
        self._ticks = ticks
        self._newest = -1
        self._values = {name: array("d", [nan]) * slots for name in blends}
        self._counts = dict.fromkeys(blends, 0)

    def add(self, tick: int, sample: Mapping[str, float]) -> None:
        """Take a sample in; what it lacks, or is not a number, is left out.

        :param tick: not less than that of the sample before.
        """
        step = tick // self._ticks
        self._go_to(step)
        slot = step % self._slots
        for name, blend in self._blends.items():
            value = sample.get(name, nan)
            if not isnan(value):
                self._counts[name] += 1
                values = self._values[name]
                values[slot] = _BLEND[blend](values[slot], value, self._counts[name])

    def _go_to(self, step: int) -> None:
        """Begin a step; those in between had no samples."""
        for between in range(max(self._newest + 1, step - self._slots + 1), step + 1):
            for values in self._values.values():
                values[between % self._slots] = nan
        if step > self._newest:
            self._newest = step
            self._counts = dict.fromkeys(self._counts, 0)

    def view(self, tick: int) -> dict[str, list[float]]:
        """All series up to a tick, the newest step last, as many as there are slots; not a number where nothing was."""
        last = tick // self._ticks
        steps: Sequence[int] = range(last - self._slots + 1, last + 1)
        known = range(max(0, self._newest - self._slots + 1), self._newest + 1)
        return {
            name: [values[step % self._slots] if step in known else nan for step in steps]
            for name, values in self._values.items()
        }

    @property
    def size_bytes(self) -> int:
        """What the samples take."""
        return sum(values.itemsize * len(values) for values in self._values.values())


def _mean(so_far: float, value: float, count: int) -> float:
    return value if count == 1 else so_far + (value - so_far) / count


def _max(so_far: float, value: float, count: int) -> float:
    return value if count == 1 else max(so_far, value)


_BLEND: Mapping[Blend, Callable[[float, float, int], float]] = {Blend.MEAN: _mean, Blend.MAX: _max}
