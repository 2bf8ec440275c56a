"""``dynakv conflicts``: values that lost a concurrent write."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

import click
import msgspec

from .chosen import Chosen
from .show import print_table, show
from .work import run

if TYPE_CHECKING:
    from dynatwist.sync import Client

SHOWN_CHARS = 60
"""Of a value, in a table for people."""


@click.command()
@click.argument("what", nargs=-1, metavar="[TABLE] | settle ID")
@click.option("--limit", type=click.IntRange(1), default=100, show_default=True, help="So many at most.")
@click.option("--json", "as_json", is_flag=True, help="Print all of each.")
@click.pass_obj
def conflicts(chosen: Chosen, what: tuple[str, ...], limit: int, as_json: bool) -> None:
    """Values that lost a concurrent write, the newest first; 'settle ID' has one listed no more."""
    as_json = as_json or chosen.output not in ("", "table")
    match what:
        case ():
            run(chosen, lambda client: _list(client, chosen, None, limit, as_json))
        case (table,):
            run(chosen, lambda client: _list(client, chosen, table, limit, as_json))
        case ("settle", conflict):
            run(chosen, lambda client: _settle(client, conflict))
        case _:
            raise click.UsageError("say nothing, a table, or: settle ID")


def _list(client: Client, chosen: Chosen, table: str | None, limit: int, as_json: bool) -> None:
    found = client.conflicts(table, limit=limit)
    if found.missing:
        click.echo(f"dynakv: {', '.join(found.missing)} did not answer: what they alone have met is not here", err=True)
    if as_json:
        show(found, chosen.output)
        return
    rows = []
    for one in found:
        won = None if one.won is None else f"version {one.won.version} of {_moment(one.won.timestamp)}"
        rows.append((one.id, one.table, one.key, _short(one.lost.value), _moment(one.at), one.lost.owner, won))
    print_table(("id", "table", "key", "lost", "written", "by", "won"), rows)


def _settle(client: Client, conflict: str) -> None:
    client.settle(conflict)
    click.echo("settled")


def _moment(millis: int) -> str:
    return datetime.fromtimestamp(millis / 1000).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def _short(value: dict[str, Any] | None) -> str:
    text = "(deleted)" if value is None else msgspec.json.encode(value).decode()
    return text if len(text) <= SHOWN_CHARS else text[: SHOWN_CHARS - 1] + "…"
