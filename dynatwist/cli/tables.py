"""Commands about tables: which there are."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import click
import msgspec

from .chosen import Chosen
from .show import show_rows
from .work import run

if TYPE_CHECKING:
    from dynatwist.sync import Client


class Table(msgspec.Struct):
    """A table, as ``GET /admin/tables`` lists it.

    :ivar keys: about how many records it has.
    :ivar has_settings: whether anything was set for it.
    """

    name: str
    keys: int
    has_settings: bool = False


class _Page(msgspec.Struct):
    tables: list[Table]
    next_after: str | None = None
    missing: list[str] = []


def all_tables(client: Client) -> Iterator[Table]:
    """All tables of a cluster, in order.

    :raises Forbidden: to others than administrators.
    """
    from urllib.parse import quote

    after: str | None = ""
    while after is not None:
        answer = client.ask("GET", f"/admin/tables?after={quote(after, safe='')}", None, {}, repeatable=True)
        page = msgspec.json.decode(answer, type=_Page)
        yield from page.tables
        after = page.next_after


@click.command()
@click.pass_obj
def tables(chosen: Chosen) -> None:
    """List the tables that hold records, or have settings; log in as admin first."""

    def work(client: Client) -> None:
        rows = [(one.name, one.keys, "yes" if one.has_settings else "no") for one in all_tables(client)]
        show_rows(chosen, ("table", "records", "settings"), rows)

    run(chosen, work)
