"""Clusters that grow, shrink and refuse strangers, on real processes."""

from __future__ import annotations

import signal
import subprocess
import sys
import time

import pytest

from .real import Node, RealCluster, Writer, check_logs, free_port, wait_until

pytestmark = pytest.mark.processes


@pytest.fixture
def clusters():
    made = []

    def start(count, *options):
        made.append(RealCluster.start(count, *options))
        return made[-1]

    yield start
    for cluster in made:
        check_logs(cluster)
        cluster.close()


def total_copies(cluster):
    return sum(node.stats()["tables"].get("t", 0) for node in cluster.nodes if node.process.poll() is None)


def test_three_nodes_agree_within_two_seconds_of_the_last_start():
    cluster = RealCluster.start(2)
    try:
        started_s = time.monotonic()
        cluster.add()
        wait_until(lambda: all(node.active_count() == 3 for node in cluster.nodes), 10)
        took_s = time.monotonic() - started_s
        assert took_s < 4, took_s  # half a second on an idle machine, which this one may not be
    finally:
        cluster.close()


def test_growing_to_five_shrinking_and_forgetting_while_writes_go_on(clusters):
    cluster = clusters(3)
    alice = cluster.nodes[0].register("alice")
    writer = Writer(cluster.nodes[:3], alice)
    writer.start()
    wait_until(lambda: len(writer.acknowledged) > 50)
    cluster.add()
    cluster.add()
    cluster.wait_ready(30)
    wait_until(lambda: total_copies(cluster) == 3 * len(writer.acknowledged) or len(writer.acknowledged) < 300, 20)
    acknowledged = writer.finish()
    wait_until(lambda: total_copies(cluster) == 3 * len(acknowledged), 20, "three copies of each key")
    for node in cluster.nodes:
        for key, number in acknowledged.items():
            assert node.get("t", key, alice).json["value"] == {"n": number}
        assert len(node.request("GET", "/t/keys", token=alice).json) == len(acknowledged)

    # one burns down and is forgotten; one that runs is struck out, and hands its data off
    admin = cluster.admin_token()
    writer = Writer(cluster.nodes[:3], alice)
    writer.start()
    burnt, leaving = cluster.nodes[4], cluster.nodes[3]
    burnt.kill()
    assert cluster.nodes[0].request("POST", f"/admin/members/{burnt.address}/forget", token=admin).status == 202
    wait_until(lambda: members(cluster.nodes[1]) == 4, 20, "the burnt node is forgotten")
    assert cluster.nodes[0].request("POST", f"/admin/members/{leaving.address}/forget", token=admin).status == 202
    wait_until(lambda: members(cluster.nodes[1]) == 3, 20, "the leaving node is struck out")
    acknowledged |= writer.finish()
    wait_until(lambda: leaving.stats()["tables"] == {}, 20, "all handed off")
    leaving.stop()
    rest = cluster.nodes[:3]
    wait_until(lambda: all(node.stats()["tables"]["t"] == len(acknowledged) for node in rest), 20)
    for key, number in acknowledged.items():
        assert rest[2].get("t", key, alice, "?r=all").json["value"] == {"n": number}
    burnt.start()
    wait_until(lambda: "was removed from the cluster" in cluster.logs(), 10)
    burnt.kill()


def members(node):
    stats = node.stats()["cluster"]
    return stats["members"] if not stats["changing"] else 0


def test_the_same_join_list_everywhere(clusters, tmp_path):
    cluster = RealCluster(tmp_path)
    ports = sorted(free_port() for _ in range(3))
    lists = [word for port in ports for word in ("--join", f"127.0.0.1:{port}")]
    for port in reversed(ports):
        node = Node(tmp_path, port, *lists)
        cluster.nodes.append(node)
        node.start()
    try:
        cluster.wait_ready()
        assert len({node.stats()["cluster"]["id"] for node in cluster.nodes}) == 1
        for node in cluster.nodes:
            node.kill()
        for node in cluster.nodes:  # a restart with a known cluster needs no list
            node.options = []
            node.start()
        cluster.wait_ready()
    finally:
        cluster.close()


def test_another_key_file_is_refused_with_a_line_on_both_sides(clusters, tmp_path):
    cluster = clusters(1)
    stranger = Node(tmp_path, free_port(), "--join", cluster.nodes[0].address)
    stranger.start()
    try:
        wait_until(lambda: "key file" in stranger.log.read_text() and "refused" in stranger.log.read_text())
        wait_until(lambda: "another key file" in cluster.nodes[0].log.read_text())
        assert not stranger.is_ready()
        assert cluster.nodes[0].active_count() == 1
        answer = stranger.request("GET", "/t/keys", token="x")
        assert (answer.status, answer.json["code"]) == (503, "starting")
    finally:
        stranger.kill()


def test_two_founded_clusters_do_not_mix(clusters):
    cluster = clusters(1)
    other = Node(cluster.folder, free_port())
    other.start()
    wait_until(other.is_ready)
    other.kill()
    other.start("--join", cluster.nodes[0].address)
    try:
        wait_until(lambda: "belongs to cluster" in other.log.read_text())
        assert cluster.nodes[0].stats()["cluster"]["members"] == 1
    finally:
        other.kill()


def test_another_number_of_replicas_is_refused(clusters):
    cluster = clusters(1)
    other = Node(cluster.folder, free_port(), "--replicas", "2", "--join", cluster.nodes[0].address)
    other.start()
    try:
        wait_until(lambda: "use --replicas 3" in other.log.read_text())
    finally:
        other.kill()


def test_a_stopped_node_says_goodbye_and_comes_back(clusters):
    cluster = clusters(3)
    _, two, three = cluster.nodes
    started_s = time.monotonic()
    assert three.stop() in (0, -signal.SIGTERM)
    wait_until(lambda: two.active_count() == 2, 3)
    assert time.monotonic() - started_s < 5
    statuses = {a: n["status"] for a, n in two.request("GET", "/membership").json["nodes"].items()}
    assert statuses[three.address] == "Left"
    three.start()
    cluster.wait_ready()


def test_a_killed_node_is_found_dead_everywhere(clusters):
    cluster = clusters(3)
    one, two, three = cluster.nodes
    three.kill()
    wait_until(lambda: one.active_count() == 2 and two.active_count() == 2, 15)
    three.start()
    cluster.wait_ready()


def test_forwarding_from_a_node_that_owns_nothing_of_a_key(clusters):
    cluster = clusters(5)
    alice = cluster.nodes[0].register("alice")
    for number, node in enumerate(cluster.nodes * 8):
        assert node.put("t", f"k{number}", {"n": number}, alice).status == 201
    frozen = cluster.nodes[4]
    frozen.freeze()
    try:
        for number in range(40):
            started_s = time.monotonic()
            answer = cluster.nodes[number % 4].get("t", f"k{number}", alice)
            assert (answer.status, answer.json["value"]) == (200, {"n": number})
            assert time.monotonic() - started_s < 0.5
    finally:
        frozen.thaw()


def test_a_node_that_comes_back_under_another_address(clusters):
    cluster = clusters(3)
    alice = cluster.nodes[0].register("alice")
    assert cluster.nodes[0].put("t", "k", {"n": 1}, alice, "?w=all").status == 201
    old = cluster.nodes[2]
    old.stop()
    moved = Node(cluster.folder, free_port())
    moved.data = old.data
    cluster.nodes[2] = moved
    moved.start()
    cluster.wait_ready()
    expected = {node.address for node in cluster.nodes}
    wait_until(lambda: {one["address"] for one in admin_members(cluster)} == expected, what="the registry to follow")
    assert moved.get("t", "k", alice, "?r=all").status == 200


def admin_members(cluster):
    return cluster.nodes[0].request("GET", "/admin/members", token=cluster.admin_token()).json["members"]


def test_memory_is_bounded(clusters):
    cluster = clusters(1, "--max-memory", "1048576")
    alice = cluster.nodes[0].register("alice")
    statuses = [cluster.nodes[0].put("t", f"k{n}", {"v": "x" * 100_000}, alice).status for n in range(15)]
    assert statuses[0] == 201
    assert statuses[-1] == 507
    assert cluster.nodes[0].delete("t", "k0", alice).status == 200
    assert cluster.nodes[0].put("t", "small", {}, alice).status == 201


EMBEDDED = """
import sys
from twisted.application.service import Application, IServiceCollection
from twisted.internet import reactor
from dynatwist import NodeConfig, NodeService

application = Application("another program")
config = NodeConfig(port=int(sys.argv[1]), data_dir=sys.argv[2] + "/d", key_file=sys.argv[2] + "/k")
NodeService(config, reactor).setServiceParent(application)
services = IServiceCollection(application)
reactor.callWhenRunning(services.startService)
reactor.addSystemEventTrigger("before", "shutdown", services.stopService)
reactor.run()
"""


def test_a_node_inside_another_twisted_program(tmp_path):
    node = Node(tmp_path, free_port())
    node.process = subprocess.Popen([sys.executable, "-c", EMBEDDED, str(node.port), str(tmp_path)])
    try:
        wait_until(node.is_ready)
        assert node.put("t", "k", {}, node.register("alice")).status == 201
        node.process.terminate()
        assert node.process.wait(10) in (0, -signal.SIGTERM)
    finally:
        node.process.kill()
        node.process.wait()
