"""``dynakv``: the client, and the demo."""

from __future__ import annotations

import os
import sys
from typing import Any

import click
import msgspec
from rich.table import Table

from dynatwist import __version__
from dynatwist.errors import DynakvError
from dynatwist.membership.settings import PARTS

from .key import key_commands
from .session import save_token
from .work import print_table, run


def show(value: Any) -> None:
    """Print JSON."""
    click.echo(msgspec.json.format(msgspec.json.encode(value), indent=2).decode())


def json_object(text: str) -> dict[str, Any]:
    """A JSON object from the command line, or from stdin for ``-``."""
    try:
        value = msgspec.json.decode(sys.stdin.read() if text == "-" else text)
    except msgspec.MsgspecError as error:
        raise click.BadParameter(f"not JSON: {error}") from None
    if not isinstance(value, dict):
        raise click.BadParameter("expected a JSON object, such as '{\"level\": 42}'")
    return value


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--url",
    "urls",
    multiple=True,
    envvar="DYNAKV_URL",
    default=("http://127.0.0.1:6660",),
    show_default=True,
    help="A node; repeatable, for failover.",
)
@click.version_option(__version__, message="DynaTwist %(version)s")
@click.pass_context
def main(context: click.Context, urls: tuple[str, ...]) -> None:
    """DynaTwist, a replicated key-value store: client and demo."""
    context.obj = tuple(url.rstrip("/") for url in urls)


_secret = click.option(
    "--secret", envvar="DYNAKV_SECRET", prompt="Secret", hide_input=True, help="Asked when not given."
)


async def _log_in(client: Any, urls: tuple[str, ...], name: str, secret: str) -> None:
    if name == "admin":
        await client.login_admin(secret)
    else:
        await client.login(name, secret)
    save_token(urls[0], client.token)
    click.echo(f"logged in as {name}")


@main.command()
@click.argument("name")
@_secret
@click.pass_obj
def register(urls: tuple[str, ...], name: str, secret: str) -> None:
    """Register a user, and log in."""
    run(urls, lambda client: _log_in(client, urls, name, secret))


@main.command()
@click.argument("name")
@_secret
@click.pass_obj
def login(urls: tuple[str, ...], name: str, secret: str) -> None:
    """Log in; as 'admin' with the administrator's password."""
    run(urls, lambda client: _log_in(client, urls, name, secret))


@main.command()
@click.argument("name")
@click.pass_obj
def logout(urls: tuple[str, ...], name: str) -> None:
    """Have all tokens of a user stop working."""

    async def work(client: Any) -> None:
        await client.logout(name)
        save_token(urls[0], None)

    run(urls, work)


@main.command()
@click.argument("table")
@click.argument("key")
@click.argument("value")
@click.option("-w", "level", type=click.Choice(["one", "quorum", "majority", "all"]))
@click.option("--ttl", type=int, help="Seconds until it expires.")
@click.pass_obj
def put(urls: tuple[str, ...], table: str, key: str, value: str, level: str | None, ttl: int | None) -> None:
    """Write VALUE, a JSON object ('-' reads it from stdin)."""
    parsed = json_object(value)

    async def work(client: Any) -> None:
        show(await client.put(table, key, parsed, w=level, ttl=ttl))

    run(urls, work)


@main.command()
@click.argument("table")
@click.argument("key")
@click.argument("changes")
@click.pass_obj
def patch(urls: tuple[str, ...], table: str, key: str, changes: str) -> None:
    """Merge CHANGES into a record (RFC 7396)."""
    parsed = json_object(changes)

    async def work(client: Any) -> None:
        show(await client.patch(table, key, parsed))

    run(urls, work)


@main.command()
@click.argument("table")
@click.argument("key")
@click.option("-r", "level", type=click.Choice(["one", "quorum", "majority", "all"]))
@click.option("--value", "only_value", is_flag=True, help="Print only the value.")
@click.pass_obj
def get(urls: tuple[str, ...], table: str, key: str, level: str | None, only_value: bool) -> None:
    """Read a record."""

    async def work(client: Any) -> None:
        record = await client.get(table, key, r=level)
        show(record.value if only_value else record)

    run(urls, work)


@main.command("del")
@click.argument("table")
@click.argument("key")
@click.pass_obj
def delete(urls: tuple[str, ...], table: str, key: str) -> None:
    """Delete a record."""

    async def work(client: Any) -> None:
        await client.delete(table, key)

    run(urls, work)


@main.command()
@click.argument("table")
@click.option("--prefix", default="")
@click.option("--after", default="")
@click.option("--limit", type=int)
@click.pass_obj
def keys(urls: tuple[str, ...], table: str, prefix: str, after: str, limit: int | None) -> None:
    """List keys, one a line."""

    async def work(client: Any) -> None:
        for key in await client.keys(table, prefix, after, limit):
            click.echo(key)

    run(urls, work)


@main.command()
@click.argument("table")
@click.argument("key", required=False)
@click.option("--prefix")
@click.pass_obj
def watch(urls: tuple[str, ...], table: str, key: str | None, prefix: str | None) -> None:
    """Print changes as they happen, a line of JSON each; until Ctrl-C."""

    async def work(client: Any) -> None:
        async for change in client.watch(table, key, prefix):
            click.echo(msgspec.json.encode(change).decode())

    run(urls, work)


@main.command()
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


@main.command()
@click.pass_obj
def stats(urls: tuple[str, ...]) -> None:
    """Statistics of the node."""

    async def work(client: Any) -> None:
        show(await client.stats())

    run(urls, work)


@main.command()
@click.argument("node")
@click.pass_obj
def forget(urls: tuple[str, ...], node: str) -> None:
    """Strike out member NODE (HOST:PORT or id); log in as admin first."""
    from urllib.parse import quote

    async def work(client: Any) -> None:
        show(await client.call("POST", f"/admin/members/{quote(node, safe='')}/forget"))

    run(urls, work)


@main.command()
@click.pass_obj
def save(urls: tuple[str, ...]) -> None:
    """Have the node make a cold save now; log in as admin first."""

    async def work(client: Any) -> None:
        show(await client.call("POST", "/admin/save"))

    run(urls, work)


main.add_command(key_commands)


@main.command("admin-password")
@click.option("--key-file", help="Where the cluster's secrets are, if not in the usual place.")
def admin_password(key_file: str | None) -> None:
    """Print the administrator's password of this machine's cluster."""
    from dynatwist.config import load
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


@main.command()
@click.option("--nodes", type=click.IntRange(1, 9), default=3, show_default=True)
@click.option("--port", type=click.IntRange(1, 55526), default=6671, show_default=True, help="Of the first node.")
@click.option("--data-dir", help="Keep the data here, instead of in a folder that is removed at the end.")
def demo(nodes: int, port: int, data_dir: str | None) -> None:
    """Start a cluster on this machine; Ctrl-C stops it."""
    from .demo import run_demo

    raise SystemExit(run_demo(nodes, port, data_dir))


@main.group(invoke_without_command=True)
@click.option("--seeds", type=click.IntRange(1), default=100, show_default=True, help="How many histories.")
@click.option("--minutes", type=click.FloatRange(0, 600), default=0.5, show_default=True, help="Simulated, of each.")
@click.option("--nodes", type=click.IntRange(3, 9), help="How many, instead of what the seed says.")
@click.option("--faults", metavar="NAME,...", help="Only these, instead of those that the seed chooses.")
@click.option("--first", type=click.IntRange(0), help="The first seed, instead of a fresh one.")
@click.option("--jobs", type=click.IntRange(1), help="Processes, instead of one a core.")
@click.option("--replay", type=click.IntRange(0), metavar="SEED", help="Print what happens in one history.")
@click.pass_context
def simulate(
    context: click.Context,
    seeds: int,
    minutes: float,
    nodes: int | None,
    faults: str | None,
    first: int | None,
    jobs: int | None,
    replay: int | None,
) -> None:
    """Run whole clusters in a simulated world, with everything going wrong, and judge every promise."""
    if context.invoked_subcommand is not None:
        return
    from . import simulate as command

    options = command.Options(minutes, nodes, command.check_faults(faults))
    if replay is not None:
        kept = command.replay(replay, options)
    else:
        kept = command.run_many(command.fresh_seed() if first is None else first, seeds, options, jobs or 0)
    raise SystemExit(0 if kept else 1)


@simulate.command()
@click.option("--nodes", type=click.IntRange(2, 20_000), default=100, show_default=True)
@click.option("--loss", type=click.FloatRange(0, 0.9), default=0.0, show_default=True, help="Share of packets lost.")
@click.option("--minutes", type=click.FloatRange(0, 600), default=0.5, show_default=True, help="Of quiet, simulated.")
@click.option("--crashes", type=click.IntRange(0), default=20, show_default=True, help="Nodes that are killed.")
@click.option("--stalled", type=click.IntRange(0), default=0, show_default=True, help="Members that freeze at times.")
@click.option("--blocked", is_flag=True, help="These are cut off instead, and their timers go on.")
@click.option("--shortest", type=click.FloatRange(0.001), default=0.1, show_default=True, help="Seconds of that.")
@click.option("--longest", type=click.FloatRange(0.001), default=30.0, show_default=True, help="Seconds of that.")
@click.option("--no-lifeguard", is_flag=True, help="Plain SWIM with suspicion.")
@click.option("--without", multiple=True, type=click.Choice(PARTS), help="Switch this part off; repeatable.")
@click.option("--random", "random_probes", is_flag=True, help="Probe at random, not in shuffled rounds.")
@click.option("--seed", type=click.IntRange(0), default=1, show_default=True)
def membership(
    nodes: int,
    loss: float,
    minutes: float,
    crashes: int,
    stalled: int,
    blocked: bool,
    shortest: float,
    longest: float,
    no_lifeguard: bool,
    without: tuple[str, ...],
    random_probes: bool,
    seed: int,
) -> None:
    """Run the membership protocol alone, by the thousand; prints load, detection time and false alarms."""
    from dynatwist.sim.survey import Scenario

    from . import survey as command

    if stalled > nodes - 2 or (crashes and stalled + 1 >= nodes):
        raise click.ClickException(f"--stalled {stalled}: leave at least two of {nodes} nodes in peace")
    if shortest > longest:
        raise click.ClickException(f"--shortest {shortest:g}: must not exceed --longest, which is {longest:g}")
    scenario = Scenario(
        nodes,
        loss,
        60 * minutes,
        crashes,
        stalled,
        blocked,
        (shortest, longest),
        random_probes,
        frozenset(PARTS if no_lifeguard else without),
    )
    raise SystemExit(0 if command.run(scenario, seed) else 1)
