"""Commands about the cluster: its members, its figures, and what its administrator does."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

from dynatwist.errors import DynakvError

from .chosen import Chosen
from .demo_state import all_running
from .pages import path_of
from .show import show, show_rows
from .work import run

if TYPE_CHECKING:
    from dynatwist.sync import Client


@click.command()
@click.pass_obj
def members(chosen: Chosen) -> None:
    """The members, as the node sees them."""

    def work(client: Client) -> None:
        found = client.members()
        columns = ("address", "status", "ready", "round trip", "incarnation", "zone", "version", "id")
        rows = []
        for address, node in sorted(found["nodes"].items()):
            rtt = None if node["probe_rtt_ms"] is None else f"{node['probe_rtt_ms']:.1f} ms"
            accused = f" (by {', '.join(one[:8] for one in node['accusers'])})" if node["accusers"] else ""
            more = (rtt, node["incarnation"], node["zone"], node["version"], node["id"])
            rows.append((address, node["status"] + accused, "yes" if node["ready"] else "no", *more))
        show_rows(chosen, columns, rows)
        local = found["local"]
        if chosen.output in ("", "table"):
            click.echo(
                f"this node: awareness {local['awareness']} (0 is healthy), suspected others {local['suspected']} "
                f"times, refuted {local['refutations']} times"
            )

    run(chosen, work)


@click.command()
@click.pass_obj
def stats(chosen: Chosen) -> None:
    """Statistics of the node."""
    run(chosen, lambda client: show(client.stats(), chosen.output))


@click.command()
@click.argument("node")
@click.pass_obj
def forget(chosen: Chosen, node: str) -> None:
    """Strike out member NODE (HOST:PORT or id); log in as admin first."""
    path = path_of("admin", "members", node, "forget")
    run(chosen, lambda client: show(client.call("POST", path), chosen.output))


@click.command()
@click.pass_obj
def save(chosen: Chosen) -> None:
    """Have the node make a cold save now; log in as admin first."""
    run(chosen, lambda client: show(client.call("POST", "/admin/save"), chosen.output))


@click.command("admin-password")
@click.option("--key-file", help="Where the cluster's secrets are, if not in the usual place.")
def admin_password(key_file: str | None) -> None:
    """Print the administrator's password of this machine's cluster, or of the demo that runs."""
    from dynatwist.config.sources import load
    from dynatwist.storage.keyfile import parse

    try:
        config = load({"key-file": key_file} if key_file else {}, os.environ)
        if config.admin_password:
            click.echo(config.admin_password)
            return
        path = config.actual_key_file
        if key_file is None and not os.path.exists(path):
            path = next((os.path.join(one.folder, "cluster.key") for one in all_running()), path)
        with open(path, encoding="ascii") as file:
            click.echo(parse(file.read(), path).admin_password())
    except OSError as error:
        click.echo(f"dynakv: {path}: {error.strerror}; start a node first", err=True)
        raise SystemExit(1) from None
    except DynakvError as error:
        click.echo(f"dynakv: {error}", err=True)
        raise SystemExit(1) from None
