"""``dynakv demo`` and what is done to its nodes from another terminal."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable

import click
import msgspec

from . import demo_state
from .chosen import Chosen
from .show import show_rows
from .work import USAGE, fail

READY_S = 20.0
"""For a node to serve again; it needs one or two, and a busy laptop longer."""

_number = click.argument("number", type=int, metavar="N")
_port = click.option("--port", type=int, help="Of a node of the demo that is meant, where several run.")


@click.group(invoke_without_command=True)
@click.option("--nodes", type=click.IntRange(1, 9), default=3, show_default=True)
@click.option("--port", type=click.IntRange(1, 55526), default=6671, show_default=True, help="Of the first node.")
@click.option("--keep", "--data-dir", "folder", metavar="DIR", help="Keep the data here, and go on with it next time.")
@click.pass_context
def demo(context: click.Context, nodes: int, port: int, folder: str | None) -> None:
    """Start a cluster on this machine; Ctrl-C stops it.

    It goes on when nodes die. In another terminal: dynakv demo kill 2, freeze 2, thaw 2, restart 2, status.
    """
    if context.invoked_subcommand is not None:
        return
    from .demo import run_demo

    raise SystemExit(run_demo(nodes, port, folder))


def _running(port: int | None) -> demo_state.Running:
    """The demo that is meant: the newest, or the one with a port."""
    found = demo_state.all_running()
    if not found:
        fail("no demo runs on this machine; dynakv demo starts one")
    meant = [one for one in found if port in (None, *one.ports)]
    if not meant:
        fail(f"no demo has a node on port {port}; they are on {', '.join(str(one.ports[0]) for one in found)} and up")
    return meant[0]


def _pid(running: demo_state.Running, number: int) -> int:
    if not 1 <= number <= len(running.ports):
        fail(f"there is no node {number}; they are numbered from 1 to {len(running.ports)}", USAGE)
    return running.pids[number - 1]


def _send(port: int | None, number: int, what: signal.Signals, done: str, frozen: bool | None) -> None:
    running = _running(port)
    pid = _pid(running, number)
    if not pid or not demo_state.send(running, pid, what):
        fail(f"node {number} is down; dynakv demo restart {number}")
    if frozen is not None:
        others = [one for one in running.frozen if one != number]
        demo_state.remember(msgspec.structs.replace(running, frozen=[*others, number] if frozen else others))
    click.echo(f"node {number} (http://127.0.0.1:{running.ports[number - 1]}) {done}")


@demo.command()
@_number
@_port
def kill(number: int, port: int | None) -> None:
    """End node N as a power cut would: kill -9."""
    _send(port, number, signal.SIGKILL, f"is killed; dynakv demo restart {number}", None)


@demo.command()
@_number
@_port
def freeze(number: int, port: int | None) -> None:
    """Have node N do nothing, until it is thawed: SIGSTOP."""
    _send(port, number, signal.SIGSTOP, f"is frozen; dynakv demo thaw {number}", True)


@demo.command()
@_number
@_port
def thaw(number: int, port: int | None) -> None:
    """Have node N go on: SIGCONT."""
    _send(port, number, signal.SIGCONT, "goes on", False)


@demo.command()
@_number
@_port
def restart(number: int, port: int | None) -> None:
    """Start node N again, and wait until it serves."""
    running = _running(port)
    pid = _pid(running, number)
    if pid and demo_state.send(running, pid, signal.SIGKILL):
        _until(lambda: (told := demo_state.recall(running.pid)) is not None and told.pids[number - 1] != pid)
    node_port = running.ports[number - 1]

    def is_up() -> bool:
        told = demo_state.recall(running.pid) or running
        if told.pids[number - 1]:
            return _state(node_port) == "ready"
        if number not in told.wanted:  # or the demo has just written over it
            demo_state.remember(msgspec.structs.replace(told, wanted=[*told.wanted, number]))
        return False

    _until(is_up)
    click.echo(f"node {number} (http://127.0.0.1:{node_port}) is up")


def _until(is_so: Callable[[], bool]) -> None:
    until_s = time.monotonic() + READY_S
    while not is_so():
        if time.monotonic() > until_s:
            fail(f"not within {READY_S:g} s; dynakv demo status shows the logs' folder")
        time.sleep(0.05)


@demo.command()
@_port
@click.pass_obj
def status(chosen: Chosen, port: int | None) -> None:
    """The nodes of the demo, and how they are."""
    running = _running(port)
    rows = []
    for number, (node_port, pid) in enumerate(zip(running.ports, running.pids, strict=True), 1):
        state = "down" if not pid else "frozen" if number in running.frozen else _state(node_port)
        rows.append((number, f"http://127.0.0.1:{node_port}", state, pid or None))
    show_rows(chosen, ("node", "url", "state", "process"), rows)
    if chosen.output in ("", "table"):
        click.echo(f"data and logs in {running.folder}")


def _state(port: int) -> str:
    from dynatwist.local.node import LocalNode

    return "ready" if LocalNode(port, folder="", key_file="").is_ready else "starting"
