"""Hosts for real nodes: a network namespace and a small file system each, where this machine allows; else loopback."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

from tests.real import Node, free_port

from .circumstances import VARIABLE, Circumstances

NET = "10.177.0"
BRIDGE = "dksoak"
DISK_MB = 320
MEMORY_BYTES = 40 << 20
"""Of records in a node: several times what the clients write, and soon spent by whoever wants to."""


def run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)


def can_isolate() -> bool:
    """Whether namespaces and mounts can be made here."""
    if os.geteuid() != 0:
        return False
    try:
        run("ip", "netns", "add", "dksoak-try")
        run("ip", "netns", "del", "dksoak-try")
    except (OSError, subprocess.CalledProcessError):
        return False
    return True


def under(circumstances: Circumstances, node: Node) -> None:
    """Have a node's process, from its next start on, go by these clocks and this disk."""
    root = str(Path(__file__).resolve().parents[2])
    node.program = (sys.executable, "-m", "tests.soak.process")
    node.env["PYTHONPATH"] = os.pathsep.join(filter(None, (root, node.env.get("PYTHONPATH"))))
    node.env[VARIABLE] = str(circumstances.path)


class Host:
    """One node on a host of its own.

    :ivar isolated: whether it has a namespace and a small disk; without, it is a process on loopback.
    :ivar struck: the faults that strike it now.
    """

    def __init__(self, number: int, folder: Path, *, isolated: bool, join: str | None, replicas: int) -> None:
        self.number, self.isolated = number, isolated
        self.struck: set[str] = set()
        self.circumstances = Circumstances(folder / f"circumstances-{number}")
        self.space = f"dksoak{number}"
        self.address = f"{NET}.{number + 1}" if isolated else "127.0.0.1"
        join_options = ("--join", join) if join else ()
        port = 6000 if isolated else free_port()
        place = ("--interface", self.address) if isolated else ()
        pace = ("--tombstone-grace", "5", "--snapshot-interval", "5")
        bounds = ("--replicas", str(replicas), "--max-memory", str(MEMORY_BYTES))
        self.node = Node(folder, port, *pace, *bounds, *place, *join_options)
        under(self.circumstances, self.node)
        self.node.host = self.address
        self.node.data = folder / f"node-{number}" / "data"
        self.node.log = folder / f"node-{number}.log"
        (folder / f"node-{number}").mkdir(exist_ok=True)
        if isolated:
            self.node.before = ("ip", "netns", "exec", self.space)
            self._mount = folder / f"node-{number}"
            self._make()

    def _make(self) -> None:
        inner, outer = f"dks{self.number}i", f"dks{self.number}o"
        run("ip", "netns", "add", self.space)
        run("ip", "link", "add", outer, "type", "veth", "peer", "name", inner)
        run("ip", "link", "set", inner, "netns", self.space)
        run("ip", "link", "set", outer, "master", BRIDGE, "up")
        for command in (["addr", "add", f"{self.address}/24", "dev", inner], ["link", "set", inner, "up"]):
            run("ip", "-n", self.space, *command)
        run("ip", "-n", self.space, "link", "set", "lo", "up")
        run("mount", "-t", "tmpfs", "-o", f"size={DISK_MB}m", "tmpfs", str(self._mount))

    def remove(self) -> None:
        if self.isolated:
            with suppress(subprocess.CalledProcessError):
                run("ip", "netns", "del", self.space)
            with suppress(subprocess.CalledProcessError):
                run("umount", "-l", str(self._mount))

    # Faults

    def cut(self, other: Host) -> None:
        """Nothing gets from here to another host any more, nor back: both ways are blackholes."""
        for one, two in ((self, other), (other, self)):
            with suppress(subprocess.CalledProcessError):
                run("ip", "-n", one.space, "route", "add", "blackhole", f"{two.address}/32")

    def mend(self, other: Host) -> None:
        for one, two in ((self, other), (other, self)):
            with suppress(subprocess.CalledProcessError):
                run("ip", "-n", one.space, "route", "del", "blackhole", f"{two.address}/32")

    def mend_all(self, others: list[Host]) -> None:
        """Thawed, with room on the disk, and reached by everybody."""
        if self.node.process is not None and self.node.process.poll() is None:
            self.node.thaw()
        if self.isolated:
            self.free_disk()
            for other in others:
                if other is not self:
                    self.mend(other)

    def rss_mb(self) -> float:
        """The memory of its process; 0 while there is none."""
        try:
            text = Path(f"/proc/{self.node.process.pid}/status").read_text()  # type: ignore[union-attr]
            return next((int(line.split()[1]) / 1024 for line in text.splitlines() if line.startswith("VmRSS")), 0.0)
        except OSError:
            return 0.0

    def size_mb(self, folder: str) -> float:
        """What a part of its data folder takes."""
        size = 0
        for path in (self.node.data / folder).rglob("*"):
            with suppress(OSError):
                size += path.stat().st_size
        return size / (1 << 20)

    def fill_disk(self) -> None:
        """Take all the room that is left."""
        with suppress(OSError), open(self._mount / "filler", "wb", buffering=0) as filler:
            while True:
                filler.write(bytes(1 << 20))

    def free_disk(self) -> None:
        (self._mount / "filler").unlink(missing_ok=True)


def make_network() -> None:
    remove_network()
    run("ip", "link", "add", BRIDGE, "type", "bridge")
    run("ip", "addr", "add", f"{NET}.254/24", "dev", BRIDGE)
    run("ip", "link", "set", BRIDGE, "up")


def remove_network() -> None:
    with suppress(subprocess.CalledProcessError):
        run("ip", "link", "del", BRIDGE)
