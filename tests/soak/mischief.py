"""What is done to the hosts: one fault at a time, sometimes two, in phases that each draw on other faults."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable

from tests.real import Node, path

from .exhaustion import TABLE, Ballast, Guest, give_descriptors, take_descriptors
from .hosts import Host
from .report import Report

DRIFT_PPM = 500
"""What a bad quartz does, in the heat."""
HOURS_AHEAD_S, DAY_BACK_S = 7200.0, -86_400.0
STALL_S = 8.0
"""How long a disk that stalls takes for one sync."""
AWAY_S = 40.0
SETTLED_S = 120.0

PHASES: dict[str, tuple[str, ...]] = {
    "crashes": ("kill", "kill", "freeze", "kill_all", "cut", "cut", "fill", "jump_ahead", "slow_disk"),
    "clocks and disks": ("jump_ahead", "jump_back", "jump_seconds", "drift", "slow_disk", "stall"),
    "members": ("replace", "kill", "jump_seconds", "freeze"),
    "away": ("away",),
    "exhaustion": ("fill", "take_memory", "take_descriptors"),
}
"""In the second one connections live long, so that drift adds up."""
KILLS = ("kill", "kill_all", "away")
EXHAUSTED_S = 12.0
WRITES_RETURN_S = 20.0
"""A node looks once a second how much room it has, and needs a save to have more."""
FAULTS = tuple(sorted({kind for kinds in PHASES.values() for kind in kinds}))
NEEDS_ISOLATION = ("cut", "fill")


def is_settled(hosts: list[Host]) -> bool:
    """Whether all are up, ready, whole, and agree on who is a member."""

    def settled(node: Node) -> bool:
        ready = node.try_request("GET", "/readyz", timeout_s=2.0)
        stats = node.try_request("GET", "/stats", timeout_s=2.0)
        if ready is None or stats is None or ready.status != 200 or ready.json["partitions_not_whole"]:
            return False
        cluster = stats.json["cluster"]
        return cluster["members"] == len(hosts) == node.active_count() and not cluster["changing"]

    return all(settled(host.node) for host in hosts)


def wait_settled(hosts: list[Host], limit_s: float) -> bool:
    """Whether they settle in time."""
    end_s = time.monotonic() + limit_s
    while not is_settled(hosts):
        if time.monotonic() > end_s:
            return False
        time.sleep(0.2)
    return True


class Mischief:
    """See the module.

    :param hosts: changed in place when one is replaced.
    :param replace: burns one for good, and has a new one join in its place.
    :ivar phases: which faults strike when; in turn.
    """

    def __init__(
        self, hosts: list[Host], report: Report, replace: Callable[[Host], None], *, token: str, seed: int
    ) -> None:
        self.hosts, self.report = hosts, report
        self._token = token
        self._ballast: list[Ballast] = []
        self._descriptors: dict[Host, tuple[int, int]] = {}
        self.phases = dict(PHASES)
        self._replace = replace
        self.random = random.Random(seed)
        self.struck: Counter[str] = Counter()
        self.phase = ""

    def run(self, seconds: float) -> None:
        length_s = min(300.0, seconds / len(self.phases))
        end_s = time.monotonic() + seconds
        names = list(self.phases)
        while time.monotonic() < end_s - 1:
            self.phase = names[0]
            names.append(names.pop(0))
            kinds = [kind for kind in self.phases[self.phase] if self.hosts[0].isolated or kind not in NEEDS_ISOLATION]
            self.drift()
            self.run_phase(kinds, min(end_s, time.monotonic() + length_s))

    def run_phase(self, kinds: list[str], until_s: float) -> None:
        while time.monotonic() < until_s:
            chosen = self.random.sample(kinds, min(len(set(kinds)), self.random.choice((1, 1, 2))))
            alone = [kind for kind in chosen if kind == "replace" or kind in PHASES["exhaustion"]]
            if alone and (self.phase == "exhaustion" or "replace" in alone):
                chosen = alone[:1]  # a copy is taken away for good, or one looks at what goes on: nobody else is away
            victims = self.random.sample(self.hosts, min(2, len(self.hosts)))
            lasts_s = self.random.uniform(0.3, 2.5)
            for kind, host in zip(dict.fromkeys(chosen), victims, strict=False):
                host.struck.add(kind)
                self.struck[kind] += 1
                lasts_s = max(lasts_s, getattr(self, kind)(host) or 0.0)
            time.sleep(max(0.0, min(lasts_s, until_s + 10 - time.monotonic())))
            self.mend()
            if self.phase == "exhaustion":
                self._free()
            self.rest(self.random.uniform(0.2, 3.0))
        self.mend()

    def rest(self, seconds: float) -> None:
        """Nothing new happens; who was started and is ready counts as struck no more."""
        end_s = time.monotonic() + seconds
        while (left_s := end_s - time.monotonic()) > 0:
            for host in self.hosts:
                if host.struck and host.node.is_ready():
                    host.struck.clear()
            time.sleep(min(left_s, 0.2))

    def mend(self) -> None:
        """All is well, but for what has to be caught up with."""
        for host, before in self._descriptors.items():
            give_descriptors(host, before)
        self._descriptors.clear()
        for host in self.hosts:
            self._look_for_an_end(host)
            host.circumstances.change(wall_offset_s=0.0, sync_s=0.0)
            host.mend_all(self.hosts)
            host.struck.clear()
            if host.node.process is not None and host.node.process.poll() is not None:
                host.node.start()
                host.struck.add("start")

    def _look_for_an_end(self, host: Host) -> None:
        """No node ends by itself."""
        process = host.node.process
        if process is not None and process.poll() is not None and not host.struck & {*KILLS, "start"}:
            self.report.is_wrong(f"{host.node.address} ended by itself, with status {process.returncode}")

    # The faults; each answers how many seconds it should last, if not a moment

    def kill(self, host: Host) -> None:
        host.node.kill()

    def away(self, host: Host) -> float:
        host.node.kill()
        return AWAY_S

    def kill_all(self, host: Host) -> None:
        for one in self.hosts:
            one.struck.add("kill_all")
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
        if self.phase == "exhaustion":
            self._exhaust(host, "the disk", host.fill_disk)
        else:
            host.fill_disk()

    def take_descriptors(self, host: Host) -> None:
        def take() -> None:
            self._descriptors[host] = take_descriptors(host)

        self._exhaust(host, "descriptors", take)

    def take_memory(self, host: Host) -> None:
        ballast = Ballast(host, self._token)
        self._ballast.append(ballast)

        def take() -> None:
            if not ballast.take_all():
                self.report.is_wrong(f"{host.node.address} takes whatever comes, and its memory is limited")

        self._exhaust(host, "memory", take)

    def _exhaust(self, host: Host, what: str, take: Callable[[], None]) -> None:
        """Something runs out at a node, and what has to go on there is looked at."""
        if not wait_settled(self.hosts, SETTLED_S):
            self.report.is_wrong(f"not settled within {SETTLED_S:.0f} s")
            return
        guest = Guest(host)
        take()
        time.sleep(2)  # a node looks once a second
        guest.check(self.report, what)
        time.sleep(EXHAUSTED_S)

    def _free(self) -> None:
        """There is room again, and writes return by themselves."""
        for ballast in self._ballast:
            if left := ballast.free(self.hosts):
                self.report.is_wrong(f"{len(left)} keys cannot be deleted where memory is spent")
        self._ballast.clear()
        began_s = time.monotonic()
        for host in self.hosts:
            while (answer := host.node.try_request("PUT", path(TABLE, "after"), {"n": 1}, self._token)) is None or (
                answer.status not in (200, 201)
            ):
                if time.monotonic() > began_s + WRITES_RETURN_S:
                    self.report.is_wrong(f"writes at {host.node.address} do not return: {answer and answer.body!r}")
                    return
                time.sleep(0.1)
        self.report.lasted("writes returned after something was exhausted within", time.monotonic() - began_s)

    def jump_ahead(self, host: Host) -> float:
        host.circumstances.change(wall_offset_s=HOURS_AHEAD_S)
        return 3.0

    def jump_back(self, host: Host) -> float:
        host.circumstances.change(wall_offset_s=DAY_BACK_S)
        return 3.0

    def jump_seconds(self, host: Host) -> float:
        host.circumstances.change(wall_offset_s=self.random.uniform(-8, 8))
        return 5.0

    def drift(self, host: Host | None = None) -> None:
        """All clocks run at another pace from now on: they got warmer, or colder."""
        for one in self.hosts:
            one.circumstances.change(drift_ppm=self.random.choice((-DRIFT_PPM, 0, DRIFT_PPM)))

    def slow_disk(self, host: Host) -> float:
        host.circumstances.change(sync_s=self.random.choice((0.05, 0.2, 0.5)))
        return 8.0

    def stall(self, host: Host) -> float:
        host.circumstances.change(sync_s=STALL_S)
        return 2 * STALL_S

    def replace(self, host: Host) -> None:
        host.struck.clear()
        if not wait_settled(self.hosts, SETTLED_S):
            self.report.is_wrong(f"not settled within {SETTLED_S:.0f} s after faults")
            return
        time.sleep(3)  # what was acknowledged by two of three reaches the third
        began_s = time.monotonic()
        host.struck.add("replace")
        self._replace(host)
        if wait_settled(self.hosts, SETTLED_S):
            self.report.lasted("a member was replaced within", time.monotonic() - began_s)
        else:
            self.report.is_wrong(f"a change of members does not end within {SETTLED_S:.0f} s")
