"""Deliberate defects, switched on only here, that show whether the simulated world sees.

`rules` takes the rules of the design away one at a time; `mistakes` are plain ones. Each is a function that patches the
shipped code by way of pytest's monkeypatch; its docstring says what goes wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from dynatwist.sim.batch import Options, run_seed

from . import mistakes, rules

Plant = Callable[[pytest.MonkeyPatch], None]


def plants() -> dict[str, Plant]:
    """All of them, by name."""
    return {
        name: plant
        for module in (rules, mistakes)
        for name, plant in vars(module).items()
        if callable(plant) and getattr(plant, "__module__", "") == module.__name__ and not name.startswith("_")
    }


def catches(plant: Plant, seeds: range) -> Iterator[tuple[int, str]]:
    """The seeds that see a defect, and what each of them says first."""
    for seed in seeds:
        with pytest.MonkeyPatch.context() as patch:
            plant(patch)
            report = run_seed(seed, Options())
        if report.violations:
            yield seed, report.violations[0]


def measure(name: str, seeds: range) -> tuple[str, list[tuple[int, str]]]:
    """All catches of one defect."""
    return name, list(catches(plants()[name], seeds))
