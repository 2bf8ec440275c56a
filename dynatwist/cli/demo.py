"""``dynakv demo``: a cluster on loopback in one command."""

from __future__ import annotations

import http.client
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

import click
import msgspec

from dynatwist.storage.keyfile import load_or_create

UNSAFE_PORTS = frozenset({*range(6665, 6670), 6000, 6566, 6697, 5060, 5061, 10080})
"""Ports above 5,000 that browsers refuse to open."""
START_TIMEOUT_S = 20.0
"""Three nodes start in two seconds; a busy laptop takes longer."""
STOP_TIMEOUT_S = 10.0
"""A node gives itself five seconds to flush its log."""


def _is_free(port: int) -> bool:
    for kind, number in ((socket.SOCK_STREAM, port), (socket.SOCK_DGRAM, port), (socket.SOCK_STREAM, port + 10_000)):
        with socket.socket(socket.AF_INET, kind) as probe:
            if kind == socket.SOCK_STREAM:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", number))
            except OSError:
                return False
    return True


def choose_ports(count: int, first: int) -> list[int]:
    """Free ports from `first` on that browsers open."""
    ports: list[int] = []
    port = first
    while len(ports) < count and port + 10_000 <= 65535:
        if port not in UNSAFE_PORTS and _is_free(port):
            ports.append(port)
        port += 1
    return ports


def _start(port: int, seed: int, folder: str, key_file: str) -> subprocess.Popen[bytes]:
    twistd = os.path.join(os.path.dirname(sys.executable), "twistd")
    command = [twistd, "-n", "--pidfile=", "--logfile", os.path.join(folder, f"node-{port}.log"), "dynakv"]
    command += ["--port", str(port), "--data-dir", os.path.join(folder, str(port)), "--key-file", key_file]
    if port != seed:
        command += ["--join", f"127.0.0.1:{seed}"]
    return subprocess.Popen(command, start_new_session=True)


def _active(port: int) -> int:
    try:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=1)
        connection.request("GET", "/readyz")
        ready = connection.getresponse()
        ready.read()
        connection.request("GET", "/membership")
        answer = msgspec.json.decode(connection.getresponse().read())
        connection.close()
        return int(answer["active_count"]) if ready.status == 200 else 0
    except (OSError, http.client.HTTPException, msgspec.MsgspecError, KeyError):
        return 0


def run_demo(nodes: int, first_port: int, data_dir: str | None) -> int:
    """Start nodes, say where they are, wait for Ctrl-C, stop them.

    :returns: the exit status.
    """
    ports = choose_ports(nodes, first_port)
    if len(ports) < nodes:
        click.echo(f"dynakv: not enough free ports from {first_port} on; choose another start with --port", err=True)
        return 1
    folder = os.path.abspath(data_dir) if data_dir else tempfile.mkdtemp(prefix="dynakv-demo-")
    os.makedirs(folder, mode=0o700, exist_ok=True)
    key_file = os.path.join(folder, "cluster.key")
    password = os.environ.get("DYNAKV_ADMIN_PASSWORD") or load_or_create(key_file)[0].admin_password()
    stop = False

    def on_signal(number: int, frame: object) -> None:
        nonlocal stop
        stop = True

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, on_signal)
    processes = [_start(port, ports[0], folder, key_file) for port in ports]
    try:
        until_s = time.monotonic() + START_TIMEOUT_S
        while not stop and any(_active(port) != nodes for port in ports):
            dead = next((process for process in processes if process.poll() is not None), None)
            if dead is not None or time.monotonic() > until_s:
                click.echo(f"dynakv: the cluster did not start; see the logs in {folder}", err=True)
                data_dir = folder  # keep them
                return 1
            time.sleep(0.1)
        if not stop:
            _say_hello(ports, folder, password)
        while not stop and all(process.poll() is None for process in processes):
            time.sleep(0.1)
    finally:
        _stop(processes)
        if data_dir is None:
            shutil.rmtree(folder, ignore_errors=True)
    click.echo("stopped")
    return 0


def _say_hello(ports: list[int], folder: str, password: str) -> None:
    click.echo(f"{len(ports)} nodes are up:")
    for port in ports:
        click.echo(f"  http://127.0.0.1:{port}")
    click.echo(f"dashboard: http://127.0.0.1:{ports[0]}/admin   (password: {password})")
    click.echo(f"try:       dynakv --url http://127.0.0.1:{ports[0]} register alice")
    click.echo(f"data and logs in {folder}; Ctrl-C stops everything")


def _stop(processes: list[subprocess.Popen[bytes]]) -> None:
    for process in processes:
        if process.poll() is None:
            process.terminate()
    until_s = time.monotonic() + STOP_TIMEOUT_S
    for process in processes:
        try:
            process.wait(max(0.1, until_s - time.monotonic()))
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
