"""``dynakv``: the client, and the demo."""

from __future__ import annotations

from typing import NoReturn

import click

from dynatwist import __version__

from . import (
    accounts,
    backup,
    bringing_back,
    cluster,
    demo_commands,
    draining,
    editing,
    inspecting,
    lock,
    records,
    shells,
    top,
    watching,
    worlds,
)
from .conflicts import conflicts
from .contexts import USUAL_URL, choose, context_commands
from .doctor import doctor
from .exporting import export
from .importing import import_
from .key import key_commands
from .one_line import run_command
from .show import FORMATS
from .tables import settings, tables
from .tokens import token_commands
from .users import group_commands, user_commands

_file = click.Path(exists=True, dir_okay=False)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option(
    "--url",
    "urls",
    multiple=True,
    envvar="DYNAKV_URL",
    help=f"A node, with or without http://; repeatable, for failover.  [default: the context in use, or {USUAL_URL}]",
)
@click.option("--context", envvar="DYNAKV_CONTEXT", default="", help="Of a name; see dynakv context.")
@click.option("--cacert", type=_file, envvar="DYNAKV_CACERT", help="Certificates to trust, PEM.")
@click.option("--cert", type=_file, envvar="DYNAKV_CLIENT_CERT", help="Certificate to show, PEM.")
@click.option("--key", type=_file, envvar="DYNAKV_CLIENT_KEY", help="Its key, PEM.")
@click.option("--as", "user", default="", metavar="NAME", help="As one of those who are logged in.")
@click.option("-o", "--output", type=click.Choice(FORMATS), help="How answers are shown.")
@click.option("--timeout", "timeout_s", type=click.FloatRange(0.1), default=30.0, help="Seconds, of all tries.")
@click.option("--token", envvar="DYNAKV_TOKEN", default="", help="Instead of a login; others see command lines.")
@click.version_option(__version__, message="DynaTwist %(version)s")
@click.pass_context
def commands(
    context_: click.Context,
    urls: tuple[str, ...],
    context: str,
    cacert: str | None,
    cert: str | None,
    key: str | None,
    user: str,
    output: str | None,
    timeout_s: float,
    token: str,
) -> None:
    """DynaTwist, a replicated key-value store: client and demo."""
    context_.obj = choose(
        urls=urls,
        context=context,
        cacert=cacert,
        cert=cert,
        key=key,
        user=user,
        output=output or "",
        timeout_s=timeout_s,
        token=token,
    )


for _command in (
    accounts.register,
    accounts.login,
    accounts.logout,
    accounts.whoami,
    records.put,
    records.patch,
    records.get,
    records.touch,
    records.delete,
    records.keys,
    tables,
    export,
    import_,
    watching.watch,
    editing.edit,
    context_commands,
    key_commands,
    user_commands,
    group_commands,
    token_commands,
    settings,
    cluster.members,
    cluster.stats,
    cluster.forget,
    draining.drain,
    draining.replace,
    cluster.save,
    cluster.admin_password,
    doctor,
    backup.backup,
    inspecting.verify,
    inspecting.inspect,
    bringing_back.restore,
    top.top,
    conflicts,
    lock.lock,
    lock.elect,
    shells.completion,
    shells.man,
    demo_commands.demo,
    worlds.simulate,
):
    commands.add_command(_command)


def main() -> NoReturn:
    """The entry point."""
    run_command(commands)
