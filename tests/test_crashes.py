"""kill -9, SIGSTOP and damaged files on real processes: nothing acknowledged is lost, nothing deleted returns."""

from __future__ import annotations

import random
import shutil
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from .real import RealCluster, check_logs, wait_until

pytestmark = pytest.mark.processes

ODD_KEYS = [
    "a=b",
    "sp ace",
    "ünï",
    "q?x",
    "a/b",
    "%2F",
    "100%",
    "\u00a0nb",
    "#hash",
    "emoji 🙂",
    "..",
    "a+b",
    "a&b=c;d",
]


@pytest.fixture
def cluster():
    made = RealCluster.start(3)
    yield made
    check_logs(made, "wonderland")
    made.close()


def serves(node, table, key, token):
    answer = node.try_request("GET", f"/{table}/key/{key}", None, token)
    return answer is not None and answer.status == 200


def test_nothing_acknowledged_is_lost_when_all_nodes_are_killed(cluster):
    alice = cluster.nodes[0].register("alice", "wonderland")
    doomed = [f"gone-{number}" for number in range(40)]
    for key in doomed:
        assert cluster.nodes[1].put("t", key, {"x": 1}, alice).status == 201
    for key in doomed:
        assert cluster.nodes[2].delete("t", key, alice).status == 200
    keys = ODD_KEYS + [f"key-{number}" for number in range(400 - len(ODD_KEYS))]

    def put(pair):
        number, key = pair
        return cluster.nodes[number % 3].put("t", key, {"number": number}, alice).status

    with ThreadPoolExecutor(16) as pool:
        assert set(pool.map(put, enumerate(keys))) == {201}
    for node in cluster.nodes:
        node.kill()
    for node in cluster.nodes:
        node.start()
    started_s = time.monotonic()
    wait_until(lambda: all(serves(node, "t", "key-1", alice) for node in cluster.nodes), 10, "all serve again")
    assert time.monotonic() - started_s < 6
    for node in cluster.nodes:
        for number, key in enumerate(keys):
            answer = node.get("t", key, alice)
            assert answer.status == 200, key
            assert answer.json["value"] == {"number": number}
        assert {node.get("t", key, alice).status for key in doomed} == {404}
        assert sorted(node.request("GET", "/t/keys", token=alice).json) == sorted(keys)


def test_a_frozen_node_costs_the_others_no_error(cluster):
    one, two, three = cluster.nodes
    alice = one.register("alice", "wonderland")
    for number in range(20):
        one.put("t", f"k{number}", {"n": 0}, alice)
    slowest_s = 0.0
    three.freeze()
    try:
        for number in range(100):
            for answer in (
                lambda number=number: two.put("t", f"k{number % 20}", {"n": number}, alice).status == 201,
                lambda number=number: two.get("t", f"k{number % 20}", alice).status == 200,
            ):
                started_s = time.monotonic()
                assert answer()
                slowest_s = max(slowest_s, time.monotonic() - started_s)
    finally:
        three.thaw()
    assert slowest_s < 0.25  # promise P7, not a benchmark


def test_a_node_that_was_away_catches_up_without_a_read(cluster):
    one, two, three = cluster.nodes
    alice = one.register("alice", "wonderland")
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: one.put("t", f"old-{n}", {"n": n}, alice), range(200)))
        wait_until(lambda: three.stats()["tables"].get("t") == 200)
        three.kill()
        assert set(pool.map(lambda n: two.delete("t", f"old-{n}", alice).status, range(100))) == {200}
        assert set(pool.map(lambda n: two.put("t", f"new-{n}", {"n": n}, alice).status, range(150))) == {201}
    three.start()
    wait_until(lambda: three.is_ready() and three.stats()["tables"].get("t") == 250, 20, "its own count is right")
    one.freeze()
    two.freeze()
    try:
        assert three.get("t", "old-1", alice).status == 404
        assert three.get("t", "old-150", alice, "?r=one").status == 200
        assert three.get("t", "new-1", alice).status == 200
    finally:
        one.thaw()
        two.thaw()


@pytest.mark.parametrize("harm", ["cut", "flip"])
def test_damage_to_any_one_file_is_said_and_mended(cluster, harm):
    one, _, three = cluster.nodes
    alice = one.register("alice", "wonderland")
    admin = cluster.admin_token()
    chance = random.Random(7)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: one.put("t", f"a-{n}", {"n": n}, alice), range(100)))
        assert three.request("POST", "/admin/save", token=admin).status == 200
        list(pool.map(lambda n: one.put("t", f"b-{n}", {"n": n}, alice), range(100)))
        assert three.request("POST", "/admin/save", token=admin).status == 200
        list(pool.map(lambda n: one.put("t", f"c-{n}", {"n": n}, alice), range(100)))
    wait_until(lambda: three.stats()["tables"].get("t") == 300)
    kinds = {"identity-a": None, "identity-b": None}
    for file in sorted(three.data.rglob("*")):
        if file.is_file() and file.stat().st_size > 10:
            kinds[file.parent.name if file.suffix == ".db" else file.name] = file
    assert len(kinds) >= 6
    for name in sorted(kinds):
        three.kill()
        file = next((one for one in sorted(three.data.rglob("*")) if one.is_file() and name in str(one)), None)
        if file is None:
            three.start()
            continue
        content = bytearray(file.read_bytes())
        if harm == "cut":
            del content[-10:]
        else:
            for _ in range(3):
                content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
        file.write_bytes(content)
        before = three.log.read_text().count("recovery:")
        three.start()
        wait_until(
            lambda: (
                three.is_ready()
                and three.stats()["tables"].get("t") == 300
                and not three.stats()["cluster"]["partitions_not_whole"]
            ),
            20,
            f"all data back after a {harm} in {name}",
        )
        wait_until(lambda before=before: three.log.read_text().count("recovery:") > before, 5, f"a line on {file}")
        assert three.get("t", "c-5", alice, "?r=one").status == 200
        assert three.get("t", "a-5", alice, "?r=one").status == 200


def test_a_data_folder_restored_from_a_backup_is_noticed_and_loses_nothing(cluster):
    one, two, three = cluster.nodes
    alice = one.register("alice", "wonderland")
    for number in range(30):
        assert one.put("t", f"early-{number}", {"n": number}, alice, "?w=all").status == 201
    three.stop()
    backup = cluster.folder / "backup"
    shutil.copytree(three.data, backup)
    three.start()
    wait_until(three.is_ready)
    for number in range(30):
        assert three.put("t", f"late-{number}", {"n": number}, alice, "?w=all").status == 201
        assert two.delete("t", f"early-{number}", alice).status == 200
    three.stop()
    shutil.rmtree(three.data)
    shutil.copytree(backup, three.data)
    three.start()
    wait_until(lambda: "restored backup" in three.log.read_text())
    wait_until(lambda: three.is_ready() and three.stats()["tables"] == {"t": 30}, 20)
    wait_until(lambda: not three.stats()["cluster"]["partitions_not_whole"])
    assert three.get("t", "late-7", alice, "?r=one").status == 200
    assert three.get("t", "early-7", alice, "?r=one").status == 404
