"""The audit log: who did what, in lines of JSON, rotated by size; a disk that takes nothing stops nobody."""

from __future__ import annotations

import json
import socket
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynatwist.api.audit import Audit
from dynatwist.api.tail import Tail
from dynatwist.storage.audit import KEPT_FILES, MAX_WAITING_BYTES, AuditFile

from .real import TWISTD, RealCluster, check_logs, wait_until


class Later:
    """A disk thread that works when it is told to."""

    def __init__(self):
        self.waiting = []

    def submit(self, work, done):
        self.waiting.append((work, done))

    def stop(self):
        pass

    def work(self):
        while self.waiting:
            work, done = self.waiting.pop(0)
            try:
                work()
            except OSError as error:
                done(error)
            else:
                done(None)


@pytest.fixture
def writer():
    return Later()


@pytest.fixture
def troubles():
    return []


def audit_file(path, writer, troubles, max_bytes=1000):
    return AuditFile(
        str(path), max_bytes, writer=writer, dropped=lambda count: b"%d dropped\n" % count, trouble=troubles.append
    )


def test_lines_are_appended_to_what_is_there(tmp_path, writer, troubles):
    path = tmp_path / "audit.log"
    path.write_text("before\n")
    audit = audit_file(path, writer, troubles)
    audit.append(b"one\n")
    audit.append(b"two\n")
    writer.work()
    assert path.read_text() == "before\none\ntwo\n"
    assert troubles == []


def test_a_new_file_is_made_for_its_owner_alone(tmp_path, writer, troubles):
    audit_file(tmp_path / "audit.log", writer, troubles)
    assert (tmp_path / "audit.log").stat().st_mode & 0o777 == 0o600


def test_files_are_rotated_by_size_and_few_are_kept(tmp_path, writer, troubles):
    audit = audit_file(tmp_path / "audit.log", writer, troubles)
    for number in range(40):
        audit.append(b"%0300d\n" % number)
        writer.work()
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["audit.log", *(f"audit.log.{number}" for number in range(1, KEPT_FILES + 1))]
    assert all(path.stat().st_size <= 1000 for path in tmp_path.iterdir())
    assert int((tmp_path / "audit.log").read_text().split()[-1]) == 39
    assert int((tmp_path / "audit.log.1").read_text().split()[-1]) == 38 - 39 % 3


def test_what_the_disk_is_too_slow_for_is_dropped_and_counted(tmp_path, writer, troubles):
    audit = audit_file(tmp_path / "audit.log", writer, troubles, 1 << 30)
    line = b"x" * 9999 + b"\n"
    for _ in range(2 * MAX_WAITING_BYTES // len(line)):
        audit.append(line)
    writer.work()
    lines = (tmp_path / "audit.log").read_bytes().splitlines()
    assert lines[1] == b"%d dropped" % audit.lines_dropped
    assert len(lines) - 1 + audit.lines_dropped == 2 * MAX_WAITING_BYTES // len(line)


def test_a_disk_that_takes_nothing_is_told_once_and_used_again(tmp_path, writer, troubles):
    folder = tmp_path / "folder"
    folder.mkdir()
    audit = audit_file(folder / "audit.log", writer, troubles)
    (folder / "audit.log").unlink()
    folder.rmdir()
    audit.append(b"one\n")
    writer.work()
    assert isinstance(troubles[-1], OSError)
    folder.mkdir()
    audit.append(b"two\n")
    writer.work()
    assert troubles[-1] is None
    assert (folder / "audit.log").read_text() == "1 dropped\ntwo\n"


def test_nothing_is_made_where_no_audit_log_is_wanted():
    audit = Audit()
    assert not audit.is_on
    audit.note("anything", "ok")


# On a real node

pytestmark = pytest.mark.processes


def test_a_node_tells_who_did_what(tmp_path):
    path = tmp_path / "audit.log"
    cluster = RealCluster.start(1, "--audit-log", str(path), folder=tmp_path)
    node = cluster.nodes[0]
    try:
        alice, bob = node.register("alice", "wonderland-secret"), node.register("bob", "another-secret")
        assert node.request("POST", "/auth/alice", {"secret": "a wrong secret"}).status == 401
        assert node.put("t", "k", {"hidden": "value"}, alice).status == 201
        assert node.get("t", "k", bob).status == 403
        assert node.get("t", "k", "").status == 401
        admin = cluster.admin_token()
        assert node.get("t", "k", admin).status == 200
        assert node.request("GET", "/admin/table/t/key/k", token=admin).status == 200
        assert node.request("PUT", "/admin/users/carol", {"secret": "a long secret"}, admin).status == 201
        assert node.request("PUT", "/admin/groups/staff", {"members": ["alice"]}, admin).status == 200
        assert node.request("GET", "/admin/groups/staff", None, admin).status == 200
        assert node.request("PUT", "/admin/tables/t", {"default_ttl": 60}, admin).status == 200
        assert node.request("POST", "/admin/tokens", {"name": "bot", "access": []}, admin).status == 201
        assert node.request("GET", "/admin/backup/t", None, admin).status == 200
        assert node.request("POST", "/admin/restore/t", {"records": []}, admin).status == 200
        assert node.request("POST", "/auth/alice/logout", None, alice).status == 200
        lines = wait_until(lambda: (found := path.read_text().splitlines()) and len(found) >= 15 and found)
        told = [json.loads(line) for line in lines]
        short = [(one["what"], one["outcome"], one.get("who", ""), tuple(one.get("on", ()))) for one in told]
        for expected in (
            ("accounts.enter", "created", "", ("alice",)),
            ("accounts.enter", "wrong_secret", "", ("alice",)),
            ("data.get", "forbidden", "bob", ("t", "k")),
            ("data.get", "no_token", "", ("t", "k")),
            ("accounts.admin_login", "ok", "", ()),
            ("data.get", "ok", "admin", ("t", "k")),
            ("admin.get", "ok", "admin", ("t", "k")),
            ("admin.create_user", "created", "admin", ("carol",)),
            ("groups.set", "ok", "admin", ("staff",)),
            ("tables.set", "ok", "admin", ("t",)),
            ("services.create", "created", "admin", ()),
            ("backup.page", "ok", "admin", ("t",)),
            ("restore.records", "ok", "admin", ("t",)),
            ("accounts.logout", "ok", "alice", ("alice",)),
        ):
            assert expected in short, (expected, short)
        assert not [one for one in short if one[0] == "groups.show"]
        assert all(one["from"] == "127.0.0.1" and one["time"].endswith("Z") for one in told)
        text = path.read_text()
        for secret in ("wonderland-secret", "a wrong secret", "hidden", alice, admin):
            assert secret not in text
        check_logs(cluster)
    finally:
        cluster.close()


def test_an_audit_log_that_cannot_be_written_is_a_clear_error(tmp_path):
    command = [TWISTD, "-n", "dynakv", "--port", "12001", "--data-dir", str(tmp_path / "data")]
    command += ["--key-file", str(tmp_path / "key"), "--audit-log", "/nowhere/audit.log"]
    found = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=30, check=False)
    assert found.returncode == 1
    assert "--audit-log /nowhere/audit.log: No such file or directory" in found.stderr
    assert "Traceback" not in found.stderr + found.stdout


def test_whoever_asks_through_a_trusted_proxy_is_named_whichever_way_the_request_is_read(tmp_path):
    """The fast lane as Klein; a query with two parameters is left to Klein."""
    path = tmp_path / "audit.log"
    cluster = RealCluster.start(1, "--audit-log", str(path), "--trusted-proxy", "127.0.0.1", folder=tmp_path)
    try:
        for way in ("", "?r=one&r=one"):
            said = f"GET /t/key/k{way} HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 192.0.2.7\r\n\r\n"
            with socket.create_connection(("127.0.0.1", cluster.nodes[0].port), 10) as client:
                client.sendall(said.encode())
                assert client.recv(100).startswith(b"HTTP/1.1 401 ")
        wait_until(lambda: path.read_text().count('"no_token"') == 2)
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        assert {line["from"] for line in lines if line["outcome"] == "no_token"} == {"192.0.2.7"}
    finally:
        cluster.close()


@given(st.lists(st.integers(0, 60), max_size=60), st.one_of(st.none(), st.integers(0, 70)), st.integers(1, 70))
def test_the_last_lines_are_kept_within_their_bounds(sizes, after, limit):
    tail = Tail(most_lines=20, most_bytes=400)
    lines = [bytes(size) for size in sizes]
    for line in lines:
        tail.add(line)
    kept = list(tail.behind(0, 100))
    assert [lines[number - 1] for number, _ in kept] == [line for _, line in kept] == lines[len(lines) - len(kept) :]
    assert len(kept) <= 20
    assert sum(len(line) for _, line in kept) <= 400
    found = list(tail.behind(after, limit))
    if after is None or after > len(lines):
        assert found == kept[-limit:]
    else:
        assert found == [one for one in kept if one[0] > after][:limit]
