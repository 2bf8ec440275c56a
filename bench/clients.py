"""The clients that make the load, and what they measure."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Measured:
    """One run of a load.

    :ivar rate: requests, or records of batches, a second.
    """

    rate: float
    p50_ms: float
    p99_ms: float
    errors: int = 0


def wrk(script: str, url: str, seconds: int, connections: int, *arguments: str, threads: int = 1) -> Measured:
    """Run wrk with one of the scripts here."""
    command = ["wrk", f"-t{threads}", f"-c{connections}", f"-d{seconds}s", "--latency", "--timeout", "10s"]
    command += ["-s", str(HERE / script), url, "--", *arguments]
    done = subprocess.run(command, capture_output=True, text=True)
    lines = [line for line in done.stdout.splitlines() if line.startswith("RESULT")]
    if not lines:
        sys.exit(f"bench: {' '.join(command[:7])} failed: {done.stderr.strip() or done.stdout.strip()}")
    rate, p50, p99, errors = lines[0].split()[1:]
    return Measured(float(rate), float(p50), float(p99), int(errors))


def redis_benchmark(port: int, seconds: int, connections: int, method: str, keys: int, value_bytes: int) -> Measured:
    """Run redis-benchmark for about as long: it takes a number of requests."""
    number = seconds * (15_000 if method == "set" else 40_000)
    command = ["redis-benchmark", "-p", str(port), "-c", str(connections), "-n", str(number), "-t", method]
    command += ["-r", str(keys), "-d", str(value_bytes), "--csv", "--precision", "3"]
    line = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1]
    fields = [float(text) for text in re.findall(r'"([0-9.]+)"', line)]
    return Measured(fields[0], fields[3], fields[5])
