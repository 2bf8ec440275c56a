"""What somebody with the disk, or a member's keys, can do to running nodes: it is told, and changes nothing else."""

from __future__ import annotations

import os
import shutil
import tempfile
from functools import partial
from pathlib import Path

import pytest

from dynatwist.model.clock import Stamp
from dynatwist.model.dots import Dot
from dynatwist.model.record import Draft, write_over
from dynatwist.model.records import pack
from dynatwist.net.messages import Done, KeysAre, Rekey, Replicate, Unable
from dynatwist.storage.identity import COPIES

from .false_member import FalseMember
from .real import Node, RealCluster, certificate, check_logs, free_port, wait_until

pytestmark = pytest.mark.processes

OFTEN = ("--snapshot-interval", "0.3", "--lone-after", "1")


@pytest.fixture
def start():
    """Starts clusters, which end with the test; none of their logs may have a traceback."""
    made: list[RealCluster] = []

    def begin(count: int, *options: str) -> RealCluster:
        made.append(RealCluster.start(count, *options))
        return made[-1]

    yield begin
    for cluster in made:
        check_logs(cluster)
        cluster.close()


def chunks(node: Node) -> list[Path]:
    return sorted((node.data / "cold").glob("*/*.storage.db"))


def manifests(node: Node) -> list[Path]:
    return sorted((node.data / "cold").glob("manifest-????????????"))


def newest_save(node: Node) -> str:
    return max((path.name for path in manifests(node)), default="")


def wait_for_save(node: Node) -> None:
    """Until one has begun and ended since now: two more are there."""
    for _ in range(2):
        before = newest_save(node)
        wait_until(lambda before=before: newest_save(node) > before, 20, "another cold save")


class TestOlderFiles:
    def test_an_older_chunk_does_not_bring_an_old_secret_back(self, start):
        cluster = start(3, *OFTEN)
        node = cluster.nodes[0]
        token = node.register("alice", "first-secret")
        wait_for_save(node)
        kept = {path: path.read_bytes() for path in chunks(node)}
        body = {"secret": "second-secret", "old_secret": "first-secret"}
        changed = node.request("PUT", "/auth/alice/secret", body, token)
        assert changed.status == 200, changed
        wait_for_save(node)
        node.kill()
        newer = [path for path in chunks(node) if path not in kept]
        assert newer
        for path in newer:
            path.write_bytes(max(kept.values(), key=len))
        for path in manifests(node)[:-1]:
            path.unlink()
        node.start()
        cluster.wait_ready()
        assert "is not the file that the manifest names" in node.log.read_text()
        for one in cluster.nodes:
            enter = partial(one.request, "POST", "/auth/alice")
            wait_until(lambda enter=enter: enter({"secret": "second-secret"}).status == 200, 20)  # whole again
            assert enter({"secret": "first-secret"}).status == 401

    def test_older_identity_files_are_told_and_the_log_is_believed(self, start):
        cluster = start(2, "--lone-after", "1")
        node, other = cluster.nodes
        token = node.register("alice")
        kept = {name: (node.data / name).read_bytes() for name in COPIES}
        for _ in range(2):
            node.kill()
            node.start()
            cluster.wait_ready()
        # ready it is alone, too, after a second: the link to the other may still be to come
        wait_until(lambda: node.put("t", "k", {"n": 1}, token, "?w=all").status in (200, 201), 10, "both have it")
        node.kill()
        for name, data in kept.items():
            (node.data / name).write_bytes(data)
        node.start()
        cluster.wait_ready()
        assert "the identity files are older than the log (start 1, the log has start 3)" in node.log.read_text()
        assert "a restored backup?" not in node.log.read_text()  # the others take it for what it is
        assert node.get("t", "k", token).json["value"] == {"n": 1}
        node.kill()
        node.start()
        cluster.wait_ready()
        assert node.log.read_text().count("identity files are older") == 1
        assert other.get("t", "k", token).status == 200


def test_two_processes_on_copies_of_one_data_folder_are_told_so(start):
    """Peers hold on to the one, or take the other instead: that goes by who dials whom, and both hear of the other."""
    cluster = start(3)
    node, *others = cluster.nodes
    copied = Node(cluster.folder, free_port(), "--join", others[0].address)
    shutil.copytree(node.data, copied.data)
    copied.start()
    try:
        for one, twin in ((node, copied), (copied, node)):
            words = f"another process runs as this node at {twin.address}", f"a later process runs as {node.address}"
            wait_until(lambda one=one, words=words: any(word in one.log.read_text() for word in words), 20, words[0])
            assert "Stop one of them" in one.log.read_text()
    finally:
        copied.kill()


class TestACapturedMember:
    @pytest.fixture
    def pair(self, start):
        """A node, and the false member in the place of another one."""
        cluster = start(2, "--lone-after", "1")
        target, dead = cluster.nodes
        token = target.register("alice")
        assert target.put("t", "mine", {"n": 1}, token).status == 201
        dead.kill()
        member = FalseMember(dead, target)
        yield target, member, token
        member.close()

    @pytest.mark.parametrize(
        "step",
        [
            ("install", b"short"),
            ("install", b""),
            ("use", b"", "../../etc"),
            ("retire", b"", "00000000", -1, 5),
            ("retire", b"", "00000000", 1, 1 << 62),
        ],
    )
    def test_no_step_of_a_rotation_keeps_a_node_from_starting_again(self, pair, step):
        target, member, token = pair
        before = (target.folder / "cluster.key").read_bytes()
        reply = member.call(Rekey(member.registry.version, *step))
        assert isinstance(reply, Unable)
        assert "this step is none" in reply.reason
        assert (target.folder / "cluster.key").read_bytes() == before
        assert isinstance(member.call(Rekey(member.registry.version)), KeysAre)
        target.kill()
        target.start()
        wait_until(target.is_ready, 20)
        assert target.get("t", "k", token).status == 404

    @pytest.mark.parametrize("value", [b"not json at all", b"[1]", b'{"a":"\xff"}', b"<script>alert(1)</script>", b""])
    def test_a_record_that_is_no_json_is_not_served(self, pair, value):
        target, member, token = pair
        actor = member.node_id + b"falsely!"
        stamp = Stamp(1 << 40, 0, actor)

        def replicated(key: str, value: bytes, number: int):
            record = write_over(None, (), 0, Draft(value, "alice"), Dot(actor, number), stamp, 0)
            return member.call(Replicate(member.registry.version, 60_000, [(("t", key), pack(record))]))

        reply = replicated("bad", value, 1)
        assert isinstance(reply, Unable)
        assert target.get("t", "bad", token).status == 404
        assert target.log.read_text().count("is left out: its value is no JSON object") == 1
        assert isinstance(replicated("good", b'{"n":2}', 2), Done)
        wait_until(lambda: target.get("t", "good", token).status in (200, 403), 10)
        assert target.get("t", "mine", token).json["value"] == {"n": 1}


class TestWarnings:
    """One line for what others on the machine can get at, and none when they cannot."""

    @pytest.fixture
    def node(self):
        """A node that the test starts."""
        folder = Path(tempfile.mkdtemp(prefix="dynakv-test-"))
        node = Node(folder, free_port())
        yield node
        if node.process is not None:
            node.kill()
        shutil.rmtree(folder)

    def warnings(self, node: Node, *options: str) -> list[str]:
        """What the log of a start says of files that are open to others."""
        node.start(*options)
        wait_until(node.is_ready, 20)
        return [line for line in node.log.read_text().splitlines() if "open to" in line]

    def test_a_start_by_the_book_says_nothing(self, node):
        config = node.folder / "dynakv.toml"
        config.write_text('admin-password = "long enough"\n')
        config.chmod(0o600)
        assert self.warnings(node, "--config", str(config)) == []
        assert node.data.stat().st_mode & 0o777 == 0o700
        assert ("runs as root" in node.log.read_text()) is (os.geteuid() == 0)

    def test_a_password_that_others_can_read(self, node):
        config = node.folder / "dynakv.toml"
        config.write_text('admin-password = "long enough"\n')
        config.chmod(0o644)
        (line,) = self.warnings(node, "--config", str(config))
        assert f"{config} has a password in it and mode 0644, open to others; run: chmod 600 {config}" in line
        assert "long enough" not in node.log.read_text()

    def test_a_configuration_without_a_password_may_be_read_by_all(self, node):
        config = node.folder / "dynakv.toml"
        config.write_text('zone = "here"\n')
        config.chmod(0o644)
        assert self.warnings(node, "--config", str(config)) == []

    def test_a_data_folder_that_others_can_enter_is_told_and_left_as_it_is(self, node):
        node.data.mkdir()
        node.data.chmod(0o755)
        (line,) = self.warnings(node)
        assert f"the data folder {node.data} has mode 0755, open to others; run: chmod 700 {node.data}" in line
        assert node.data.stat().st_mode & 0o777 == 0o755

    def test_a_private_key_that_everybody_can_read(self, node):
        options = certificate(node.folder)
        (node.folder / "key.pem").chmod(0o644)
        node.start(*options)
        wait_until(lambda: "open to everybody" in node.log.read_text(), 20)
        assert node.log.read_text().count("open to") == 1

    def test_a_key_file_that_others_can_read_is_refused(self, node):
        node.start()
        wait_until(node.is_ready, 20)
        node.kill()
        node.log.unlink()
        (node.folder / "cluster.key").chmod(0o640)
        node.start()
        assert node.process is not None
        assert node.process.wait(20) == 1
        assert f"run: chmod 600 {node.folder / 'cluster.key'}" in node.log.read_text()
