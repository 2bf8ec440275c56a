"""``dynakv key``: changing the cluster's secrets while it runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from .chosen import Chosen
from .show import show_rows
from .work import run

if TYPE_CHECKING:
    from dynatwist.sync import Client

_keep = click.option("--logout", is_flag=True, help="Have users' tokens from retired secrets refused at once.")


@click.group("key")
def key_commands() -> None:
    """Change the cluster's secrets while it runs; log in as admin first."""


def _step(client: Client, step: str, body: dict[str, Any]) -> None:
    answer = client.call("POST", f"/admin/keys/{step}", body)
    click.echo(f"{answer['status']}: {answer['key']}")


@key_commands.command("list")
@click.pass_obj
def show(chosen: Chosen) -> None:
    """Which secrets each member accepts, by name."""

    def work(client: Client) -> None:
        rows = []
        for address, names in sorted(client.call("GET", "/admin/keys")["nodes"].items()):
            used, *others = names or ["cannot be reached"]
            rows.append((address, used, ", ".join(others)))
        show_rows(chosen, ("member", "uses", "accepts besides"), rows)

    run(chosen, work)


@key_commands.command()
@click.pass_obj
def install(chosen: Chosen) -> None:
    """Have all members accept a new secret; prints its name."""
    run(chosen, lambda client: _step(client, "install", {}))


@key_commands.command()
@click.argument("name")
@click.pass_obj
def use(chosen: Chosen, name: str) -> None:
    """Have all members use secret NAME, which was installed."""
    run(chosen, lambda client: _step(client, "use", {"key": name}))


@key_commands.command()
@_keep
@click.pass_obj
def retire(chosen: Chosen, logout: bool) -> None:
    """Have all members accept only the secret in use."""
    run(chosen, lambda client: _step(client, "retire", {"keep_tokens": not logout}))


@key_commands.command()
@_keep
@click.pass_obj
def rotate(chosen: Chosen, logout: bool) -> None:
    """All in one: install a new secret, use it, retire the others."""

    def work(client: Client) -> None:
        _step(client, "rotate", {"keep_tokens": not logout})
        click.echo("The administrator has to log in again; unless configured, the password is another one now")
        click.echo("(dynakv admin-password). Machines that are to join later need the new key file.")

    run(chosen, work)
