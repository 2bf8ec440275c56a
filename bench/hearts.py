"""The compiled heart beside the pure one, in turns: ``python -m bench.hearts``.

Each turn starts a cluster of its own, so that neither heart has the warmer caches. Beside the rate it tells the
processor time that a request takes of the node that is asked, and of each other node, beside what the node takes
when nothing is asked: on a machine that is busy otherwise, these vary less than rates do.
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path
from statistics import median

from dynatwist import heart

from .servers import DynaTwist

TICKS_S = 1 / os.sysconf("SC_CLK_TCK")
HEARTS = {"compiled": "0", "pure": "1"}
"""With what `heart.SWITCH` is set to for each."""


def used_s(pid: int) -> float:
    """The processor time of a process."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * TICKS_S


def turn(name: str, work: str, connections: int, seconds: int) -> tuple[float, float, float]:
    """Requests a second; microseconds that each takes of the node that is asked, and of each other one."""
    os.environ[heart.SWITCH] = HEARTS[name]
    server = DynaTwist()
    try:
        if work != "PUT":
            server.fill(10_000)
        server.run(work, 2, connections)
        pids = [node.process.pid for node in server.cluster.nodes]
        marks = [[used_s(pid) for pid in pids]]
        time.sleep(seconds)
        marks.append([used_s(pid) for pid in pids])
        rate = server.run(work, seconds, connections).rate
        marks.append([used_s(pid) for pid in pids])
        asked, *others = (
            1e6 * ((end - middle) - (middle - start)) / (rate * seconds)
            for start, middle, end in zip(*marks, strict=True)
        )
        return rate, asked, sum(others) / len(others)
    finally:
        server.close()


def main() -> None:
    """Run, and print the medians."""
    parser = argparse.ArgumentParser(prog="python -m bench.hearts", description=__doc__.splitlines()[0])
    parser.add_argument("--works", nargs="+", default=["PUT", "GET"])
    parser.add_argument("--connections", nargs="+", type=int, default=[32, 256])
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--seconds", type=int, default=5)
    options = parser.parse_args()
    if heart.compiled() is None:
        parser.error("there is no compiled heart here; install Rust, then DynaTwist anew")
    for work in options.works:
        for connections in options.connections:
            found: dict[str, list[tuple[float, float, float]]] = {name: [] for name in HEARTS}
            for number in range(options.rounds):
                for name in list(HEARTS)[:: -1 if number % 2 else 1]:
                    found[name].append(turn(name, work, connections, options.seconds))
            for name, turns in found.items():
                rate, asked, others = (median(column) for column in zip(*turns, strict=True))
                text = f"{work} {connections:>3} {name:>8}: {rate:>6.0f}/s, {asked:.1f} us of the node asked"
                print(f"{text}, {others:.1f} us of each other one; load {os.getloadavg()[0]:.1f}", flush=True)


if __name__ == "__main__":
    main()
