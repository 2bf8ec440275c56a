"""``python -m tests.reach [--seeds 40] [--missing api/data.py]``: what of the shipped code simulated histories reach.

Branch coverage by package, and the rare states (`dynatwist.sometimes`) that no seed was in. The aim is nine tenths of
what serves clients: core, api and auth.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path

import click
from coverage import Coverage
from coverage.results import Numbers

ROOT = Path(__file__).parent.parent / "dynatwist"
AIMED_AT = ("core", "api", "auth")
NOT_DRIVEN = ("web", "cli", "client", "process", "node", "tap", "sim", "__init__")
"""Sockets, people's commands, and the simulator itself: these have tests on real processes."""
JOBS = 2


def run_some(first: int, seeds: int) -> None:
    """Run every second seed, under coverage from the first import on; print the rare states as JSON."""
    from dynatwist.sim.batch import Options, run_seed
    from dynatwist.sim.presence import simulate_presence
    from dynatwist.sometimes import Reached

    reached: set[str] = set()
    for seed in range(first, seeds, JOBS):
        report = run_seed(seed, Options())
        assert not report.violations, (seed, report.violations)
        reached |= report.reached
        present = Reached()
        present.start()
        wrong, _ = simulate_presence(seed)
        present.stop()
        assert not wrong, (seed, wrong)
        reached |= present.names
    print(json.dumps(sorted(reached)))


def run_all(seeds: int, folder: str) -> set[str]:
    """All seeds, in as many processes as there are jobs; answers the rare states that they reached."""
    command = [sys.executable, "-m", "coverage", "run", "--branch", f"--source={ROOT}", f"--data-file={folder}/data"]
    command += ["--parallel-mode", "-m", "tests.reach", "--seeds", str(seeds), "--first"]
    jobs = [subprocess.Popen([*command, str(first)], stdout=subprocess.PIPE) for first in range(JOBS)]
    answers = [job.communicate()[0] for job in jobs]
    assert all(job.returncode == 0 for job in jobs)
    return {name for answer in answers for name in json.loads(answer)}


def covered(coverage: Coverage) -> dict[str, Numbers]:
    """Statements and branches by package."""
    totals: dict[str, Numbers] = defaultdict(Numbers)
    for name in coverage.get_data().measured_files():
        package = Path(name).relative_to(ROOT).parts[0].removesuffix(".py")
        if package not in NOT_DRIVEN:
            numbers = coverage._analyze(name).numbers
            totals[package] += numbers
            if package in AIMED_AT:
                totals["core, api and auth"] += numbers
    return totals


@click.command()
@click.option("--seeds", default=40, show_default=True)
@click.option("--missing", default="", help="Name the lines of this module that no seed ran.")
@click.option("--first", type=int, hidden=True)
def main(seeds: int, missing: str, first: int | None) -> None:
    """What of the shipped code simulated histories reach."""
    if first is not None:
        run_some(first, seeds)
        return
    from dynatwist.sim.reached import named_states

    with tempfile.TemporaryDirectory() as folder:
        reached = run_all(seeds, folder)
        coverage = Coverage(data_file=f"{folder}/data", branch=True)
        coverage.combine([folder])
        for package, numbers in sorted(covered(coverage).items()):
            click.echo(f"{package:20} {numbers.pc_covered:5.1f} % of {numbers.n_statements} lines and their branches")
        for name in missing.split(",") if missing else ():
            click.echo(f"{name}: not run: {coverage.analysis2(str(ROOT / name))[4]}")
    for name in sorted(named_states() - reached):
        click.echo(f"never: {name}")


if __name__ == "__main__":
    main()
