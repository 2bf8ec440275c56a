"""``dynakv key``: changing the cluster's secrets while it runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from .chosen import Chosen
from .show import show_rows
from .work import alone, connected, run

if TYPE_CHECKING:
    from dynatwist.sync import Client

STORAGE = "/admin/storage-key"
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
def status(chosen: Chosen) -> None:
    """Which storage secret each node uses, and what still needs an older one."""

    def work(client: Client) -> None:
        rows = []
        for address in sorted(client.members()["nodes"]):
            try:
                with connected(alone(chosen, address)) as node:
                    rows.append(_row(address, node.call("GET", STORAGE)))
            except KvError as error:
                rows.append((address, f"does not answer: {error}", "", "", ""))
        show_rows(chosen, ("node", "uses", "to be erased", "sealed by the newest", "by older ones"), rows)

    from dynatwist.sync import KvError

    run(chosen, work)


def _row(address: str, found: dict[str, Any]) -> tuple[str, str, str, str, str]:
    newest = found["data_keys"][0]
    files = {key: _counted(counts) for key, counts in found["files"].items()}
    older = "; ".join(counted for key, counted in files.items() if key != newest)
    return address, found["uses"], ", ".join(found["to_erase"]), files.get(newest, "nothing yet"), older or "nothing"


def _counted(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} {sort}" for sort, count in counts.items())


def _renew(client: Client) -> None:
    answer = client.call("POST", STORAGE)
    click.echo(f"{answer['key']}: {answer['status']} (dynakv key status)")


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
@click.option("--storage", is_flag=True, help="The storage secret of NODE instead, which seals its data folder.")
@click.argument("node", required=False)
@click.pass_obj
def rotate(chosen: Chosen, logout: bool, storage: bool, node: str | None) -> None:
    """All in one: install a new secret, use it, retire the others.

    With --storage: a new storage secret for NODE (HOST:PORT, else the node that is asked), which seals its data folder
    anew while it runs.
    """
    if storage and logout:
        raise click.UsageError("--logout is for the cluster's secret; no token depends on a storage secret")
    if node is not None and not storage:
        raise click.UsageError("the cluster's secret is that of all nodes; a NODE is for --storage")
    if storage:
        run(alone(chosen, node), _renew)
        return

    def work(client: Client) -> None:
        _step(client, "rotate", {"keep_tokens": not logout})
        click.echo("The administrator has to log in again; unless configured, the password is another one now")
        click.echo("(dynakv admin-password). Machines that are to join later need the new key file.")

    run(chosen, work)
