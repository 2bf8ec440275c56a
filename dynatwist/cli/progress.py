"""How far something is that takes long: a bar on stderr where that is a terminal, and nothing elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Advance = Callable[[int], None]
"""So many more are done."""


@contextmanager
def progress(label: str, total: int | None) -> Iterator[Advance]:
    """Show a bar meanwhile.

    :param total: how many there are, about; ``None`` where nobody knows.
    """
    if not sys.stderr.isatty():
        yield lambda count: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    text = TextColumn("{task.completed:,.0f}" + ("" if total is None else " of about {task.total:,.0f}"))
    columns = (TextColumn("{task.description}"), BarColumn(), text, TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(label, total=total)
        yield lambda count: bar.advance(task, count)
