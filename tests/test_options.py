"""Starting a node: options, file, environment, and one line for whatever is wrong."""

from __future__ import annotations

import os
import socket
import subprocess
import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynatwist.config.node import NodeConfig
from dynatwist.config.sources import load
from dynatwist.config.texts import address
from dynatwist.errors import ConfigError
from dynatwist.storage.durability import Durability
from dynatwist.storage.keyfile import parse

from .real import TWISTD, Node, RealCluster, free_port, wait_until


def refused(*options, **environment):
    """What a start says on stderr, when it is refused."""
    env = {**os.environ, **environment}
    done = subprocess.run(
        [TWISTD, "-n", "dynakv", *options], capture_output=True, text=True, timeout=20, env=env, cwd="/"
    )
    assert done.returncode == 1
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("dynakv: ")
    assert "Usage" not in done.stdout
    return lines[0]


class TestRefusals:
    @pytest.mark.processes
    @pytest.mark.parametrize(
        ("options", "word"),
        [
            (["--port", "none"], "--port"),
            (["--port", "0"], "--port"),
            (["--port", "70000"], "--port"),
            (["--port", "60000"], "--peer-port"),
            (["--port", "7000", "--peer-port", "7000"], "--peer-port"),
            (["--join", "nowhere"], "HOST:PORT"),
            (["--join", "host:0"], "--join"),
            (["--replicas", "0"], "--replicas"),
            (["--durability", "maybe"], "fsync, interval or none"),
            (["--lone-after", "-1"], "--lone-after"),
            (["--interface", "0.0.0.0"], "--advertise"),
            (["--interface", "example"], "--interface"),
            (["--tls-cert", "/dev/null"], "--tls-key"),
            (["--tls-cert", "/no/such", "--tls-key", "/no/such"], "/no/such"),
            (["--config", "/no/such.toml"], "/no/such.toml"),
            (["--cors-origin", "https://app.example.org/path"], "--cors-origin"),
            (["--nonsense"], "nonsense"),
            (["extra"], "extra"),
            (["--key-file", "/proc/version"], "/proc/version"),
            (["--data-dir", "/dev/null/x"], "/dev/null/x"),
        ],
    )
    def test_bad_options(self, options, word, tmp_path):
        base = ["--data-dir", str(tmp_path / "d"), "--key-file", str(tmp_path / "k")]
        given_names = {option for option in options if option.startswith("--")}
        rest = [part for n in (0, 2) for part in base[n : n + 2] if base[n] not in given_names]
        assert word in refused(*options, *rest)

    @pytest.mark.processes
    @pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM])
    def test_a_port_in_use(self, kind, tmp_path):
        port = free_port()
        with socket.socket(socket.AF_INET, kind) as taken:
            taken.bind(("127.0.0.1", port))
            if kind == socket.SOCK_STREAM:
                taken.listen()
            line = refused("--port", str(port), "--data-dir", str(tmp_path / "d"), "--key-file", str(tmp_path / "k"))
        assert str(port) in line

    @pytest.mark.processes
    def test_a_data_folder_in_use(self):
        cluster = RealCluster.start(1)
        try:
            data, key = str(cluster.nodes[0].data), str(cluster.folder / "cluster.key")
            line = refused("--port", str(free_port()), "--data-dir", data, "--key-file", key)
            assert "in use by another node" in line
        finally:
            cluster.close()


class TestSources:
    def test_order(self, tmp_path):
        file = tmp_path / "c.toml"
        file.write_text(
            'port = 7001\nreplicas = 5\ndurability = "none"\njoin = ["a:1", "b:2"]\nadmin-password = "long enough"\n'
        )
        environment = {"DYNAKV_REPLICAS": "2", "DYNAKV_CONFIG": str(file), "DYNAKV_ANONYMOUS_READ": "yes"}
        config = load({"port": "7003"}, environment)
        assert (config.port, config.replicas, config.durability) == (7003, 2, Durability.NONE)
        assert config.join == (("a", 1), ("b", 2))
        assert config.anonymous_read
        assert config.admin_password == "long enough"
        assert "long enough" not in repr(config)

    def test_a_list_in_the_environment(self):
        config = load({}, {"DYNAKV_CORS_ORIGIN": "https://a.example, HTTP://b.example:8080"})
        assert config.cors_origins == ("https://a.example", "http://b.example:8080")
        with pytest.raises(ConfigError, match="DYNAKV_CORS_ORIGIN"):
            load({}, {"DYNAKV_CORS_ORIGIN": "https://a.example,null"})

    def test_defaults(self):
        config = load({}, {})
        assert config == NodeConfig()
        assert config.actual_peer_port == 16660
        assert config.actual_data_dir.endswith("/dynakv/6660")

    @pytest.mark.parametrize("text", ["nonsense = 1", "port = [1, 2]", "port = {a = 1}", "port =", "port = 'x'"])
    def test_bad_files(self, tmp_path, text):
        file = tmp_path / "c.toml"
        file.write_text(text)
        with pytest.raises(ConfigError) as caught:
            load({"config": str(file)}, {})
        assert str(file) in str(caught.value)
        assert "\n" not in str(caught.value)

    @pytest.mark.parametrize(
        ("name", "near"), [("DYNAKV_DURABILTY", "DYNAKV_DURABILITY"), ("DYNAKV_JION", "DYNAKV_JOIN")]
    )
    def test_a_misspelt_variable_is_told_from_none(self, name, near):
        with pytest.raises(ConfigError, match=f"{name}: there is no such setting; did you mean {near}?"):
            load({}, {name: "none"})

    def test_what_kubernetes_tells_of_a_service_of_that_name_is_no_setting(self):
        told = {
            "DYNAKV_PORT": "tcp://10.0.0.1:6661", "DYNAKV_SERVICE_HOST": "10.0.0.1", "DYNAKV_SERVICE_PORT_HTTP": "6661",
            "DYNAKV_PORT_6661_TCP_ADDR": "10.0.0.1", "DYNAKV_PEERS_SERVICE_PORT": "16661",
        }  # fmt: skip
        assert load({}, told) == NodeConfig()
        assert load({}, {"DYNAKV_PORT": "7001"}).port == 7001

    def test_what_the_command_reads_is_no_setting_and_no_mistake(self):
        assert load({}, {"DYNAKV_URL": "127.0.0.1:1", "DYNAKV_TOKEN": "x", "PATH": "/"}) == NodeConfig()

    @given(st.text(max_size=30))
    def test_any_address_is_read_or_refused(self, text):
        try:
            host, port = address(text)
        except ConfigError:
            return
        assert host
        assert 1 <= port <= 65535


@pytest.mark.processes
class TestCheckConfig:
    def check(self, *options, **environment):
        command = [TWISTD, "dynakv", "--check-config", *options]
        env = {**os.environ, **environment}
        return subprocess.run(command, capture_output=True, text=True, timeout=20, env=env, cwd="/")

    def test_it_says_what_was_given_and_where_and_makes_nothing(self, tmp_path):
        file = tmp_path / "c.toml"
        file.write_text('replicas = 5\nadmin-password = "long enough"\n')
        options = ["--config", str(file), "--data-dir", str(tmp_path / "d"), "--key-file", str(tmp_path / "k")]
        done = self.check(*options, "--port", str(free_port()), DYNAKV_DURABILITY="none", DYNAKV_ANONYMOUS_READ="yes")
        assert (done.returncode, done.stderr) == (0, "")
        assert f"replicas = 5   ({file})\n" in done.stdout
        assert "durability = none   (DYNAKV_DURABILITY)\n" in done.stdout
        assert f"data-dir = {tmp_path / 'd'}   (--data-dir)\n" in done.stdout
        assert "admin-password = (hidden)" in done.stdout
        assert done.stdout.splitlines()[-1].startswith("ok")
        assert [one.name for one in tmp_path.iterdir()] == ["c.toml"]

    def test_each_fault_is_a_line(self, tmp_path):
        file = tmp_path / "c.toml"
        file.write_text('colour = "red"\nreplicas = 0\n')
        done = self.check("--config", str(file), "--port", "x", DYNAKV_DURABILTY="none", DYNAKV_LONE_AFTER="soon")
        assert (done.returncode, done.stdout) == (1, "")
        words = [
            "unknown setting 'colour'",
            "replicas 0",
            "did you mean DYNAKV_DURABILITY?",
            "LONE_AFTER soon",
            "--port x",
        ]
        for line, word in zip(done.stderr.splitlines(), words, strict=True):
            assert word in line
        key = tmp_path / "key"
        key.write_text("no key")
        done = self.check("--interface", "0.0.0.0", "--key-file", str(key), "--data-dir", "/etc/passwd/x")
        for line, word in zip(
            done.stderr.splitlines(), ["--advertise", "not a dynakv key file", "no folder"], strict=True
        ):
            assert word in line

    def test_a_node_that_runs_is_no_fault(self):
        cluster = RealCluster.start(1)
        try:
            node = cluster.nodes[0]
            key = str(node.folder / "cluster.key")
            done = self.check("--port", str(node.port), "--data-dir", str(node.data), "--key-file", key)
            assert (done.returncode, done.stderr) == (0, "")
        finally:
            cluster.close()

    @pytest.mark.parametrize(
        ("options", "says"),
        [
            (["--data-dir", "/etc/passwd/x"], "/etc/passwd is no folder"),
            (["--tls-cert", "/etc/passwd", "--tls-key", "/etc/passwd"], "no certificate in PEM"),
            (["--tls-cert", "/no/such", "--tls-key", "/etc/passwd"], "/no/such: no such file"),
            (["--key-file", "/etc/hostname"], "/etc/hostname"),
        ],
    )
    def test_what_a_start_would_stumble_over_is_a_line(self, options, says):
        done = self.check(*options, "--port", str(free_port()))
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
        assert says in done.stderr


@pytest.mark.processes
def test_several_nodes_from_one_folder_without_a_pid_file(tmp_path):
    (tmp_path / "one").mkdir()
    cluster = RealCluster.start(3, folder=tmp_path / "one")
    try:
        assert not [file.name for file in (tmp_path / "one").iterdir() if file.suffix == ".pid"]
        assert {file.stat().st_mode & 0o777 for file in (tmp_path / "one").glob("cluster.key")} == {0o600}
    finally:
        cluster.close()


@pytest.mark.processes
def test_two_first_starts_at_once_agree_on_one_key_file(tmp_path):
    nodes = [Node(tmp_path, free_port()) for _ in range(3)]
    for node in nodes:
        node.start()
    try:
        for node in nodes:
            wait_until(node.is_ready)
        password = parse((tmp_path / "cluster.key").read_text(), "").admin_password()
        token = nodes[0].request("POST", "/admin/login", {"password": password}).json["token"]
        assert nodes[1].request("GET", "/admin/members", token=token).status == 200
    finally:
        for node in nodes:
            node.kill()


@pytest.mark.processes
def test_a_wheel_brings_the_plugin(tmp_path):
    import sys
    import zipfile
    from pathlib import Path

    root = Path(__file__).parent.parent
    subprocess.run(
        [
            sys.executable,
            "-m",
            "pip",
            "wheel",
            "-q",
            "--no-deps",
            "--no-build-isolation",
            "-w",
            str(tmp_path),
            str(root),
        ],
        check=True,
        capture_output=True,
    )
    wheel = next(tmp_path.glob("*.whl"))
    names = zipfile.ZipFile(wheel).namelist()
    assert "twisted/plugins/dynakv_plugin.py" in names
    assert "dynatwist/web/dashboard/app.js" in names
    assert "twisted/__init__.py" not in names
    assert tomllib.loads((root / "pyproject.toml").read_text())["project"]["name"] == "dynatwist"
