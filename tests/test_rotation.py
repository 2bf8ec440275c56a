"""The cluster's secrets change while it runs, and nobody is lost."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path
from random import Random

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import ensureDeferred

from dynatwist.agreement.rotation import Rotation, RotationRefused
from dynatwist.errors import StartError
from dynatwist.membership.members import State
from dynatwist.net.messages import Rekey, Unable
from dynatwist.sim.cluster import SimCluster
from dynatwist.sim.world import World
from dynatwist.storage.keyfile import change, load_or_create, parse, render
from dynatwist.storage.keyring import MAX_SECRETS, ClusterKeys, Keyring, NoSuchKeys, name_of

from .real import Node, RealCluster, check_logs, free_port, wait_until

SECRETS = [bytes([number]) * 32 for number in range(1, 5)]
DYNAKV = str(Path(sys.executable).with_name("dynakv"))
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("installed"), st.sampled_from(SECRETS)),
        st.tuples(st.just("used"), st.sampled_from(SECRETS).map(name_of)),
        st.tuples(st.just("retired"), st.sampled_from(SECRETS).map(name_of), st.integers(0, 100), st.integers(0, 50)),
    )
)


def taken(keys: ClusterKeys, steps) -> ClusterKeys:
    for step, *arguments in steps:
        keys = getattr(keys, step)(*arguments)
    return keys


class TestKeys:
    @given(STEPS)
    def test_one_secret_is_in_use_whatever_is_done_and_each_step_may_be_repeated(self, steps):
        keys = ClusterKeys((b"c" * 32,), (b"s" * 32,))
        for step in steps:
            keys = taken(keys, [step])
            assert taken(keys, [step]) == keys
            assert len(set(keys.cluster)) == len(keys.cluster) >= 1
            assert keys.storage == (b"s" * 32,)
            assert parse(render(keys), "") == keys

    @given(st.lists(st.one_of(
        st.tuples(st.just("installed"), st.binary(max_size=40) | st.binary(min_size=32, max_size=32)),
        st.tuples(st.just("used"), st.text(max_size=9) | st.sampled_from(SECRETS).map(name_of)),
        st.tuples(
            st.just("retired"),
            st.just(name_of(b"c" * 32)) | st.text(max_size=9),
            st.integers(-5, 1 << 70),
            st.integers(-5, 1 << 70),
        ),
    )))  # fmt: skip
    def test_whatever_step_is_taken_the_file_that_is_written_can_be_read(self, steps):
        keys = ClusterKeys((b"c" * 32,), (b"s" * 32,))
        for step in steps:
            with suppress(NoSuchKeys):
                keys = taken(keys, [step])
            assert parse(render(keys), "") == keys

    @pytest.mark.parametrize(
        ("step", "arguments"),
        [
            ("installed", [b"short"]),
            ("installed", [b""]),
            ("installed", [b"x" * 33]),
            ("used", ["../../etc"]),
            ("used", ["0000000\u0661"]),
            ("retired", [name_of(b"c" * 32), -1, 5]),
            ("retired", [name_of(b"c" * 32), 1 << 62, 5]),
            ("retired", [name_of(b"c" * 32), 5, 1 << 62]),
            ("retired", ["", 5, 5]),
        ],
    )
    def test_a_step_that_is_none_changes_nothing(self, tmp_path, step, arguments):
        path = str(tmp_path / "cluster.key")
        keys, _ = load_or_create(path)
        before = Path(path).read_bytes()
        ring = Keyring(keys, lambda how: change(path, how))
        with pytest.raises(NoSuchKeys):
            ring.change(lambda keys: getattr(keys, step)(*arguments))
        assert ring.keys == keys
        assert Path(path).read_bytes() == before

    def test_secrets_that_nobody_retires_come_to_an_end(self):
        keys = ClusterKeys((b"c" * 32,), (b"s" * 32,))
        for number in range(MAX_SECRETS - 1):
            keys = keys.installed(number.to_bytes(32))
        with pytest.raises(NoSuchKeys, match="retire those"):
            keys.installed(b"one more".ljust(32))

    def test_what_is_installed_is_not_used_and_what_is_not_installed_cannot_be(self):
        keys = ClusterKeys((b"c" * 32,), (b"s" * 32,)).installed(SECRETS[0])
        assert keys.names()[0] == name_of(b"c" * 32)
        assert keys.used(name_of(SECRETS[1])) == keys
        assert keys.retired(name_of(SECRETS[1]), 0, 9) == keys
        assert keys.used(name_of(SECRETS[0])).cluster == (SECRETS[0], b"c" * 32)

    def test_tokens_outlive_their_secret_for_a_while(self):
        keys = taken(
            ClusterKeys((SECRETS[0],), (b"s" * 32,)),
            [("installed", SECRETS[1]), ("used", name_of(SECRETS[1])), ("retired", name_of(SECRETS[1]), 1000, 50)],
        )
        former = ClusterKeys((SECRETS[0],), (b"s" * 32,)).derive(b"token")
        assert keys.token_keys == ((former, 1050),)
        assert keys.retired(name_of(SECRETS[1]), 1050, 50).token_keys == ()
        assert keys.retired(name_of(SECRETS[1]), 1001, 0).token_keys == ()

    def test_nodes_that_share_a_file_change_it_once(self, tmp_path):
        path = str(tmp_path / "cluster.key")
        keys, _ = load_or_create(path)
        rings = [Keyring(keys, lambda how: change(path, how)) for _ in range(3)]
        for step in (lambda keys: keys.installed(SECRETS[0]), lambda keys: keys.used(name_of(SECRETS[0]))):
            for ring in rings:
                ring.change(step)
        rings[0].change(lambda keys: keys.retired(name_of(SECRETS[0]), 1000, 50))
        assert load_or_create(path)[0] == rings[0].keys
        for ring in rings:
            ring.change(lambda keys: keys.retired(name_of(SECRETS[0]), 1001, 50))
        assert load_or_create(path)[0].cluster == (SECRETS[0],)
        assert os.stat(path).st_mode & 0o777 == 0o600
        assert [entry.name for entry in tmp_path.iterdir()] == ["cluster.key"]

    def test_a_file_that_cannot_be_changed_changes_nothing(self, tmp_path):
        path = str(tmp_path / "cluster.key")
        keys, _ = load_or_create(path)
        ring = Keyring(keys, lambda how: change(path, how))
        Path(path).write_text("something else")
        with pytest.raises(StartError):
            ring.change(lambda keys: keys.installed(SECRETS[0]))
        assert ring.keys == keys


def settled(seed: int, nodes: int, **settings: bool) -> tuple[World, SimCluster]:
    """A simulated cluster whose nodes know each other."""
    world = World(seed)
    cluster = SimCluster(world, nodes, **settings)
    for node in cluster.nodes:
        node.start()
    assert world.run_until(cluster.is_settled, 60)
    return world, cluster


def test_in_bad_weather_a_rotation_loses_nobody():
    """Simulated: packets are lost, doubled, overtaken and garbled; all restart one after another on the way."""
    world, cluster = settled(11, 4)
    cluster.network.weather.loss = 0.2
    cluster.network.weather.duplication = 0.2
    cluster.network.weather.garbling = 0.2
    cores = cluster.cores()
    rotation = cores[0].handlers.keys.rotation
    states: list[State] = []
    for core in cores:
        core.gossip._changed = lambda change: states.append(change.peer.state)
    name = finished(world, rotation.install())
    finished(world, rotation.use(name))
    world.run(world.now_s + 20)
    finished(world, rotation.retire())
    world.run(world.now_s + 20)
    assert cluster.keys.names() == (name,)
    assert State.DEAD not in states
    assert all(len(core.gossip.swim.roster.up()) == 3 for core in cores)
    for node in cluster.nodes:
        node.kill()
        node.start()
        assert world.run_until(cluster.is_settled, 60)


@pytest.mark.parametrize(
    "step",
    [
        Rekey(1, "install", b"short"),
        Rekey(1, "use", name="../../etc"),
        Rekey(1, "retire", name=name_of(b"c" * 32), now_s=-1),
        Rekey(1, "retire", name=name_of(b"c" * 32), now_s=1, tokens_s=1 << 62),
    ],
)
def test_a_members_step_that_is_none_is_refused_and_changes_nothing(step):
    world, cluster = settled(12, 3)
    one, two = cluster.cores()[:2]
    finished(world, one.handlers.keys.rotation.install())
    before, replies = two.keyring.keys, []
    step = msgspec.structs.replace(step, registry=one.cluster.version, turn=1)
    cluster.nodes[0].process.run(one.cluster.links.call, two.identity.node_id, step, replies.append)
    assert world.run_until(lambda: bool(replies), 60)
    assert isinstance(replies[0], Unable)
    assert two.keyring.keys == before


def test_a_step_of_an_earlier_turn_is_refused_by_whoever_has_heard_of_a_later_one():
    """Somebody has begun to have a secret used, and is slow; meanwhile somebody else has all others retired."""
    world, cluster = settled(13, 3, own_key_files=True)
    one, two, three = cluster.cores()
    slow, quick = one.handlers.keys.rotation, two.handlers.keys.rotation
    name = finished(world, slow.install())
    turn = finished(world, slow._take_turn("use", name))
    left = finished(world, quick.retire())
    late = [Rekey(one.cluster.version, "use", name=name, turn=turn), Rekey(one.cluster.version, turn=turn)]
    replies = []
    for message in late:
        cluster.nodes[0].process.run(one.cluster.links.call, three.identity.node_id, message, replies.append)
    assert world.run_until(lambda: len(replies) == 2, 60)
    assert all(isinstance(reply, Unable) for reply in replies)
    assert any("somebody else" in reply.reason for reply in replies)
    assert {cluster.keys_of(node.number).names() for node in cluster.nodes} == {(left,)}


@pytest.mark.parametrize("seed", range(6))
def test_of_two_rotations_at_once_both_may_be_refused_and_nobody_is_lost(seed):
    world, cluster = settled(seed, 4, own_key_files=True)
    cluster.network.weather.delays = 0.5
    outcomes: list[object] = []
    for node in cluster.nodes[:2]:
        rotation = node.core.handlers.keys.rotation
        node.process.run(lambda rotation=rotation: ensureDeferred(rotation.rotate()).addBoth(outcomes.append))
    assert world.run_until(lambda: len(outcomes) == 2, 60)
    world.run(world.now_s + 20)  # links that a retired secret has authenticated are replaced meanwhile
    assert cluster.is_settled()
    finished(world, cluster.cores()[2].handlers.keys.rotation.rotate())
    assert len({cluster.keys_of(node.number).names() for node in cluster.nodes}) == 1


@pytest.mark.parametrize("seed", [25, 33, 41, 60])
def test_a_member_that_dies_between_the_steps_of_two_rotations_comes_back(seed):
    """One has a secret used while another has it retired, and a member has heard of the use alone: four of three
    hundred such seeds in which nobody let it in again, before steps were turns."""
    world, cluster = settled(seed, 4, own_key_files=True)
    random = Random(seed)
    cluster.network.weather.delays = 0.5
    one, two, _, victim = random.sample(cluster.nodes, 4)
    kept = finished(world, one.core.handlers.keys.rotation.install())
    other = finished(world, two.core.handlers.keys.rotation.install())
    finished(world, one.core.handlers.keys.rotation.use(kept))

    def begin(node, step):
        rotation = node.core.handlers.keys.rotation
        node.process.run(lambda: ensureDeferred(step(rotation)).addErrback(lambda why: why.trap(RotationRefused)))

    world.later(random.uniform(0, 0.05), lambda: begin(one, Rotation.retire))
    world.later(random.uniform(0, 0.05), lambda: begin(two, lambda rotation: rotation.use(other)))
    world.later(random.uniform(0.01, 0.1), victim.kill)
    world.run(world.now_s + 8)
    victim.start()
    assert world.run_until(cluster.is_settled, 60)


def finished(world: World, coroutine):
    results: list[object] = []
    ensureDeferred(coroutine).addBoth(results.append)
    assert world.run_until(lambda: bool(results), 60)
    assert isinstance(results[0], str | int | None), results[0]
    return results[0]


@pytest.fixture
def three_machines():
    """Three nodes, each with a copy of the key file, as on three machines."""
    cluster = RealCluster.start(1)
    for number in range(2):
        shutil.copy(cluster.folder / "cluster.key", cluster.folder / f"copy-{number}.key")
        cluster.add("--key-file", str(cluster.folder / f"copy-{number}.key"))
    cluster.wait_ready()
    yield cluster
    cluster.close()


def dynakv(cluster: RealCluster, *arguments: str, token: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "DYNAKV_TOKEN": token, "DYNAKV_URL": f"http://{cluster.nodes[0].address}"}
    return subprocess.run([DYNAKV, *arguments], env=env, capture_output=True, text=True, timeout=60)


class Traffic(threading.Thread):
    """Writes and reads through one node after another; keeps what was not answered as it should."""

    def __init__(self, nodes: list[Node], token: str) -> None:
        super().__init__()
        self.nodes, self.token = nodes, token
        self.stopping = threading.Event()
        self.count = 0
        self.wrong: list[object] = []
        self.start()

    def run(self) -> None:
        while not self.stopping.is_set():
            node = self.nodes[self.count % len(self.nodes)]
            self.count += 1
            for answer in (
                node.put("t", f"k{self.count}", {"n": self.count}, self.token),
                node.get("t", f"k{self.count}", self.token),
            ):
                if answer.status not in (200, 201):
                    self.wrong.append(answer)

    def finish(self) -> None:
        self.stopping.set()
        self.join()


@pytest.mark.processes
def test_under_traffic_no_member_and_no_request_is_lost(three_machines):
    cluster = three_machines
    token = cluster.nodes[1].register("alice")
    old = (cluster.folder / "cluster.key").read_text()
    traffic = Traffic(cluster.nodes, token)
    for _ in range(3):
        before = traffic.count
        done = dynakv(cluster, "key", "rotate", token=cluster.admin_token())
        assert done.returncode == 0, done.stderr
        wait_until(lambda before=before: traffic.count > before + 50, 20, "traffic going on")
    traffic.finish()
    assert traffic.wrong == []
    for node in cluster.nodes:
        assert [one["status"] for one in node.request("GET", "/membership").json["nodes"].values()] == ["Active"] * 3
    files = [parse(file.read_text(), "") for file in cluster.folder.glob("*.key")]
    assert len(files) == 3
    assert {keys.cluster for keys in files} == {files[0].cluster}
    assert len(files[0].cluster) == 1
    assert files[0].cluster != parse(old, "").cluster
    for node in cluster.nodes:
        node.kill()
        node.start()
        cluster.wait_ready()
    assert cluster.nodes[2].get("t", "k1", token).status == 200

    stranger = cluster.folder / "old.key"
    stranger.write_text(old)
    stranger.chmod(0o600)
    late = Node(cluster.folder, free_port(), "--key-file", str(stranger), "--join", cluster.nodes[0].address)
    late.start()
    try:
        wait_until(lambda: "another key file" in late.log.read_text(), 20, "refusal")
        assert cluster.nodes[0].active_count() == 3
    finally:
        late.kill()
    check_logs(cluster)


@pytest.mark.processes
def test_step_by_step_and_logging_everybody_out(three_machines):
    cluster = three_machines
    token = cluster.nodes[0].register("alice")
    admin = cluster.admin_token()
    name = dynakv(cluster, "key", "install", token=admin).stdout.split()[-1]
    listing = dynakv(cluster, "key", "list", token=admin).stdout
    assert listing.count(name) == 3
    assert "install it first" in dynakv(cluster, "key", "use", "00000000", token=admin).stderr
    assert dynakv(cluster, "key", "use", name, token=admin).returncode == 0
    assert cluster.nodes[1].request("GET", "/admin/keys", None, admin).status == 200
    assert cluster.nodes[1].register("alice") != token
    assert dynakv(cluster, "key", "retire", "--logout", token=admin).returncode == 0
    for node in cluster.nodes:
        assert node.get("t", "k", token).status == 401
        assert node.request("GET", "/admin/keys", None, admin).status == 401
        assert node.get("t", "k", node.register("alice")).status == 404
    assert cluster.nodes[2].request("GET", "/admin/keys", None, cluster.nodes[2].register("bob")).status == 403
    check_logs(cluster)


@pytest.mark.processes
def test_with_a_member_down_nothing_is_begun(three_machines):
    cluster = three_machines
    admin = cluster.admin_token()
    cluster.nodes[2].kill()
    before = (cluster.folder / "cluster.key").read_text()
    done = dynakv(cluster, "key", "rotate", token=admin)
    assert done.returncode == 1
    assert f"{cluster.nodes[2].address} cannot be reached" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert (cluster.folder / "cluster.key").read_text() == before
    check_logs(cluster)


def test_a_host_whose_key_file_lacks_a_secret_does_not_become_a_member():
    """It would be a member that cannot connect to others once they use that secret, and its links of before end."""
    world, cluster = settled(14, 3, own_key_files=True)
    late = cluster.add()
    cluster.keys_of(late.number)
    finished(world, cluster.cores()[0].handlers.keys.rotation.install())
    late.start()
    world.run(world.now_s + 10)
    assert late.node_id not in cluster.registry().ids
    late.kill()
    cluster.copy_key_file(late.number)
    late.start()
    assert world.run_until(cluster.is_settled, 60)
