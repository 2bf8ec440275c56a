"""Shared fixtures."""

from __future__ import annotations

import signal

import pytest

from .real import RealCluster, check_logs

# A shell that runs the tests in the background has them ignore SIGINT, and every process that they start would inherit
# that; then nothing ends on Ctrl-C, as POSIX wants it and the tests do not.
signal.signal(signal.SIGINT, signal.default_int_handler)


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
