"""Shared fixtures."""

from __future__ import annotations

import signal

import pytest
from hypothesis import HealthCheck, settings

from dynatwist.sim.logs import forget_what_is_logged

from .browser import Browser
from .real import RealCluster, check_logs

# A shell that runs the tests in the background has them ignore SIGINT, and every process that they start would inherit
# that; then nothing ends on Ctrl-C, as POSIX wants it and the tests do not.
signal.signal(signal.SIGINT, signal.default_int_handler)

# How long an example takes says nothing where other tests share the cores.
settings.register_profile("shared cores", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("shared cores")


@pytest.fixture(scope="module")
def cluster():
    """Three nodes, shared by a module's tests; at the end no log has a traceback."""
    made = RealCluster.start(3)
    yield made
    check_logs(made)
    made.close()


@pytest.fixture(scope="module")
def four():
    """Four nodes and three copies: for each key there is a node that owns nothing of it."""
    made = RealCluster.start(4)
    yield made
    check_logs(made)
    made.close()


@pytest.fixture(scope="session")
def dashboard_cluster(tmp_path_factory):
    """Three nodes with audit logs, shared by the files of the dashboard: each leaves them as they were, and ready."""
    made = RealCluster(tmp_path_factory.mktemp("dashboard"))
    for number in range(3):
        made.add("--audit-log", str(made.folder / f"audit-{number}.log"))
    yield made
    try:
        check_logs(made)
    finally:
        made.close()


@pytest.fixture(scope="session")
def chromium(tmp_path_factory):
    """A browser, shared by the files of the dashboard."""
    made = Browser(tmp_path_factory.mktemp("profile"))
    yield made
    made.close()


class PassedParts:
    """Says which parts of the walkthrough have passed, also where another process ran them."""

    def __init__(self, config):
        self._config = config

    def pytest_runtest_logreport(self, report):
        terminal = self._config.pluginmanager.get_plugin("terminalreporter")
        for name, title in report.user_properties:
            if name == "part" and report.when == "call" and report.passed and terminal is not None:
                terminal.write_line(f"\n  passed: {title}")


TAKE_LONG = ("test_planted.py", "test_rare.py", "test_scenes.py", "test_sim.py", "test_presence.py")
"""Files that take minutes. They begin first: at the end, the other workers would wait for the last one of them."""


def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: item.path.name not in TAKE_LONG)


def pytest_configure(config):
    forget_what_is_logged()
    config.pluginmanager.register(PassedParts(config))
