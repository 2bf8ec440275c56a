"""The nine parts of the walkthrough, in order, on three real twistd processes; and a truly concurrent case."""

from __future__ import annotations

import signal
from concurrent.futures import ThreadPoolExecutor

import pytest

from .real import Listener, check_logs, wait_until

pytestmark = pytest.mark.walkthrough


@pytest.fixture(autouse=True)
def named(request, record_property):
    """See `PassedParts` in conftest.py."""
    record_property("part", request.node.function.__doc__.splitlines()[0])


@pytest.fixture(scope="module")
def users(cluster):
    """Tokens by name."""
    return {}


def sees(node, other):
    return node.request("GET", "/membership").json["nodes"][other.address]["reachable"]


def same_everywhere(cluster, table, key, token):
    records = [node.get(table, key, token, "?r=one").json for node in cluster.nodes]
    return records[0] if all(record == records[0] for record in records) else None


def lost_values(node, token, key):
    conflicts = node.request("GET", "/conflicts?table=users", token=token).json
    return [one["lost"]["value"] for one in conflicts if one["key"] == key]


def test_part_1_clean_start(cluster):
    """Part 1: a clean start, with nothing left over."""
    for node in cluster.nodes:
        assert node.stats()["total_keys"] == 0
        assert node.stats()["tables"] == {}
    assert (cluster.folder / "cluster.key").stat().st_mode & 0o777 == 0o600
    assert not list(cluster.folder.glob("*.pid"))


def test_part_2_three_nodes_join_by_gossip(cluster):
    """Part 2: three nodes join by gossip."""
    for node in cluster.nodes:
        membership = node.request("GET", "/membership").json
        assert membership["active_count"] == 3
        assert set(membership["nodes"]) == {one.address for one in cluster.nodes}
        assert {one["status"] for one in membership["nodes"].values()} == {"Active"}


def test_part_3_identity_on_another_node(cluster, users):
    """Part 3: a user registered on one node logs in on another."""
    one, two, three = cluster.nodes
    first = one.request("POST", "/auth/alice", {"secret": "wonderland"})
    assert first.status == 201
    for node in (two, three):
        again = node.request("POST", "/auth/alice", {"secret": "wonderland"})
        assert again.status == 200
        assert node.request("POST", "/auth/alice", {"secret": "wrong"}).status == 401
        users["alice"] = again.json["token"]
    assert three.put("users", "greeting", {"hello": "world"}, users["alice"]).status == 201


def test_part_4_conflict_after_a_frozen_node(cluster, users):
    """Part 4: a node is frozen, both sides write, and all converge on the last write."""
    one, two, _ = cluster.nodes
    alice = users["alice"]
    assert one.put("users", "profile", {"level": 1}, alice, "?w=all").status == 201
    two.freeze()
    try:
        assert one.put("users", "profile", {"level": 2}, alice).status == 201
    finally:
        two.thaw()
    assert two.put("users", "profile", {"level": 3}, alice).status == 201
    final = wait_until(lambda: same_everywhere(cluster, "users", "profile", alice), what="convergence")
    assert final["value"] == {"level": 3}
    assert final["version"] >= 2


def test_part_4b_truly_concurrent_writes(cluster, users):
    """Part 4b: writes that cannot know of each other; equal everywhere, counted, and the loser is kept."""
    one, two, three = cluster.nodes
    alice = users["alice"]
    assert one.put("users", "contested", {"by": "nobody"}, alice, "?w=all").status == 201
    before = sum(node.stats()["conflicts"] for node in cluster.nodes)
    three.freeze()
    wait_until(
        lambda: not sees(one, three) and not sees(two, three), what="the others notice; nothing waits in a socket"
    )
    assert one.put("users", "contested", {"by": "one"}, alice).status == 201
    one.freeze()
    two.freeze()
    three.thaw()
    try:
        assert three.put("users", "contested", {"by": "three"}, alice, "?w=one").status == 201
    finally:
        one.thaw()
        two.thaw()
    final = wait_until(lambda: same_everywhere(cluster, "users", "contested", alice), what="convergence")
    assert final["value"] == {"by": "three"}
    assert len(final["vector_clock"]) >= 2
    wait_until(lambda: sum(node.stats()["conflicts"] for node in cluster.nodes) > before, what="a conflict counted")
    for node in cluster.nodes:
        wait_until(
            lambda node=node: lost_values(node, alice, "contested") == [{"by": "one"}], what="the loser is listed"
        )


def test_part_5_a_thousand_puts(cluster, users):
    """Part 5: 1,000 PUTs over 20 parallel clients, exactly 1,000 keys on each node."""
    nodes = cluster.nodes

    def put(number):
        return nodes[number % 3].put("burst", f"key-{number}", {"number": number}, users["alice"]).status

    with ThreadPoolExecutor(20) as pool:
        assert set(pool.map(put, range(1000))) == {201}
    for node in nodes:
        wait_until(lambda node=node: node.stats()["tables"].get("burst") == 1000, what="1,000 keys on each node")
        assert len(node.request("GET", "/burst/keys", token=users["alice"]).json) == 1000


def test_part_6_cold_save_and_restoration(cluster, users):
    """Part 6: encrypted chunked cold save; all killed; one restarted; the data is back."""
    admin = cluster.admin_token()
    for node in cluster.nodes:
        assert node.request("POST", "/admin/save", token=admin).status == 200
    one, two, three = cluster.nodes
    chunks = list(one.data.glob("cold/*/*.storage.db"))
    assert chunks
    for node in cluster.nodes:
        node.kill()
    for file in one.data.rglob("*"):
        if file.is_file():
            content = file.read_bytes()
            assert not [word for word in (b"alice", b"burst", b"key-7", b"level") if word in content], file
    one.start()
    wait_until(one.is_ready, 15, "the lone node serves")
    assert one.stats()["tables"]["burst"] == 1000
    record = one.get("users", "profile", users["alice"])
    assert record.status == 200
    assert record.json["value"] == {"level": 3}
    two.start()
    three.start()
    cluster.wait_ready()


def test_part_7_three_live_listeners(cluster, users):
    """Part 7: three listeners on one key, one on each node, hear one write, once."""
    alice = users["alice"]
    listeners = [Listener(node, "users", "live", alice) for node in cluster.nodes]
    assert cluster.nodes[0].put("users", "live", {"on": "air"}, alice).status == 201
    for listener in listeners:
        wait_until(lambda listener=listener: listener.events, what="the event")
    assert cluster.nodes[1].delete("users", "live", alice).status == 200
    for listener in listeners:
        wait_until(lambda listener=listener: "Deleted" in listener.events, what="the deletion")
        assert [event["Updated"]["value"] if event != "Deleted" else event for event in listener.events] == [
            {"on": "air"},
            "Deleted",
        ]
        listener.close()


def test_part_8_bob_and_the_administrator(cluster, users):
    """Part 8: Bob cannot write Alice's key, an administrator can."""
    one, two, three = cluster.nodes
    bob = one.register("bob")
    assert two.put("users", "profile", {"level": 0}, bob).status == 403
    assert three.get("users", "profile", bob).status == 403
    assert two.delete("users", "profile", bob).status == 403
    changed = three.put("users", "profile", {"level": 100}, cluster.admin_token())
    assert changed.status == 201
    assert changed.json["owner"] == "alice"
    assert one.get("users", "profile", users["alice"]).json["value"] == {"level": 100}


def test_part_9_statistics(cluster):
    """Part 9: request count and latency are not zero."""
    for node in cluster.nodes:
        stats = node.stats()
        assert stats["total_requests"] > 0
        assert stats["average_latency_ms"] > 0
    for node in cluster.nodes:
        node.signal(signal.SIGTERM)
        assert node.process.wait(15) in (0, -signal.SIGTERM)  # twistd dies of the signal after an orderly stop
    check_logs(cluster, "wonderland", "profile", "alice", "bob")
