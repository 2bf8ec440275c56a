"""Rare scenarios, each with the shipped code, and with the planted defect that breaks it."""

from __future__ import annotations

import pytest

from .planted import plants
from .rare import cursors, feeds, listings, members, registers, requests

SCENARIOS = {
    name: scenario
    for module in (cursors, feeds, listings, members, registers, requests)
    for name, scenario in module.SCENARIOS.items()
}


@pytest.mark.parametrize("name", SCENARIOS)
def test_it_holds(name):
    SCENARIOS[name]()


@pytest.mark.parametrize("name", SCENARIOS)
def test_it_would_be_seen(monkeypatch, name):
    plants()[name](monkeypatch)
    with pytest.raises(AssertionError):
        SCENARIOS[name]()
