"""Drills of the alerts: a real Prometheus asks real nodes that are made to suffer; by hand, ``python -m tests.drills``.

Each drill says which alerts it is for, and which may fire beside them. The rules are those of ``deploy/prometheus``,
with all durations divided, so that a minute lasts a second. Give names of drills to play only these; ``--list`` lists
them. It needs Prometheus, and some drills root, strace or a C compiler.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from .real import Node, RealCluster, free_port, wait_until

RULES = Path(__file__).parents[1] / "deploy" / "prometheus" / "alerts.yml"
PERIODS_S = {"s": 1, "m": 60, "h": 3600}
QUIET_S = 8.0
"""Before the harm: eight minutes by the rules, in which nothing may fire."""
LIMIT_S = 150.0
"""Until an alert has to fire: the longest waits for an hour, which is a minute here."""


def quickened(text: str, factor: float) -> str:
    """Rules whose durations are divided; a time that is foretold is one, too."""

    def divided(found: re.Match[str]) -> str:
        return f"{found[1]}{max(1, round(1000 * int(found[2]) * PERIODS_S[found[3]] / factor))}ms{found[4]}"

    text = re.sub(r"(for: )(\d+)([smh])()", divided, text)
    text = re.sub(r"(\[)(\d+)([smh])(\])", divided, text)
    return re.sub(r"(predict_linear\(.*?, )24 \* 3600", lambda found: f"{found[1]}{24 * 3600 / factor:g}", text)


class Prometheus:
    """One that asks some nodes twice a second."""

    def __init__(self, folder: Path, nodes: list[Node], factor: float) -> None:
        self._port, self._folder, self._nodes = free_port(), folder, nodes
        (folder / "alerts.yml").write_text(quickened(RULES.read_text(), factor))
        self._name_targets()
        jobs = [
            {
                "job_name": scheme,
                "scheme": scheme,
                "tls_config": {"insecure_skip_verify": True},
                "file_sd_configs": [{"files": [f"{folder}/{scheme}.json"], "refresh_interval": "1s"}],
            }
            for scheme in ("http", "https")
        ]
        often = {"scrape_interval": "500ms", "evaluation_interval": "500ms", "scrape_timeout": "500ms"}
        made = {"global": often, "rule_files": ["alerts.yml"], "scrape_configs": jobs}
        (folder / "prometheus.yml").write_text(json.dumps(made))
        words = [f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/tsdb"]
        words.append(f"--web.listen-address=127.0.0.1:{self._port}")
        with (folder / "prometheus.log").open("wb") as log:
            self._process = subprocess.Popen(["prometheus", *words], stdout=log, stderr=log)

    def _name_targets(self) -> None:
        """The nodes that were started by now."""
        for scheme in ("http", "https"):
            of_scheme = [one for one in self._nodes if ("--tls-cert" in one.options) == (scheme == "https")]
            targets = [one.address for one in of_scheme if one.process is not None]
            beside = self._folder / f"{scheme}.part"
            beside.write_text(json.dumps([{"targets": targets, "labels": {"job": "dynakv"}}]))
            beside.rename(self._folder / f"{scheme}.json")

    def firing(self) -> set[str]:
        """The alerts that fire; none while it does not answer."""
        self._name_targets()
        url = f"http://127.0.0.1:{self._port}/api/v1/alerts"
        with suppress(OSError), urllib.request.urlopen(url, timeout=5) as told:
            alerts = json.load(told)["data"]["alerts"]
            return {one["labels"]["alertname"].removeprefix("Dynakv") for one in alerts if one["state"] == "firing"}
        return set()

    def close(self) -> None:
        self._process.kill()
        self._process.wait()


class Again(threading.Thread):
    """Does something again and again, until the drill is over; errors are what nodes in distress give."""

    def __init__(self, work: Callable[[], object], pause_s: float = 0.02) -> None:
        super().__init__(daemon=True)
        self._work, self._pause_s = work, pause_s
        self.is_over = False
        self.start()

    def run(self) -> None:
        while not self.is_over:
            with suppress(Exception):
                self._work()
            time.sleep(self._pause_s)


@dataclass
class Stage:
    """The nodes of a drill, and what goes on beside them."""

    folder: Path
    cluster: RealCluster
    going_on: list[Again] = field(default_factory=list)
    mounted: list[Path] = field(default_factory=list)

    def nodes(self, count: int, *options: str) -> list[Node]:
        """Nodes of one cluster, once they are ready."""
        for _ in range(count):
            self.cluster.add("--lone-after", "1", *options)
        self.cluster.wait_ready(60.0)
        return self.cluster.nodes

    def meanwhile(self, work: Callable[[], object], pause_s: float = 0.02) -> None:
        """Until the drill is over."""
        self.going_on.append(Again(work, pause_s))

    def close(self) -> None:
        for one in self.going_on:
            one.is_over = True
        for node in self.cluster.nodes:
            with suppress(OSError, AssertionError):
                node.thaw()
                node.kill()
        for folder in self.mounted:
            subprocess.run(["umount", "-l", str(folder)], check=False)


@dataclass(frozen=True)
class Drill:
    """One of them.

    :ivar play: makes the nodes, yields, and harms them.
    :ivar alerts: all of them have to fire.
    :ivar beside: others that may.
    """

    play: Callable[[Stage], Iterator[None]]
    alerts: frozenset[str]
    beside: frozenset[str]
    factor: float

    @property
    def name(self) -> str:
        return self.play.__name__

    def run(self) -> tuple[bool, str]:
        """Whether it went as it should, and what was seen."""
        folder = Path(tempfile.mkdtemp(prefix="dynakv-drill-"))
        stage = Stage(folder, RealCluster(folder))
        watching = None
        try:
            play = self.play(stage)
            next(play)
            watching = Prometheus(folder, stage.cluster.nodes, self.factor)
            early = self._over(watching, QUIET_S)
            if early:
                return False, f"fired before anything was wrong: {', '.join(sorted(early))}"
            next(play, None)
            begun_s = time.monotonic()
            fired = self._over(watching, LIMIT_S if self.alerts else 90.0, self.alerts)
            took = f"after {time.monotonic() - begun_s:.0f} s" if self.alerts else "all the time"
            wrong = (self.alerts - fired) | (fired - self.alerts - self.beside)
            return not wrong, f"{took}: {', '.join(sorted(fired)) or 'nothing'}" + (
                f"; missing or not to fire: {', '.join(sorted(wrong))}" if wrong else ""
            )
        finally:
            if watching is not None:
                watching.close()
            stage.close()

    @staticmethod
    def _over(watching: Prometheus, limit_s: float, wanted: frozenset[str] = frozenset()) -> set[str]:
        """All that fire within a time; until all that are wanted did."""
        fired, end_s = set[str](), time.monotonic() + limit_s
        while time.monotonic() < end_s and not (wanted and wanted <= fired):
            fired |= watching.firing()
            time.sleep(0.25)
        return fired


DRILLS: list[Drill] = []
AWAY = frozenset({"NodeDown", "OneFailureFromNoMajority", "HintsGrow", "NotWhole", "NoMajority", "NotReady", "Slow"})
"""What goes with members that are away."""
Play = Callable[[Stage], Iterator[None]]


def drill(
    *alerts: str, beside: frozenset[str] | set[str] = frozenset(), factor: float = 60.0
) -> Callable[[Play], Play]:
    """A drill for some alerts."""

    def note(play: Play) -> Play:
        DRILLS.append(Drill(play, frozenset(alerts), frozenset(beside), factor))
        return play

    return note


def token_at(node: Node) -> str:
    return node.register("ann")


def writes(stage: Stage, node: Node, query: str = "", size_chars: int = 100) -> None:
    """Somebody writes, and reads."""
    token, number, name = token_at(node), iter(range(1 << 30)), f"k{len(stage.going_on)}"

    def work() -> None:
        key = f"{name}-{next(number)}"
        node.put("t", key, {"fill": "x" * size_chars}, token, query)
        node.get("t", key, token)

    stage.meanwhile(work)


@drill()
def quiet(stage: Stage) -> Iterator[None]:
    first, *_ = stage.nodes(3)
    writes(stage, first)
    yield


@drill("NodeDown", "OneFailureFromNoMajority", "HintsGrow", beside=AWAY)
def one_of_three_is_killed(stage: Stage) -> Iterator[None]:
    first, _, third = stage.nodes(3)
    writes(stage, first)
    yield
    third.kill()


@drill("NoMajority", "Errors", beside=AWAY)
def two_of_three_are_killed(stage: Stage) -> Iterator[None]:
    first, second, third = stage.nodes(3)
    token = token_at(first)
    yield
    second.kill()
    third.kill()
    stage.meanwhile(lambda: first.put("t", "k", {}, token, "?w=majority"))


@drill("NotReady", beside=AWAY)
def a_node_comes_back_and_meets_nobody(stage: Stage) -> Iterator[None]:
    first, second = stage.nodes(2)
    yield
    first.kill()
    second.kill()
    second.start("--lone-after", "3600")


@drill("MembersChangeForLong", "NotWhole", beside=AWAY)
def a_node_joins_and_all_others_stall(stage: Stage) -> Iterator[None]:
    first, second = stage.nodes(2)
    token = token_at(first)
    for begin in range(0, 6000, 200):
        ops = [{"op": "put", "key": f"k{n}", "value": {"fill": "x" * 3000}} for n in range(begin, begin + 200)]
        assert first.request("POST", "/t/batch", {"ops": ops}, token, timeout_s=30).status == 200
    third = Node(stage.folder, free_port(), "--join", first.address)
    stage.cluster.nodes.append(third)
    yield
    third.start()
    wait_until(lambda: figure(third, "dynakv_registry_is_changing") == 1, 60)
    first.freeze()
    second.freeze()


def figure(node: Node, name: str) -> float:
    """A figure without labels; -1 while the node does not answer."""
    answer = node.try_request("GET", "/metrics")
    found = re.search(rf"^{name} (\S+)$", answer.body.decode(), re.MULTILINE) if answer is not None else None
    return float(found[1]) if found else -1.0


@drill("HintsDropped", beside=AWAY | {"Errors", "LogSlow"})
def a_node_is_away_while_more_is_written_than_is_kept_for_it(stage: Stage) -> Iterator[None]:
    first, _, third = stage.nodes(3)
    yield
    third.kill()
    for _ in range(3):
        writes(stage, first, size_chars=100_000)


@drill("DiskFull", "DiskFillsUp", beside={"Slow", "Errors", "SavesFail", "LogStuck"})
def a_disk_is_full(stage: Stage) -> Iterator[None]:
    (node,) = small_disk(stage)
    token = token_at(node)
    yield
    with suppress(OSError), open(node.data / "filler", "wb", buffering=0) as filler:
        while True:
            filler.write(bytes(64 << 10))
    stage.meanwhile(lambda: node.put("t", "k", {"fill": "x" * 500_000}, token))


def small_disk(stage: Stage) -> list[Node]:
    """One node on a disk of 24 MiB."""
    node = Node(stage.folder, free_port(), "--lone-after", "0.2", "--snapshot-interval", "3600")
    node.data.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=24m,mode=700", "tmpfs", str(node.data)]
    subprocess.run(command, check=True)
    stage.mounted.append(node.data)
    stage.cluster.nodes.append(node)
    node.start()
    stage.cluster.wait_ready(30.0)
    return [node]


def with_faults(node: Node, calls: str, fault: str, *more: str) -> None:
    """Have some of a node's system calls fail, or take long."""
    assert node.process is not None
    words = ["strace", "-f", "-qq", "-e", f"trace={calls}", "-e", f"inject={calls}:{fault}", *more]
    subprocess.Popen([*words, "-p", str(node.process.pid)], stderr=subprocess.DEVNULL)


@drill("LogSlow", beside={"Slow"})
def a_disk_takes_half_a_second_for_each_sync(stage: Stage) -> Iterator[None]:
    (node,) = stage.nodes(1)
    yield
    with_faults(node, "fsync,fdatasync", "delay_exit=500000")
    writes(stage, node)


@drill("LogStuck", beside={"Errors", "DiskFull", "Slow"})
def a_log_cannot_be_written(stage: Stage) -> Iterator[None]:
    (node,) = stage.nodes(1, "--snapshot-interval", "3600")
    writes(stage, node)
    yield
    files = [word for path in node.data.rglob("*") if path.is_file() for word in ("-P", str(path))]
    with_faults(node, "write,writev,pwrite64", "error=ENOSPC", *files)


@drill("SavesFail", beside={"Errors"})
def cold_saves_cannot_take_their_place(stage: Stage) -> Iterator[None]:
    (node,) = stage.nodes(1)
    admin = stage.cluster.admin_token()
    writes(stage, node)
    yield
    with_faults(node, "rename,renameat,renameat2", "error=EIO")
    stage.meanwhile(lambda: node.request("POST", "/admin/save", None, admin), 1.0)


@drill("MemoryNearLimit")
def a_node_holds_nearly_all_that_it_may(stage: Stage) -> Iterator[None]:
    (node,) = stage.nodes(1, "--max-memory", str(8 << 20))
    token, number = token_at(node), iter(range(1 << 30))
    yield
    while figure(node, "dynakv_store_bytes") < 0.92 * (8 << 20):
        node.put("t", f"k{next(number)}", {"fill": "x" * 100_000}, token)


CLOCK = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <time.h>
#include <unistd.h>
int clock_gettime(clockid_t id, struct timespec *at) {
    static int (*real)(clockid_t, struct timespec *);
    if (!real) real = dlsym(RTLD_NEXT, "clock_gettime");
    int done = real(id, at);
    if (id == CLOCK_REALTIME && access(OFF, F_OK) == 0) at->tv_sec += 86400;
    return done;
}
"""


@drill("Clock", beside={"Errors"})
def a_clock_is_a_day_ahead(stage: Stage) -> Iterator[None]:
    source, library = stage.folder / "clock.c", stage.folder / "clock.so"
    source.write_text(f'#define OFF "{stage.folder}/off"\n{CLOCK}')
    subprocess.run(["cc", "-shared", "-fPIC", "-o", str(library), str(source), "-ldl"], check=True)
    first, *_ = stage.nodes(2)
    third = Node(stage.folder, free_port(), "--join", first.address)
    third.env["LD_PRELOAD"] = str(library)
    stage.cluster.nodes.append(third)
    third.start()
    stage.cluster.wait_ready(60.0)
    yield
    (stage.folder / "off").touch()


@drill("ConflictsRise")
def two_programs_write_the_same_keys(stage: Stage) -> Iterator[None]:
    nodes = stage.nodes(3)
    token = token_at(nodes[0])
    yield
    for node in nodes:
        for name in ("a", "b"):
            stage.meanwhile(lambda node=node, name=name: node.put("t", name, {"by": node.port}, token, "?w=one"), 0.0)


@drill("Slow", "LogSlow", beside={"Errors"})
def every_disk_takes_most_of_a_second_for_each_sync(stage: Stage) -> Iterator[None]:
    nodes = stage.nodes(2)
    writes(stage, nodes[0], "?w=all")
    yield
    for node in nodes:
        with_faults(node, "fsync,fdatasync", "delay_exit=700000")


@drill("ReactorHeldUp", beside={"Slow", "NodeDown"})
def values_are_very_large(stage: Stage) -> Iterator[None]:
    (node,) = stage.nodes(1, "--max-value", str(16 << 20))
    token = token_at(node)
    value = {f"member {n}": [n, str(n), {"of": n / 7}] for n in range(150_000)}
    yield
    stage.meanwhile(lambda: node.request("PUT", "/t/key/k", value, token, timeout_s=60))


@drill("ClientsRefused", beside={"Errors"})
def one_address_opens_more_connections_than_it_may(stage: Stage) -> Iterator[None]:
    (node,) = stage.nodes(1, "--max-user-streams", "1")
    token = token_at(node)
    yield
    stage.meanwhile(lambda: node.request("GET", "/t/subscribe/k", None, token, timeout_s=0.5), 0.0)
    stage.meanwhile(lambda: node.request("GET", "/t/subscribe/k", None, token, timeout_s=0.5), 0.0)


@drill("CertificateEnds", beside={"NodeDown"})
def a_certificate_ends_tomorrow(stage: Stage) -> Iterator[None]:
    from .real import certificate

    options = certificate(stage.folder)
    first, *_ = stage.nodes(1)
    second = Node(stage.folder, free_port(), *options, "--join", first.address)
    stage.cluster.nodes.append(second)
    yield
    second.start()


@drill("BackupFails")
def backups_cannot_be_written(stage: Stage) -> Iterator[None]:
    key, kept = stage.folder / "backup.key", stage.folder / "kept"
    key.write_bytes(b"k" * 32)
    key.chmod(0o600)
    stage.nodes(1, "--backup-folder", str(kept), "--backup-key", str(key), "--backup-every", "1s")
    wait_until(lambda: kept.is_dir() and list(kept.glob("*.backup")), 20)
    yield
    kept.rename(stage.folder / "away")
    kept.write_text("no folder")


@drill("AuditLost")
def the_audit_log_takes_nothing(stage: Stage) -> Iterator[None]:
    (node,) = stage.nodes(1, "--audit-log", "/dev/full")
    yield
    stage.meanwhile(lambda: node.request("POST", "/admin/login", {"password": "no"}), 0.5)


@drill("ReleasesDiffer", factor=3600.0, beside=AWAY)
def an_upgrade_is_not_finished(stage: Stage) -> Iterator[None]:
    first, *_ = stage.nodes(1)
    second = Node(stage.folder, free_port(), "--join", first.address)
    code = "import dynatwist; dynatwist.__version__ = '0.1.9'; from twisted.scripts.twistd import run; run()"
    second.program = (sys.executable, "-c", code)
    stage.cluster.nodes.append(second)
    yield
    second.start()


def main(words: list[str]) -> int:
    """Play some drills, or all; 1 where one went wrong."""
    if "--list" in words:
        print(*(f"{one.name}: {', '.join(sorted(one.alerts)) or 'nothing may fire'}" for one in DRILLS), sep="\n")
        return 0
    is_well = True
    for one in DRILLS:
        if words and one.name not in words:
            continue
        try:
            is_good, seen = one.run()
        except (OSError, AssertionError, subprocess.SubprocessError) as error:
            is_good, seen = False, f"could not be played: {error}"
        is_well &= is_good
        print(f"{'as it should' if is_good else 'WRONG       '}  {one.name}: {seen}", flush=True)
    met = {name for one in DRILLS for name in one.alerts}
    rules = {name.removeprefix("Dynakv") for name in re.findall(r"alert: (\w+)", RULES.read_text())}
    print(f"without a drill: {', '.join(sorted(rules - met)) or 'none'}")
    return 0 if is_well else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
