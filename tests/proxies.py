"""nginx and HAProxy from Debian's packages, in front of a node; they share its connections among their clients."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from pathlib import Path

import pytest

from .real import free_port, wait_until

NGINX = """
daemon off; pid {folder}/pid; error_log {folder}/error.log; worker_processes 1; {user}
events {{ worker_connections 512; }}
http {{
    access_log off;
    log_format forwarded '$upstream_status $request_method $request_uri';
    client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
    map $http_upgrade $connection_upgrade {{ default upgrade; '' ''; }}
    upstream node {{ server 127.0.0.1:{node}; keepalive 4; }}
    server {{
        listen 127.0.0.1:{port};
        access_log {folder}/access.log forwarded;
        underscores_in_headers on; ignore_invalid_headers off; client_max_body_size 16m;
        location / {{
            proxy_pass http://node; proxy_http_version 1.1; proxy_buffering off; proxy_request_buffering off;
            proxy_next_upstream off; proxy_read_timeout 60s;
            proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection $connection_upgrade;
            proxy_set_header Host $http_host; proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
        }}
    }}
}}
"""
HAPROXY = """
global
    log stdout format raw local0
defaults
    mode http
    log global
    log-format "%s %HM %HU"
    option forwardfor
    option http-keep-alive
    option abortonclose
    timeout connect 5s
    timeout client 60s
    timeout server 60s
    timeout tunnel 60s
    retries 0
frontend clients
    bind 127.0.0.1:{port}
    {lenient}
    default_backend nodes
backend nodes
    http-reuse always
    server node 127.0.0.1:{node}
"""


class Proxy:
    """One proxy's process; asked as if it were the node.

    :ivar log: has a line for each request: the answer of the node or the node's name, or ``-`` or ``<NOSRV>`` where the
        request went to none; its method, and its path.
    """

    def __init__(self, kind: str, folder: Path, node_port: int) -> None:
        self.host, self.port = "127.0.0.1", free_port()
        folder.mkdir()
        name = "nginx" if kind == "nginx" else "haproxy"
        program = shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin")
        if program is None:
            pytest.skip(f"{name} is not installed; on Debian ./test.sh installs it")
        user = "user root;" if os.geteuid() == 0 else ""
        lenient = "option accept-invalid-http-request" if kind == "lenient haproxy" else ""
        text = NGINX if name == "nginx" else HAPROXY
        (folder / "conf").write_text(
            text.format(folder=folder, port=self.port, node=node_port, user=user, lenient=lenient)
        )
        options = ["-c"] if name == "nginx" else ["-db", "-f"]
        self.log = folder / ("access.log" if name == "nginx" else "out.log")
        with (folder / "out.log").open("wb") as out:
            self.process = subprocess.Popen([program, *options, str(folder / "conf")], stdout=out, stderr=out)
        wait_until(self._listens, what=f"{kind} listens: {(folder / 'out.log').read_text()}")

    def _listens(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex((self.host, self.port)) == 0

    def forwarded(self) -> list[str]:
        """What it took for requests and forwarded: their methods and paths."""
        lines = self.log.read_text(errors="replace").splitlines()
        return [line.partition(" ")[2] for line in lines if not line.startswith(("- ", "<NOSRV> ", "["))]

    def close(self) -> None:
        self.process.terminate()
        self.process.wait(10)
