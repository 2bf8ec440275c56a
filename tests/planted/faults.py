"""Which faults bring a defect out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def under(*faults: str) -> Callable[[Any], Any]:
    """Names the faults; see `dynatwist.sim.plan.Faults`."""

    def mark(plant: Any) -> Any:
        plant.faults = faults
        return plant

    return mark
