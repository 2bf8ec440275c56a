"""Shared fixtures."""

from __future__ import annotations

import pytest

from .real import RealCluster, check_logs


@pytest.fixture(scope="module")
def cluster():
    """Three nodes, shared by a module's tests; at the end no log has a traceback."""
    made = RealCluster.start(3)
    yield made
    check_logs(made)
    made.close()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    if call.when == "call":
        item.passed = outcome.get_result().passed
