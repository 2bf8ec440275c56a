"""Real twistd processes on real sockets, for tests. No sleeps: wait for the condition, with a deadline."""

from __future__ import annotations

import datetime
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import quote

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from dynatwist.storage.keyfile import parse

TWISTD = str(Path(sys.executable).with_name("twistd"))
PORTS, PORTS_PER_WORKER = 12000, 3000
"""With the peer ports, 10000 above, below the range of outgoing connections; three processes of tests share them."""
_worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:]) % 3
_next_port = PORTS + _worker * PORTS_PER_WORKER + os.getpid() % 100 * 20


def wait_until(condition: Callable[[], Any], limit_s: float = 10.0, what: str = "") -> Any:
    """The condition's first true answer; fails after a deadline."""
    end_s = time.monotonic() + limit_s
    while True:
        found = condition()
        if found:
            return found
        assert time.monotonic() < end_s, f"not within {limit_s} s: {what or condition}"
        time.sleep(0.02)


def free_port() -> int:
    """A port P such that P (TCP and UDP) and P + 10000 are free."""
    global _next_port
    while True:
        _next_port += 1
        try:
            for kind, port in ((1, _next_port), (2, _next_port), (1, _next_port + 10000)):
                with socket.socket(socket.AF_INET, kind) as probe:
                    probe.bind(("127.0.0.1", port))
        except OSError:
            continue
        return _next_port


@dataclass
class Answer:
    """An HTTP answer."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Node:
    """One twistd process, started and killed at will; its folder stays.

    :ivar host: where it is reached.
    :ivar before: command that it is started by.
    :ivar program: twistd, or what takes its place.
    """

    def __init__(self, folder: Path, port: int, *options: str) -> None:
        self.port = port
        self.folder = folder
        self.data = folder / f"node-{port}"
        self.log = folder / f"node-{port}.log"
        self.options = list(options)
        self.process: subprocess.Popen[bytes] | None = None
        self.env = dict(os.environ)
        self.host = "127.0.0.1"
        self.before: tuple[str, ...] = ()
        self.program: tuple[str, ...] = (TWISTD,)

    @property
    def address(self) -> str:
        return f"{self.host}:{self.port}"

    def start(self, *more: str) -> None:
        command = [*self.before, *self.program, "-n", "dynakv", "--port", str(self.port), "--data-dir", str(self.data)]
        command += ["--key-file", str(self.folder / "cluster.key"), *self.options, *more]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(command, cwd=self.folder, stdout=log, stderr=log, env=self.env)

    def signal(self, number: int) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def freeze(self) -> None:
        self.signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self.signal(signal.SIGCONT)

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def stop(self) -> int:
        assert self.process is not None
        self.process.terminate()
        return self.process.wait(15)

    def request(
        self,
        method: str,
        path: str,
        body: Any = None,
        token: str | None = None,
        timeout_s: float = 10.0,
        **headers: str,
    ) -> Answer:
        connection = http.client.HTTPConnection(self.host, self.port, timeout=timeout_s)
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if token:
            sent["Authorization"] = f"Bearer {token}"
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        try:
            connection.request(method, path, data, sent)
            answer = connection.getresponse()
            return Answer(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read())
        finally:
            connection.close()

    def try_request(self, method: str, path: str, *rest: Any, **more: Any) -> Answer | None:
        try:
            return self.request(method, path, *rest, **more)
        except (OSError, http.client.HTTPException):
            return None

    def is_ready(self) -> bool:
        answer = self.try_request("GET", "/readyz", timeout_s=2.0)
        return answer is not None and answer.status == 200

    def active_count(self) -> int:
        answer = self.try_request("GET", "/membership", timeout_s=2.0)
        return answer.json["active_count"] if answer is not None else 0

    def stats(self) -> Any:
        return self.request("GET", "/stats").json

    def register(self, name: str, secret: str = "a secret") -> str:
        answer = self.request("POST", f"/auth/{quote(name, safe='')}", {"secret": secret})
        assert answer.status in (200, 201), answer
        return answer.json["token"]

    def put(self, table: str, key: str, value: Any, token: str, query: str = "") -> Answer:
        return self.request("PUT", f"{path(table, key)}{query}", value, token)

    def get(self, table: str, key: str, token: str, query: str = "") -> Answer:
        return self.request("GET", f"{path(table, key)}{query}", None, token)

    def delete(self, table: str, key: str, token: str) -> Answer:
        return self.request("DELETE", path(table, key), None, token)


def path(table: str, key: str) -> str:
    return f"/{quote(table, safe='')}/key/{quote(key, safe='')}"


def certificate(folder: Path) -> list[str]:
    """Options for HTTPS, with a certificate of its own for this machine, ``cert.pem``."""
    names = x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.IPAddress(ip_address("127.0.0.1"))])
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        .add_extension(names, critical=False).serial_number(1).not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1)).sign(key, hashes.SHA256())
    )  # fmt: skip
    (folder / "cert.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "key.pem").write_bytes(pem)
    return ["--tls-cert", str(folder / "cert.pem"), "--tls-key", str(folder / "key.pem")]


@dataclass
class RealCluster:
    """Some nodes in one folder."""

    folder: Path
    nodes: list[Node] = field(default_factory=list)

    @classmethod
    def start(cls, count: int, *options: str, folder: Path | None = None) -> RealCluster:
        cluster = cls(folder or Path(tempfile.mkdtemp(prefix="dynakv-test-")))
        try:
            for _ in range(count):
                cluster.add(*options)
            cluster.wait_ready()
        except BaseException:  # whoever gives it up has nothing by which to end its nodes
            cluster.close()
            raise
        return cluster

    def add(self, *options: str) -> Node:
        seed = ("--join", self.nodes[0].address) if self.nodes else ()
        node = Node(self.folder, free_port(), *options, *seed)
        self.nodes.append(node)
        node.start()
        return node

    def wait_ready(self, limit_s: float = 20.0) -> None:
        wait_until(
            lambda: all(
                node.is_ready()
                and node.active_count() == len(self.nodes)
                and node.stats()["cluster"]["members"] == len(self.nodes)
                and not node.stats()["cluster"]["changing"]
                for node in self.nodes
            ),
            limit_s,
            "all nodes ready and in one cluster",
        )

    def admin_token(self) -> str:
        keys = parse((self.folder / "cluster.key").read_text(), "")
        answer = self.nodes[0].request("POST", "/admin/login", {"password": keys.admin_password()})
        return answer.json["token"]

    def logs(self) -> str:
        return "".join(node.log.read_text(errors="replace") for node in self.nodes if node.log.exists())

    def close(self) -> None:
        for node in self.nodes:
            if node.process is not None and node.process.poll() is None:
                node.process.kill()
                node.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


class Writer(threading.Thread):
    """Writes while other things happen, at some nodes in turn; remembers what was acknowledged."""

    def __init__(self, nodes: list[Node], token: str) -> None:
        super().__init__(daemon=True)
        self.nodes, self.token = nodes, token
        self.acknowledged: dict[str, int] = {}
        self.errors: list[Answer] = []
        self.stopping = False

    def run(self) -> None:
        number = 0
        while not self.stopping:
            number += 1
            node = self.nodes[number % len(self.nodes)]
            answer = node.try_request("PUT", f"/t/key/w{number % 300}", {"n": number}, self.token)
            if answer is not None and answer.status == 201:
                self.acknowledged[f"w{number % 300}"] = number
            elif answer is not None:
                self.errors.append(answer)

    def finish(self) -> dict[str, int]:
        self.stopping = True
        self.join()
        assert self.acknowledged
        return self.acknowledged


def check_logs(cluster: RealCluster, *secrets: str) -> None:
    """No traceback, and none of some words, in any log."""
    logs = cluster.logs()
    assert "Traceback" not in logs, logs[max(0, logs.find("Traceback") - 500) :][:3000]
    for secret in secrets:
        assert secret not in logs


class Listener(threading.Thread):
    """An SSE listener; ``events`` are the data lines, decoded."""

    def __init__(self, node: Node, table: str, key: str, token: str, **headers: str) -> None:
        super().__init__(daemon=True)
        self.events: list[Any] = []
        self.ids: list[str] = []
        self.names: list[str] = []
        self._connection = http.client.HTTPConnection("127.0.0.1", node.port, timeout=60)
        sent = {"Authorization": f"Bearer {token}"} | {name.replace("_", "-"): value for name, value in headers.items()}
        self._connection.request("GET", f"/{table}/subscribe/{quote(key, safe='')}", headers=sent)
        self._socket = self._connection.sock
        self._answer = self._connection.getresponse()
        assert self._answer.status == 200, self._answer.read()
        assert self._answer.getheader("content-type", "").startswith("text/event-stream")
        self.start()

    def run(self) -> None:
        try:
            for line in self._lines():
                if line.startswith("data: "):
                    self.events.append(json.loads(line[6:]))
                elif line.startswith("id: "):
                    self.ids.append(line[4:])
                elif line.startswith("event: "):
                    self.names.append(line[7:])
        except (OSError, ValueError, AttributeError, http.client.HTTPException):
            return

    def _lines(self) -> Iterator[str]:
        while line := self._answer.readline():
            yield line.decode().rstrip("\n")

    def close(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
