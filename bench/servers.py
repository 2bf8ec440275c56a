"""What is measured: a DynaTwist cluster, any server that speaks its contract, and etcd and Redis where installed."""

from __future__ import annotations

import base64
import json
import shutil
import socket
import ssl
import subprocess
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Protocol

from tests.real import RealCluster, certificate, free_port, wait_until

from .clients import Measured, redis_benchmark, wrk
from .contention import Contract, EtcdGateway, contended

VALUE_BYTES = 100
KEYS = 10_000


class Server(Protocol):
    """Something to measure. Works are named ``PUT``, ``GET``, ``GET one`` and ``batch``."""

    name: str

    def run(
        self, work: str, seconds: int, connections: int, keys: int = KEYS, value_bytes: int = VALUE_BYTES
    ) -> Measured | None:
        """One load; ``None`` for what it does not have."""

    def close(self) -> None:
        """Stop it."""


class Speaker:
    """A server that speaks the contract."""

    def __init__(self, name: str, url: str, token: str) -> None:
        self.name, self.url, self.token = name, url, token

    def run(
        self, work: str, seconds: int, connections: int, keys: int = KEYS, value_bytes: int = VALUE_BYTES
    ) -> Measured | None:
        """See `Server`. ``PUT one`` and ``PUT all`` are levels of writing; ``PUT named`` is with Idempotency-Key."""
        method, _, level = work.partition(" ")
        if method == "batch":
            count = 100
            found = wrk(
                "batch.lua", self.url, seconds, connections, self.token, str(keys), str(value_bytes), str(count)
            )
            return Measured(found.rate * count, found.p50_ms, found.p99_ms, found.errors)
        named = "named" if level == "named" else ""
        query = f"?{'w' if method == 'PUT' else 'r'}={level}" if level and not named else ""
        told = (self.token, method, str(keys), str(value_bytes), query, named)
        return wrk("kv.lua", self.url, seconds, connections, *told)

    def fill(self, keys: int, value_bytes: int = VALUE_BYTES) -> None:
        """Put k1 to k`keys`, in batches."""
        value = {"v": "x" * (value_bytes - 8)}
        size = max(1, min(1000, 500_000 // value_bytes))
        for first in range(1, keys + 1, size):
            ops = [{"op": "put", "key": f"k{n}", "value": value} for n in range(first, min(keys, first + size - 1) + 1)]
            request = urllib.request.Request(f"{self.url}/bench/batch", json.dumps({"ops": ops}).encode())
            request.add_header("Authorization", f"Bearer {self.token}")
            with urllib.request.urlopen(request, timeout=60) as answer:
                assert all(one["status"] == 201 for one in json.load(answer)["results"])

    def close(self) -> None:
        """It is somebody else's."""


class DynaTwist(Speaker):
    """A cluster of its own on loopback, with default options unless others are given."""

    def __init__(self, nodes: int = 3, *options: str, folder: str | None = None, name: str = "DynaTwist") -> None:
        self.cluster = RealCluster.start(nodes, *options, folder=Path(tempfile.mkdtemp(dir=folder)))
        node = self.cluster.nodes[0]
        super().__init__(name, f"http://127.0.0.1:{node.port}", node.register("bench", "a long secret"))

    def over_tls(self) -> Speaker:
        """Restart the second node with HTTPS, and speak to that one."""
        node = self.cluster.nodes[1]
        node.stop()
        node.start(*certificate(self.cluster.folder))
        url = f"https://127.0.0.1:{node.port}"
        trust = ssl.create_default_context(cafile=str(self.cluster.folder / "cert.pem"))
        trust.check_hostname = False

        def is_ready() -> bool:
            try:
                return urllib.request.urlopen(f"{url}/readyz", timeout=2, context=trust).status == 200
            except OSError:
                return False

        wait_until(is_ready, 20)
        return Speaker("DynaTwist, HTTPS", url, self.token)

    def make_strong(self) -> None:
        """Have the table that is measured be linearizable; it has to be empty."""
        token = self.cluster.admin_token()
        answer = self.cluster.nodes[0].request("PUT", "/admin/tables/bench", {"consistency": "strong"}, token)
        assert answer.status == 200, answer.body

    def contended(self, seconds: int, clients: int, *, waits: bool) -> Measured:
        """One key that many change; see `bench.contention`."""
        node = self.cluster.nodes[0]
        assert node.put("bench", "counter", {"n": 0}, self.token).status == 201
        return contended(node.port, Contract(self.token, "/bench/key/counter"), seconds, clients, waits=waits)

    def close(self) -> None:
        """Stop it."""
        self.cluster.close()


def _wait_for(port: int) -> None:
    end_s = time.monotonic() + 20
    while time.monotonic() < end_s:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise TimeoutError(f"nothing listens on port {port}")


class _Processes:
    def __init__(self, folder: str | None) -> None:
        self.folder = Path(tempfile.mkdtemp(dir=folder))
        self.running: list[subprocess.Popen[bytes]] = []

    def start(self, *command: str) -> None:
        with (self.folder / "log").open("ab") as log:
            self.running.append(subprocess.Popen(command, stdout=log, stderr=log, cwd=self.folder))

    def close(self) -> None:
        for process in self.running:
            process.kill()
            process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


class Etcd:
    """Three etcd nodes; clients use the HTTP gateway of one."""

    name = "etcd"

    def __init__(self, folder: str | None = None) -> None:
        self._processes = _Processes(folder)
        ports = [(free_port(), free_port()) for _ in range(3)]
        initial = ",".join(f"n{n}=http://127.0.0.1:{peer}" for n, (_, peer) in enumerate(ports))
        for number, (client, peer) in enumerate(ports):
            urls = f"http://127.0.0.1:{client}", f"http://127.0.0.1:{peer}"
            self._processes.start(
                "etcd", "--name", f"n{number}", "--data-dir", f"{self._processes.folder}/{number}",
                "--listen-client-urls", urls[0], "--advertise-client-urls", urls[0],
                "--listen-peer-urls", urls[1], "--initial-advertise-peer-urls", urls[1],
                "--initial-cluster", initial, "--log-level", "error",
            )  # fmt: skip
        for client, _ in ports:
            _wait_for(client)
        self._port = ports[0][0]
        self._url = f"http://127.0.0.1:{self._port}"
        time.sleep(2)  # for its election

    def run(
        self, work: str, seconds: int, connections: int, keys: int = KEYS, value_bytes: int = VALUE_BYTES
    ) -> Measured | None:
        """See `Server`. Its ``GET one`` is a serializable read."""
        if work not in ("PUT", "GET", "GET one"):
            return None
        mode = "serializable" if work == "GET one" else "linearizable"
        return wrk("etcd.lua", self._url, seconds, connections, work[:3], str(keys), str(value_bytes), mode)

    def contended(self, seconds: int, clients: int, *, waits: bool) -> Measured:
        """One key that many change, by transactions; see `bench.contention`."""
        body = json.dumps({"key": EtcdGateway.KEY, "value": base64.b64encode(b"0").decode()}).encode()
        with urllib.request.urlopen(f"{self._url}/v3/kv/put", body, timeout=5) as answer:
            assert answer.status == 200
        return contended(self._port, EtcdGateway(), seconds, clients, waits=waits)

    def close(self) -> None:
        """Stop it."""
        self._processes.close()


class Redis:
    """A Redis that syncs its append-only file at every write, with two replicas that follow it."""

    name = "Redis"

    def __init__(self, folder: str | None = None) -> None:
        self._processes = _Processes(folder)
        ports = [free_port() for _ in range(3)]
        for port in ports:
            options = ["--port", str(port), "--appendonly", "yes", "--appendfsync", "always", "--save", ""]
            options += ["--appenddirname", f"aof-{port}", "--dbfilename", f"{port}.rdb"]
            if port != ports[0]:
                options += ["--replicaof", "127.0.0.1", str(ports[0])]
            self._processes.start("redis-server", *options)
        for port in ports:
            _wait_for(port)
        self._port = ports[0]
        time.sleep(2)  # for its replicas' first copy

    def run(
        self, work: str, seconds: int, connections: int, keys: int = KEYS, value_bytes: int = VALUE_BYTES
    ) -> Measured | None:
        """See `Server`. It reads one copy only, and acknowledges before its replicas have a write."""
        if work not in ("PUT", "GET one"):
            return None
        method = "set" if work == "PUT" else "get"
        return redis_benchmark(self._port, seconds, connections, method, keys, value_bytes)

    def close(self) -> None:
        """Stop it."""
        self._processes.close()
