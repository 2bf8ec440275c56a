"""How one member is, as it says itself: what an overview of the cluster is made of."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

import msgspec
from msgspec import Meta

MOST_TEXTS, MOST_CHARS = 100, 1000
"""Findings in one answer, and letters of each: a start finds a few, and people read them."""
Count = Annotated[int, Meta(ge=0)]
Ranges = Annotated[list[tuple[Count, Count]], Meta(max_length=256)]
"""Of partitions: the first and the last one of each run."""
Texts = Annotated[list[Annotated[str, Meta(max_length=MOST_CHARS)]], Meta(max_length=MOST_TEXTS)]
Name = Annotated[str, Meta(max_length=100)]


class Held(msgspec.Struct, frozen=True, array_like=True):
    """Which partitions a member has, as ranges.

    :ivar whole: owned, and all there.
    :ivar filling: owned since a change of members, and fetched.
    :ivar damaged: owned before, lost or not to be trusted, and fetched anew.
    :ivar moving: held, and not owned any more: handed off, then dropped.
    """

    whole: Ranges = []
    filling: Ranges = []
    damaged: Ranges = []
    moving: Ranges = []


class Condition(msgspec.Struct, frozen=True, array_like=True, kw_only=True):
    """See the module. Later releases add fields at the end.

    :ivar memory_bytes: of the process (RSS); 0 where the system does not tell.
    :ivar memory_limit_bytes: for records, which are a part of that (``--max-memory``).
    :ivar secrets: names of the cluster's secrets that it accepts, the one in use first.
    :ivar secret_since_ms: since when it uses that; 0 where it did already when it started.
    :ivar started_ms: when the process started, by its wall clock.
    :ivar findings: what it has found damaged.
    :ivar alarms: names of `dynatwist.health.alarms`.
    """

    version: Name
    ready: bool
    keys: Count
    store_bytes: Count
    hints: Count
    memory_bytes: Count
    memory_limit_bytes: Count
    disk_free_bytes: Count
    secrets: Annotated[list[Name], Meta(max_length=MOST_TEXTS)]
    secret_since_ms: Count
    started_ms: Count
    held: Held
    findings: Texts
    alarms: Annotated[list[Name], Meta(max_length=MOST_TEXTS)]


def ranges(numbers: Iterable[int]) -> list[tuple[int, int]]:
    """Numbers in order, as runs: the first and the last one of each."""
    found: list[tuple[int, int]] = []
    for number in sorted(numbers):
        if found and number == found[-1][1] + 1:
            found[-1] = found[-1][0], number
        else:
            found.append((number, number))
    return found


def count_of(runs: Iterable[tuple[int, int]]) -> int:
    """How many numbers there are in runs."""
    return sum(last - first + 1 for first, last in runs)
