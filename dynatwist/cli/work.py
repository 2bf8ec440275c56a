"""Running some work with a client, as the commands do."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from typing import Any

import click
import msgspec
from rich.console import Console
from rich.table import Table

from dynatwist.errors import DynakvError

from .session import load_token

WIDE = 200
"""Columns, where the output is no terminal: tables are not folded for a program that reads them."""
Work = Callable[[Any], Awaitable[None]]


def show(value: Any) -> None:
    """Print JSON."""
    click.echo(msgspec.json.format(msgspec.json.encode(value), indent=2).decode())


def print_table(table: Table) -> None:
    """Print a table in full: a narrow terminal breaks its lines, but loses no address."""
    console = Console()
    console.width = max(console.width, WIDE)
    console.print(table, soft_wrap=True)


def run(urls: tuple[str, ...], work: Work) -> None:
    """Run some work with a client; a fault is one line on stderr and exit status 1."""
    from twisted.internet import defer
    from twisted.internet.task import react

    from dynatwist.client import Client, KvError, Unauthorized
    from dynatwist.sansio.watch import WatchRefused

    failure: list[str] = []

    async def main(reactor: Any) -> None:
        client = Client(reactor, urls)
        client.token = os.environ.get("DYNAKV_TOKEN") or load_token(urls[0])
        try:
            await work(client)
        except Unauthorized as error:
            failure.append(f"{error} (dynakv login NAME, or set DYNAKV_TOKEN)")
        except (KvError, DynakvError, WatchRefused) as error:
            failure.append(str(error))

    try:
        react(lambda reactor: defer.ensureDeferred(main(reactor)))
    except SystemExit as end:
        if end.code:
            raise
    if failure:
        click.echo(f"dynakv: {failure[0]}", err=True)
        raise SystemExit(1)
