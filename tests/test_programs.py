"""The programs that docs/sharing.rst and docs/clients.rst show, as they stand there, against real nodes."""

from __future__ import annotations

import ast
import os
import queue
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from dynatwist.storage.keyfile import parse

from .real import RealCluster, check_logs

pytestmark = pytest.mark.processes
DOCS = Path(__file__).parent.parent / "docs"
PROGRAMS = DOCS / "programs"


@pytest.fixture(scope="module")
def cluster():
    made = RealCluster.start(3)
    yield made
    check_logs(made)
    made.close()


@pytest.fixture
def run(cluster):
    """Runs a program to its end, and answers its lines."""
    keys = parse((cluster.folder / "cluster.key").read_text(), "")
    env = {**os.environ, "DYNAKV_ADMIN_PASSWORD": keys.admin_password()}
    urls = [f"http://{node.address}" for node in cluster.nodes]

    def run(name):
        command = [sys.executable, str(PROGRAMS / name), *urls]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=env)
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout.splitlines()

    return run


def test_shared_configuration(run):
    assert run("shared_configuration.py") == [
        "web/limit is {'requests': 100}",
        "web/limit is {'requests': 200}",
        "web may not: you may not change records under this key",
    ]


def test_three_faces(run):
    assert run("three_faces.py") == [
        "threads: Session(user='ann', visits=2)",
        "asyncio: Updated s1 {'user': 'ann', 'visits': 3}",
        "twisted: ['s1']",
    ]


def test_per_user_data(run):
    assert run("per_user_data.py") == [
        "ann has ['ann/shopping']",
        "ben has ['ben/holidays']",
        "ben may not read ann's: the key belongs to another user",
        "ben may not write in ann's place: you may not create records under this key",
        "ben may not write outside of any: you may not create records under this key",
    ]


def test_device_state(run):
    assert run("device_state.py") == [
        "sensor/1 reports 21.5 as service:sensors",
        "sensor/1 reports 22.0 as service:sensors",
        "sensor/1 has fallen silent",
    ]


class Lines(threading.Thread):
    """What a program that goes on for ever prints, line by line."""

    def __init__(self, process):
        super().__init__(daemon=True)
        self._process = process
        self._queue = queue.SimpleQueue()
        self.start()

    def run(self):
        for line in self._process.stdout:
            self._queue.put(line.rstrip("\n"))

    def next(self, limit_s=20.0):
        return self._queue.get(timeout=limit_s)

    def until(self, wanted, limit_s=20.0):
        """All lines up to one; fails when it does not come."""
        end_s, lines = time.monotonic() + limit_s, []
        while not lines or lines[-1] != wanted:
            lines.append(self.next(end_s - time.monotonic()))
        return lines


def test_a_live_feed_goes_on_at_another_node(cluster):
    first, second, third = cluster.nodes
    token = third.register("reporter", "a long secret")
    third.put("news", "old", {"n": 1}, token)
    urls = [f"http://{node.address}" for node in (first, second)]
    command = [sys.executable, str(PROGRAMS / "live_feed.py"), "news", *urls]
    env = {**os.environ, "DYNAKV_TOKEN": token}
    program = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env)
    try:
        lines = Lines(program)
        assert [lines.next(), lines.next()] == ["old {'n': 1}", "that is all there is"]
        third.put("news", "new", {"n": 2}, token)
        assert lines.next() == "new {'n': 2}"
        third.delete("news", "old", token)
        assert lines.next() == "old deleted"
        first.kill()
        third.put("news", "later", {"n": 3}, token)
        lines.until("later {'n': 3}")
        third.put("news", "last", {"n": 4}, token)
        lines.until("last {'n': 4}")
    finally:
        program.kill()
        program.wait()
        first.start()
        cluster.wait_ready()
    assert program.stderr.read() == ""


def test_a_live_feed_that_may_not_listen_says_so_in_a_line(cluster):
    command = [sys.executable, str(PROGRAMS / "live_feed.py"), "news", f"http://{cluster.nodes[1].address}"]
    env = {**os.environ, "DYNAKV_TOKEN": "none"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, env=env)
    assert (done.returncode, done.stderr.count("\n"), "bad_token" in done.stderr) == (1, 1, True)


def test_each_program_is_shown_and_says_what_it_is():
    shown = (DOCS / "sharing.rst").read_text() + (DOCS / "clients.rst").read_text()
    for program in PROGRAMS.glob("*.py"):
        assert f"programs/{program.name}" in shown
        assert ast.get_docstring(ast.parse(program.read_text()))
