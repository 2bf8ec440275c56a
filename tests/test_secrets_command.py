"""A node's storage secret is changed by command while it is written to, and survives kill -9 in the middle."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from dynatwist.storage.keyfile import parse
from dynatwist.storage.keyring import name_of

from .real import RealCluster, check_logs, wait_until

DYNAKV = str(Path(sys.executable).with_name("dynakv"))
pytestmark = pytest.mark.processes


@pytest.fixture(scope="module")
def cluster():
    made = RealCluster.start(2, "--audit-log", "audit.log", "--snapshot-interval", "600")
    yield made
    made.close()


def dynakv(cluster, *words, token):
    env = {**os.environ, "DYNAKV_TOKEN": token, "DYNAKV_URL": f"http://{cluster.nodes[0].address}"}
    return subprocess.run([DYNAKV, *words], capture_output=True, text=True, env=env, timeout=30)


def secrets(cluster):
    return [name_of(one) for one in parse((cluster.folder / "cluster.key").read_text(), "").storage]


def status(cluster, admin, node):
    return node.request("GET", "/admin/storage-key", None, admin).json


def test_a_folder_is_sealed_anew_and_the_old_secret_goes_once_no_node_needs_it(cluster):
    node, other = cluster.nodes
    admin, alice = cluster.admin_token(), node.register("alice", "wonderland")
    for number in range(20):
        assert node.put("t", f"k{number}", {"n": number}, alice).status == 201
    (old,) = secrets(cluster)
    done = dynakv(cluster, "key", "rotate", "--storage", node.address, token=admin)
    assert done.returncode == 0, done.stderr
    node.kill()
    node.start()
    wait_until(node.is_ready)
    wait_until(lambda: not status(cluster, admin, node)["under_way"])
    new, *kept = secrets(cluster)
    assert kept == [old], "the other node's folder needs it"
    assert [node.get("t", f"k{number}", alice).json["value"]["n"] for number in range(20)] == list(range(20))
    assert dynakv(cluster, "key", "rotate", "--storage", other.address, token=admin).stdout.startswith(new)
    wait_until(lambda: not status(cluster, admin, other)["under_way"])
    assert secrets(cluster) == [new]
    shown = json.loads(dynakv(cluster, "-o", "json", "key", "status", token=admin).stdout)
    assert {(one["uses"], one["by older ones"]) for one in shown} == {(new, "nothing")}
    audited = (cluster.folder / "audit.log").read_text()
    assert '"what":"keys.renew_storage","outcome":"ok","who":"admin"' in audited
    check_logs(cluster, "wonderland")


def test_only_an_administrator_may(cluster):
    alice = cluster.nodes[0].register("alice", "wonderland")
    for method in ("GET", "POST"):
        assert cluster.nodes[0].request(method, "/admin/storage-key", None, alice).status == 403


def test_a_key_file_that_cannot_be_written_is_one_clear_refusal(cluster):
    """Somebody else keeps it: a secret that was put first in it is taken; else the node says what to do."""
    node, admin = cluster.nodes[0], cluster.admin_token()
    (cluster.folder / f"cluster.key.{node.process.pid}.new").mkdir()
    try:
        done = dynakv(cluster, "key", "rotate", "--storage", node.address, token=admin)
    finally:
        (cluster.folder / f"cluster.key.{node.process.pid}.new").rmdir()
    assert (done.returncode, len(done.stderr.splitlines())) == (1, 1)
    assert "put a new storage line first in it" in done.stderr
