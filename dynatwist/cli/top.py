"""``dynakv top``: what each node does, again and again."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import click

from .chosen import Chosen
from .show import show_rows
from .work import connected, run

if TYPE_CHECKING:
    from rich.table import Table

    from dynatwist.sync import Client

EVERY_S = 1.0
ANSWER_S = 1.0
"""A node that does not answer within that is shown as such, and holds nobody up for longer."""
COLUMNS = ("node", "state", "ready", "requests/s", "ms each", "keys", "MiB", "listeners", "hints", "not whole")


@dataclass(frozen=True, slots=True)
class _Look:
    """What a node said of itself."""

    at_s: float
    stats: dict[str, Any] | None


@click.command()
@click.pass_obj
def top(chosen: Chosen) -> None:
    """What each node does, every second; q or Ctrl-C ends. Without a terminal: once."""

    def work(client: Client) -> None:
        before = _look(chosen, client)
        if not sys.stdout.isatty() or chosen.output:
            time.sleep(EVERY_S)
            show_rows(chosen, COLUMNS, _rows(client.members(), before, _look(chosen, client)))
            return
        _live(chosen, client, before)

    run(chosen, work)


def _live(chosen: Chosen, client: Client, before: dict[str, _Look]) -> None:
    from rich.live import Live

    with Live(screen=True, auto_refresh=False) as screen, _keys() as pressed:
        while not pressed(EVERY_S):
            now = _look(chosen, client)
            screen.update(_table(_rows(client.members(), before, now)), refresh=True)
            before = now


def _table(rows: list[tuple[Any, ...]]) -> Table:
    from rich.table import Table

    table = Table(*COLUMNS, box=None, header_style="bold", title=time.strftime("%H:%M:%S"), title_justify="left")
    for row in rows:
        is_well = row[1] == "Active" and row[2] == "yes"
        table.add_row(*("-" if cell is None else str(cell) for cell in row), style=None if is_well else "red")
    return table


@contextmanager
def _keys() -> Iterator[Any]:
    """Gives a function that waits, and answers whether q was pressed meanwhile."""
    import select
    import termios
    import tty

    if not sys.stdin.isatty():
        yield lambda wait_s: bool(select.select([], [], [], wait_s)[0])
        return
    before = termios.tcgetattr(sys.stdin)
    tty.setcbreak(sys.stdin)
    try:
        yield lambda wait_s: bool(select.select([sys.stdin], [], [], wait_s)[0]) and sys.stdin.read(1) == "q"
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)


def _look(chosen: Chosen, client: Client) -> dict[str, _Look]:
    """Ask all members how they are, one after another."""
    scheme = client.urls[0].partition("://")[0]
    found: dict[str, _Look] = {}
    for address in client.members()["nodes"]:
        stats: dict[str, Any] | None = None
        with suppress(Exception):
            alone = replace(chosen, urls=(f"{scheme}://{address}",), timeout_s=ANSWER_S, token=client.token or "")
            with connected(alone) as node:
                stats = node.stats()
        found[address] = _Look(time.monotonic(), stats)
    return found


def _rows(members: dict[str, Any], before: dict[str, _Look], now: dict[str, _Look]) -> list[tuple[Any, ...]]:
    rows: list[tuple[Any, ...]] = []
    for address, node in sorted(members["nodes"].items()):
        ready = "yes" if node["ready"] else "no"
        look, last = now.get(address), before.get(address)
        if look is None or look.stats is None:
            rows.append((address, node["status"], ready, *[None] * (len(COLUMNS) - 3)))
            continue
        stats = look.stats
        asked = None
        if last is not None and last.stats is not None and look.at_s > last.at_s:
            made = stats["total_requests"] - last.stats["total_requests"]
            asked = round(max(0, made) / (look.at_s - last.at_s), 1)
        listeners = stats["active_sse_connections"] + stats["active_websocket_connections"]
        whole = stats["cluster"]["partitions_not_whole"]
        size = round(stats["store_bytes"] / 2**20, 1)
        latency = round(stats["average_latency_ms"], 2)
        rows.append(
            (
                address,
                node["status"],
                ready,
                asked,
                latency,
                stats["total_keys"],
                size,
                listeners,
                stats["hints"],
                whole,
            )
        )
    return rows
