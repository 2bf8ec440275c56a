"""What strangers, guests and captured members can do at the peer port of a real node, and what they cannot."""

from __future__ import annotations

import os
import socket
import subprocess
import threading
import time
from pathlib import Path

import pytest
from OpenSSL import SSL

from dynatwist.model.record import Key
from dynatwist.model.registry import Member
from dynatwist.net import packet
from dynatwist.net.messages import (
    Accept,
    BucketEntries,
    Buckets,
    Compare,
    Done,
    DurableClocks,
    Fetch,
    Fetched,
    Forward,
    Hello,
    Join,
    KeysAre,
    Listen,
    Prepare,
    Pull,
    PullFromMe,
    ReadDot,
    Refused,
    RegistryIs,
    Rekey,
    Relay,
    Replicate,
    Restored,
    Scan,
    Settle,
    Summaries,
    Unable,
)
from dynatwist.storage.keyring import ClusterKeys

from .peer import RawPeer, connection, keys_of
from .real import Node, RealCluster, check_logs, wait_until
from .test_rotation import dynakv

pytestmark = pytest.mark.processes


@pytest.fixture
def cluster():
    cluster = RealCluster.start(3)
    yield cluster
    check_logs(cluster)
    cluster.close()


def metric(node: Node, name: str) -> float:
    text = node.request("GET", "/metrics").body.decode()
    return next(float(line.split()[1]) for line in text.splitlines() if line.split()[:1] == [f"dynakv_{name}"])


def pid_of(node: Node) -> int:
    assert node.process is not None
    return node.process.pid


def descriptors_of(node: Node) -> int:
    return len(os.listdir(f"/proc/{pid_of(node)}/fd"))


def rss_mib(node: Node) -> float:
    return int(Path(f"/proc/{pid_of(node)}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / (1 << 20)


def open_ones(connections: list[socket.socket]) -> int:
    """How many the other side has not closed."""
    count = 0
    for one in connections:
        one.setblocking(False)
        try:
            count += one.recv(4096) != b""
        except BlockingIOError:
            count += 1
        except OSError:
            pass
    return count


# Strangers: no key


def test_idle_connections_are_few_and_end_by_themselves(cluster):
    node = cluster.nodes[0]
    before = descriptors_of(node)
    idle = [connection(node, "127.0.0.2") for _ in range(40)]
    wait_until(lambda: metric(node, "peer_handshakes") == 16, 5, "one address has its share")
    wait_until(lambda: open_ones(idle) <= 16, 5, "the others are closed")
    for number in range(3, 11):
        idle += [connection(node, f"127.0.0.{number}") for _ in range(16)]
    wait_until(lambda: metric(node, "peer_handshakes") <= 64 and open_ones(idle) <= 64, 5, "all have theirs")
    wait_until(lambda: open_ones(idle) == 0, 8, "none is left after the time to greet")
    wait_until(lambda: descriptors_of(node) <= before + 2, 5, "no descriptor is left")
    wait_until(lambda: metric(node, "peer_handshakes") == 0)
    assert metric(node, "peer_links") == 2


def test_a_handshake_that_drips_ends_too(cluster):
    node = cluster.nodes[0]
    raw = connection(node, "127.0.0.2")
    memory = SSL.Connection(SSL.Context(SSL.TLS_CLIENT_METHOD))
    memory.set_connect_state()
    with pytest.raises(SSL.WantReadError):
        memory.do_handshake()
    hello = memory.bio_read(4096)
    began_s = time.monotonic()
    sent = 0

    def is_closed() -> bool:
        nonlocal sent
        try:
            raw.send(hello[sent : sent + 1])
            sent += 1
            return open_ones([raw]) == 0
        except OSError:
            return True

    wait_until(is_closed, 8)
    assert 4 < time.monotonic() - began_s < 7


class Flood(threading.Thread):
    """Idle connections from many addresses, opened again as soon as they are closed."""

    def __init__(self, node: Node, sources: list[str], count: int) -> None:
        super().__init__(daemon=True)
        self._node, self._sources, self._count = node, sources, count
        self.stopping = False
        self.opened = 0
        self.start()

    def run(self) -> None:
        held: list[socket.socket] = []
        while not self.stopping:
            held = [one for one in held if open_ones([one])]
            while len(held) < self._count and not self.stopping:
                try:
                    held.append(connection(self._node, self._sources[self.opened % len(self._sources)]))
                    self.opened += 1
                except OSError:
                    break
            time.sleep(0.001)
        for one in held:
            one.close()


@pytest.mark.parametrize(
    "sources", [[f"127.0.1.{number}" for number in range(1, 101)], ["127.0.0.1"]], ids=["foreign", "a member's own"]
)
def test_a_member_comes_back_through_a_flood(cluster, sources):
    target, member = cluster.nodes[0], cluster.nodes[2]
    flood = Flood(target, sources, 300)
    try:
        wait_until(lambda: flood.opened > 400, 10)
        member.kill()
        member.start()
        began_s = time.monotonic()
        address = member.address

        def is_back() -> bool:
            nodes = target.request("GET", "/membership").json["nodes"]
            return member.is_ready() and nodes[address]["reachable"] and nodes[address]["ready"]

        wait_until(is_back, 15, "the member is linked again")
        assert time.monotonic() - began_s < 10
    finally:
        flood.stopping = True
        flood.join()


def test_the_bounds_are_options_and_a_small_limit_of_descriptors_shrinks_them(tmp_path):
    cluster = RealCluster(tmp_path)
    node = cluster.add("--max-peer-handshakes", "7", "--max-peer-handshakes-per-address", "3")
    node_too = cluster.add()
    try:
        cluster.wait_ready()
        idle = [connection(node, f"127.0.0.{number // 10 + 2}") for number in range(40)]
        wait_until(lambda: open_ones(idle) <= 7 and metric(node, "peer_handshakes") <= 7, 5)
        assert metric(node, "peer_handshakes_per_address_limit") == 3
        node_too.kill()
        node_too.before = ("prlimit", "--nofile=300:300")
        node_too.start()
        cluster.wait_ready()
        assert metric(node_too, "peer_links_limit") + 2 * metric(node_too, "peer_handshakes_limit") <= 75
    finally:
        cluster.close()


KINDS = ("tcp", "garbage", "foreign key", "no greeting", "greeting")


def come_and_go(node: Node, keys: ClusterKeys, kind: str) -> None:
    """Open one connection of a kind, and close it."""
    foreign = ClusterKeys((b"f" * 32,), (b"s" * 32,))
    try:
        if kind in ("tcp", "garbage"):
            with connection(node, "127.0.0.1") as one:
                if kind == "garbage":
                    one.send(os.urandom(200))
            return
        peer = RawPeer(node, foreign if kind == "foreign key" else keys)
        if kind == "greeting":
            peer.greet()
        peer.close()
    except (SSL.Error, OSError, AssertionError):
        pass  # one more than it takes in a second


def test_what_comes_and_goes_leaves_nothing_behind(cluster):
    node, keys = cluster.nodes[0], keys_of(cluster)
    for _ in range(300):  # what the allocators keep of as many at once is kept once
        for kind in KINDS:
            come_and_go(node, keys, kind)
    wait_until(lambda: metric(node, "peer_handshakes") == 0 and metric(node, "peer_links") == 2, 10)
    before, before_mib = descriptors_of(node), rss_mib(node)
    for _ in range(400):
        for kind in KINDS:
            come_and_go(node, keys, kind)
    wait_until(lambda: metric(node, "peer_handshakes") == 0 and metric(node, "peer_links") == 2, 10)
    wait_until(lambda: descriptors_of(node) <= before + 2, 10)
    assert rss_mib(node) < before_mib + 10
    assert node.is_ready()


def test_a_flood_of_packets_costs_no_member_its_place(cluster):
    """Packets of all lengths, empty ones and such that look like a member's first word."""
    node = cluster.nodes[0]
    member = bytes.fromhex(node.request("GET", "/membership").json["nodes"][node.address]["id"])
    first_word = bytes([packet.PACKET_VERSION, 0]) + os.urandom(16) + member + bytes(7) + b"\1" + os.urandom(60)
    token = node.register("alice")
    end_s = time.monotonic() + 4
    sent = 0
    slowest_s = 0.0
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as flood:
        while time.monotonic() < end_s:
            for _ in range(300):
                for data in (b"", first_word, os.urandom(1400)):
                    flood.sendto(data, (node.host, node.port))
                    sent += 1
            began_s = time.monotonic()
            assert node.put("t", "k", {"n": sent}, token).status in (200, 201)
            slowest_s = max(slowest_s, time.monotonic() - began_s)
    assert metric(node, "gossip_packets_ignored_total") > 0
    assert slowest_s < 0.5
    for one in cluster.nodes:
        nodes = one.request("GET", "/membership").json["nodes"]
        assert [other["status"] for other in nodes.values()] == ["Active"] * 3


# Guests: the key, and no membership

ALICE: Key = ("_users", "alice")
ASKED = [
    Fetch([ALICE]),
    Rekey(99, "install", os.urandom(32)),
    Rekey(99),
    Listen(["", "_users"]),
    ReadDot(99, ALICE),
    Compare(99, [ALICE], b"x" * 16),
    Replicate(99, 1000, [(ALICE, b"x" * 40)]),
    Forward(99, 1000, b"op", b"request"),
    Scan(99, "_users", "", "", 10),
    Summaries(99, {256: b"x" * 8}),
    Pull(99, 256, {}, None),
    Buckets(256),
    BucketEntries(256, [1, 2, 3]),
    DurableClocks(99, [256]),
    Prepare(99, "registry:99", (1, b"x")),
    Accept(99, "user alice", (1, b"x"), b"value"),
    Settle(99),
    PullFromMe(99, [256]),
]


def test_a_guest_gets_nothing_and_changes_nothing(cluster):
    node, keys = cluster.nodes[0], keys_of(cluster)
    node.register("alice")
    guest = RawPeer(node, keys)
    hello = guest.greet()
    assert hello.registry is not None
    for message in ASKED:
        assert guest.ask(message) == Unable("not a member"), message
    me = Member(guest.node_id, "127.0.0.1", 1, 2)
    forged = hello.registry.with_members((me,))
    for notice in (RegistryIs(forged), Restored(1 << 40), Relay([], "x")):
        guest.send(notice)
    assert isinstance(guest.ask(Join(Member(os.urandom(8), "10.0.0.1", 1, 2), 3)), Refused)
    liar = RawPeer(node, keys)
    liar.greet(forged)
    assert liar.ask(Fetch([ALICE])) == Unable("not a member")
    wait_until(lambda: metric(node, "peer_calls_refused_total") > len(ASKED), 5)
    stats = node.stats()["cluster"]
    assert (stats["members"], stats["registry_version"]) == (3, hello.registry.version)
    assert stats["partitions_not_whole"] == 0
    assert len(keys_of(cluster).cluster) == 1


def test_guests_are_few(cluster):
    node, keys = cluster.nodes[0], keys_of(cluster)
    guests = []
    for _ in range(80):
        guests.append(RawPeer(node, keys))
        guests[-1].greet()
    wait_until(lambda: metric(node, "peer_links") <= 66, 5)
    assert guests[0].closed_within_s(5) is not None
    assert guests[-1].ask(Fetch([ALICE])) == Unable("not a member")
    assert cluster.nodes[0].stats()["cluster"]["members"] == 3


def test_a_greeting_is_small_and_names_what_the_certificate_does(cluster):
    node, keys = cluster.nodes[0], keys_of(cluster)
    peer = RawPeer(node, keys)
    member = bytes.fromhex(node.request("GET", "/membership").json["nodes"][cluster.nodes[1].address]["id"])
    peer.greet(claims=member)
    assert peer.ask(Fetch([ALICE])) is None
    long = RawPeer(node, keys)
    long.write((1 << 20).to_bytes(4) + b"\x02")
    assert long.closed_within_s(3) is not None


# Captured members


def captured(cluster: RealCluster, node: Node) -> bytes:
    """A member is not there any more; somebody has its id and the key file."""
    ids = cluster.nodes[0].request("GET", "/membership").json["nodes"]
    node.kill()
    return bytes.fromhex(ids[node.address]["id"])


def test_an_announced_length_costs_nothing_before_the_bytes_come(cluster):
    keys, node = keys_of(cluster), cluster.nodes[0]
    peer = RawPeer(node, keys, captured(cluster, cluster.nodes[2]))
    registry = peer.greet().registry
    assert isinstance(peer.ask(Fetch([ALICE])), Fetched)
    before_mib = rss_mib(node)
    peer.write((31 << 20).to_bytes(4) + b"\x02" + bytes(1000))
    assert cluster.nodes[0].is_ready()
    assert rss_mib(node) < before_mib + 8
    assert registry is not None


def test_a_member_that_is_struck_out_is_cut_off_within_a_second_and_for_ever(tmp_path):
    """On a cluster of its own: connections that other tests left open would have to be given up first."""
    cluster = RealCluster.start(3, folder=tmp_path)
    try:
        keys = keys_of(cluster)
        others = cluster.nodes[:2]
        node_id = captured(cluster, cluster.nodes[2])
        peers = [RawPeer(node, keys, node_id) for node in others]
        for peer in peers:
            registry = peer.greet(starts=1000).registry
            assert isinstance(peer.ask(Fetch([ALICE])), Fetched)
            assert isinstance(peer.ask(Rekey(registry.version)), KeysAre)
            peer.is_unwilling = True  # it holds on to what it has, and to its place
        token = cluster.admin_token()
        assert others[0].request("POST", f"/admin/members/{node_id.hex()}/forget", None, token).status == 202
        over: list[float] = []
        threads = [threading.Thread(target=lambda p=peer: over.append(p.closed_within_s(60) or 999)) for peer in peers]
        for thread in threads:
            thread.start()
        wait_until(lambda: all(n.stats()["cluster"]["members"] == 2 for n in others), 20)
        wait_until(lambda: all(not n.stats()["cluster"]["changing"] for n in others), 60)
        settled_s = time.monotonic()
        for thread in threads:
            thread.join()
        assert time.monotonic() - settled_s < 1.5
        assert max(over) < 60
        for node in others:
            again = RawPeer(node, keys, node_id)
            again.greet()
            assert again.ask(Fetch([ALICE])) is None
            knowing = RawPeer(node, keys, node_id)
            knowing.greet(RawPeer(node, keys).greet().registry)
            assert knowing.ask(Fetch([ALICE])) == Unable("not a member")
            assert isinstance(knowing.ask(Join(Member(node_id, "127.0.0.1", 1, 2), 3)), Refused)
    finally:
        cluster.close()


def test_a_node_that_dies_hearing_that_it_was_struck_out_stays_out():
    cluster = RealCluster.start(4)
    try:
        gone = cluster.nodes[3]
        token = cluster.admin_token()
        path = f"/admin/members/{gone.address}/forget"
        assert cluster.nodes[0].request("POST", path, None, token).status == 202
        wait_until(lambda: not gone.request("GET", "/readyz").json["registered"], 30, "it hears of it")
        gone.kill()
        gone.start()
        wait_until(lambda: gone.try_request("GET", "/readyz") is not None, 20)
        first = cluster.nodes[0]
        wait_until(lambda: first.stats()["cluster"]["members"] == 3 and not first.stats()["cluster"]["changing"], 20)
        version = first.stats()["cluster"]["registry_version"]
        end_s = time.monotonic() + 3
        wait_until(lambda: time.monotonic() > end_s, 5)
        assert first.stats()["cluster"]["registry_version"] == version
        assert not gone.is_ready()
    finally:
        cluster.close()


def test_links_by_a_retired_secret_end_within_a_second_at_every_node(cluster):
    keys = keys_of(cluster)
    peers = [RawPeer(node, keys) for node in cluster.nodes]
    for peer in peers:
        peer.greet()
        assert peer.ask(Join(Member(os.urandom(8), "127.0.0.1", 1, 2), 3)) is not None
    done: list[subprocess.CompletedProcess[str]] = []
    over: list[float] = []

    def watch(peer: RawPeer) -> None:
        if peer.closed_within_s(30) is not None:
            over.append(time.monotonic())

    threads = [threading.Thread(target=watch, args=(peer,)) for peer in peers]
    for thread in threads:
        thread.start()
    done.append(dynakv(cluster, "key", "rotate", token=cluster.admin_token()))
    ended_s = time.monotonic()
    assert done[0].returncode == 0, done[0].stderr
    for thread in threads:
        thread.join()
    assert len(over) == 3
    assert max(over) < ended_s + 1
    for node in cluster.nodes:
        with pytest.raises((SSL.Error, AssertionError)):
            RawPeer(node, keys).greet()
    wait_until(lambda: all(metric(node, "peer_links") == 2 for node in cluster.nodes), 5)
    fresh = RawPeer(cluster.nodes[0], keys_of(cluster))
    assert isinstance(fresh.greet(), Hello)
    assert not isinstance(fresh.ask(Join(Member(os.urandom(8), "127.0.0.1", 1, 2), 3)), Done)
