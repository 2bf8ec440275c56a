"""Commands about the cluster: its members, its figures, and what its administrator does."""

from __future__ import annotations

import os
from typing import Any

import click
from rich.table import Table

from dynatwist.errors import DynakvError

from .work import print_table, run, show


@click.command()
@click.pass_obj
def members(urls: tuple[str, ...]) -> None:
    """The members, as the node sees them."""

    async def work(client: Any) -> None:
        found = await client.members()
        columns = ("address", "status", "ready", "round trip", "incarnation", "zone", "version", "id")
        table = Table(*columns, box=None, header_style="bold")
        for address, node in sorted(found["nodes"].items()):
            rtt = "-" if node["probe_rtt_ms"] is None else f"{node['probe_rtt_ms']:.1f} ms"
            ready = "yes" if node["ready"] else "no"
            accused = f" (by {', '.join(one[:8] for one in node['accusers'])})" if node["accusers"] else ""
            table.add_row(
                address,
                node["status"] + accused,
                ready,
                rtt,
                str(node["incarnation"]),
                node["zone"] or "-",
                node["version"],
                node["id"],
            )
        print_table(table)
        local = found["local"]
        click.echo(
            f"this node: awareness {local['awareness']} (0 is healthy), suspected others {local['suspected']} times, "
            f"refuted {local['refutations']} times"
        )

    run(urls, work)


@click.command()
@click.pass_obj
def stats(urls: tuple[str, ...]) -> None:
    """Statistics of the node."""

    async def work(client: Any) -> None:
        show(await client.stats())

    run(urls, work)


@click.command()
@click.argument("node")
@click.pass_obj
def forget(urls: tuple[str, ...], node: str) -> None:
    """Strike out member NODE (HOST:PORT or id); log in as admin first."""
    from urllib.parse import quote

    async def work(client: Any) -> None:
        show(await client.call("POST", f"/admin/members/{quote(node, safe='')}/forget"))

    run(urls, work)


@click.command()
@click.pass_obj
def save(urls: tuple[str, ...]) -> None:
    """Have the node make a cold save now; log in as admin first."""

    async def work(client: Any) -> None:
        show(await client.call("POST", "/admin/save"))

    run(urls, work)


@click.command("admin-password")
@click.option("--key-file", help="Where the cluster's secrets are, if not in the usual place.")
def admin_password(key_file: str | None) -> None:
    """Print the administrator's password of this machine's cluster."""
    from dynatwist.config.sources import load
    from dynatwist.storage.keyfile import parse

    try:
        config = load({"key-file": key_file} if key_file else {}, os.environ)
        if config.admin_password:
            click.echo(config.admin_password)
            return
        with open(config.actual_key_file, encoding="ascii") as file:
            click.echo(parse(file.read(), config.actual_key_file).admin_password())
    except OSError as error:
        click.echo(f"dynakv: {config.actual_key_file}: {error.strerror}; start a node first", err=True)
        raise SystemExit(1) from None
    except DynakvError as error:
        click.echo(f"dynakv: {error}", err=True)
        raise SystemExit(1) from None
