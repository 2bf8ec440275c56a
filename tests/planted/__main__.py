"""``python -m tests.planted [--seeds 60] [NAME ...]``: how many seeds see each planted defect."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from functools import partial

import click

from . import measure, plants


@click.command()
@click.option("--seeds", default=60, show_default=True)
@click.argument("names", nargs=-1)
def main(seeds: int, names: tuple[str, ...]) -> None:
    """How many seeds see each planted defect, the first of them, and what it says."""
    with ProcessPoolExecutor() as pool:
        for name, found in pool.map(partial(measure, seeds=range(seeds)), names or plants()):
            first, text = found[0] if found else ("-", "not seen")
            click.echo(f"{name:55} {len(found):3}/{seeds}  first {first}: {text[:90]!r}")


if __name__ == "__main__":
    main()
