"""Clients of a strong table that share keys: all that they are told is to have happened one after another.

Each notes what it asked, when, and what it was told; who judges knows nothing of the store (`dynatwist.sim.linear`).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from dynatwist.sim.agreed import made_once
from dynatwist.sim.linear import ABSENT, Does, Request, is_linearizable
from tests.real import Answer

from .clients import Client
from .hosts import Host

TABLE = "agreed"
KEYS = 3
MOST, MOST_LOST = 300, 8
"""Requests on one key, and those of which nobody has heard: then another key takes its place, since the search takes
longer and longer."""
NAMED = 0.5
"""Share of writes that have a name, and are sent again where nobody has heard of them."""
LOCK_S = 5
HELD_S = 0.3
UNKNOWN = float("inf")


@dataclass
class History:
    """What was asked of one key.

    :ivar under_way: requests that have no answer yet.
    """

    key: str
    told: list[tuple[str, Request]] = field(default_factory=list)
    lost: int = 0
    under_way: int = 0
    is_over: bool = False


class Histories:
    """Of all keys; fed by all clients at once.

    :param say: told what is wrong.
    """

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._lock = threading.Lock()
        self._count = self._numbers = 0
        self._open = [self._new() for _ in range(KEYS)]
        self._tags: dict[str, int] = {}
        self.judged = self.requests = 0

    def _new(self) -> History:
        self._count += 1
        return History(f"a{self._count}")

    def enter(self, place: int) -> tuple[History, int]:
        """A history to ask something of, and a number that nobody else writes."""
        with self._lock:
            self._numbers += 1
            history = self._open[place]
            history.under_way += 1
            return history, self._numbers

    def know(self, tag: str, number: int) -> None:
        """A record has an ETag."""
        with self._lock:
            self._tags[tag] = number

    def named_by(self, tag: str) -> int:
        """The number of the record that an ETag names."""
        with self._lock:
            return self._tags[tag]

    def leave(self, history: History, told: list[tuple[str, Request]]) -> None:
        """What was asked, and told; judges a key once it is over."""
        with self._lock:
            history.told += told
            history.under_way -= 1
            history.lost += sum(not one.is_known for _, one in told)
            if not history.is_over and (len(history.told) > MOST or history.lost > MOST_LOST):
                history.is_over = True
                self._open[self._open.index(history)] = self._new()
            is_due = history.is_over and not history.under_way
        if is_due:
            self.judge(history)

    def judge(self, history: History) -> None:
        """Is there an order of all requests on a key?"""
        self.judged += 1
        self.requests += len(history.told)
        if not is_linearizable(list(made_once(history.told))):
            lines = "\n".join(f"  {name} {one}" for name, one in sorted(history.told, key=lambda pair: pair[1].start_s))
            self._say(f"no order of the requests on {TABLE}/{history.key} agrees with what they were told:\n{lines}")

    def judge_the_rest(self) -> None:
        """No more is asked."""
        for history in self._open:
            self.judge(history)


class Agreed(Client):
    """Asks for keys that others ask for too."""

    histories: Histories
    table = TABLE

    def step(self) -> None:
        random = self.random
        history, number = self.histories.enter(random.randrange(KEYS))
        told: list[tuple[str, Request]] = []
        try:
            tag = self.read(history, told)
            if random.random() < 0.7:
                self.write(history, number, tag, told)
        finally:
            self.histories.leave(history, told)

    def read(self, history: History, told: list[tuple[str, Request]]) -> str:
        """The ETag of what is there, if anything is known to be."""
        start_s = time.monotonic()
        status, answer = self.ask("GET", f"key/{history.key}")
        if status == "404":
            told.append(("", Request(Does.READ, start_s, time.monotonic(), ABSENT)))
        if status != "200" or answer is None:
            return ""
        number = answer.json["value"]["n"]
        told.append(("", Request(Does.READ, start_s, time.monotonic(), number)))
        tag = str(answer.headers["etag"])
        self.histories.know(tag, number)
        return tag

    def write(self, history: History, number: int, tag: str, told: list[tuple[str, Request]]) -> None:
        """Something, perhaps only if what was read is still there; sent again where nobody knows what became of it."""
        does = self.random.choice((Does.PUT, Does.PUT, Does.CREATE, Does.SWAP, Does.SWAP, Does.DELETE))
        if does is Does.SWAP and not tag:
            does = Does.CREATE
        name = f"soak {number}" if self.random.random() < NAMED else ""
        headers = {Does.CREATE: {"If_None_Match": "*"}, Does.SWAP: {"If_Match": tag}}.get(does, {})
        if name:
            headers["Idempotency_Key"] = name
        method, body = ("DELETE", None) if does is Does.DELETE else ("PUT", {"n": number})
        named = self.histories.named_by(tag) if does is Does.SWAP else ABSENT
        for _ in range(4 if name else 1):
            start_s = time.monotonic()
            status, answer = self.ask(method, f"key/{history.key}", body, "", **headers)
            is_known = status in ("200", "201", "404", "412")
            end_s = time.monotonic() if is_known else UNKNOWN
            if is_known or status in ("none", "uncertain"):
                is_done = status not in ("404", "412")
                told.append((name, Request(does, start_s, end_s, number, named, is_done)))
            if status == "201" and answer is not None:
                self.histories.know(str(answer.headers["etag"]), number)
            if status not in ("none", "uncertain"):
                return


@dataclass
class Leases:
    """Who holds the lock, as far as its holders know.

    :ivar until_s: by whom it was taken, when it ends for them at the latest, by the clock of all.
    """

    lock: threading.Lock = field(default_factory=threading.Lock)
    holder: int = -1
    until_s: float = 0.0
    fence: int = 0
    taken: int = 0


class Holder(Client):
    """Takes a lock that others want too, holds it for a moment, and gives it back; or forgets to."""

    leases: Leases
    table = TABLE

    def step(self) -> None:
        began_s = time.monotonic()
        status, answer = self.ask("POST", "lock/door?wait=2", {"ttl": LOCK_S, "note": self.number})
        if status != "201" or answer is None:
            return
        self.take(began_s + LOCK_S, int(answer.json["version"]))
        time.sleep(self.random.uniform(0, HELD_S))
        if self.random.random() < 0.1:
            return  # it ends by itself
        self.let_go()
        self.ask("POST", "lock/door/release", None, "", If_Match=str(answer.headers["etag"]))

    def take(self, until_s: float, fence: int) -> None:
        leases = self.leases
        with leases.lock:
            now_s = time.monotonic()
            if now_s < until_s and now_s < leases.until_s - 0.5:  # clocks of the nodes that agree drift
                text = f"{self.number} has the lock, and {leases.holder} for another {leases.until_s - now_s:.1f} s"
                self.report.is_wrong(text)
            if fence <= leases.fence:
                self.report.is_wrong(f"the lock has fence {fence} after {leases.fence}")
            leases.holder, leases.until_s, leases.fence = self.number, until_s, max(fence, leases.fence)
            leases.taken += 1

    def let_go(self) -> None:
        with self.leases.lock:
            if self.leases.holder == self.number:
                self.leases.until_s = 0.0


class Names(Client):
    """Two register one name at once, at two nodes: it is one's."""

    def step(self) -> None:
        self.count += 1
        name, found = f"u{self.number}-{self.count}", list[str]()
        hosts = self.random.sample(self.hosts, min(2, len(self.hosts)))
        tries = [
            threading.Thread(target=self.register, args=(host, name, f"secret of {at}", found))
            for at, host in enumerate(hosts)
        ]
        for one in tries:
            one.start()
        for one in tries:
            one.join()
        if found.count("201") > 1:
            self.report.is_wrong(f"{name} was registered by two: {found}")
        self.report.note(f"a name that two asked for: {' and '.join(sorted(found))}")

    def register(self, host: Host, name: str, secret: str, found: list[str]) -> None:
        answer: Answer | None = host.node.try_request("POST", f"/auth/{name}", {"secret": secret}, timeout_s=5.0)
        found.append("none" if answer is None else str(answer.status))
