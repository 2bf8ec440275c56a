"""Which faults bring a defect out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from typing import Any

from dynatwist.sim.plan import Faults


def under(*faults: str) -> Callable[[Any], Any]:
    """Names the faults; see `dynatwist.sim.plan.Faults`."""
    unknown = [name for name in faults if name not in {field.name for field in fields(Faults)}]
    assert not unknown, f"there is no fault {', '.join(unknown)}"

    def mark(plant: Any) -> Any:
        plant.faults = faults
        return plant

    return mark
