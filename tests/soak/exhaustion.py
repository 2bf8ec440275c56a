"""What runs out, and what goes on all the same: on connections of before, reads, deletes and logouts."""

from __future__ import annotations

import http.client
import itertools
import json
import os
import resource
from contextlib import suppress

from tests.real import Answer, path

from .hosts import Host
from .report import Report

TABLE = "ballast"
PIECE_BYTES = 512 << 10
MOST_PIECES = 400
"""More than all nodes of the soak take; see `tests.soak.hosts.MEMORY_BYTES`."""
_numbers = itertools.count()


class Guest:
    """A user with a connection of before, who had something written when there was room."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._name = f"guest{next(_numbers)}"
        self._path = path(TABLE, self._name)
        self._token = ""
        self._connection = http.client.HTTPConnection(host.node.host, host.node.port, timeout=5)
        self._token = self._ask("POST", f"/auth/{self._name}", {"secret": "a long secret"}).json["token"]
        assert self._ask("PUT", self._path, {"n": 1}).status == 201

    def _ask(self, method: str, where: str, body: object = None) -> Answer:
        headers = {"Authorization": f"Bearer {self._token}"} if self._token else {}
        self._connection.request(method, where, json.dumps(body) if body is not None else None, headers)
        answer = self._connection.getresponse()
        return Answer(answer.status, dict(answer.getheaders()), answer.read())

    def check(self, report: Report, what: str) -> None:
        """Reads, deletes and a logout go on."""
        for method, where in (("GET", self._path), ("DELETE", self._path), ("POST", f"/auth/{self._name}/logout")):
            try:
                answer = self._ask(method, where)
                found = f"{answer.status} {answer.body[:120]!r}" if answer.status != 200 else ""
            except (OSError, http.client.HTTPException) as error:
                found = repr(error)
            if found:
                report.is_wrong(f"with {what} exhausted at {self._host.node.address}, {method} {where}: {found}")
            report.note(f"with {what} exhausted: {method} went on" if not found else f"with {what}: {method} did not")
        self._connection.close()


class Ballast:
    """Values of one user, until a node takes no more."""

    def __init__(self, host: Host, token: str) -> None:
        self._host, self._token = host, token
        self._names: list[str] = []

    def take_all(self) -> bool:
        """Write until the node says that it is full; false when it never does."""
        value = {"v": "x" * PIECE_BYTES}
        for _ in range(MOST_PIECES):
            name = f"piece{next(_numbers)}"
            answer = self._host.node.try_request("PUT", path(TABLE, name), value, self._token)
            if answer is not None and answer.status in (200, 201):
                self._names.append(name)
            elif answer is not None and answer.status == 507:
                return True
        return False

    def free(self, hosts: list[Host]) -> list[str]:
        """Delete all of it; what could not be."""
        left = []
        for name in self._names:
            answers = (one.node.try_request("DELETE", path(TABLE, name), None, self._token) for one in hosts)
            if not any(answer is not None and answer.status in (200, 404) for answer in answers):
                left.append(name)
        self._names = left
        return left


def take_descriptors(host: Host) -> tuple[int, int]:
    """A process may open no more than it has; answers what it might before."""
    assert host.node.process is not None
    pid = host.node.process.pid
    before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (len(os.listdir(f"/proc/{pid}/fd")), before[1]))
    return before


def give_descriptors(host: Host, before: tuple[int, int]) -> None:
    """It may open as many as before."""
    if host.node.process is not None:
        with suppress(ProcessLookupError):
            resource.prlimit(host.node.process.pid, resource.RLIMIT_NOFILE, before)
