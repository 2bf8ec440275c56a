"""``dynakv demo``: it survives its nodes, and the README's tour does what it says, word by word."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from .real import wait_until

BIN = Path(sys.executable).parent
DYNAKV = str(BIN / "dynakv")
README = Path(__file__).parent.parent / "README.rst"
pytestmark = pytest.mark.processes


class Demo:
    """A demo in a home of its own."""

    def __init__(self, home, *options, port=6700):
        self.home = home
        kept = {key: text for key, text in os.environ.items() if not key.startswith(("DYNAKV_", "XDG_"))}
        self.env = {**kept, "HOME": str(home), "PATH": f"{BIN}:{os.environ['PATH']}", "PYTHONUNBUFFERED": "1"}
        self._out = home / "out"
        with self._out.open("w") as out:
            self.process = subprocess.Popen(
                [DYNAKV, "demo", "--port", str(port), *options], stdout=out, stderr=out, env=self.env
            )
        wait_until(lambda: "Ctrl-C" in self.said or self.process.poll() is not None, 40)
        self.ports = [int(port) for port in re.findall(r"^  \d  http://127.0.0.1:(\d+)$", self.said, re.M)]

    @property
    def said(self):
        return self._out.read_text()

    @property
    def folder(self):
        return Path(re.search(r"data and logs in (\S+);", self.said)[1])

    def run(self, *words, status=0):
        done = subprocess.run([DYNAKV, *words], capture_output=True, text=True, timeout=40, env=self.env)
        assert done.returncode == status, done.stderr
        return done.stdout if not status else done.stderr

    def states(self):
        return [line.split("\t")[2] for line in self.run("-o", "raw", "demo", "status").splitlines()]

    def end(self, number=signal.SIGINT):
        self.process.send_signal(number)
        return self.process.wait(30)


@pytest.fixture
def start(tmp_path):
    made = []

    def start(*options, **more):
        made.append(Demo(tmp_path, *options, **more))
        return made[-1]

    yield start
    for demo in made:
        if demo.process.poll() is None:
            demo.process.kill()


def nodes_of(demo):
    found = subprocess.run(["pgrep", "-f", "--", f"--data-dir {demo.folder}/"], capture_output=True, text=True)
    return found.stdout.split()


def test_it_goes_on_when_nodes_die(start):
    demo = start()
    folder = demo.folder
    assert demo.said.startswith("3 nodes are up:")
    assert not set(demo.ports) & set(range(6665, 6670)), "browsers open them"
    assert demo.states() == ["ready"] * 3
    demo.run("demo", "kill", "2")
    wait_until(lambda: "has ended; 2 nodes go on. To start it again: dynakv demo restart 2" in demo.said)
    demo.run("demo", "freeze", "3")
    assert demo.states() == ["ready", "down", "frozen"]
    assert "node 2 is down; dynakv demo restart 2" in demo.run("demo", "kill", "2", status=1)
    assert "numbered from 1 to 3" in demo.run("demo", "kill", "4", status=2)
    demo.run("demo", "thaw", "3")
    demo.run("demo", "restart", "2")
    demo.run("demo", "restart", "1")
    assert demo.states() == ["ready"] * 3
    demo.run("demo", "freeze", "1")
    assert demo.end() == 0, "a frozen node holds nobody up"
    assert demo.said.endswith("stopped\n")
    assert not folder.exists()
    assert "no demo runs" in demo.run("demo", "status", status=1)


def test_what_is_kept_is_there_the_next_time(start, tmp_path):
    kept = tmp_path / "kept"
    demo = start("--nodes", "1", "--keep", str(kept))
    assert demo.said.startswith("1 node is up:")
    demo.run("--url", f"127.0.0.1:{demo.ports[0]}", "register", "ann", "--secret", "a long secret")
    demo.run("--url", f"127.0.0.1:{demo.ports[0]}", "put", "t", "k", "n=1")
    assert demo.end() == 0
    assert f"dynakv demo --keep {kept}" in demo.said
    again = start("--keep", str(kept), port=6750)
    assert again.ports == demo.ports, "data belongs to its port"
    assert json.loads(again.run("--url", f"127.0.0.1:{again.ports[0]}", "-o", "raw", "get", "t", "k")) == {"n": 1}
    again.run("demo", "kill", "1")
    wait_until(lambda: "none is left" in again.said)
    assert again.process.poll() is None


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_an_abnormal_end_leaves_the_data_and_no_node(start, how):
    demo = start("--nodes", "1")
    folder = demo.folder
    assert len(nodes_of(demo)) == 1
    demo.end(how)
    wait_until(lambda: not nodes_of(demo))
    assert folder.exists()
    if how is signal.SIGTERM:
        assert f"kept in {folder}" in demo.said
    assert "no demo runs" in demo.run("demo", "status", status=1)


def test_a_node_that_was_frozen_is_ended_after_its_demo_was_killed(start):
    demo = start("--nodes", "1")
    demo.run("demo", "freeze", "1")
    demo.end(signal.SIGKILL)
    assert "no demo runs" in demo.run("demo", "status", status=1)
    wait_until(lambda: not nodes_of(demo))


def test_a_process_that_has_the_number_of_a_node_of_before_is_let_alone(start, tmp_path):
    demo = start("--nodes", "1")
    other = subprocess.Popen(["sleep", "60"])
    (state,) = (tmp_path / ".local" / "state" / "dynakv" / "demos").glob("*.json")
    told = json.loads(state.read_text())
    state.write_text(json.dumps({**told, "pids": [other.pid]}))
    assert "node 1 is down" in demo.run("demo", "kill", "1", status=1)
    assert other.poll() is None
    state.with_name(f"{other.pid}.json").write_text(json.dumps({**told, "pid": other.pid, "ports": [1]}))
    assert demo.run("-o", "raw", "demo", "status").split("\t")[1] == f"http://127.0.0.1:{demo.ports[0]}"
    other.kill()
    other.wait()


# The README's tour


def blocks():
    """The literal blocks of the tour."""
    text = README.read_text()
    tour = text[text.index("A tour in two minutes") : text.index("Try to break it")]
    found = re.findall(r"::\n\n((?:    .*\n|\n)+)", tour)
    return ["".join(line[4:] or "\n" for line in block.splitlines(keepends=True)).rstrip() for block in found]


def with_ports(text, ports):
    for number, port in enumerate(ports):
        text = text.replace(str(6671 + number), str(port))
    return text


def test_the_tour(start, tmp_path):
    demo = start()
    told = [with_ports(one, demo.ports) for one in blocks()]
    first, watch, killed, frozen, around, http, *others = told
    (python,) = (one for one in others if one.startswith("from dynatwist.sync"))
    env = {**demo.env, "DYNAKV_URL": " ".join(f"127.0.0.1:{port}" for port in demo.ports), "EDITOR": "true"}

    def run(text):
        text = text.replace("$PWD/.venv/bin", str(BIN))
        done = subprocess.run(["bash", "-ec", text], capture_output=True, text=True, timeout=60, env=env)
        assert done.returncode == 0, (text, done.stdout, done.stderr)
        return done.stdout

    run(first)
    heard = tmp_path / "heard"
    with heard.open("w") as out:
        watching = subprocess.Popen(["bash", "-c", f"exec {watch}"], stdout=out, env=env)
    wait_until(lambda: run("dynakv put users began n=1") and heard.read_text(), 20)
    shown = run(killed)
    wanted = json.loads(killed.rpartition("# ")[2])
    assert json.loads(shown[shown.rindex("is up\n") + 6 :]) == wanted, "the node has what it missed"
    assert "frozen" in run(frozen)
    assert "nothing was changed" in run(around)
    *asks, listens = http.splitlines()
    assert '"at": "the river"' in run("\n".join(asks)).replace('":"', '": "')
    assert listens.startswith("curl -N")
    (tmp_path / "tour.py").write_text(python)
    told = subprocess.run([sys.executable, str(tmp_path / "tour.py")], capture_output=True, text=True, timeout=40)
    assert told.stdout.splitlines() == ["{'level': 44}", "{'level': 45}"], told.stderr
    changes = [json.loads(line) for line in heard.read_text().splitlines()]
    levels = [one["record"]["value"].get("level") for one in changes if one["key"] == "profile"]
    assert {43, 44, 45} <= set(levels), "nothing was missed while the watch's node died"
    watching.kill()
    assert demo.end() == 0
