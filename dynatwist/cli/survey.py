"""``dynakv simulate membership``: the membership protocol by the thousand, measured."""

from __future__ import annotations

import time

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table

from dynatwist.sim.survey import Scenario, Survey, survey


def run(scenario: Scenario, seed: int) -> bool:
    """Run a scenario with a progress bar and print what was seen; answers whether no invariant was broken."""
    console, began_s = Console(), time.monotonic()
    seen = Survey()
    with Progress(TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), console=console) as progress:
        task = progress.add_task("quiet", total=scenario.crashes)
        for part, seen in survey(scenario, seed):
            progress.update(task, description=part, completed=len(seen.everywhere_s))
    console.print(_table(scenario, seen), soft_wrap=True)
    for violation in sorted(set(seen.violations)):
        console.print(f"[bold red]broken:[/] {violation}", highlight=False, soft_wrap=True)
    if not seen.violations:
        console.print("[bold green]every invariant was kept[/]")
    console.print(f"seed {seed}, {time.monotonic() - began_s:.1f} s")
    return not seen.violations


def _table(scenario: Scenario, seen: Survey) -> Table:
    table = Table("", "seen", "expected", box=None, header_style="bold")
    plain = not scenario.loss and not scenario.disturbed
    quiet = f"in {scenario.quiet_s:.0f} s"
    table.add_row("packets a node and probe period", f"{seen.packets:.3f}", "2" if plain else "")
    table.add_row("bytes a node and second", f"{seen.bytes_s:.0f}", "")
    table.add_row(f"suspicions of live members {quiet}", f"{seen.suspected:,}", "0" if plain else "")
    table.add_row("healthy members taken for dead by healthy ones", f"{seen.false_alarms:,}", "0" if plain else "")
    table.add_row("99 % know of a joiner after", f"{seen.known_to_most_s:.2f} s", "")
    table.add_row("a joiner knows all after", f"{seen.whole_s:.2f} s", "")
    if seen.first_s:
        mean_s, error_s = seen.mean_first_s
        table.add_row(
            f"first suspicion of {len(seen.first_s):,} crashed, mean",
            f"{mean_s:.3f} ± {error_s:.3f} s",
            f"{scenario.expected_first_s():.3f} s",
        )
        table.add_row("all know of a crash after, median", f"{seen.median_everywhere_s:.2f} s", "")
        table.add_row("all know of a crash after, longest", f"{max(seen.everywhere_s):.2f} s", "")
    return table
