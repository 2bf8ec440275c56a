"""What the soak saw: requests by answer, the slowest answers, what each fault cost those that it did not strike."""

from __future__ import annotations

import threading
import time
from collections import Counter, defaultdict

import click

UNUSUAL = {"PUT 400", "PUT 403", "PUT 404", "PUT 413", "PUT 500", "DELETE 403", "DELETE 500", "GET 403", "GET 500"}
"""Answers that no fault excuses."""


class Report:
    """Fed by all clients at once.

    :ivar wrong: what must not be, as text.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.began_s = time.monotonic()
        self.wrong: list[str] = []
        self.total: Counter[str] = Counter()
        self.notes: Counter[str] = Counter()
        self.longest_s: dict[str, float] = defaultdict(float)
        self._minute: Counter[str] = Counter()
        self._slowest: tuple[float, str] = (0.0, "")
        self._took_s: dict[str, list[float]] = defaultdict(list)
        self._errors: dict[str, Counter[str]] = defaultdict(Counter)

    def answered(self, name: str, status: str, took_s: float, *, is_struck: bool, faults: tuple[str, ...]) -> None:
        """A request came to its end.

        :param is_struck: whether the node asked is one of those that a fault strikes.
        :param faults: what is going on anywhere.
        """
        with self._lock:
            outcome = f"{name} {status}"
            self.total[outcome] += 1
            self._minute[outcome] += 1
            if status[:1] == "2":
                self._slowest = max(self._slowest, (took_s, f"{name} during {'+'.join(faults) or 'calm'}"))
            if outcome in UNUSUAL:
                self.wrong.append(f"{name} was answered {status}")
            if not is_struck and len(faults) <= 1:
                during = faults[0] if faults else "calm"
                self._took_s[during].append(took_s)
                if status[:1] not in "24" or status == "409":
                    self._errors[during][status] += 1

    def is_wrong(self, text: str) -> None:
        """Something must not be."""
        with self._lock:
            self.wrong.append(f"after {time.monotonic() - self.began_s:.0f} s: {text}")

    def note(self, what: str) -> None:
        """Count something that is worth knowing."""
        with self._lock:
            self.notes[what] += 1

    def lasted(self, what: str, took_s: float) -> None:
        """Keep the longest."""
        with self._lock:
            self.longest_s[what] = max(self.longest_s[what], took_s)

    def end_minute(self, extra: str) -> None:
        """One line, and begin anew."""
        with self._lock:
            minute, (slowest_s, where) = self._minute, self._slowest
            self._minute, self._slowest = Counter(), (0.0, "")
        refused = {name: times for name, times in sorted(minute.items()) if name.split()[1] not in ("200", "201")}
        at_s = time.monotonic() - self.began_s
        click.echo(
            f"{at_s:6.0f} s: {minute.total()} requests, {len(self.wrong)} wrong; slowest {slowest_s:.2f} s ({where})"
        )
        click.echo(f"          {extra}; not 200 or 201: {refused}")

    def end(self) -> None:
        """All of it."""
        click.echo(f"requests: {dict(sorted(self.total.items()))}")
        for text, times in self.notes.most_common():
            click.echo(f"{times:6} {text}")
        click.echo(f"longest, s: { {k: round(v, 1) for k, v in self.longest_s.items()} }")
        click.echo("answers of nodes that are not struck, while at most one fault is on:")
        for during, took_s in sorted(self._took_s.items()):
            took_s.sort()
            rank = took_s[len(took_s) * 99 // 100]
            errors = dict(self._errors[during])
            click.echo(f"  {during:12} {len(took_s):6}  99 % {rank:.3f} s  max {took_s[-1]:.3f} s  errors {errors}")
