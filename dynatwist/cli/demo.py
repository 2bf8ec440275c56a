"""``dynakv demo``: a cluster on loopback in one command, that goes on whatever becomes of its nodes."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
import time
from types import FrameType

import click
import msgspec

from dynatwist.errors import DynakvError
from dynatwist.local.cluster import LocalCluster, NotStarted
from dynatwist.local.ports import choose_ports, is_free
from dynatwist.storage.keyfile import load_or_create

from . import demo_state
from .files import load, save

LOOK_S = 0.1
"""Between two looks at the processes: a person notices no delay."""


class _Kept(msgspec.Struct):
    """What a folder that is kept says of its nodes: their data belongs to their ports."""

    ports: list[int]


def run_demo(nodes: int, first_port: int, folder: str | None) -> int:
    """Start nodes, say where they are, wait for Ctrl-C, stop them.

    :param folder: where data and logs are kept; ``None`` for a folder that is removed at the end.
    :returns: the exit status.
    """
    demo_state.all_running()  # clears away what is left of those that were killed
    try:
        return _Demo(nodes, first_port, folder).run()
    except DynakvError as error:
        click.echo(f"dynakv: {error}", err=True)
        return 1


class _Demo:
    """One run; see `run_demo`."""

    def __init__(self, nodes: int, first_port: int, folder: str | None) -> None:
        self._is_kept = folder is not None
        self._folder = os.path.abspath(folder) if folder else tempfile.mkdtemp(prefix="dynakv-demo-")
        os.makedirs(self._folder, mode=0o700, exist_ok=True)
        ports = self._ports(nodes, first_port)
        self._cluster = LocalCluster(ports, self._folder)
        self._down: set[int] = set()
        self._ended_by: signal.Signals | None = None
        self._running = demo_state.Running(os.getpid(), time.time(), self._folder, ports, [0] * len(ports))

    def _ports(self, nodes: int, first_port: int) -> list[int]:
        """Those of before, where the folder has data; else free ones.

        :raises DynakvError: there are not enough.
        """
        path = os.path.join(self._folder, "demo.json")
        kept = load(path, _Kept)
        if kept is not None:
            taken = [port for port in kept.ports if not is_free(port)]
            if taken:
                raise DynakvError(f"port {taken[0]} is in use, and {self._folder} has the data of a node on it")
            return kept.ports
        ports = choose_ports(nodes, first_port)
        if len(ports) < nodes:
            raise DynakvError(f"not enough free ports from {first_port} on; choose another start with --port")
        save(path, _Kept(ports))
        return ports

    def run(self) -> int:
        """See `run_demo`."""
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._on_signal)
        password = os.environ.get("DYNAKV_ADMIN_PASSWORD") or load_or_create(self._cluster.key_file)[0].admin_password()
        status, has_failed = 0, True
        try:
            self._cluster.start()
            self._remember()
            self._cluster.wait_ready(lambda: self._ended_by is None)
            if self._ended_by is None:
                self._say_hello(password)
            while self._ended_by is None:
                self._look()
                time.sleep(LOOK_S)
            has_failed = self._ended_by is not signal.SIGINT
        except NotStarted as error:
            click.echo(f"dynakv: the cluster did not start: {error}", err=True)
            status = 1
        finally:
            self._cluster.stop()
            demo_state.forget(os.getpid())
            self._leave(has_failed)
        return status

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self._ended_by = self._ended_by or signal.Signals(number)

    def _leave(self, has_failed: bool) -> None:
        """Remove the data, unless somebody may want it."""
        if self._is_kept or has_failed:
            click.echo(f"stopped; data and logs are kept in {self._folder}: dynakv demo --keep {self._folder}")
        else:
            shutil.rmtree(self._folder, ignore_errors=True)
            click.echo("stopped")

    # While it runs

    def _look(self) -> None:
        """Tell of nodes that have ended, and start those that are wanted again."""
        told = demo_state.recall(os.getpid())
        wanted = told.wanted if told is not None else []
        for number in wanted:
            node = self._cluster.node(number)
            if not node.is_running:
                node.start()
                self._down.discard(number)
        down = {number for number, node in enumerate(self._cluster.nodes, 1) if not node.is_running}
        for number in sorted(down - self._down):
            self._say_down(number, len(self._cluster.nodes) - len(down))
        if wanted or down != self._down:
            self._down = down
            self._remember(told)

    def _remember(self, told: demo_state.Running | None = None) -> None:
        frozen = [] if told is None else [number for number in told.frozen if number not in self._down]
        pids = [node.pid for node in self._cluster.nodes]
        self._running = msgspec.structs.replace(self._running, pids=pids, frozen=frozen, wanted=[])
        demo_state.remember(self._running)

    def _say_down(self, number: int, left: int) -> None:
        node = self._cluster.node(number)
        go_on = f"{_nodes(left)} {'goes' if left == 1 else 'go'} on" if left else "none is left"
        click.echo(
            f"node {number} ({node.url}) has ended; {go_on}. To start it again: dynakv demo restart {number} "
            f"(its log: {node.log})"
        )

    def _say_hello(self, password: str) -> None:
        count = len(self._cluster.nodes)
        click.echo(f"{_nodes(count)} {'is' if count == 1 else 'are'} up:")
        for number, url in enumerate(self._cluster.urls, 1):
            click.echo(f"  {number}  {url}")
        click.echo(f"dashboard: {self._cluster.urls[0]}/admin   (password: {password})")
        click.echo(f"try:       dynakv --url {self._cluster.urls[0]} register alice")
        click.echo("           dynakv demo kill|freeze|thaw|restart N, dynakv demo status (in another terminal)")
        click.echo(f"data and logs in {self._folder}; Ctrl-C stops everything")


def _nodes(count: int) -> str:
    return f"{count} node{'' if count == 1 else 's'}"
