"""Nodes as processes on this machine: cut off from each other without root, and never left behind."""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import sys
import threading

import pytest

from dynatwist.local.cluster import LocalCluster

from .real import free_port, wait_until

pytestmark = pytest.mark.processes
STARTER = """
import os, sys
from dynatwist.local.cluster import LocalCluster
cluster = LocalCluster([int(sys.argv[1])], sys.argv[2])
cluster.start()
cluster.wait_ready()
print(cluster.node(1).pid, flush=True)
sys.stdin.read()
"""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    made = LocalCluster([free_port() for _ in range(3)], str(tmp_path_factory.mktemp("local")))
    made.start()
    made.wait_ready()
    yield made
    made.stop()


def seen(node):
    """Who may be reached, as a node says, of all three."""
    connection = http.client.HTTPConnection("127.0.0.1", node.port, timeout=2)
    connection.request("GET", "/membership")
    nodes = json.loads(connection.getresponse().read())["nodes"]
    return {int(address.rpartition(":")[2]) for address, one in nodes.items() if one["status"] == "Active"}


def test_a_partition_stops_gossip_and_links_until_it_is_healed(cluster):
    one, two, three = cluster.nodes
    everybody = set(cluster.ports)
    cluster.partition([1], [2, 3])
    wait_until(lambda: seen(one) == {one.port}, 20)
    wait_until(lambda: seen(two) == seen(three) == {two.port, three.port}, 20)
    cluster.restart(2)
    wait_until(lambda: seen(two) == {two.port, three.port}, 20, "a node that was restarted is still cut off")
    assert seen(one) == {one.port}
    cluster.heal()
    wait_until(lambda: all(seen(node) == everybody for node in cluster.nodes), 20)


def test_a_node_is_restarted_whatever_the_others_do(cluster):
    cluster.node(3).freeze()
    try:
        cluster.restart(2)
    finally:
        cluster.node(3).thaw()
    cluster.wait_ready()


def test_a_node_outlives_the_thread_that_started_it(cluster):
    thread = threading.Thread(target=cluster.restart, args=(2,))
    thread.start()
    thread.join(30)
    cluster.wait_ready()
    assert cluster.node(2).is_running


def test_no_node_outlives_the_process_that_started_it(tmp_path):
    command = [sys.executable, "-c", STARTER, str(free_port()), str(tmp_path)]
    starter = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    pid = int(starter.stdout.readline())
    os.kill(pid, 0)
    starter.kill()
    starter.wait()
    wait_until(lambda: not is_there(pid), 10)


def is_there(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
