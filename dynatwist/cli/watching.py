"""``dynakv watch``: changes as they happen, on the terminal or to a command."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import nullcontext
from typing import TYPE_CHECKING

import click
import msgspec

from .arguments import table_argument
from .chosen import Chosen
from .unread import ended_when_unread
from .work import run

if TYPE_CHECKING:
    from dynatwist.sync import Change, Client


MOST_CHARS = 100_000
"""Of a value in the environment; Linux takes 128 KiB for one, and stdin has it anyway."""


@click.command()
@table_argument
@click.argument("key", required=False)
@click.option("--prefix", help="Of keys that begin so.")
@click.option("--initial", is_flag=True, help="Begin with what there is.")
@click.option("--exec", "command", metavar="COMMAND", help="Run this in a shell for each change.")
@click.pass_obj
def watch(chosen: Chosen, table: str, key: str | None, prefix: str | None, initial: bool, command: str | None) -> None:
    """Print changes as they happen; until Ctrl-C.

    A line of JSON each; on a terminal, or with -o table, one for people. A COMMAND has the change as JSON on stdin,
    and DYNAKV_TYPE, DYNAKV_TABLE, DYNAKV_KEY and DYNAKV_VALUE; changes wait until it is through.
    """
    if key is not None and prefix is not None:
        raise click.UsageError("give a key, or --prefix")
    is_for_people = chosen.output == "table" or (not chosen.output and sys.stdout.isatty())

    def work(client: Client) -> None:
        for change in client.watch(table, key, prefix, initial=initial):
            if command is not None:
                _tell(command, change)
            elif is_for_people:
                click.echo(_line(change))
            else:
                click.echo(msgspec.json.encode(change))

    with ended_when_unread() if command is None else nullcontext():
        run(chosen, work)


def _value(change: Change) -> str:
    return "" if change.record is None else msgspec.json.encode(change.record.value).decode()


def _line(change: Change) -> str:
    colour = {"Updated": "green", "Deleted": "red"}.get(change.type, "yellow")
    words = (click.style(f"{change.type:8}", fg=colour), change.key, _value(change) or change.reason)
    return " ".join(word for word in words if word)


def _tell(command: str, change: Change) -> None:
    """Run a command for one change."""
    told = {
        "DYNAKV_TYPE": change.type,
        "DYNAKV_TABLE": change.table,
        "DYNAKV_KEY": change.key,
        "DYNAKV_VALUE": _value(change) if len(_value(change)) <= MOST_CHARS else "",
    }
    sys.stdout.flush()
    try:
        done = subprocess.run(
            command, shell=True, input=msgspec.json.encode(change), env={**os.environ, **told}, check=False
        )
    except (OSError, ValueError) as error:
        click.echo(f"dynakv: the command cannot be run for {change.key or change.type}: {error}", err=True)
        return
    if done.returncode:
        click.echo(f"dynakv: the command ended with {done.returncode} for {change.key or change.type}", err=True)
