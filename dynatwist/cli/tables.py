"""Commands about tables: which there are, and how each is kept; for administrators."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from .arguments import json_text, table_argument
from .chosen import Chosen
from .pages import pages, path_of, tell
from .show import show, show_rows
from .work import USAGE, fail, run

if TYPE_CHECKING:
    from dynatwist.sync import Client


class Table(NamedTuple):
    """A table.

    :ivar keys: about how many records it has.
    :ivar has_settings: whether anything was set for it.
    """

    name: str
    keys: int
    has_settings: bool


def all_tables(client: Client) -> Iterator[Table]:
    """All tables of a cluster, in order.

    :raises Forbidden: to others than administrators.
    """
    for page in pages(client, "/admin/tables"):
        if page.get("missing"):
            fail(f"there may be further tables: {', '.join(page['missing'])} cannot be asked; try again later")
        for one in page["tables"]:
            yield Table(one["name"], one["keys"], one.get("has_settings", False))


@click.command()
@click.pass_obj
def tables(chosen: Chosen) -> None:
    """List the tables that hold records, or have settings; log in as admin first."""

    def work(client: Client) -> None:
        rows = [(one.name, one.keys, "yes" if one.has_settings else "no") for one in all_tables(client)]
        show_rows(chosen, ("table", "records", "settings"), rows)

    run(chosen, work)


@click.command()
@table_argument
@click.option("--edit", "is_edited", is_flag=True, help="Change them in $VISUAL or $EDITOR.")
@click.option("--set", "path", metavar="FILE", help="Set what FILE, a JSON object, names; '-' is stdin.")
@click.option("--reset", "is_reset", is_flag=True, help="Have the table as one of which nothing was set.")
@click.pass_obj
def settings(chosen: Chosen, table: str, is_edited: bool, path: str | None, is_reset: bool) -> None:
    """Show or change how TABLE is kept, and who may do what in it; log in as admin first."""
    if is_edited + is_reset + (path is not None) > 1:
        raise click.UsageError("give one of --edit, --set and --reset")
    place = path_of("admin", "tables", table)
    if path is not None:
        given = _read(path)
        run(chosen, lambda client: show(client.call("PUT", place, given), chosen.output))
    elif is_reset:
        run(chosen, lambda client: tell(chosen, client.call("DELETE", place), f"nothing is set for {table} any more"))
    elif is_edited:
        run(chosen, lambda client: _edit(client, chosen, place))
    else:
        run(chosen, lambda client: show(client.call("GET", place), chosen.output))


def _read(path: str) -> Any:
    try:
        return json_text("-" if path == "-" else f"@{path}")
    except ValueError as error:
        fail(str(error), USAGE)


def _edit(client: Client, chosen: Chosen, place: str) -> None:
    """Only what was changed is sent, so that what others change meanwhile stays."""
    import os

    from .editing import as_text, edited, in_a_file

    before = client.call("GET", place)
    text = as_text(before)
    path = in_a_file(text)
    after = edited(path, text)
    changed = {name: value for name, value in (after or {}).items() if before.get(name) != value}
    if not changed:
        os.unlink(path)
        click.echo("nothing was changed")
        return
    try:
        answer = client.call("PUT", place, changed)
    except Exception:
        click.echo(f"dynakv: your text is in {path}", err=True)
        raise
    os.unlink(path)
    show(answer, chosen.output)
