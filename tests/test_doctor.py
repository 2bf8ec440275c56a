"""The doctor: what it finds in what it has seen, and what the command says of real nodes and of this machine."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from twisted.internet.task import Clock

from dynatwist.config.node import NodeConfig
from dynatwist.doctor import cluster as clusters
from dynatwist.doctor import looking, machine
from dynatwist.doctor.seen import (
    CertificateSeen,
    ClusterSeen,
    DescriptorsSeen,
    FolderSeen,
    KeyFileSeen,
    NodeSeen,
    PortSeen,
)
from dynatwist.health.finding import Level
from dynatwist.health.members import MemberSeen

from .real import RealCluster, certificate, check_logs, free_port, wait_until

DYNAKV = str(Path(sys.executable).with_name("dynakv"))
DAY_S = 86400.0
PORT = PortSeen("TCP port 6660 on 127.0.0.1", "--port")
KEY = KeyFileSeen("/etc/dynakv/cluster.key", True, 0o600, 0o700, "", "/var/lib/dynakv")
FOLDER = FolderSeen("/var/lib/dynakv", 0o700, "", "ext4", 50 << 30, 100 << 30, 256 << 20, (0.001,) * 50)
NODE = NodeSeen("http://kv1:6660", unsure_s=0.001, is_ready=True)
MEMBER = MemberSeen("kv1:6660", "Active", is_ready=True, is_registered=True, version="1.0.0")
CLUSTER = ClusterSeen(("http://kv1:6660",), is_named=True)


def levels(findings):
    return [finding.level.value for finding in findings]


def worst(findings):
    found = levels(findings)
    return max(found, key=["ok", "warning", "fault"].index)


class TestMachine:
    def test_a_port_is_free_or_taken_by_a_node_or_by_somebody_else(self):
        taken = replace(PORT, problem="Address already in use", is_taken=True)
        assert levels(machine.ports((PORT,), is_node=False)) == ["ok"]
        assert levels(machine.ports((taken,), is_node=True)) == ["ok"]
        [found] = machine.ports((taken,), is_node=False)
        assert found.level is Level.FAULT
        assert found.advice == "choose another with --port"

    def test_a_port_that_this_user_may_not_have(self):
        [found] = machine.ports((replace(PORT, problem="Permission denied"),), is_node=True)
        assert (found.level, found.text) == (Level.FAULT, "TCP port 6660 on 127.0.0.1: Permission denied")

    @pytest.mark.parametrize(
        ("change", "level"),
        [
            ({}, "ok"),
            ({"is_there": False}, "warning"),
            ({"problem": "/k: readable by others; run: chmod 600 /k"}, "fault"),
            ({"folder_mode": 0o770}, "fault"),
            ({"folder_mode": 0o1777}, "ok"),  # as /tmp has it: others may add, and not replace
            ({"folder_mode": None, "is_there": False}, "warning"),
            ({"data_folder": "/etc/dynakv"}, "warning"),
            ({"data_folder": "/etc/dyna"}, "ok"),
            ({"path": "/tmp/cluster.key"}, "warning"),
        ],
    )
    def test_a_key_file(self, change, level):
        assert worst(machine.key_file(replace(KEY, **change))) == level

    @pytest.mark.parametrize(
        ("change", "level"),
        [
            ({}, "ok"),
            ({"mode": None}, "ok"),
            ({"mode": 0o755}, "warning"),
            ({"problem": "this user may not write /var"}, "fault"),
            ({"file_system": "tmpfs"}, "warning"),
            ({"file_system": "nfs4"}, "warning"),
            ({"path": "/tmp/data"}, "warning"),
        ],
    )
    def test_a_data_folder(self, change, level):
        assert worst(machine.folder(replace(FOLDER, **change))) == level

    @pytest.mark.parametrize(
        ("syncs_s", "level"),
        [
            ((0.0005,) * 100, "ok"),
            ((0.001,) * 99 + (0.2,), "warning"),
            ((0.03,) * 30, "warning"),
            ((0.2,) * 5, "fault"),
        ],
    )
    def test_the_speed_of_syncs(self, syncs_s, level):
        assert worst(machine.sync(replace(FOLDER, syncs_s=syncs_s))) == level

    @pytest.mark.parametrize(("free", "level"), [(600 << 20, "ok"), (300 << 20, "warning"), (100 << 20, "fault")])
    def test_room_on_the_disk(self, free, level):
        assert worst(machine.room(replace(FOLDER, free_bytes=free))) == level

    @pytest.mark.parametrize(
        ("seen", "level"),
        [
            (DescriptorsSeen(65536), "ok"),
            (DescriptorsSeen(1024), "warning"),
            (DescriptorsSeen(65536, 7, 64000), "warning"),
            (DescriptorsSeen(100), "fault"),
        ],
    )
    def test_descriptors(self, seen, level):
        assert worst(machine.descriptors(seen)) == level

    @pytest.mark.parametrize(("days", "level"), [(60, "ok"), (10, "warning"), (-1, "fault")])
    def test_a_certificate(self, days, level):
        assert machine.certificate(CertificateSeen("/c.pem", 1e9 + days * DAY_S), 1e9).level == level

    def test_a_certificate_that_cannot_be_read(self):
        assert machine.certificate(CertificateSeen("/c.pem", problem="No such file"), 1e9).level is Level.FAULT


class TestCluster:
    @pytest.mark.parametrize(
        ("change", "level"),
        [
            ({}, "ok"),
            ({"problem": "connection refused"}, "fault"),
            ({"is_ready": False}, "fault"),
            ({"not_whole": 3}, "warning"),
            ({"findings": ("a chunk is damaged",)}, "warning"),
        ],
    )
    def test_a_node(self, change, level):
        assert worst(clusters.answers(replace(CLUSTER, nodes=(replace(NODE, **change),)))) == level

    def test_where_nobody_said_which_nodes_to_ask_there_need_be_none(self):
        gone = replace(NODE, problem="connection refused")
        assert worst(clusters.answers(replace(CLUSTER, nodes=(gone,), is_named=False))) == "warning"

    @pytest.mark.parametrize(
        ("ahead_s", "unsure_s", "level"),
        [(0.002, 0.001, "ok"), (-0.4, 0.001, "ok"), (-3, 0.1, "warning"), (11, 0.1, "fault"), (11, 20, "ok")],
    )
    def test_a_clock(self, ahead_s, unsure_s, level):
        node = replace(NODE, clock_ahead_s=ahead_s, unsure_s=unsure_s)
        assert levels(clusters.clocks(replace(CLUSTER, nodes=(node,)))) == [level]

    @pytest.mark.parametrize(
        ("change", "level"),
        [
            ({}, "ok"),
            ({"status": "Suspect"}, "warning"),
            ({"status": "Left"}, "warning"),
            ({"status": "Dead"}, "fault"),
            ({"is_ready": False}, "warning"),
            ({"is_registered": False}, "warning"),
        ],
    )
    def test_a_member(self, change, level):
        assert levels(clusters.members(replace(CLUSTER, members=(replace(MEMBER, **change),)))) == [level]

    def test_two_members_are_worse_than_three(self):
        two = (MEMBER, replace(MEMBER, address="kv2:6660"))
        assert worst(clusters.members(replace(CLUSTER, members=two, counted=2))) == "warning"
        assert worst(clusters.members(replace(CLUSTER, members=(*two, MEMBER), counted=3))) == "ok"

    def test_a_node_that_came_back_without_its_folder_has_left_a_member_behind(self):
        seen = replace(CLUSTER, members=(MEMBER,), counted=2, unseen=("d824997c99b3d6d0 at kv1:6660",))
        found = next(one for one in clusters.members(seen) if one.level is Level.FAULT)
        assert found.advice == "strike each out by its id, dynakv forget ID: d824997c99b3d6d0 at kv1:6660"

    def test_versions_that_differ_are_told_with_those_who_run_them(self):
        members = (MEMBER, replace(MEMBER, address="kv2:6660", version="1.1.0"))
        [found] = clusters.versions(replace(CLUSTER, members=members))
        text = "members run different releases: 1.0.0 at kv1:6660; 1.1.0 at kv2:6660"
        assert (found.level, found.text) == (Level.WARNING, text)

    def test_who_is_not_the_administrator_may_not_be_told(self):
        seen = replace(CLUSTER, problem="only the administrator is told", needs_login=True)
        [found] = clusters.members(seen)
        assert found.advice == "dynakv login admin first"


class TestLooking:
    def test_a_port_that_is_taken(self):
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            config = NodeConfig(port=taken.getsockname()[1], peer_port=free_port())
            assert [seen.is_taken for seen in looking.look_at_ports(config)] == [True, False, False]

    def test_syncs_take_a_second_at_most_and_leave_nothing(self, tmp_path, monkeypatch):
        clock = Clock()
        monkeypatch.setattr(looking, "time", SimpleNamespace(monotonic=clock.seconds))
        monkeypatch.setattr(os, "fdatasync", lambda _: clock.advance(0.3))
        seen = looking.look_at_folder(NodeConfig(data_dir=str(tmp_path)))
        assert seen.syncs_s == pytest.approx((0.3,) * 4)
        assert list(tmp_path.iterdir()) == []

    def test_nothing_is_made(self, tmp_path):
        config = NodeConfig(data_dir=str(tmp_path / "a" / "data"), key_file=str(tmp_path / "b" / "key"))
        assert looking.look_at_folder(config).mode is None
        assert not looking.look_at_key_file(config).is_there
        assert list(tmp_path.iterdir()) == []

    def test_a_folder_that_only_others_may_look_into(self, tmp_path, monkeypatch):
        monkeypatch.setattr(os, "access", lambda *_: False)
        monkeypatch.setattr(os, "listdir", lambda path: pytest.fail(f"{path} was listed"))
        seen = looking.look_at_folder(NodeConfig(data_dir=str(tmp_path)))
        assert (seen.problem, seen.syncs_s) == (
            f"--data-dir {tmp_path}: this user may not write {tmp_path}; choose another, or change its owner",
            (),
        )

    def test_the_end_of_a_certificate(self, tmp_path):
        certificate(tmp_path)
        ends_s = looking.look_at_certificate(str(tmp_path / "cert.pem")).ends_s
        assert ends_s == pytest.approx(time.time() + DAY_S, abs=60)
        (tmp_path / "cert.pem").write_text("none")
        assert looking.look_at_certificate(str(tmp_path / "cert.pem")).problem == "no certificate in PEM"


def said(*options, **environment):
    """The findings, by what was looked at; and the exit status."""
    env = {name: text for name, text in os.environ.items() if not name.startswith("DYNAKV_")} | environment
    done = subprocess.run(
        [DYNAKV, "-o", "json", "doctor", *options], env=env, capture_output=True, text=True, timeout=30
    )
    assert done.stderr == ""
    found = {}
    for one in json.loads(done.stdout):
        found.setdefault(one["check"], []).append(one)
    return found, done.returncode


@pytest.mark.processes
class TestCommand:
    def test_of_a_node_that_runs(self, tmp_path):
        cluster = RealCluster(tmp_path)
        node = cluster.add(*certificate(tmp_path))
        trusted = str(tmp_path / "cert.pem")
        try:
            wait_until(lambda: node.log.exists() and "founding cluster" in node.log.read_text())
            mine = ("--data-dir", str(node.data), "--key-file", str(tmp_path / "cluster.key"), "--port", str(node.port))
            found, status = said(*mine, "--url", f"https://127.0.0.1:{node.port}", DYNAKV_CACERT=trusted)
            assert status == 0, found
            assert [one["level"] for one in found["ports"]] == ["ok"] * 3
            assert [one["level"] for one in found["certificate"]] == ["warning"]  # it is good for one more day
            for check in ("nodes", "clock", "members", "versions", "disk"):
                assert [one["level"] for one in found[check]] == ["ok"], found[check]
            assert f"process {node.process.pid}" in found["descriptors"][0]["text"]
        finally:
            check_logs(cluster)
            cluster.close()

    def test_of_a_machine_where_no_node_can_start(self, tmp_path):
        (tmp_path / "cluster.key").write_text("dynakv-keys 1\n")
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", free_port()))
            taken.listen()
            port = taken.getsockname()[1]
            mine = {"DYNAKV_DATA_DIR": str(tmp_path / "data"), "DYNAKV_KEY_FILE": str(tmp_path / "cluster.key")}
            found, status = said("--port", str(port), "--url", f"127.0.0.1:{free_port()}", **mine)
        assert status == 1
        assert [one["level"] for one in found["ports"]] == ["fault", "ok", "ok"]
        assert found["key file"][0]["level"] == "fault"
        assert found["key file"][0]["advice"] == "copy it from another node"
        assert found["nodes"][0]["level"] == "fault"
        assert "members" not in found

    def test_of_settings_that_no_node_would_take(self):
        found, status = said("--port", "none")
        assert (status, list(found)) == (1, ["settings"])
        assert found["settings"][0]["text"].startswith("--port none: expected a whole number")
