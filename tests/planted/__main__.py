"""``python -m tests.planted [--seeds 60] [--first] [NAME ...]``: how many seeds see each planted defect."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from functools import partial

import click

from . import first_catch, measure, plants


@click.command()
@click.option("--seeds", default=60, show_default=True)
@click.option("--first", is_flag=True, help="Only how many seeds it takes, with the faults that bring the defect out.")
@click.argument("names", nargs=-1)
def main(seeds: int, first: bool, names: tuple[str, ...]) -> None:
    """How many seeds see each planted defect, of those that choose their faults by themselves."""
    with ProcessPoolExecutor() as pool:
        if first:
            for name, found in pool.map(partial(first_catch, seeds=range(seeds)), names or plants()):
                click.echo(f"{name:53} {found[0] + 1 if found else 'not seen'}")
            return
        for name, caught in pool.map(partial(measure, seeds=range(seeds)), names or plants()):
            click.echo(f"{name:53} {len(caught):3} of {seeds}  {caught[0][1][:90] if caught else 'not seen'!r}")


if __name__ == "__main__":
    main()
