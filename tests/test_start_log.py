"""What an operator sees when a node, the client and the command start: names that people understand, and no warning."""

from __future__ import annotations

import http.client
import os
import re
import signal
import ssl
import subprocess
import sys
from pathlib import Path

import pytest

from dynatwist import __version__, heart

from .real import TWISTD, Node, RealCluster, certificate, free_port, wait_until

pytestmark = pytest.mark.processes
DYNAKV = str(Path(sys.executable).with_name("dynakv"))
ALL_WARNINGS = {**os.environ, "PYTHONWARNINGS": "default"}
WARNING = re.compile(r"\w*Warning\b.*")
CLIENT = """
import sys
from twisted.internet.defer import ensureDeferred
from twisted.internet.task import react
from dynatwist.client import Client

async def work(reactor):
    kv = await Client.connect(reactor, sys.argv[1:])
    await kv.login("alice", "a long secret")
    watch = kv.watch("t")
    await watch.subscribed()
    await kv.put("t", "k", {"a": 1})
    print((await anext(watch)).key)
    watch.close()
    await kv.close()

react(lambda reactor: ensureDeferred(work(reactor)))
"""


def messages(log: str) -> list[str]:
    """The lines of a log, without their time and namespace."""
    return [line.partition("] ")[2] for line in log.splitlines()]


def https_ready(node) -> bool:
    connection = http.client.HTTPSConnection(node.host, node.port, timeout=2, context=ssl._create_unverified_context())
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


@pytest.fixture(scope="module")
def secure(tmp_path_factory):
    """A node whose clients come by TLS, with all warnings on."""
    folder = tmp_path_factory.mktemp("secure")
    cluster = RealCluster(folder)
    node = cluster.add(*certificate(folder))
    node.kill()
    node.log.write_text("")
    node.env = {**ALL_WARNINGS, heart.SWITCH: "1"}
    node.start()
    wait_until(lambda: https_ready(node), 20)
    yield node
    cluster.close()


@pytest.fixture(scope="module")
def cluster():
    """Three nodes with all warnings on."""
    made = RealCluster.start(3)
    for node in made.nodes:
        node.stop()
        node.log.write_text("")
        node.env = ALL_WARNINGS
        node.start()
    made.wait_ready()
    yield made
    made.close()


class TestTheLog:
    def test_the_first_line_names_version_and_url(self, cluster, secure):
        for node, scheme in ((cluster.nodes[0], "http"), (secure, "https")):
            first = messages(node.log.read_text())[0]
            assert first == f"DynaTwist {__version__} at {scheme}://{node.address}"

    def test_the_second_line_says_which_heart_beats(self, cluster, secure):
        assert messages(cluster.nodes[0].log.read_text())[1] == heart.SAYS
        assert messages(secure.log.read_text())[1] == "heart: pure (DYNAKV_PURE is set)"

    def test_the_data_folder_and_the_peers_are_named(self, cluster, secure):
        log = messages(secure.log.read_text())
        assert [line for line in log if line.endswith(f", data in {secure.data}, alone until others join")]
        for node in cluster.nodes:
            told = [line for line in messages(node.log.read_text()) if f", data in {node.data}, " in line]
            assert [line.rpartition(", ")[2] for line in told] == ["back in a cluster of 3 members"]

    def test_ports_are_named_by_what_they_are_for(self, cluster, secure):
        log = messages(secure.log.read_text())
        assert f"HTTP for clients (TLS) starting on {secure.port}" in log
        assert f"links with other nodes (TLS) starting on {secure.port + 10_000}" in log
        assert f"gossip with other nodes (UDP) starting on {secure.port}" in log
        assert f"HTTP for clients starting on {cluster.nodes[0].port}" in messages(cluster.nodes[0].log.read_text())

    def test_no_class_tells_of_itself(self, cluster, secure):
        for node in (secure, *cluster.nodes):
            told = [line for line in messages(node.log.read_text()) if re.match(r"_?[A-Z][a-z]+[A-Z]\w* |_", line)]
            assert [line for line in told if not line.startswith("DynaTwist ")] == []


class TestNoWarning:
    def test_of_a_node_with_tls_for_clients(self, secure):
        assert not WARNING.findall(secure.log.read_text())

    def test_of_three_nodes(self, cluster):
        assert not WARNING.findall(cluster.logs())

    @pytest.mark.parametrize("scheme", ["http", "https"])
    def test_of_the_client(self, cluster, secure, scheme):
        nodes = cluster.nodes if scheme == "http" else [secure]
        command = [sys.executable, "-c", CLIENT, *(f"{scheme}://{node.address}" for node in nodes)]
        env = {**ALL_WARNINGS, "SSL_CERT_FILE": str(secure.folder / "cert.pem")}
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, env=env)
        assert (done.returncode, done.stdout, done.stderr) == (0, "k\n", "")

    @pytest.mark.parametrize("words", [["members"], ["stats"], ["register", "bob", "--secret", "a long secret"]])
    def test_of_the_command(self, cluster, words, tmp_path):
        command = [DYNAKV, "--url", f"http://{cluster.nodes[0].address}", *words]
        env = {**ALL_WARNINGS, "HOME": str(tmp_path)}
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, env=env)
        assert (done.returncode, done.stderr) == (0, "")


class TestVersions:
    @pytest.mark.parametrize("command", [[TWISTD, "dynakv", "--version"], [DYNAKV, "--version"]], ids=["twistd", "cli"])
    def test_they_are_printed(self, command, tmp_path):
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, cwd=tmp_path)
        assert (done.returncode, done.stdout, done.stderr) == (0, f"DynaTwist {__version__}\n", "")
        assert not list(tmp_path.iterdir())


def test_a_daemon_writes_what_it_acknowledges(tmp_path):
    """twistd makes the node, and then forks: a thread that was begun before, the log's, was not there any more."""
    node = Node(tmp_path, free_port())
    pidfile = tmp_path / "pid"
    command = [TWISTD, f"--pidfile={pidfile}", f"--logfile={node.log}", "dynakv", "--port", str(node.port)]
    command += ["--data-dir", str(node.data), "--key-file", str(tmp_path / "cluster.key"), "--log-format", "json"]

    def start():
        subprocess.run(command, cwd=tmp_path, check=True, timeout=30)
        wait_until(node.is_ready, 20)
        return int(pidfile.read_text())

    pid = start()
    try:
        token = node.register("ann")
        assert node.put("t", "k", {"n": 1}, token).status == 201
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: not os.path.exists(f"/proc/{pid}") or "zombie" in Path(f"/proc/{pid}/status").read_text())
        pidfile.unlink()
        pid = start()
        assert node.get("t", "k", token).json["value"] == {"n": 1}
    finally:
        os.kill(pid, signal.SIGTERM)
        wait_until(lambda: not pidfile.exists(), 20, "the daemon is stopped in order")
    assert [line for line in node.log.read_text().splitlines() if not line.startswith('{"time":')] == []
