"""``dynakv``: the client, and the demo."""

from __future__ import annotations

import sys
from typing import Any

import click
import msgspec

from dynatwist import __version__

from . import cluster, lock, worlds
from .conflicts import conflicts
from .key import key_commands
from .session import save_token
from .work import run, show


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


for _command in (
    key_commands,
    cluster.members,
    cluster.stats,
    cluster.forget,
    cluster.save,
    cluster.admin_password,
    conflicts,
    lock.lock,
    lock.elect,
    worlds.demo,
    worlds.simulate,
):
    main.add_command(_command)
