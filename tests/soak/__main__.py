"""``python -m tests.soak --minutes 30``: real nodes under load, killed, frozen, cut off, full, with wrong clocks.

Each client writes keys of its own, one after another, so it knows what has to be there: of a key that is written again
and again the last value acknowledged, or one whose fate is uncertain; of a key that was deleted, nothing; of sessions
those whose time has not come. Others share keys of a strong table, a lock, and names: there is to be an order
of all that they are told. Needs root for partitions and full disks (network namespaces, tmpfs).
"""

from __future__ import annotations

import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path

import click

from dynatwist.storage.keyfile import parse
from tests.real import Node, wait_until

from .agreed import TABLE, Agreed, Histories, Holder, Leases, Names
from .clients import Client, LargeWriter, Locker, Sessions, Writer
from .hosts import Host, can_isolate, make_network, remove_network
from .mischief import FAULTS, PHASES, Mischief, wait_settled
from .report import Report

WRITERS = 4
AGREED, HOLDERS = 4, 3
REPLICAS = 3
MOST_RSS_MB, MOST_LOG_MB, MOST_TEXT_MB = 600, 250, 5
"""Bounds of a node's memory, its write-ahead log, and the log that people read; the load keeps far below a hundred
megabytes of records."""
SETTLED_S = 90.0


class Soak:
    """One run.

    :ivar hosts: as they are now; one that is replaced gives its place to the new one.
    :ivar retired: those that were replaced; their logs are looked at too.
    """

    def __init__(self, folder: Path, *, nodes: int, isolated: bool, seed: int, rate: float) -> None:
        self.folder, self.isolated, self.seed, self.rate = folder, isolated, seed, rate
        self.report = Report()
        self.hosts: list[Host] = []
        self.retired: list[Host] = []
        self.histories = Histories(self.report.is_wrong)
        self.leases = Leases()
        self._made = 0
        for _ in range(nodes):
            self.hosts.append(self._make())

    def _make(self) -> Host:
        join = next((f"{host.address}:{host.node.port}" for host in self.hosts if not host.struck), None)
        host = Host(self._made, self.folder, isolated=self.isolated, join=join, replicas=REPLICAS)
        self._made += 1
        return host

    def replace(self, host: Host) -> None:
        """Burn a host for good, have it struck out, and another join with an empty folder."""
        host.node.kill()
        others = [one for one in self.hosts if one is not host]
        wait_until(lambda: self._forget(host, others), 30, "a member to take the order to forget")
        new = self._make()
        self.hosts[self.hosts.index(host)] = new
        self.retired.append(host)
        host.remove()
        new.node.start()

    def _forget(self, host: Host, others: list[Host]) -> bool:
        for other in others:
            token = self._admin(other.node)
            if token is None:
                continue
            path = f"/admin/members/{host.address}:{host.node.port}/forget"
            answer = other.node.try_request("POST", path, None, token)
            if answer is not None and answer.status in (202, 404):
                return True
        return False

    def run(self, minutes: float, faults: tuple[str, ...] = ()) -> None:
        for host in self.hosts:
            host.node.start()
        assert wait_settled(self.hosts, SETTLED_S), "the nodes did not come up"
        token = wait_until(lambda: self.hosts[0].node.register("soak"), 10)
        self._make_strong()
        clients = self._clients(token)
        for client in clients:
            client.start()
        mischief = Mischief(self.hosts, self.report, self.replace, token=token, seed=self.seed)
        if faults:
            mischief.phases = {"exhaustion" if set(faults) <= set(PHASES["exhaustion"]) else "as asked": faults}
        watching = threading.Event()
        watch = threading.Thread(target=self._watch, args=(watching, mischief), daemon=True)
        watch.start()
        mischief.run(60 * minutes)
        for client in clients:
            client.running = False
        for client in clients:
            client.join(30)
        watching.set()
        watch.join(10)
        self._judge(clients)
        click.echo(f"faults: {dict(mischief.struck)}")
        self.report.end()

    def _admin(self, node: Node) -> str | None:
        """The administrator's token, if a node gives one."""
        password = parse((self.folder / "cluster.key").read_text(), "").admin_password()
        answer = node.try_request("POST", "/admin/login", {"password": password})
        return answer.json["token"] if answer is not None and answer.status == 200 else None

    def _make_strong(self) -> None:
        node = self.hosts[0].node
        admin = self._admin(node)
        answer = node.request("PUT", f"/admin/tables/{TABLE}", {"consistency": "strong"}, admin, timeout_s=20)
        assert answer.status == 200, answer.body

    def _clients(self, token: str) -> list[Client]:
        kinds: list[tuple[type[Client], float]] = [(Writer, 0.7 / WRITERS)] * WRITERS
        kinds += [(LargeWriter, 0.015), (Sessions, 0.1), (Locker, 0.1)]
        kinds += [(Agreed, 0.05)] * AGREED + [(Holder, 0.01)] * HOLDERS + [(Names, 0.002)]
        Agreed.histories, Holder.leases = self.histories, self.leases
        return [
            kind(number, self.hosts, token, self.report, seed=self.seed, rate=max(0.3, share * self.rate))
            for number, (kind, share) in enumerate(kinds)
        ]

    def _watch(self, ended: threading.Event, mischief: Mischief) -> None:
        """A line each minute; memory and logs stay within bounds."""
        minute_s = time.monotonic() + 60
        most = [0.0, 0.0, 0.0]
        while not (over := ended.wait(2.0)) or any(most):
            hosts = list(self.hosts)
            now = (
                max(host.rss_mb() for host in hosts),
                max(host.size_mb("wal") for host in hosts),
                max(host.node.log.stat().st_size / (1 << 20) for host in hosts if host.node.log.exists()),
            )
            most = [max(pair) for pair in zip(most, now, strict=True)]
            if over or time.monotonic() > minute_s:
                minute_s += 60
                self.report.end_minute(
                    f"{mischief.phase}; memory {most[0]:.0f} MB, write-ahead log {most[1]:.0f} MB, log {most[2]:.2f} MB"
                )
                for what, found, bound in zip(
                    ("memory", "write-ahead log", "log"), most, (MOST_RSS_MB, MOST_LOG_MB, MOST_TEXT_MB), strict=True
                ):
                    if found > bound:
                        self.report.is_wrong(f"{what} of a node: {found:.0f} MB, at most {bound} expected")
                most = [0.0, 0.0, 0.0]
                if over:
                    return

    def _judge(self, clients: list[Client]) -> None:
        report, began_s = self.report, time.monotonic()
        self.histories.judge_the_rest()
        told = f"{self.histories.requests} requests on {self.histories.judged} keys of a strong table judged"
        click.echo(f"{told}; a lock taken {self.leases.taken} times")
        if not wait_settled(self.hosts, SETTLED_S):
            report.is_wrong(f"not every node is ready and whole {SETTLED_S:.0f} s after the last fault")
        report.lasted("all were ready and whole at the end after", time.monotonic() - began_s)
        try:
            counts = wait_until(self._same_counts, 60, "all nodes count the same keys")
            click.echo(f"{counts} keys at all nodes together")
        except AssertionError as error:
            report.is_wrong(str(error))
        for host in self.hosts:
            for client in clients:
                for text in client.is_right(host):
                    report.is_wrong(f"at {host.node.address}: {text}")
            stats = host.node.try_request("GET", "/stats")
            if stats is not None and stats.json.get("alarms", 0):
                report.is_wrong(f"{host.node.address} counts {stats.json['alarms']} alarms")
        for host in (*self.hosts, *self.retired):
            text = host.node.log.read_text(errors="replace")
            if "Traceback" in text:
                at = text.find("Traceback")
                report.is_wrong(f"{host.node.address} logged a traceback: {text[at : at + 1500]}")

    def _same_counts(self) -> int:
        """How many keys there are, once nothing expires or is caught up with any more."""
        found = []
        for _ in range(2):
            with suppress(OSError):
                found.append([host.node.stats()["total_keys"] for host in self.hosts])
            time.sleep(1)
        return sum(found[0]) if len(found) == 2 and found[0] == found[1] else 0

    def close(self) -> None:
        for host in self.hosts:
            if host.node.process is not None and host.node.process.poll() is None:
                host.node.kill()
            host.remove()


@click.command()
@click.option("--minutes", default=10.0, show_default=True, help="How long faults strike.")
@click.option("--nodes", default=5, show_default=True, type=click.IntRange(1, 9), help="Hosts; each key has 3 copies.")
@click.option("--seed", default=1, show_default=True, help="Which faults, in which order.")
@click.option("--rate", default=150.0, show_default=True, help="Requests a second that all clients together aim at.")
@click.option("--faults", default="", help=f"Only these, with commas: {', '.join(FAULTS)}.")
@click.option("--loopback", is_flag=True, help="No namespaces, no small disks: no partitions, no full disks.")
@click.option("--keep", is_flag=True, help="Leave the nodes' logs where they are.")
def main(minutes: float, nodes: int, seed: int, rate: float, faults: str, loopback: bool, keep: bool) -> None:
    """Real nodes under load, killed, frozen, cut off, replaced, with full and slow disks and wrong clocks."""
    chosen = tuple(filter(None, faults.split(",")))
    if not set(chosen) <= set(FAULTS):
        raise click.BadParameter(f"choose of {', '.join(FAULTS)}", param_hint="--faults")
    isolated = not loopback and can_isolate()
    click.echo("in network namespaces, on small disks" if isolated else "on loopback: no partitions, no full disks")
    folder = tempfile.mkdtemp(prefix="dynakv-soak-") if keep else None
    with tempfile.TemporaryDirectory(prefix="dynakv-soak-") as temporary:
        soak: Soak | None = None
        try:
            if isolated:
                make_network()
            soak = Soak(Path(folder or temporary), nodes=nodes, isolated=isolated, seed=seed, rate=rate)
            soak.run(minutes, chosen)
        finally:
            if soak is not None:
                soak.close()
            if isolated:
                remove_network()
    for text in soak.report.wrong[:30]:
        click.echo(f"WRONG {text}")
    if folder:
        click.echo(f"logs in {folder}")
    click.echo(f"{len(soak.report.wrong)} wrong")
    raise SystemExit(1 if soak.report.wrong else 0)


if __name__ == "__main__":
    main()
