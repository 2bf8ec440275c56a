"""Measures DynaTwist, beside etcd and Redis where Debian's packages are installed: ``python -m bench``.

Each load runs on each server in turn, several times; the table shows medians, their spread, and ratios. Then come the
plots: against connections, value size, nodes, records held, what each safety costs, and listeners. Needs wrk; plots
need matplotlib (``pip install -e .[bench]``).
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from .attacks import attacks
from .clients import Measured
from .fanout import WIDE, fanout, prefixes, told
from .plots import draw
from .servers import DynaTwist, Etcd, Redis, Server, Speaker

TABLE = (
    ("PUT", 1), ("PUT", 32), ("PUT", 256), ("GET", 32), ("GET", 256), ("GET one", 32), ("batch", 8),
)  # fmt: skip
Point = tuple[str, float, float, float, float]
"""(line of the plot, x, rate, p50 in ms, p99 in ms)."""


class Bench:
    """Runs what was asked for, and keeps what came of it.

    :ivar results: by section.
    """

    def __init__(self, arguments: argparse.Namespace) -> None:
        self.seconds: int = arguments.seconds
        self.rounds: int = arguments.rounds
        self.folder: str | None = arguments.folder
        self.url: str | None = arguments.url
        self.token: str = arguments.token
        self.results: dict[str, object] = {}

    # The table

    def table(self) -> None:
        """All servers side by side."""
        servers: list[Server] = [DynaTwist(folder=self.folder)]
        try:
            if self.url:
                servers.append(Speaker(self.url, self.url, self.token))
            if shutil.which("etcd"):
                servers.append(Etcd(self.folder))
            if shutil.which("redis-server"):
                servers.append(Redis(self.folder))
            for server in servers:
                if isinstance(server, Speaker):
                    server.fill(10_000)
                else:
                    server.run("PUT", self.seconds, 32)
            found: dict[str, dict[str, list[Measured]]] = {}
            for _ in range(self.rounds):
                for work, connections in TABLE:
                    for server in servers:
                        measured = server.run(work, self.seconds, connections)
                        if measured is not None:
                            found.setdefault(f"{work}, {connections}", {}).setdefault(server.name, []).append(measured)
        finally:
            for server in servers:
                server.close()
        self._tell("table", found, "DynaTwist")

    def _tell(self, section: str, found: dict[str, dict[str, list[Measured]]], ours_is: str) -> None:
        """Keep and print what a section with a table has found, by work and server."""
        table = {work: {name: _summary(runs) for name, runs in by_name.items()} for work, by_name in found.items()}
        self.results[section] = table
        for line in self.lines(table, ours_is):
            print(line)

    @staticmethod
    def lines(table: dict[str, dict[str, dict[str, float]]], ours_is: str = "DynaTwist") -> Iterator[str]:
        """The table, for people."""
        yield f"{'work, connections':19}{'server':13}median/s{'spread':>16}{'p50 ms':>8}{'p99 ms':>8}{'ratio':>8}"
        for work, by_name in table.items():
            ours = by_name[ours_is]["rate"]
            for name, one in by_name.items():
                rates = f"{one['rate']:10,.0f}{one['low']:8,.0f}-{one['high']:<7,.0f}"
                ratio = "" if name == ours_is else f"{ours / one['rate']:.2f}"
                errors = f"  {one['errors']:.0f} errors" if one["errors"] else ""
                yield f"{work:19}{name:13}{rates}{one['p50_ms']:8.2f}{one['p99_ms']:8.2f}{ratio:>8}{errors}".rstrip()

    # Strong tables

    def strong(self) -> None:
        """Strong tables beside ordinary ones, and beside etcd."""
        found: dict[str, dict[str, list[Measured]]] = {}
        usual, strong = DynaTwist(folder=self.folder), DynaTwist(folder=self.folder, name="strong table")
        servers: list[DynaTwist | Etcd] = [strong, usual]
        try:
            strong.make_strong()
            if shutil.which("etcd"):
                servers.append(Etcd(self.folder))
            for server in servers:
                server.run("PUT", max(10, self.seconds), 32)
            for _ in range(self.rounds):
                for work in ("PUT", "GET"):
                    for server in servers:
                        measured = server.run(work, self.seconds, 32)
                        if measured is not None:
                            found.setdefault(f"{work}, 32", {}).setdefault(server.name, []).append(measured)
                for waits in (True, False):
                    for server in (one for one in servers if one is not usual):
                        measured = server.contended(self.seconds, 32, waits=waits)
                        work = "one key, 32" if waits else "the same at once"
                        found.setdefault(work, {}).setdefault(server.name, []).append(measured)
        finally:
            for server in servers:
                server.close()
        self._tell("strong", found, "strong table")

    # The plots

    def connections(self) -> Iterator[Point]:
        """Against the number of connections, on three nodes."""
        server = DynaTwist(folder=self.folder)
        try:
            server.fill(10_000)
            for count in (1, 4, 16, 32, 64, 128, 256, 512):
                for work in ("PUT", "GET", "GET one"):
                    yield self._point(server, work, count, count)
        finally:
            server.close()

    def value_size(self) -> Iterator[Point]:
        """Against the size of values, 32 connections."""
        server = DynaTwist(folder=self.folder)
        try:
            for size in (32, 256, 1024, 4096, 16384, 65536):
                server.fill(500, size)
                for work in ("PUT", "GET"):
                    yield self._point(server, work, size, 32, keys=500, value_bytes=size)
        finally:
            server.close()

    def nodes(self) -> Iterator[Point]:
        """Against the number of nodes, 32 connections to one of them."""
        for count in (1, 3, 5):
            server = DynaTwist(count, folder=self.folder)
            try:
                server.fill(10_000)
                for work in ("PUT", "GET"):
                    yield self._point(server, work, count, 32)
            finally:
                server.close()

    def records(self) -> Iterator[Point]:
        """Against the number of records held, 32 connections."""
        server = DynaTwist(folder=self.folder)
        try:
            for count in (1_000, 10_000, 100_000, 1_000_000):
                server.fill(count, 32)
                for work in ("PUT", "GET"):
                    yield self._point(server, work, count, 32, keys=count, value_bytes=32)
        finally:
            server.close()

    def safety(self) -> Iterator[Point]:
        """What each safety costs a PUT, 32 connections: levels, and durability."""
        for number, durability in enumerate(("fsync", "interval", "none")):
            server = DynaTwist(3, "--durability", durability, folder=self.folder)
            try:
                server.fill(10_000)
                for work in ("PUT one", "PUT", "PUT all"):
                    yield self._point(server, work, number, 32)
            finally:
                server.close()

    def names(self) -> Iterator[Point]:
        """What names of writes cost a PUT, 32 connections: on a node alone (1), and on three."""
        for count in (1, 3):
            server = DynaTwist(count, folder=self.folder)
            try:
                server.fill(10_000)
                for work in ("PUT", "PUT named"):
                    yield self._point(server, work, count, 32)
            finally:
                server.close()

    def tls(self) -> Iterator[Point]:
        """What HTTPS costs, 32 connections that stay open: a node without it (0), and one with it (1)."""
        server = DynaTwist(folder=self.folder)
        try:
            server.fill(10_000)
            for number, speaker in enumerate((server, server.over_tls())):
                for work in ("PUT", "GET", "GET one"):
                    yield self._point(speaker, work, number, 32)
        finally:
            server.close()

    def listeners(self) -> Iterator[Point]:
        """How long an event takes to the last of many listeners of one node; they are all one user's."""
        server = DynaTwist(3, *WIDE, folder=self.folder)
        try:
            for count in (10, 100, 1_000, 10_000):
                for kind in ("SSE", "websocket"):
                    found = sorted(fanout(server.url, server.token, count, 5, kind == "websocket"))
                    yield kind, count, 0.0, 1000 * statistics.median(found), 1000 * found[-1]
        finally:
            server.close()

    def fanout(self) -> None:
        """To the last listener of a node of three: the least, the median and the worst of several writes."""
        print(f"\nfanout: {self.fanout.__doc__}")
        self.results["fanout"] = lines = []
        for line in self._fanout():
            print(f"  {line}", flush=True)
            lines.append(line)

    def _fanout(self) -> Iterator[str]:
        server = DynaTwist(3, *WIDE, folder=self.folder)
        try:
            for count, kind in ((1_000, "SSE"), (10_000, "SSE"), (1_000, "websocket"), (10_000, "websocket")):
                found = fanout(server.url, server.token, count, 4 * self.rounds, kind == "websocket")
                yield told(f"{count} listeners, {kind}", found)
        finally:
            server.close()
        servers = [DynaTwist(1, *WIDE, folder=self.folder), DynaTwist(1, folder=self.folder)]
        try:
            beside = servers[1].url, servers[1].token
            yield "1,000 prefixes with ten listeners each, by SSE, on a node alone:"
            for what, found in prefixes(servers[0].url, servers[0].token, beside, 1_000, self.rounds):
                yield told(what, found)
        finally:
            for server in servers:
                server.close()

    def attacks(self) -> None:
        """What honest clients notice of attacks."""
        print(f"\nattacks: {attacks.__doc__}")
        self.results["attacks"] = lines = []
        for line in attacks(self.folder):
            print(f"  {line}", flush=True)
            lines.append(line)

    def _point(self, server: Speaker, work: str, x: float, connections: int, **more: int) -> Point:
        runs = [server.run(work, self.seconds, connections, **more) for _ in range(self.rounds)]
        one = _summary([run for run in runs if run is not None])
        return work, x, one["rate"], one["p50_ms"], one["p99_ms"]

    def plot(self, name: str, measure: Callable[[], Iterator[Point]]) -> None:
        """One plot's points."""
        points = []
        print(f"\n{name.replace('_', ' ')}: {measure.__doc__}")
        for point in measure():
            print(
                f"  {point[0]:12}{point[1]:>12,.0f}{point[2]:>12,.0f}/s{point[3]:>9.2f} ms{point[4]:>9.2f} ms",
                flush=True,
            )
            points.append(point)
        self.results[name] = points


def _summary(runs: list[Measured]) -> dict[str, float]:
    rates = [run.rate for run in runs]
    return {
        "rate": statistics.median(rates),
        "low": min(rates),
        "high": max(rates),
        "p50_ms": statistics.median(run.p50_ms for run in runs),
        "p99_ms": statistics.median(run.p99_ms for run in runs),
        "errors": sum(run.errors for run in runs),
    }


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__.splitlines()[0])
    sections = (
        "table",
        "connections",
        "value_size",
        "nodes",
        "records",
        "safety",
        "names",
        "tls",
        "listeners",
        "fanout",
        "strong",
        "attacks",
    )
    parser.add_argument("sections", nargs="*", help=f"of {', '.join(sections)} (default: all)")
    parser.add_argument("--seconds", type=int, default=5, help="of each run")
    parser.add_argument("--rounds", type=int, default=3, help="runs of which the median is taken")
    parser.add_argument("--folder", help="where the nodes keep their data (default: a temporary folder)")
    parser.add_argument("--out", type=Path, help="folder for results.json and the plots")
    parser.add_argument("--url", help="another server that speaks the contract, to be put beside")
    parser.add_argument("--token", default="", help="for that server")
    arguments = parser.parse_args()
    unknown = set(arguments.sections) - set(sections)
    if unknown:
        parser.error(f"no such section: {', '.join(sorted(unknown))}; there are {', '.join(sections)}")
    if shutil.which("wrk") is None:
        sys.exit("bench: wrk is not installed; try: apt install wrk")
    bench = Bench(arguments)
    for name in arguments.sections or sections:
        if name in ("table", "strong", "fanout", "attacks"):
            getattr(bench, name)()
        else:
            bench.plot(name, getattr(bench, name))
    if arguments.out is not None:
        arguments.out.mkdir(parents=True, exist_ok=True)
        file = arguments.out / "results.json"
        known = json.loads(file.read_text()) if file.exists() else {}
        file.write_text(json.dumps({**known, **bench.results}, indent=1) + "\n")
        if "table" in bench.results:
            (arguments.out / "table.txt").write_text("\n".join(Bench.lines(bench.results["table"])) + "\n")  # type: ignore[arg-type]
        draw(json.loads(file.read_text()), arguments.out)


if __name__ == "__main__":
    main()
