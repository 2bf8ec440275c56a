"""What earlier releases wrote is taken over: data folders are opened, and nodes are upgraded one after another.

``tests/data`` keeps a data folder that commit 2f13db7 wrote, with its key file, and the nodes' code of release 0.1.0.
"""

from __future__ import annotations

import os
import shutil
import tarfile
from pathlib import Path

import pytest

from dynatwist import __version__
from dynatwist.storage.files import RealFileSystem
from dynatwist.storage.identity import IdentityFile
from dynatwist.storage.keyfile import parse
from dynatwist.storage.recovery import recover, scrub

from .real import Node, RealCluster, Writer, free_port, wait_until

DATA = Path(__file__).parent / "data"
MISSED = {("missed", f"m{number}") for number in range(6)} | {("t", f"k{number}") for number in range(20, 23)}


@pytest.fixture
def folder(tmp_path):
    """The old data folder, as it was left by kill -9."""
    made = tmp_path / "folder"
    shutil.copytree(DATA / "folder-2f13db7", made)
    os.chmod(made / "cluster.key", 0o600)
    return made


def wanted():
    """What the old release had acknowledged: values by key, ``None`` for deleted ones."""
    values: dict[tuple[str, str], bytes | None] = {("t", f"k{n}"): b'{"n":%d}' % n for n in range(30)}
    values |= {("t", f"k{n}"): None for n in (*range(10), *range(15, 23))}
    values |= {("t", f"k{n}"): b'{"n":%d,"again":true}' % n for n in range(10, 15)}
    values |= {("bobs", f"b{n}"): b'{"b":%d}' % n for n in range(5)}
    values |= {("missed", f"m{n}"): b'{"m":%d}' % n for n in range(6)}
    return values


def test_an_old_data_folder_opens_with_all_that_is_in_it(folder):
    fs = RealFileSystem()
    keys = parse((folder / "cluster.key").read_text(), "")
    identity, findings = IdentityFile(fs, str(folder / "data"), keys, os.urandom).load()
    assert identity is not None
    found = recover(fs, str(folder / "data"), identity.data_key, True)
    assert not findings + found.findings + scrub(fs, str(folder / "data"), identity.data_key, found)
    assert len(identity.registry.members) == 2
    records = {key: record for replica in found.state.replicas for key, record in replica.records.items()}
    values = {key: record.value and record.value.replace(b" ", b"") for key, record in records.items()}
    assert {key: value for key, value in values.items() if not key[0].startswith("_")} == wanted()
    assert {key for key in values if key[0] == "_users"} == {("_users", "alice"), ("_users", "bob")}
    assert all(replica.whole for replica in found.state.replicas)
    assert all(
        replica.clock.covers(record.dot) for replica in found.state.replicas for record in replica.records.values()
    )
    (hinted,) = found.state.hints.all().values()
    assert set(map(tuple, hinted)) == MISSED


@pytest.mark.processes
def test_a_node_starts_on_an_old_data_folder_and_goes_on_from_there(folder):
    node = Node(folder, free_port())
    shutil.move(folder / "data", node.data)
    node.start("--lone-after", "0.5")
    try:
        wait_until(node.is_ready, 20)
        alice = node.register("alice", "wonderland")
        for (table, key), value in wanted().items():
            if table != "bobs":
                answer = node.get(table, key, alice)
                assert (answer.status == 404) == (value is None), key
        assert node.request("POST", "/auth/bob", {"secret": "not his"}).status == 401
        assert node.put("t", "new", {"n": 1}, alice).status == 201
        node.kill()
        node.start("--lone-after", "0.5")
        wait_until(node.is_ready, 20)
        assert node.get("t", "new", alice).status == 200
        assert node.get("t", "k12", alice).status == 200
        assert "recovery:" not in node.log.read_text()  # nothing was damaged
        assert "Traceback" not in node.log.read_text()
    finally:
        node.kill()


@pytest.mark.processes
def test_nodes_are_upgraded_one_after_another_under_writes_and_set_back_again(tmp_path):
    """Either release goes on from what the other has written, beside nodes of the other."""
    with tarfile.open(DATA / "release-0.1.0.tar.xz") as packed:
        packed.extractall(tmp_path)
    old, new = str(tmp_path / "release"), str(Path(__file__).parents[1])

    def runs(node, path):
        node.env["PYTHONPATH"] = path

    cluster = RealCluster(tmp_path)
    try:
        for _ in range(3):
            seed = ("--join", cluster.nodes[0].address) if cluster.nodes else ()
            node = Node(tmp_path, free_port(), *seed)
            cluster.nodes.append(node)
            runs(node, old)
            node.start()
        cluster.wait_ready()
        first = cluster.nodes[0]
        token = first.register("ann")
        assert {node.stats()["version"] for node in cluster.nodes} == {"0.1.0"}
        writer = Writer(cluster.nodes, token)
        writer.start()
        for path in (new, old):
            for node in cluster.nodes:
                node.stop()
                runs(node, path)
                node.start()
                cluster.wait_ready()
            wanted = __version__ if path == new else "0.1.0"
            assert {node.stats()["version"] for node in cluster.nodes} == {wanted}
        acknowledged = writer.finish()
        assert {answer.json["code"] for answer in writer.errors} <= {"starting", "uncertain", "unavailable"}
        for node in cluster.nodes:
            for key, number in acknowledged.items():
                assert node.get("t", key, token, "?r=majority").json["value"]["n"] >= number
        assert "Traceback" not in cluster.logs()
    finally:
        cluster.close()
