"""When a node makes its next backup, and which of its former ones are not kept any more."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

PART = ".new"
"""Behind the name of a backup that is not whole yet, or never was."""
_NAME = re.compile(r"dynakv-([0-9a-f]{8})-([0-9]{8}T[0-9]{6}Z)\.(backup|increment)(\.new)?")


@dataclass(frozen=True, slots=True)
class Made:
    """A backup that a node has made.

    :ivar name: of its file.
    :ivar at: when, as text that sorts as times do.
    :ivar is_increment: whether it is of use only together with those before it, from the last full one on.
    """

    name: str
    at: str
    is_increment: bool = False


def name_of(node: str, at: str, *, is_increment: bool = False) -> str:
    """The name of a node's backup of some time; several nodes may share a folder."""
    return f"dynakv-{node}-{at}.{'increment' if is_increment else 'backup'}"


def made_by(node: str, names: Iterable[str]) -> list[Made]:
    """The backups of one node among some files, the oldest first. All other files are nobody's business here."""
    found = [(name, _NAME.fullmatch(name)) for name in names]
    mine = [(name, one) for name, one in found if one is not None and one[1] == node and not one[4]]
    made = [Made(name, one[2], one[3] == "increment") for name, one in mine]
    return sorted(made, key=lambda one: one.at)


def left_over(node: str, names: Iterable[str]) -> list[str]:
    """Files in which a node, or a former process of it, has begun a backup."""
    found = [(name, _NAME.fullmatch(name)) for name in names]
    return [name for name, one in found if one is not None and one[1] == node and one[4]]


def superseded(made: list[Made], keep: int) -> list[str]:
    """The names of those that are not kept: all but the newest ones, `keep` of them, and what increments among these go
    on from."""
    first = max(0, len(made) - keep)
    while first and made[first].is_increment:
        first -= 1
    return [one.name for one in made[:first]]


def chain_behind(made: list[Made], full_each: int) -> list[Made]:
    """The backups that the next one is to go on from: the last full one, and increments on it; none where the next one
    is to be full.

    :param full_each: each so many-th backup is a full one.
    """
    last_full = max((at for at, one in enumerate(made) if not one.is_increment), default=None)
    chain = made[last_full:] if last_full is not None else []
    return chain if len(chain) < full_each else []


def due_ms(last_ms: int | None, now_ms: int, every_ms: int) -> int:
    """When the next one is due, by the wall clock: at once where there is none, or the last one is old enough. A clock
    that was set back delays it by `every_ms` at most.

    :param last_ms: when the last one was made.
    """
    return now_ms if last_ms is None else min(last_ms, now_ms) + every_ms
