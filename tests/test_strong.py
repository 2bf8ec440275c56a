"""Strong tables on real processes: agreed key by key, at any node, over kill -9, and refused without a majority."""

from __future__ import annotations

import threading
import time

import pytest

from .real import wait_until

pytestmark = pytest.mark.processes


@pytest.fixture(scope="module")
def admin(cluster):
    return cluster.admin_token()


@pytest.fixture(scope="module")
def alice(cluster, admin):
    answer = cluster.nodes[0].request("PUT", "/admin/tables/locks", {"consistency": "strong"}, admin)
    assert (answer.status, answer.json["consistency"]) == (200, "strong")
    return cluster.nodes[0].register("alice", "a long secret")


def test_a_setting_that_is_none_is_named(cluster, admin):
    node = cluster.nodes[1]
    answer = node.request("PUT", "/admin/tables/t", {"consistensy": "strong"}, admin)
    assert answer.status == 400
    assert "consistensy" in answer.json["error"]
    answer = node.request("PUT", "/admin/tables/t", {"consistency": "eventual"}, admin)
    assert answer.status == 400
    assert "strong" in answer.json["error"]


def test_a_table_is_made_strong_while_it_is_empty(cluster, admin, alice):
    first, second, _ = cluster.nodes
    assert first.put("full", "k", {"n": 1}, alice).status == 201
    answer = second.request("PUT", "/admin/tables/full", {"consistency": "strong"}, admin)
    assert (answer.status, answer.json["code"]) == (409, "not_empty")
    assert second.put("full", "k", {"n": 2}, alice).status == 201, "it is as it was"
    assert first.delete("full", "k", alice).status == 200
    assert second.request("PUT", "/admin/tables/full", {"consistency": "strong"}, admin).status == 200
    for node in cluster.nodes:
        assert node.request("GET", "/admin/tables/full", token=admin).json["consistency"] == "strong"
    assert first.put("full", "k", {"n": 3}, alice).status == 201
    assert second.request("DELETE", "/admin/tables/full", token=admin).status == 409


def test_all_ways_of_reading_and_writing(cluster, alice):
    first, second, third = cluster.nodes
    created = first.request("PUT", "/locks/key/a", {"n": 1}, alice, If_None_Match="*")
    assert (created.status, created.json["version"]) == (201, 1)
    assert second.request("PUT", "/locks/key/a", {"n": 2}, alice, If_None_Match="*").status == 412
    read = third.get("locks", "a", alice)
    assert (read.json["value"], read.headers["etag"]) == ({"n": 1}, created.headers["etag"])
    patched = third.request("PATCH", "/locks/key/a", {"m": 2}, alice, If_Match=created.headers["etag"])
    assert (patched.status, patched.json["value"], patched.json["version"]) == (200, {"n": 1, "m": 2}, 2)
    assert first.request("PUT", "/locks/key/a", {"n": 3}, alice, If_Match=created.headers["etag"]).status == 412
    assert second.delete("locks", "a", alice).status == 200
    for node in cluster.nodes:
        assert node.get("locks", "a", alice).status == 404
    again = third.put("locks", "a", {"n": 4}, alice)
    assert (again.status, again.json["version"]) == (201, 4), "versions grow over a delete"
    batch = first.request(
        "POST",
        "/locks/batch",
        {"ops": [{"op": "put", "key": "b", "value": {"n": 1}}, {"op": "delete", "key": "a"}]},
        alice,
    )
    assert [one["status"] for one in batch.json["results"]] == [201, 200], batch.json
    wait_until(lambda: second.request("GET", "/locks/keys", token=alice).json == ["b"], 5, "the listing")


def test_levels_below_a_majority_are_refused(cluster, alice):
    answer = cluster.nodes[0].request("PUT", "/locks/key/w?w=one", {"n": 1}, alice)
    assert answer.status == 400
    assert "strong" in answer.json["error"]
    assert cluster.nodes[0].get("locks", "w", alice).status == 404


def test_a_counter_that_all_nodes_raise_by_compare_and_set_counts_each_raise(cluster, alice):
    cluster.nodes[0].put("locks", "counter", {"n": 0}, alice)
    raised = []

    def raise_it(node):
        for _ in range(15):
            while True:
                held = node.get("locks", "counter", alice)
                new = {"n": held.json["value"]["n"] + 1}
                answer = node.request("PUT", "/locks/key/counter", new, alice, If_Match=held.headers["etag"])
                if answer.status == 201:
                    raised.append(new["n"])
                    break
                assert answer.status == 412, answer.json

    threads = [threading.Thread(target=raise_it, args=(node,)) for node in cluster.nodes for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(raised) == list(range(1, 91))


def test_sessions_end_by_agreement(cluster, alice):
    first, second, third = cluster.nodes
    assert first.request("PUT", "/locks/key/lease?ttl=1", {"by": 1}, alice).status == 201
    assert second.request("PUT", "/locks/key/lease", {"by": 2}, alice, If_None_Match="*").status == 412
    wait_until(lambda: third.get("locks", "lease", alice).status == 404, 10, "the end")
    taken = second.request("PUT", "/locks/key/lease", {"by": 2}, alice, If_None_Match="*")
    assert (taken.status, taken.json["version"]) == (201, 2)


def test_what_was_acknowledged_survives_kill_9_and_a_minority_refuses_at_once(cluster, alice):
    first, second, third = cluster.nodes
    for number in range(30):
        assert first.put("locks", f"kept{number}", {"n": number}, alice).status == 201
    first.kill()
    third.freeze()
    began_s = time.monotonic()
    wait_until(lambda: second.put("locks", "lone", {"n": 1}, alice).status == 503, 5, "a refusal")
    assert second.get("locks", "kept1", alice).status == 503
    began_s = time.monotonic()
    assert second.put("locks", "lone", {"n": 1}, alice).status == 503
    assert time.monotonic() - began_s < 0.3
    third.thaw()
    wait_until(lambda: second.put("locks", "two", {"n": 1}, alice).status == 201, 10, "two of three")
    for number in range(30):
        assert second.get("locks", f"kept{number}", alice).json["value"] == {"n": number}
    first.start()
    cluster.wait_ready()
    assert first.get("locks", "two", alice).json["value"] == {"n": 1}
