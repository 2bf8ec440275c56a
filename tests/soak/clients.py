"""Clients that know what has to be there: each has keys of its own, and writes them one request after another."""

from __future__ import annotations

import http.client
import random
import re
import threading
import time
from dataclasses import dataclass, field

from tests.real import Answer

from .hosts import Host
from .report import Report

TIMEOUT_S = 5.0
HOUR_S, SHORT_S = 3600, 5
VANISHED_S = 10.0
"""A session of five seconds is looked for after so long, and may show itself for as long again under wrong clocks."""
REFUSED_S = 10.0
"""So long may a lock be refused with 409."""
STAMP_TOLERANCE_S = 30.0
"""A session that ends so far from when it should was stamped by a clock that had just jumped."""


@dataclass
class Known:
    """What a client knows of one key.

    :ivar last: the number that it was told last, written or read with a majority.
    :ivar maybe: numbers whose fate is not known: they may win by a stamp from a clock that was ahead.
    :ivar token: the causal token, so that each write follows what is known.
    """

    last: int | None = None
    maybe: set[int] = field(default_factory=set)
    token: str = ""


class Client(threading.Thread):
    """Takes one step after another, at a steady pace."""

    table = "soak"

    def __init__(self, number: int, hosts: list[Host], token: str, report: Report, *, seed: int, rate: float) -> None:
        super().__init__(daemon=True)
        self.number, self.hosts, self.token, self.report = number, hosts, token, report
        self.random = random.Random(f"{seed} {number}")
        self.rate = rate
        self.running = True
        self.count = 0

    def run(self) -> None:
        due_s = time.monotonic()
        while self.running:
            try:
                self.step()
            except Exception as error:  # a mistake of the soak's must not pass for silence
                self.report.is_wrong(f"{type(self).__name__} failed: {error!r}")
            due_s = max(due_s + 1 / self.rate, time.monotonic() - 1)
            time.sleep(max(0.0, due_s - time.monotonic()))

    def step(self) -> None:
        raise NotImplementedError

    def ask(
        self, method: str, path: str, body: object = None, token: str = "", *, host: Host | None = None, **headers: str
    ) -> tuple[str, Answer | None]:
        """Status and answer: ``none`` when there was no answer, ``uncertain`` for a 503 that may take effect."""
        host = host or self.random.choice(self.hosts)
        if token:
            headers["X_Causal_Token"] = token
        struck, faults = bool(host.struck), faults_on(self.hosts)
        began_s = time.monotonic()
        try:
            answer = host.node.request(method, f"/{self.table}/{path}", body, self.token, TIMEOUT_S, **headers)
        except (OSError, http.client.HTTPException):
            answer = None
        took_s = time.monotonic() - began_s
        status = "none" if answer is None else str(answer.status)
        if answer is not None and answer.status == 503 and b'"uncertain"' in answer.body:
            status = "uncertain"
        struck, faults = struck or bool(host.struck), tuple(dict.fromkeys((*faults, *faults_on(self.hosts))))
        self.report.answered(method, status, took_s, is_struck=struck, faults=faults)
        if status == "503" and not struck and answer is not None:
            text = re.sub(r"[0-9]+", "N", answer.json["error"])
            self.report.note(f"503 by a node that is not struck: {text}")
        if answer is None:
            time.sleep(0.02)  # be a polite client of a node that is down
        return status, answer

    def is_right(self, host: Host) -> list[str]:
        """What is wrong at a node, now that all is well again."""
        return []


def faults_on(hosts: list[Host]) -> tuple[str, ...]:
    """What strikes any host now."""
    return tuple(dict.fromkeys(fault for host in hosts for fault in tuple(host.struck)))


def token_of(answer: Answer | None) -> str:
    return answer.headers.get("x-causal-token", "") if answer is not None else ""


class Writer(Client):
    """Writes keys again and again, reads them with majorities, creates and deletes others for good."""

    keys, most_bytes, prefix = 25, 100, "c"

    def __init__(self, *args: object, **more: object) -> None:
        super().__init__(*args, **more)  # type: ignore[arg-type]
        self.known: dict[str, Known] = {}
        self.deleted: set[str] = set()

    def step(self) -> None:
        draw = self.random.random()
        key = f"{self.prefix}{self.number}-{self.random.randrange(self.keys)}"
        if draw < 0.08:
            self.create_and_delete()
        elif draw < 0.1:
            self.ask("GET", f"keys?prefix={self.prefix}{self.number}-")
        elif draw < 0.4 and key in self.known:
            self.read(key)
        else:
            self.write(key)

    def value(self) -> dict[str, object]:
        self.count += 1
        return {"n": self.count, "pad": "x" * self.random.randrange(self.most_bytes)}

    def write(self, key: str) -> None:
        known = self.known.setdefault(key, Known())
        status, answer = self.ask("PUT", f"key/{key}?w=majority", self.value(), known.token)
        if status == "201":
            known.last, known.token = self.count, token_of(answer)
        elif status in ("none", "uncertain"):
            known.maybe.add(self.count)
            self.read(key)

    def read(self, key: str, host: Host | None = None) -> str:
        """Read with a majority; answers what is wrong, which is reported unless a host is given."""
        known = self.known[key]
        status, answer = self.ask("GET", f"key/{key}?r=majority", host=host)
        if status not in ("200", "404"):
            return f"{key} is answered {status}"
        assert answer is not None
        found = answer.json["value"]["n"] if status == "200" else None
        if found != known.last and found not in known.maybe:
            text = f"{key}: {found}, known {known.last}, perhaps {sorted(known.maybe)}"
            if host is None:
                self.report.is_wrong(text)
            return text
        if found is not None and host is None:
            known.maybe.discard(found)
            known.last, known.token = found, token_of(answer)
        return ""

    def create_and_delete(self) -> None:
        value = self.value()
        key = f"{self.prefix}d{self.number}-{self.count}"
        status, answer = self.ask("PUT", f"key/{key}?w=majority", value)
        if status == "201":
            status, answer = self.ask("DELETE", f"key/{key}?w=majority", None, token_of(answer))
            if status == "200":
                self.deleted.add(key)
            elif status == "404":
                self.report.is_wrong(f"{key} was acknowledged, and cannot be deleted: there is none")

    def is_right(self, host: Host) -> list[str]:
        wrong = [text for key in self.known if (text := self.read(key, host))]
        status, answer = self.ask("GET", f"keys?prefix={self.prefix}d{self.number}-", host=host)
        listed = set(answer.json) if status == "200" and answer is not None else set()
        wrong += [f"{key} was deleted, and is back" for key in sorted(self.deleted & listed)]
        status, answer = self.ask("GET", f"keys?prefix={self.prefix}{self.number}-", host=host)
        listed = set(answer.json) if status == "200" and answer is not None else set()
        missing = {key for key, known in self.known.items() if known.last is not None} - listed
        return wrong + ([f"a listing ({status}) has not {sorted(missing)[:3]}"] if missing else [])


class LargeWriter(Writer):
    """A few keys with values up to the limit."""

    keys, most_bytes, prefix = 6, (1 << 20) - 100, "large"


class Sessions(Client):
    """Sessions of an hour, which stay, and of five seconds, which vanish."""

    most = 150

    def __init__(self, *args: object, **more: object) -> None:
        super().__init__(*args, **more)  # type: ignore[arg-type]
        self.kept: set[str] = set()
        self.short: list[tuple[str, float]] = []

    def step(self) -> None:
        self.count += 1
        while self.short and time.monotonic() - self.short[0][1] > VANISHED_S:
            self.look_for(*self.short.pop(0))
        draw = self.random.random()
        if draw < 0.4 and len(self.kept) < self.most and (key := self.create(f"hour-{self.count}", HOUR_S)):
            self.kept.add(key)
        elif draw < 0.7 and (key := self.create(f"short-{self.count}", SHORT_S)):
            self.short.append((key, time.monotonic()))
        elif self.kept:
            key = self.random.choice(sorted(self.kept))
            status, _ = self.ask("GET", f"key/{key}?r=majority")
            if status == "404":
                self.report.is_wrong(f"{key}, a session of an hour, vanished")
                self.kept.discard(key)

    def create(self, key: str, ttl_s: int) -> str:
        """The key, when it was made and ends about when it should."""
        status, answer = self.ask("PUT", f"key/{key}?w=majority&ttl={ttl_s}", {"n": self.count})
        if status != "201" or answer is None:
            return ""
        if abs(answer.json["expires_at"] / 1000 - time.time() - ttl_s) > STAMP_TOLERANCE_S:
            self.report.note("sessions made by a clock that had just jumped, not judged")
            return ""
        return key

    def look_for(self, key: str, made_s: float) -> None:
        status, _ = self.ask("GET", f"key/{key}?r=majority")
        age_s = time.monotonic() - made_s
        if status == "404":
            self.report.lasted("a session of 5 s was seen gone after", age_s)
        elif status == "200" and age_s > 2 * VANISHED_S:
            self.report.is_wrong(f"{key}, a session of 5 s, is there after {age_s:.0f} s")
        else:
            self.report.note(f"a session of 5 s, after {VANISHED_S:.0f} s, answered {status}")
            self.short.append((key, made_s))

    def is_right(self, host: Host) -> list[str]:
        wrong = []
        for key in sorted(self.kept):
            status, _ = self.ask("GET", f"key/{key}?r=majority", host=host)
            if status != "200":
                wrong.append(f"{key}, a session of an hour, is answered {status}")
        return wrong


class Locker(Client):
    """Takes a lock and gives it back, again and again, on one key."""

    def __init__(self, *args: object, **more: object) -> None:
        super().__init__(*args, **more)  # type: ignore[arg-type]
        self.refused_since_s: float | None = None

    def step(self) -> None:
        self.count += 1
        key = f"key/lock{self.number}?w=majority"
        status, answer = self.ask("PUT", key, {"n": self.count}, If_None_Match="*")
        self.refused(status == "409")
        if status in ("201", "412", "none", "uncertain"):
            self.ask("DELETE", key, None, token_of(answer))

    def refused(self, is_refused: bool) -> None:
        now_s = time.monotonic()
        if not is_refused:
            self.refused_since_s = None
            return
        self.refused_since_s = self.refused_since_s or now_s
        refused_s = now_s - self.refused_since_s
        self.report.lasted("a lock was refused with 409 for", refused_s)
        if refused_s > REFUSED_S:
            self.report.is_wrong(f"a lock is refused with 409 for {refused_s:.0f} s")
            self.refused_since_s = now_s
