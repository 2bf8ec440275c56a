"""``dynakv simulate``, as people type it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from dynatwist.sim import oracle
from dynatwist.sim.batch import Options, run_seed, run_seeds

DYNAKV = str(Path(sys.executable).with_name("dynakv"))


def simulate(*options):
    return subprocess.run([DYNAKV, "simulate", *options], capture_output=True, text=True, env=os.environ, check=False)


def test_a_batch_ends_with_its_sums():
    done = simulate("--seeds", "2", "--first", "1", "--minutes", "0", "--nodes", "3")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "seeds 1 to 2" in done.stdout
    assert "simulated hours an hour" in done.stdout
    assert "every promise was kept" in done.stdout


def test_a_replay_tells_the_story():
    done = simulate("--replay", "6", "--minutes", "0", "--faults", "kills,pauses")
    assert done.returncode == 0
    assert "10.0.0.1 starts" in done.stdout
    assert "is paused" in done.stdout
    assert "seed 6: 0 violations" in done.stdout


@pytest.mark.parametrize("options", [("--faults", "earthquakes"), ("--nodes", "0"), ("--replay", "x")])
def test_bad_options_are_told(options):
    done = simulate(*options)
    assert done.returncode != 0
    assert "Traceback" not in done.stderr
    assert options[0] in done.stderr or "nodes" in done.stderr


def test_what_raises_and_what_never_ends_are_violations(monkeypatch):
    def broken(*arguments):
        raise ZeroDivisionError

    monkeypatch.setattr(oracle.Oracle, "judge", broken)
    assert "ZeroDivisionError" in run_seed(1, Options()).violations[0]

    def endless(*arguments):
        while True:
            pass

    monkeypatch.setattr(oracle.Oracle, "judge", endless)
    monkeypatch.setattr("dynatwist.sim.batch.WATCHDOG_S", 2.0)
    assert "Stuck" in run_seed(1, Options()).violations[0]


def test_a_process_that_dies_is_a_violation_and_harms_no_other(monkeypatch):
    def dies(self, *arguments):
        if self._cluster.world.seed == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        return judge(self, *arguments)

    judge = oracle.Oracle.judge
    monkeypatch.setattr(oracle.Oracle, "judge", dies)
    reports = {report.seed: report.violations for report in run_seeds(range(3), Options(nodes=3), jobs=2)}
    assert reports == {0: [], 1: ["error: a process ended with code -9, without a result"], 2: []}


def test_processes_share_the_seeds_and_lose_none():
    reports = list(run_seeds(range(3), Options(nodes=3), jobs=2))
    assert sorted(report.seed for report in reports) == [0, 1, 2]
    assert all(report.virtual_s > 5 for report in reports)
