"""``dynakv key``: changing the cluster's secrets while it runs."""

from __future__ import annotations

from typing import Any

import click
from rich.table import Table

from .work import print_table, run

_keep = click.option("--logout", is_flag=True, help="Have users' tokens from retired secrets refused at once.")


@click.group("key")
def key_commands() -> None:
    """Change the cluster's secrets while it runs; log in as admin first."""


async def _step(client: Any, step: str, body: dict[str, Any]) -> None:
    answer = await client.call("POST", f"/admin/keys/{step}", body)
    click.echo(f"{answer['status']}: {answer['key']}")


@key_commands.command("list")
@click.pass_obj
def show(urls: tuple[str, ...]) -> None:
    """Which secrets each member accepts, by name."""

    async def work(client: Any) -> None:
        table = Table("member", "uses", "accepts besides", box=None, header_style="bold")
        nodes = (await client.call("GET", "/admin/keys"))["nodes"]
        for address, names in sorted(nodes.items()):
            used, *others = names or ["cannot be reached"]
            table.add_row(address, used, ", ".join(others) or "-")
        print_table(table)

    run(urls, work)


@key_commands.command()
@click.pass_obj
def install(urls: tuple[str, ...]) -> None:
    """Have all members accept a new secret; prints its name."""
    run(urls, lambda client: _step(client, "install", {}))


@key_commands.command()
@click.argument("name")
@click.pass_obj
def use(urls: tuple[str, ...], name: str) -> None:
    """Have all members use secret NAME, which was installed."""
    run(urls, lambda client: _step(client, "use", {"key": name}))


@key_commands.command()
@_keep
@click.pass_obj
def retire(urls: tuple[str, ...], logout: bool) -> None:
    """Have all members accept only the secret in use."""
    run(urls, lambda client: _step(client, "retire", {"keep_tokens": not logout}))


@key_commands.command()
@_keep
@click.pass_obj
def rotate(urls: tuple[str, ...], logout: bool) -> None:
    """All in one: install a new secret, use it, retire the others."""

    async def work(client: Any) -> None:
        await _step(client, "rotate", {"keep_tokens": not logout})
        click.echo("The administrator has to log in again; unless configured, the password is another one now")
        click.echo("(dynakv admin-password). Machines that are to join later need the new key file.")

    run(urls, work)
