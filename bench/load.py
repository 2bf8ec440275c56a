"""Throughput of a cluster under wrk: ``python -m bench.load [--seconds 10] [--connections 32]``.

Starts three nodes with default options on a folder of their own (``--folder``, to be on a real disk), fills 10,000 keys
of 100 bytes, then runs PUT and GET in turn, several times, and prints medians with their spread. Needs wrk
(``apt install wrk``).
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.real import RealCluster

SCRIPT = Path(__file__).with_name("kv.lua")


def wrk(url: str, seconds: int, connections: int, *arguments: str) -> tuple[float, float, float, int]:
    """Requests a second, p50 and p99 in ms, errors."""
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency", "-s", str(SCRIPT), url, "--", *arguments]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    line = next(line for line in output.splitlines() if line.startswith("RESULT"))
    rate, p50, p99, errors = line.split()[1:]
    return float(rate), float(p50), float(p99), int(errors)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=int, default=10)
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--keys", type=int, default=10_000)
    parser.add_argument("--value-bytes", type=int, default=100)
    parser.add_argument("--nodes", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", help="where the nodes keep their data (default: a temporary folder)")
    arguments = parser.parse_args()
    if shutil.which("wrk") is None:
        sys.exit("bench: wrk is not installed; try: apt install wrk")
    cluster = RealCluster.start(arguments.nodes, folder=Path(tempfile.mkdtemp(dir=arguments.folder)))
    try:
        measure(cluster, arguments)
    finally:
        cluster.close()


def measure(cluster: RealCluster, arguments: argparse.Namespace) -> None:
    node = cluster.nodes[0]
    token = node.register("bench", "a long secret")
    value = {"v": "x" * (arguments.value_bytes - 8)}
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda n: node.put("bench", f"k{n + 1}", value, token), range(arguments.keys)))
    url = f"http://127.0.0.1:{node.port}"
    works = [("PUT", "PUT", ""), ("GET quorum", "GET", ""), ("GET r=one", "GET", "?r=one")]
    found: dict[str, list[tuple[float, float, float, int]]] = {name: [] for name, _, _ in works}
    for _ in range(arguments.rounds):
        for name, method, query in works:
            given = (token, method, str(arguments.keys), str(arguments.value_bytes), query)
            found[name].append(wrk(url, arguments.seconds, arguments.connections, *given))
    print(f"{arguments.nodes} nodes, {arguments.connections} connections, {arguments.keys} keys of "
          f"{arguments.value_bytes} bytes, default options")  # fmt: skip
    print(f"{'work':12} {'median/s':>10} {'spread/s':>16} {'p50 ms':>8} {'p99 ms':>8} {'errors':>7}")
    for name, runs in found.items():
        rates = [run[0] for run in runs]
        print(
            f"{name:12} {statistics.median(rates):10.0f} {min(rates):7.0f}-{max(rates):<8.0f}"
            f" {statistics.median(run[1] for run in runs):8.2f} {statistics.median(run[2] for run in runs):8.2f}"
            f" {sum(run[3] for run in runs):7}"
        )


if __name__ == "__main__":
    main()
