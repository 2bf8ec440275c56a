"""Deliberate defects, switched on only here, that show whether the simulated world sees.

`rules` takes the rules of the design away one at a time; `mistakes` are plain ones. Each is a function that patches the
shipped code by way of pytest's monkeypatch; its docstring says what goes wrong, and `under` names faults that bring it
out sooner than what seeds choose by themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from dynatwist.sim.alone import alone
from dynatwist.sim.batch import Options, run_seed

from . import (
    details,
    disk,
    findings_bytes,
    findings_feeds,
    findings_lineage,
    findings_time,
    members,
    mistakes,
    protocol,
    registers,
    rights,
    rules,
)

Plant = Callable[[pytest.MonkeyPatch], None]
Found = tuple[int, str]
"""A seed, and what it says first."""
ITS_OWN = ("TypeError", "NameError", "AttributeError", "UnboundLocalError")
"""What raises one of these was not seen by the judge: the code that it patches is another by now."""


def plants() -> dict[str, Plant]:
    """All of them, by name."""
    return {
        name: plant
        for module in (
            findings_bytes,
            rights,
            rules,
            mistakes,
            findings_lineage,
            findings_feeds,
            findings_time,
            details,
            members,
            protocol,
            registers,
            disk,
        )
        for name, plant in vars(module).items()
        if callable(plant) and getattr(plant, "__module__", "") == module.__name__ and not name.startswith("_")
    }


def catches(plant: Plant, seeds: range, options: Options) -> Iterator[Found]:
    """The seeds that see a defect."""
    for seed in seeds:
        with pytest.MonkeyPatch.context() as patch:
            plant(patch)
            report = alone(run_seed, seed, options)
        if report.violations:
            said = report.violations[0]
            assert not any(word in said for word in ITS_OWN), f"the defect is no defect, it fails itself: {said}"
            yield seed, said


def measure(name: str, seeds: range) -> tuple[str, list[Found]]:
    """All catches of one defect, by what seeds choose."""
    return name, list(catches(plants()[name], seeds, Options()))


def first_catch(name: str, seeds: range) -> tuple[str, Found | None]:
    """The first catch of one defect, by the faults that bring it out."""
    plant = plants()[name]
    return name, next(catches(plant, seeds, Options(faults=getattr(plant, "faults", None))), None)
