"""How answers are shown: JSON, YAML, a table, or raw."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import click
import msgspec

from .chosen import Chosen

WIDE = 200
"""Columns, where the output is no terminal: tables are not folded for a program that reads them."""
FORMATS = ("json", "yaml", "table", "raw")


def show(value: Any, output: str = "json") -> None:
    """Print a value: indented JSON, YAML, or JSON in one line (``raw``)."""
    if output == "yaml":
        click.echo(msgspec.yaml.encode(value), nl=False)
    elif output == "raw":
        click.echo(msgspec.json.encode(value))
    else:
        click.echo(msgspec.json.format(msgspec.json.encode(value), indent=2))


def show_rows(chosen: Chosen, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Print rows: a table unless something else was asked for; raw has a line each, with tabs."""
    found = [tuple(row) for row in rows]
    if chosen.output == "raw":
        for row in found:
            click.echo("\t".join(map(_text, row)))
    elif chosen.output in ("json", "yaml"):
        show([dict(zip(columns, row, strict=True)) for row in found], chosen.output)
    else:
        print_table(columns, found)


def counted(count: int, what: str) -> str:
    """A number of things, as it is said."""
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def print_table(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Print a table in full: a narrow terminal breaks its lines, but loses no address."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(*columns, box=None, header_style="bold")
    for row in rows:
        table.add_row(*(Text(_text(cell)) for cell in row))
    console = Console()
    console.width = max(console.width, WIDE)
    console.print(table, soft_wrap=True)


def _text(cell: Any) -> str:
    if cell is None or cell == "":
        return "-"
    return cell if isinstance(cell, str) else msgspec.json.encode(cell).decode()
