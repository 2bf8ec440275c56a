"""One node as a process: started, killed, frozen and thawed at will; its folder stays."""

from __future__ import annotations

import http.client
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import msgspec

ANSWER_S = 1.0
"""For a node to say how it is; one that is well needs a millisecond."""
PEER_PORT_OFFSET = 10_000
"""From a node's port to that of its links."""


class LocalNode:
    """See the module.

    :param folder: where its data and its log are.
    :param seeds: ports of the nodes that it joins.
    :param options: of ``twistd dynakv``, besides.
    :ivar is_frozen: by `freeze`; others may freeze it, too.
    """

    def __init__(
        self, port: int, *, folder: str, key_file: str, seeds: Sequence[int] = (), options: Sequence[str] = ()
    ) -> None:
        self.port = port
        self._folder = folder
        self._key_file = key_file
        self._seeds = [seed for seed in seeds if seed != port]
        self._options = list(options)
        self._process: subprocess.Popen[bytes] | None = None
        self._cut = b"\n"
        self.is_frozen = False

    @property
    def url(self) -> str:
        """Where clients reach it."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def log(self) -> str:
        """The file that it writes its log to."""
        return os.path.join(self._folder, f"node-{self.port}.log")

    @property
    def pid(self) -> int:
        """Of its process; 0 where there is none."""
        return self._process.pid if self._process is not None and self.is_running else 0

    @property
    def is_running(self) -> bool:
        """Whether its process is there, frozen or not."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start its process; whether it serves, `is_ready` says.

        It ends with this process, however that ends; a frozen one, once it is thawed (see `dynatwist.local.leash`).
        """
        twistd = os.path.join(os.path.dirname(sys.executable), "twistd")
        command = [twistd, "-n", "--pidfile=", "--logfile", self.log, "dynakv-local", "--port", str(self.port)]
        command += ["--data-dir", os.path.join(self._folder, str(self.port)), "--key-file", self._key_file]
        for seed in self._seeds:
            command += ["--join", f"127.0.0.1:{seed}"]
        self._process = subprocess.Popen(
            command + self._options,
            stdin=subprocess.PIPE,
            start_new_session=True,  # Ctrl-C is for whoever started it
        )
        self.is_frozen = False
        self._tell_cut()

    def kill(self) -> None:
        """End it as a power cut would, without a word: ``kill -9``."""
        self._signal(signal.SIGKILL)
        self._wait(None)

    def freeze(self) -> None:
        """Have it do nothing at all, until it is thawed: SIGSTOP."""
        self._signal(signal.SIGSTOP)
        self.is_frozen = True

    def thaw(self) -> None:
        """Have it go on: SIGCONT."""
        self._signal(signal.SIGCONT)
        self.is_frozen = False

    def stop(self, timeout_s: float) -> None:
        """End it in order; one that does not end in time is killed."""
        if not self.is_running:
            return
        self.thaw()
        self._signal(signal.SIGTERM)
        try:
            self._wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.kill()

    def cut_off(self, ports: Sequence[int]) -> None:
        """Have nothing that it sends to other nodes reach those of these ports, and only those; over restarts, too."""
        numbers = [str(number) for port in ports for number in (port, port + PEER_PORT_OFFSET)]
        self._cut = " ".join(numbers).encode() + b"\n"
        self._tell_cut()

    def _tell_cut(self) -> None:
        if self._process is None or self._process.stdin is None:
            return
        with suppress(OSError):  # it has ended
            self._process.stdin.write(self._cut)
            self._process.stdin.flush()

    def _wait(self, timeout_s: float | None) -> None:
        if self._process is None:
            return
        self._process.wait(timeout_s)
        if self._process.stdin is not None:
            with suppress(OSError):
                self._process.stdin.close()

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None and self.is_running:
            self._process.send_signal(number)

    def reached(self) -> set[int]:
        """The ports of active members that it has a link with, and its own; none while it does not serve."""
        members = self._ask("/membership") if self.is_ready else None
        nodes = members["nodes"] if members is not None else {}
        return {
            int(address.rpartition(":")[2])
            for address, one in nodes.items()
            if one["status"] == "Active" and one["reachable"]
        }

    @property
    def is_ready(self) -> bool:
        """Whether it serves."""
        return self._ask("/readyz") is not None

    @property
    def is_whole(self) -> bool:
        """Whether it has all that it is to have: then others may go, and nobody misses them."""
        stats = self._ask("/stats")
        return stats is not None and stats["cluster"]["partitions_not_whole"] == 0

    def _ask(self, path: str) -> dict[str, Any] | None:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=ANSWER_S)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            body = answer.read()
            return msgspec.json.decode(body, type=dict[str, Any]) if answer.status == 200 else None
        except (OSError, http.client.HTTPException, msgspec.MsgspecError):
            return None
        finally:
            connection.close()
