"""The files of deploy/ for nginx and HAProxy, run by the real ones with addresses and a certificate of the test's."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from pathlib import Path

import pytest

from .deployed import DEPLOY
from .real import certificate, free_port, wait_until

AROUND = """
daemon off; pid {folder}/pid; error_log {folder}/error.log; worker_processes 1; {user}
events {{ worker_connections 512; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
    include {folder}/dynakv.conf;
}}
"""
"""What a distribution's ``nginx.conf`` has around files such as ours."""
NODES = ("192.0.2.1:6660", "192.0.2.2:6660", "192.0.2.3:6660")
"""In both files."""


class Front:
    """One proxy's process, which speaks TLS to clients.

    :param ports: of the nodes, instead of those in the file.
    """

    def __init__(self, kind: str, folder: Path, ports: list[int]) -> None:
        self.kind, self.host, self.port = kind, "127.0.0.1", free_port()
        self.folder = folder
        folder.mkdir()
        certificate(folder)
        self.ca = str(folder / "cert.pem")
        program = shutil.which(kind, path=f"{os.environ['PATH']}:/usr/sbin")
        if program is None:
            pytest.skip(f"{kind} is not installed; on Debian ./test.sh installs it")
        command = self._nginx(folder, ports) if kind == "nginx" else self._haproxy(folder, ports)
        with (folder / "out.log").open("wb") as out:
            self.process = subprocess.Popen([program, *command], stdout=out, stderr=out)
        wait_until(self._listens, what=f"{kind} listens")

    def _nginx(self, folder: Path, ports: list[int]) -> list[str]:
        text = (DEPLOY / "nginx" / "dynakv.conf").read_text()
        changes = {"listen 443 ssl;": f"listen 127.0.0.1:{self.port} ssl;"}
        for name in ("pem", "key"):
            changes[f"/etc/nginx/kv.example.org.{name}"] = str(folder / {"pem": "cert.pem", "key": "key.pem"}[name])
        (folder / "dynakv.conf").write_text(changed(text, changes, ports))
        user = "user root;" if os.geteuid() == 0 else ""
        (folder / "nginx.conf").write_text(AROUND.format(folder=folder, user=user))
        return ["-c", str(folder / "nginx.conf")]

    def _haproxy(self, folder: Path, ports: list[int]) -> list[str]:
        text = (DEPLOY / "haproxy" / "haproxy.cfg").read_text()
        both = folder / "both.pem"
        both.write_text((folder / "cert.pem").read_text() + (folder / "key.pem").read_text())
        changes = {"bind :443": f"bind 127.0.0.1:{self.port}", "/etc/haproxy/kv.example.org.pem": str(both)}
        (folder / "haproxy.cfg").write_text(changed(text, changes, ports))
        return ["-db", "-f", str(folder / "haproxy.cfg")]

    def _listens(self) -> bool:
        assert self.process.poll() is None, (self.folder / "out.log").read_text()
        with socket.socket() as probe:
            return probe.connect_ex((self.host, self.port)) == 0

    def close(self) -> None:
        self.process.terminate()
        self.process.wait(10)


def changed(text: str, changes: dict[str, str], ports: list[int]) -> str:
    """A file with what its readers are to change."""
    changes = changes | {node: f"127.0.0.1:{port}" for node, port in zip(NODES, ports, strict=True)}
    for old, new in changes.items():
        assert old in text, old
        text = text.replace(old, new)
    return text
