"""``dynakv lock`` and ``dynakv elect``: a command that runs while a lock is held, and is stopped when it is lost."""

from __future__ import annotations

import os
import shutil
import socket
import threading
from typing import TYPE_CHECKING

import click

from .chosen import Chosen
from .work import run

if TYPE_CHECKING:
    from dynatwist.sync import Client, Lock

    from .child import Child

NO_COMMAND = 127
"""The status that a shell has for that."""


@click.command(context_settings={"ignore_unknown_options": True})
@click.argument("table")
@click.argument("key")
@click.argument("command", nargs=-1, required=True)
@click.option("--ttl", type=click.IntRange(3, 3600), default=15, show_default=True, help="Seconds.")
@click.option("--wait", "wait_s", type=float, help="Seconds to wait for the lock; for ever when not given.")
@click.pass_obj
def lock(chosen: Chosen, table: str, key: str, command: tuple[str, ...], ttl: int, wait_s: float | None) -> None:
    """Run COMMAND while holding the lock KEY of a strong TABLE; its exit status is this one's.

    DYNAKV_FENCE is the fencing number. The command gets SIGTERM when the lock is lost.
    """
    _hold(chosen, table, key, command, ttl, wait_s, again=False)


@click.command(context_settings={"ignore_unknown_options": True})
@click.argument("table")
@click.argument("key")
@click.argument("command", nargs=-1, required=True)
@click.option("--ttl", type=click.IntRange(3, 3600), default=15, show_default=True, help="Seconds.")
@click.pass_obj
def elect(chosen: Chosen, table: str, key: str, command: tuple[str, ...], ttl: int) -> None:
    """Be a candidate for ever: run COMMAND whenever this is the leader, and stop it when it is not any more.

    Ends when the command ends by itself, with its exit status; after a loss it is a candidate again.
    """
    _hold(chosen, table, key, command, ttl, None, again=True)


def _hold(
    chosen: Chosen,
    table: str,
    key: str,
    command: tuple[str, ...],
    ttl_s: int,
    wait_s: float | None,
    *,
    again: bool,
) -> None:
    if shutil.which(command[0]) is None:
        click.echo(f"dynakv: {command[0]}: there is no such command, or it may not be run", err=True)
        raise SystemExit(NO_COMMAND)
    status: list[int] = []

    def work(client: Client) -> None:
        from .child import Child

        note = {"host": socket.gethostname(), "pid": os.getpid()}
        while not status:
            with client.lock(table, key, ttl_s=ttl_s, wait_s=wait_s, note=note) as held:
                child = Child(command, {"DYNAKV_FENCE": str(held.fence)})
                threading.Thread(target=_stop_when_lost, args=(held, child), daemon=True).start()
                ended = child.wait()
            if not (held.is_lost and again):
                status.append(ended)

    run(chosen, work)
    raise SystemExit(status[0] if status else 1)


def _stop_when_lost(held: Lock, child: Child) -> None:
    if held.wait_lost():
        click.echo("dynakv: the lock is lost; the command is stopped", err=True)
        child.stop()
