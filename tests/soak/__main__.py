"""``python -m tests.soak [--minutes 10] [--nodes 3] [--seed N]``: real nodes under load, killed, frozen, cut off, full.

Each client writes keys of its own, one after another, so it knows what has to be there at the end: of a key that is
written again and again the last value acknowledged, or a later one of which the answer was uncertain; of a key that was
deleted, nothing. Needs root for partitions and full disks (network namespaces, tmpfs); without, it kills and freezes.
"""

from __future__ import annotations

import random
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

import click

from tests.real import wait_until

from .hosts import Host, can_isolate, make_network, remove_network

CLIENTS = 8
KEYS = 25


class Client(threading.Thread):
    """Writes its keys at any node that answers.

    :ivar last: per key the last number acknowledged.
    :ivar maybe: per key the numbers after that one whose fate is not known.
    :ivar deleted: keys of which the delete was acknowledged.
    """

    def __init__(self, number: int, hosts: list[Host], token: str, seed: int) -> None:
        super().__init__(daemon=True)
        self.number, self.hosts, self.token = number, hosts, token
        self.random = random.Random(f"{seed} {number}")
        self.running = True
        self.count = 0
        self.last: dict[str, int] = {}
        self.maybe: dict[str, set[int]] = {}
        self.deleted: set[str] = set()
        self.outcomes: Counter[str] = Counter()
        self.slowest_s = 0.0

    def run(self) -> None:
        while self.running:
            if self.random.random() < 0.1:
                self.create_and_delete()
            else:
                self.write(f"c{self.number}-{self.random.randrange(KEYS)}")

    def ask(self, method: str, key: str, body: object = None, query: str = "") -> int:
        """The status of a request; 0 when there was no answer."""
        host = self.random.choice(self.hosts)
        started_s = time.monotonic()
        answer = host.node.try_request(method, f"/soak/key/{key}{query}", body, self.token, 5.0)
        status = answer.status if answer is not None else 0
        if status in (200, 201):
            self.slowest_s = max(self.slowest_s, time.monotonic() - started_s)
        if status == 503 and b'"uncertain"' not in answer.body:  # type: ignore[union-attr]
            status = -503  # nothing was done
        self.outcomes[f"{method} {status or 'no answer'}"] += 1
        if status <= 0:
            time.sleep(0.02)  # be a polite client of a node that is down
        return status

    def write(self, key: str) -> None:
        self.count += 1
        first = key not in self.last
        status = self.ask("PUT", key, {"n": self.count}, "?w=majority" if first else "")
        if status == 201:
            self.last[key] = self.count
            self.maybe[key] = set()
        elif status in (0, 503):
            self.maybe.setdefault(key, set()).add(self.count)
        elif status != -503:
            self.outcomes[f"unexpected PUT {status}"] += 1

    def create_and_delete(self) -> None:
        self.count += 1
        key = f"d{self.number}-{self.count}"
        if self.ask("PUT", key, {"n": self.count}, "?w=majority") == 201 and self.ask("DELETE", key, None, "") == 200:
            self.deleted.add(key)

    def judge(self, host: Host) -> list[str]:
        """What is wrong at a node, now that all is well again."""
        wrong: list[str] = []
        for key, last in self.last.items():
            answer = host.node.get("soak", key, self.token)
            found = answer.json["value"]["n"] if answer.status == 200 else None
            if found != last and found not in self.maybe[key]:
                wrong.append(f"{key} at {host.address}: {found}, acknowledged {last}, perhaps {self.maybe[key]}")
        for key in sorted(self.deleted):
            if host.node.get("soak", key, self.token).status != 404:
                wrong.append(f"{key} at {host.address} was deleted, and is back")
        return wrong


class Mischief:
    """One fault at a time, sometimes two."""

    def __init__(self, hosts: list[Host], seed: int) -> None:
        self.hosts = hosts
        self.random = random.Random(seed)
        self.struck: Counter[str] = Counter()
        kinds = ["kill", "kill", "freeze", "kill_all"]
        self.kinds = [*kinds, "cut", "cut", "fill"] if hosts[0].isolated else kinds

    def run(self, until_s: float) -> None:
        while time.monotonic() < until_s:
            for kind in self.random.sample(self.kinds, self.random.choice((1, 1, 2))):
                getattr(self, kind)(self.random.choice(self.hosts))
                self.struck[kind] += 1
            self.rest(0.3, 2.5)
            self.mend()
            self.rest(0.2, 3.0)
        self.mend()

    def rest(self, least_s: float, most_s: float) -> None:
        time.sleep(self.random.uniform(least_s, most_s))

    def mend(self) -> None:
        for host in self.hosts:
            host.node.thaw()
            if host.isolated:
                host.free_disk()
                for other in self.hosts:
                    if other is not host:
                        host.mend(other)
            assert host.node.process is not None
            if host.node.process.poll() is not None:
                host.node.start()

    def kill(self, host: Host) -> None:
        host.node.kill()

    def kill_all(self, host: Host) -> None:
        for one in self.hosts:
            one.node.process.kill()  # type: ignore[union-attr]
        for one in self.hosts:
            one.node.process.wait()  # type: ignore[union-attr]

    def freeze(self, host: Host) -> None:
        if host.node.process is not None and host.node.process.poll() is None:
            host.node.freeze()

    def cut(self, host: Host) -> None:
        for other in self.hosts:
            if other is not host:
                host.cut(other)

    def fill(self, host: Host) -> None:
        host.fill_disk()


def soak(hosts: list[Host], minutes: float, seed: int) -> list[str]:
    """Run, and answer what is wrong."""
    for host in hosts:
        host.node.start()
    wait_until(lambda: all(host.node.active_count() == len(hosts) and host.node.is_ready() for host in hosts), 30)
    token = wait_until(lambda: hosts[0].node.register("soak"), 10)
    clients = [Client(number, hosts, token, seed) for number in range(CLIENTS)]
    for client in clients:
        client.start()
    mischief = Mischief(hosts, seed)
    mischief.run(time.monotonic() + 60 * minutes)
    for client in clients:
        client.running = False
    for client in clients:
        client.join(20)
    wait_until(lambda: all(host.node.active_count() == len(hosts) and host.node.is_ready() for host in hosts), 60)
    counts = wait_until(lambda: same_counts(hosts), 60, "all nodes count the same keys")
    outcomes = sum((client.outcomes for client in clients), Counter())
    click.echo(f"faults: {dict(mischief.struck)}")
    click.echo(f"requests: {dict(sorted(outcomes.items()))}")
    click.echo(f"slowest success {max(client.slowest_s for client in clients):.2f} s; {counts} keys at each node")
    wrong = [text for client in clients for host in hosts for text in client.judge(host)]
    wrong += [f"{name}: {times} times" for name, times in outcomes.items() if name.startswith("unexpected")]
    wrong += [f"{host.address} logged a traceback" for host in hosts if b"Traceback" in host.node.log.read_bytes()]
    alarms = [host.node.stats().get("alarms", 0) for host in hosts]
    return wrong + ([f"alarms: {alarms}"] if any(alarms) else [])


def same_counts(hosts: list[Host]) -> int:
    """How many keys each node holds, once they agree."""
    counts = {host.node.stats()["total_keys"] for host in hosts}
    return counts.pop() if len(counts) == 1 else 0


@click.command()
@click.option("--minutes", default=10.0, show_default=True)
@click.option("--nodes", default=3, show_default=True, type=click.IntRange(1, 5))
@click.option("--seed", default=1, show_default=True)
def main(minutes: float, nodes: int, seed: int) -> None:
    """Real nodes under load, killed, frozen, cut off from each other and with full disks; nothing may be lost."""
    isolated = can_isolate()
    click.echo("in network namespaces, on small disks" if isolated else "on loopback: no partitions, no full disks")
    hosts: list[Host] = []
    with tempfile.TemporaryDirectory(prefix="dynakv-soak-") as folder:
        try:
            if isolated:
                make_network()
            for number in range(nodes):
                join = f"{hosts[0].address}:{hosts[0].node.port}" if hosts else None
                hosts.append(Host(number, Path(folder), isolated, join))
            wrong = soak(hosts, minutes, seed)
        finally:
            for host in hosts:
                if host.node.process is not None and host.node.process.poll() is None:
                    host.node.kill()
                host.remove()
            if isolated:
                remove_network()
    for text in wrong[:20]:
        click.echo(f"WRONG {text}")
    click.echo(f"{len(wrong)} wrong")
    raise SystemExit(1 if wrong else 0)


if __name__ == "__main__":
    main()
