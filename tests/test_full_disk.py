"""A full disk and exhausted descriptors, on real processes: what adds is refused, all else goes on."""

from __future__ import annotations

import gc
import http.client
import os
import resource
import shutil
import subprocess
from contextlib import contextmanager, suppress

import pytest

from .real import Node, RealCluster, wait_until

pytestmark = pytest.mark.processes
DISK_MB = 24


def mounted(folder):
    """Whether a small file system could be mounted there."""
    folder.mkdir(parents=True, exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={DISK_MB}m,mode=700", "tmpfs", str(folder)]
    return os.geteuid() == 0 and not subprocess.run(command, capture_output=True).returncode


@contextmanager
def filled(folder):
    """Somebody else takes all the room that is left."""
    with suppress(OSError), open(folder / "filler", "wb", buffering=0) as filler:
        while True:
            filler.write(bytes(64 << 10))
    yield
    (folder / "filler").unlink()


@pytest.fixture
def node(tmp_path):
    """One node on a disk of its own; where none can be mounted, with a reserve that all the disk has not."""
    made = RealCluster(tmp_path)
    one = made.add("--snapshot-interval", "3600", "--lone-after", "0.2")
    one.kill()
    shutil.rmtree(one.data, ignore_errors=True)
    is_mounted = mounted(one.data)
    one.is_small = is_mounted
    one.start()
    made.wait_ready()
    yield one
    made.close()
    if is_mounted:
        subprocess.run(["umount", "-l", str(one.data)], check=False)


def is_low(node):
    return "dynakv_disk_is_low 1.0" in node.request("GET", "/metrics").body.decode()


def fill(node, alice):
    """Write until the node says that it is full; answers the keys that it took.

    The node looks once a second how much is left, and gets the time for it: whoever fills a disk within a second makes
    it give up its reserve, and somebody else may take that before anything is deleted.
    """
    taken = []
    for number in range(200):
        room = os.statvfs(node.data)
        if room.f_bavail < room.f_blocks / 20:
            wait_until(lambda: is_low(node), 10, "a look at the disk")
        answer = node.put("t", f"k{number}", {"v": "x" * (256 << 10)}, alice)
        if answer.status == 507:
            assert answer.json["code"] == "full"
            assert "disk" in answer.json["error"]
            return taken
        assert answer.status == 201, answer
        taken.append(f"k{number}")
    raise AssertionError("never full")


def log_bytes(node):
    total = 0
    for path in (node.data / "wal").iterdir():
        with suppress(FileNotFoundError):  # a cold save has just removed it
            total += path.stat().st_size
    return total


def test_a_full_disk_refuses_what_adds_and_lets_all_else_go_on(node):
    if not node.is_small:
        node.kill()
        node.start("--disk-reserve", str(1 << 50))
        wait_until(node.is_ready, 20)
        alice = node.register("alice")
        assert node.put("t", "k", {}, alice).status == 507
        return
    alice = node.register("alice")
    keys = fill(node, alice)
    assert len(keys) > 20
    with filled(node.data):
        assert node.get("t", keys[3], alice).status == 200
        assert node.put("t", "more", {}, alice).status == 507
        assert {node.delete("t", key, alice).status for key in keys[:5]} == {200}
        node.kill()
        node.start()  # on a disk without a byte of room
        wait_until(node.is_ready, 20, "a start on a full disk")
        alice = node.register("alice")
        assert node.get("t", keys[0], alice).status == 404
        assert node.get("t", keys[7], alice).status == 200
        assert node.put("t", "more", {}, alice).status == 507
    wait_until(lambda: {node.delete("t", key, alice).status for key in keys[5:]} <= {200, 404}, 20, "deletes go on")
    wait_until(lambda: node.put("t", "again", {"n": 1}, alice).status == 201, 30, "deletes made room")
    assert node.get("t", "again", alice).status == 200
    metrics = node.request("GET", "/metrics").body.decode()
    assert "dynakv_disk_is_low 0.0" in metrics
    assert "Traceback" not in node.log.read_text()


def test_one_key_overwritten_does_not_fill_the_disk_with_log(node):
    alice = node.register("alice")
    for number in range(250):  # two and a half disks
        assert node.put("t", "k", {"n": number, "v": "x" * (1 << 18)}, alice).status == 201, number
    # How much log there is in between depends on how long a save takes, since writes go on meanwhile.
    wait_until(lambda: not node.is_small or log_bytes(node) < (DISK_MB << 20) / 2, 20, "a save has caught up")
    assert node.stats()["cold_save_failures"] == 0
    node.kill()
    node.start()
    wait_until(node.is_ready, 20)
    assert node.get("t", "k", alice).json["value"]["n"] == 249


def test_the_log_goes_on_when_sockets_have_taken_all_descriptors(tmp_path):
    limit = 128
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    made = RealCluster(tmp_path)
    try:
        gc.collect()  # what other tests have left open; this process has to be able to start one more
        opened = len(os.listdir("/proc/self/fd"))
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(limit, opened + 16), before[1]))
        try:
            one = made.add("--lone-after", "0.2", "--snapshot-interval", "3600")
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, before)
        resource.prlimit(one.process.pid, resource.RLIMIT_NOFILE, (limit, limit))
        made.wait_ready()
        alice, admin = one.register("alice"), made.admin_token()
        resource.prlimit(one.process.pid, resource.RLIMIT_NOFILE, (limit, limit))
        client = http.client.HTTPConnection(one.host, one.port, timeout=20)

        def ask(method, path, token):
            client.request(method, path, b"{}", {"Authorization": f"Bearer {token}"})
            answer = client.getresponse()
            answer.read()
            return answer.status

        assert ask("PUT", "/t/key/first", alice) == 201  # the client's connection is there before all the others
        held = flood(one, limit)
        for number in range(5):
            assert ask("PUT", f"/t/key/k{number}?w=one", alice) == 201
        # A save, and the segment that it begins, need descriptors: either there were some left, or both wait for some.
        assert ask("POST", "/admin/save", admin) in (200, 507)
        assert ask("PUT", "/t/key/last", alice) in (201, 507)
        for connection in held:
            connection.close()
        wait_until(lambda: ask("PUT", "/t/key/last", alice) in (200, 201), 20)
        wait_until(lambda: ask("POST", "/admin/save", admin) == 200, 20)
        client.close()
        assert one.process.poll() is None
        one.kill()
        one.start()
        wait_until(one.is_ready, 20)
        assert one.get("t", "last", alice).status == 200
    finally:
        made.close()


def flood(node: Node, limit: int):
    """Peer connections that say nothing, until the node can accept no more."""
    import socket

    def open_files():
        return len(os.listdir(f"/proc/{node.process.pid}/fd"))

    held = []
    while open_files() < limit - 3 and len(held) < 4 * limit:
        connection = socket.create_connection(("127.0.0.1", node.port + 10000), 2)
        held.append(connection)
        before = open_files()
        with suppress(AssertionError):
            wait_until(lambda before=before: open_files() >= before, 0.2)
    return held
