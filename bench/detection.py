"""``python -m bench.detection``: real nodes on this machine are killed, stopped and started; when do all others know?

Once with the machine quiet, and once with every core kept busy by something else; beside serf, where Debian's package
is installed, in its LAN and its local settings. What the nodes log is what counts.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from tests.real import RealCluster, free_port, wait_until

LIMIT_S = 60.0
BACK_S = 3.0
"""How long a node that came back is left in peace."""


class Member(Protocol):
    """A node that logs what it knows of others."""

    log: Path

    @property
    def address(self) -> str:
        """What others call it."""

    def start(self) -> None:
        """Start its process."""

    def kill(self) -> None:
        """kill -9."""

    def stop(self) -> object:
        """An orderly stop."""


_NEWS = re.compile(
    r"member (?P<ours>\S+) \(\w+\) is (?P<state>\w+)|EventMember(?P<event>Failed|Leave|Join): (?P<serfs>\S+)"
)
_STATES = {"Failed": "dead", "Leave": "left", "Join": "active"}


def news(log: str) -> set[tuple[str, str]]:
    """Whom a log, of either kind of node, calls ``active``, ``dead`` or ``left``."""
    return {
        (found["ours"] or found["serfs"], found["state"] or _STATES[found["event"]]) for found in _NEWS.finditer(log)
    }


class SerfMember:
    """An agent of serf."""

    def __init__(self, folder: Path, number: int, profile: str, seed: str) -> None:
        self.address = f"n{number}"
        self.log = folder / f"{number}.log"
        self.bind = f"127.0.0.1:{free_port()}"
        self._command = ["serf", "agent", "-node", self.address, "-bind", self.bind, "-profile", profile]
        self._command += ["-rpc-addr", f"127.0.0.1:{free_port()}", *(("-join", seed) if seed else ())]
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """See `Member`."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(self._command, stdout=log, stderr=log)

    def kill(self) -> None:
        """See `Member`."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def stop(self) -> object:
        """See `Member`."""
        assert self._process is not None
        self._process.terminate()
        return self._process.wait()


class Watch:
    """Follows the logs of some nodes from now on."""

    def __init__(self, nodes: Iterable[Member]) -> None:
        self._at = {node: node.log.stat().st_size for node in nodes}
        self._seen: dict[Member, set[tuple[str, str]]] = {node: set() for node in self._at}

    def look(self) -> dict[Member, set[tuple[str, str]]]:
        """What each has said so far."""
        for node, at in self._at.items():
            with node.log.open("rb") as log:
                log.seek(at)
                new = log.read()
            whole = new[: new.rfind(b"\n") + 1]
            self._at[node] += len(whole)
            self._seen[node].update(news(whole.decode(errors="replace")))
        return self._seen

    def until_all(self, address: str, state: str) -> float:
        """Seconds until every node has said this of another."""
        began_s = time.monotonic()
        while not all((address, state) in seen for seen in self.look().values()):
            if time.monotonic() > began_s + LIMIT_S:
                sys.exit(f"bench: not all nodes have noticed that {address} is {state} after {LIMIT_S:.0f} s")
            time.sleep(0.01)
        return time.monotonic() - began_s

    def wrong(self, but: str) -> int:
        """How often a live node was called dead."""
        return sum(state == "dead" and address != but for seen in self.look().values() for address, state in seen)


@contextmanager
def busy(load: bool) -> Iterator[None]:
    """Twice as many processes that only compute as there are cores."""
    count = 2 * (os.cpu_count() or 1) if load else 0
    burners = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for burner in burners:
            burner.kill()
            burner.wait()


def measure(name: str, nodes: list[Member], kind: str, rounds: int) -> None:
    """End one node after another, and start it again; print when all others knew."""
    end: Callable[[Member], object]
    end, state = (lambda one: one.kill(), "dead") if kind == "kill -9" else (lambda one: one.stop(), "left")
    times, wrong = [], 0
    for turn in range(rounds):
        node = nodes[1 + turn % (len(nodes) - 1)]
        others = Watch(one for one in nodes if one is not node)
        end(node)
        times.append(others.until_all(node.address, state))
        node.start()
        others.until_all(node.address, "active")
        time.sleep(BACK_S)
        wrong += others.wrong(node.address)
    times.sort()
    print(
        f"{name:18}{kind:14}{statistics.median(times):6.2f} s  ({times[0]:.2f} to {times[-1]:.2f})"
        f"{wrong:6} live ones called dead",
        flush=True,
    )


@contextmanager
def ours(count: int) -> Iterator[list[Member]]:
    """A cluster of DynaTwist, the last member of which has just joined."""
    cluster = RealCluster.start(count - 1)
    try:
        watch = Watch(list(cluster.nodes))
        joiner = cluster.add()
        wait_until(lambda: b"member" in joiner.log.read_bytes(), LIMIT_S, "the joiner's first answer")
        print(f"{'DynaTwist':18}{'a joiner':14}{watch.until_all(joiner.address, 'active'):6.2f} s")
        cluster.wait_ready(LIMIT_S)
        yield list(cluster.nodes)
    finally:
        cluster.close()


@contextmanager
def serf(count: int, profile: str) -> Iterator[list[Member]]:
    """A cluster of serf."""
    folder = Path(tempfile.mkdtemp())
    nodes: list[SerfMember] = []
    try:
        for number in range(count):
            nodes.append(SerfMember(folder, number, profile, nodes[0].bind if nodes else ""))
            nodes[-1].start()
            time.sleep(0.3)
        wait_until(lambda: all(len(news(one.log.read_text())) >= count for one in nodes), LIMIT_S, "joining")
        yield list(nodes)
    finally:
        for one in nodes:
            one.kill()
        shutil.rmtree(folder, ignore_errors=True)


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(prog="python -m bench.detection", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--nodes", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=10)
    options = parser.parse_args()
    clusters = [("DynaTwist", lambda: ours(options.nodes))]
    if shutil.which("serf"):
        clusters += [
            (f"serf, {profile}", lambda profile=profile: serf(options.nodes, profile)) for profile in ("lan", "local")
        ]
    for name, cluster in clusters:
        with cluster() as nodes:
            for load in (False, True):
                with busy(load):
                    label = f"{name}, busy" if load else name
                    measure(label, nodes, "kill -9", options.rounds)
                    if name == "DynaTwist":
                        measure(label, nodes, "orderly stop", max(1, options.rounds // 3))


if __name__ == "__main__":
    main()
