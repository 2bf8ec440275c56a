"""Locks on real processes: one holder at a time, fencing numbers that grow, a line of those who wait."""

from __future__ import annotations

import threading
import time

import pytest

from .real import RealCluster, check_logs, wait_until

pytestmark = pytest.mark.processes


@pytest.fixture(scope="module")
def cluster():
    made = RealCluster.start(3)
    admin = made.admin_token()
    assert made.nodes[0].request("PUT", "/admin/tables/jobs", {"consistency": "strong"}, admin).status == 200
    yield made
    check_logs(made)
    made.close()


@pytest.fixture(scope="module")
def alice(cluster):
    return cluster.nodes[0].register("alice", "a long secret")


@pytest.fixture(scope="module")
def bob(cluster):
    return cluster.nodes[1].register("bob", "another long secret")


def take(node, key, token, ttl=15, wait=0, note=None):
    return node.request("POST", f"/jobs/lock/{key}?wait={wait}", {"ttl": ttl, "note": note}, token, timeout_s=70)


def release(node, key, token, answer):
    return node.request("POST", f"/jobs/lock/{key}/release", {}, token, If_Match=answer.headers["etag"])


def test_one_holds_it_until_it_is_released(cluster, alice, bob):
    first, second, third = cluster.nodes
    held = take(first, "a", alice, note={"host": "one"})
    assert (held.status, held.json["version"], held.json["value"]) == (201, 1, {"note": {"host": "one"}})
    refused = take(second, "a", bob)
    assert (refused.status, refused.json["code"]) == (409, "locked")
    holder = refused.json["holder"]
    assert (holder["owner"], holder["note"], holder["version"]) == ("alice", {"host": "one"}, 1)
    assert take(third, "a", alice).status == 409, "not even its holder takes it twice"
    renewed = second.request("POST", "/jobs/lock/a/renew", {"ttl": 20}, alice, If_Match=held.headers["etag"])
    assert (renewed.status, renewed.json["value"]) == (200, {"note": {"host": "one"}})
    assert renewed.json["expires_at"] > held.json["expires_at"]
    assert release(third, "a", alice, held).status == 412, "the ETag of before the renewal"
    assert release(third, "a", bob, renewed).status == 403
    assert release(third, "a", alice, renewed).status == 200
    again = take(first, "a", bob)
    assert again.status == 201
    assert again.json["version"] > renewed.json["version"], "the fencing number grows"
    assert first.request("POST", "/jobs/lock/a/renew", {}, alice, If_Match=renewed.headers["etag"]).status in (403, 412)


def test_bad_requests_are_told_what_to_do_instead(cluster, alice):
    node = cluster.nodes[0]
    answer = node.request("POST", "/weak/lock/a", {}, alice)
    assert (answer.status, answer.json["code"]) == (409, "not_strong")
    assert "/admin/tables/weak" in answer.json["error"]
    assert take(node, "bad", alice, ttl=0).status == 400
    assert node.request("POST", "/jobs/lock/bad/release", {}, alice).json["code"] == "no_etag"
    assert node.request("POST", "/jobs/lock/bad?wait=100", {}, alice).status == 400


def test_those_who_wait_at_one_node_get_it_in_their_order(cluster, alice, bob):
    first, second, _ = cluster.nodes
    held = take(first, "line", alice)
    order, threads, times = [], [], []

    def wait(number):
        answer = take(second, "line", bob, wait=30)
        times.append(time.monotonic())
        assert answer.status == 201, answer.json
        order.append(number)
        assert release(second, "line", bob, answer).status == 200

    for number in range(4):
        threads.append(threading.Thread(target=wait, args=(number,)))
        threads[-1].start()
        time.sleep(0.15)  # they are to come one after another
    assert order == []
    released_s = time.monotonic()
    assert release(first, "line", alice, held).status == 200
    for thread in threads:
        thread.join()
    assert order == [0, 1, 2, 3]
    assert times[0] - released_s < 1.0


def test_a_lock_whose_holder_is_gone_ends_and_whoever_waits_has_it(cluster, alice, bob):
    first, second, _ = cluster.nodes
    held = take(first, "dead", alice, ttl=2)
    began_s = time.monotonic()
    answer = take(second, "dead", bob, wait=30)
    assert answer.status == 201
    assert 1.0 < time.monotonic() - began_s < 6.0
    assert answer.json["version"] == held.json["version"] + 1
    assert first.request("POST", "/jobs/lock/dead/renew", {}, alice, If_Match=held.headers["etag"]).status in (403, 412)


def test_whoever_leaves_the_line_does_not_get_it(cluster, alice, bob):
    first, second, _ = cluster.nodes
    held = take(first, "left", alice)
    with pytest.raises(TimeoutError):
        second.request("POST", "/jobs/lock/left?wait=30", {}, bob, timeout_s=0.5)
    assert release(first, "left", alice, held).status == 200
    wait_until(lambda: take(first, "left", alice).status == 201, 5, "it is free")
