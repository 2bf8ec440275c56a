"""When a node makes its next backup, and which of its former ones are not kept any more."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

PART = ".new"
"""Behind the name of a backup that is not whole yet, or never was."""
_NAME = re.compile(r"dynakv-([0-9a-f]{8})-([0-9]{8}T[0-9]{6}Z)\.backup(\.new)?")


@dataclass(frozen=True, slots=True)
class Made:
    """A backup that a node has made.

    :ivar name: of its file.
    :ivar at: when, as text that sorts as times do.
    """

    name: str
    at: str


def name_of(node: str, at: str) -> str:
    """The name of a node's backup of some time; several nodes may share a folder."""
    return f"dynakv-{node}-{at}.backup"


def made_by(node: str, names: Iterable[str]) -> list[Made]:
    """The backups of one node among some files, the oldest first. All other files are nobody's business here."""
    found = [(name, _NAME.fullmatch(name)) for name in names]
    made = [Made(name, one[2]) for name, one in found if one is not None and one[1] == node and not one[3]]
    return sorted(made, key=lambda one: one.at)


def left_over(node: str, names: Iterable[str]) -> list[str]:
    """Files in which a node, or a former process of it, has begun a backup."""
    found = [(name, _NAME.fullmatch(name)) for name in names]
    return [name for name, one in found if one is not None and one[1] == node and one[3]]


def superseded(made: list[Made], keep: int) -> list[str]:
    """The names of those that are not kept: all but the newest ones, `keep` of them."""
    return [one.name for one in made[: max(0, len(made) - keep)]]


def due_ms(last_ms: int | None, now_ms: int, every_ms: int) -> int:
    """When the next one is due, by the wall clock: at once where there is none, or the last one is old enough. A clock
    that was set back delays it by `every_ms` at most.

    :param last_ms: when the last one was made.
    """
    return now_ms if last_ms is None else min(last_ms, now_ms) + every_ms
