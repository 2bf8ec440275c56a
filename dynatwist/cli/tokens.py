"""``dynakv token``: tokens of programs; for administrators."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from .chosen import Chosen
from .pages import pages, path_of, tell
from .show import show, show_rows
from .users import name_argument
from .work import run

if TYPE_CHECKING:
    from dynatwist.sync import Client


@click.group("token")
def token_commands() -> None:
    """Service tokens, for programs; log in as admin first."""


@token_commands.command("list")
@click.pass_obj
def list_tokens(chosen: Chosen) -> None:
    """List all service tokens: what they may do, and when they were used last; never the tokens themselves."""

    def work(client: Client) -> None:
        found = [one for page in pages(client, "/admin/tokens") for one in page["tokens"]]
        if chosen.output in ("json", "yaml"):
            show(found, chosen.output)
            return
        columns = ("id", "name", "may", "last used", "ends")
        rows = [
            (one["id"], one["name"], _access(one), _moment(one["last_used"]), _moment(one["expires_at"]))
            for one in found
        ]
        show_rows(chosen, columns, rows)

    run(chosen, work)


@token_commands.command()
@name_argument
@click.option(
    "--may",
    "access",
    nargs=3,
    multiple=True,
    required=True,
    metavar="RIGHTS TABLE PREFIX",
    help="What it may do: read, create, update, delete, write, with commas; PREFIX '' is the whole table. Repeatable.",
)
@click.option("--lifetime", type=click.IntRange(1), metavar="SECONDS", help="When it ends.  [default: never]")
@click.pass_obj
def create(chosen: Chosen, name: str, access: tuple[tuple[str, str, str], ...], lifetime: int | None) -> None:
    """Make a token of program NAME, which owns what it creates as service:NAME.

    The token is printed once, and nobody can be shown it again: dynakv token create collector --may read,write devices
    sensor/
    """
    grants = [{"rights": rights.split(","), "table": table, "prefix": prefix} for rights, table, prefix in access]

    def work(client: Client) -> None:
        answer = client.call("POST", "/admin/tokens", {"name": name, "access": grants, "lifetime": lifetime})
        if chosen.output in ("", "table"):
            click.echo(f"id {answer['id']}; to end it: dynakv token revoke {answer['id']}", err=True)
            click.echo(answer["token"])
        else:
            show(answer, chosen.output)

    run(chosen, work)


@token_commands.command()
@click.argument("number", metavar="ID")
@click.pass_obj
def revoke(chosen: Chosen, number: str) -> None:
    """End token ID, everywhere, within a second."""

    def work(client: Client) -> None:
        tell(chosen, client.call("DELETE", path_of("admin", "tokens", number)), f"revoked {number}")

    run(chosen, work)


def _access(token: dict[str, Any]) -> str:
    return "; ".join(f"{','.join(one['rights'])} {one['table']} {one['prefix']!r}" for one in token["access"])


def _moment(millis: int | None) -> str:
    return datetime.fromtimestamp(millis / 1000).astimezone().strftime("%Y-%m-%d %H:%M") if millis else "never"
