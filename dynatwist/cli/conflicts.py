"""``dynakv conflicts``: values that lost a concurrent write."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import click
import msgspec
from rich.table import Table
from rich.text import Text

from .work import print_table, run, show

SHOWN_CHARS = 60
"""Of a value, in a table for people."""


@click.command()
@click.argument("what", nargs=-1, metavar="[TABLE] | settle ID")
@click.option("--limit", type=click.IntRange(1), default=100, show_default=True, help="So many at most.")
@click.option("--json", "as_json", is_flag=True, help="Print all of each.")
@click.pass_obj
def conflicts(urls: tuple[str, ...], what: tuple[str, ...], limit: int, as_json: bool) -> None:
    """Values that lost a concurrent write, the newest first; 'settle ID' has one listed no more."""
    match what:
        case ():
            run(urls, lambda client: _list(client, None, limit, as_json))
        case (table,):
            run(urls, lambda client: _list(client, table, limit, as_json))
        case ("settle", conflict):
            run(urls, lambda client: _settle(client, conflict))
        case _:
            raise click.UsageError("say nothing, a table, or: settle ID")


async def _list(client: Any, table: str | None, limit: int, as_json: bool) -> None:
    found = await client.conflicts(table, limit=limit)
    if as_json:
        show(found)
        return
    shown = Table("id", "table", "key", "lost", "written", "by", "won", box=None, header_style="bold")
    for one in found:
        won = "-" if one.won is None else f"version {one.won.version} of {_moment(one.won.timestamp)}"
        named = map(Text, (one.table, one.key, _short(one.lost.value), _moment(one.at), one.lost.owner))
        shown.add_row(one.id, *named, won)
    print_table(shown)


async def _settle(client: Any, conflict: str) -> None:
    await client.settle(conflict)
    click.echo("settled")


def _moment(millis: int) -> str:
    return datetime.fromtimestamp(millis / 1000).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def _short(value: dict[str, Any] | None) -> str:
    text = "(deleted)" if value is None else msgspec.json.encode(value).decode()
    return text if len(text) <= SHOWN_CHARS else text[: SHOWN_CHARS - 1] + "…"
