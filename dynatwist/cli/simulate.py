"""``dynakv simulate``: histories of simulated clusters, judged."""

from __future__ import annotations

import random
import time
from collections import Counter
from dataclasses import dataclass, field

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from dynatwist.sim.batch import Options as Options
from dynatwist.sim.batch import run_seeds
from dynatwist.sim.plan import NAMES
from dynatwist.sim.reached import named_states
from dynatwist.sim.report import Report
from dynatwist.sim.run import simulate

SHOWN = 3
"""Violations of a seed that are told: the first says most, and others follow from it."""


@dataclass
class Sum:
    """Of many reports."""

    acknowledged: int = 0
    excused: int = 0
    races: int = 0
    virtual_s: float = 0.0
    started_s: float = field(default_factory=time.monotonic)
    struck: Counter[str] = field(default_factory=Counter)
    failed: list[Report] = field(default_factory=list)
    reached: set[str] = field(default_factory=set)

    def add(self, report: Report) -> None:
        """One more."""
        self.acknowledged += report.acknowledged
        self.excused += report.excused
        self.races += report.races
        self.virtual_s += report.virtual_s
        self.struck.update(report.struck)
        self.reached |= report.reached
        if report.violations:
            self.failed.append(report)

    def pace(self) -> str:
        """Simulated hours an hour."""
        return f"{self.virtual_s / max(time.monotonic() - self.started_s, 0.001):,.0f} simulated hours an hour"


def check_faults(text: str | None) -> tuple[str, ...] | None:
    """Names of faults, separated by commas.

    :raises click.ClickException: for others.
    """
    if text is None:
        return None
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    unknown = [name for name in names if name not in NAMES]
    if unknown:
        raise click.ClickException(f"--faults: there is no fault '{unknown[0]}'; there are {', '.join(NAMES)}")
    return names


def replay_command(seed: int, options: Options) -> str:
    """What shows the history of a seed."""
    nodes = f" --nodes {options.nodes}" if options.nodes else ""
    faults = f" --faults {','.join(options.faults)}" if options.faults else ""
    minutes = f" --minutes {options.minutes:g}" if options.minutes else ""
    return f"dynakv simulate --replay {seed}{minutes}{nodes}{faults}"


def replay(seed: int, options: Options) -> bool:
    """Print the trace of a seed; answers whether every promise was kept."""
    report = simulate(seed, options.minutes, options.nodes, options.faults, tracing=True)
    click.echo("\n".join(report.trace))
    for violation in report.violations:
        click.echo(f"VIOLATION {violation}")
    click.echo(f"seed {seed}: {len(report.violations)} violations in {report.virtual_s:.0f} simulated seconds")
    return not report.violations


def run_many(first: int, count: int, options: Options, jobs: int) -> bool:
    """Run seeds with a progress bar; answers whether every promise was kept in all of them."""
    console, total = Console(), Sum()
    console.print(f"seeds {first} to {first + count - 1}")
    columns = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}"), TimeRemainingColumn())
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("", total=count)
        for done, report in enumerate(run_seeds(range(first, first + count), options, jobs), 1):
            total.add(report)
            progress.update(task, advance=1, description=f"{total.pace()}, {len(total.failed)} failed")
            if report.violations:
                _show_failure(progress.console, report, options)
            if not console.is_terminal and done % max(1, count // 10) == 0:
                console.print(f"{done} of {count}: {total.pace()}, {len(total.failed)} failed")
    _show(console, total, count)
    return not total.failed


def _show_failure(console: Console, report: Report, options: Options) -> None:
    console.print(f"[bold red]seed {report.seed} fails[/], {report.plan.text()}", highlight=False, soft_wrap=True)
    for violation in report.violations[:SHOWN]:
        console.print(f"  {violation}", markup=False, highlight=False, soft_wrap=True)
    if len(report.violations) > SHOWN:
        console.print(f"  and {len(report.violations) - SHOWN} more")
    console.print(f"  replay it: {replay_command(report.seed, options)}", markup=False, highlight=False, soft_wrap=True)


def _show(console: Console, total: Sum, count: int) -> None:
    table = Table("fault", "times", box=None, header_style="bold")
    for name, times in sorted(total.struck.items()):
        table.add_row(name, f"{times:,}")
    console.print(table)
    console.print(
        f"{count:,} seeds, {total.virtual_s / 3600:.2f} simulated hours, {total.pace()}; "
        f"{total.acknowledged:,} acknowledged writes, {total.excused:,} of them on no undamaged disk any more, "
        f"{total.races:,} races of first creations"
    )
    never = sorted(named_states() - total.reached)
    console.print(f"{len(named_states()) - len(never)} of {len(named_states())} rare states were reached")
    for name in never:
        console.print(f"  never: {name}", markup=False, highlight=False, soft_wrap=True)
    if total.failed:
        console.print(f"[bold red]{len(total.failed)} seeds failed[/]: {[report.seed for report in total.failed][:20]}")
    else:
        console.print("[bold green]every promise was kept[/]")


def fresh_seed() -> int:
    """Where a batch begins that nobody asked to begin elsewhere."""
    return random.SystemRandom().randrange(1, 1_000_000_000)
