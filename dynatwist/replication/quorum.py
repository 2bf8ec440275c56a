"""Counting answers: when has a request reached its level?"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum

from dynatwist.model.registry import majority


class Level(Enum):
    """How many owners a request has to reach."""

    ONE = "one"
    QUORUM = "quorum"
    """A majority of the owners reachable now."""
    MAJORITY = "majority"
    """A majority of the registered owners."""
    ALL = "all"


Group = tuple[bytes, ...]


class Tally:
    """The answers to one request.

    :param groups: the owner sets in each of which the level must be reached: one, or old and new during a change.
    :param is_reachable: asked at each count, since a peer may freeze while the request runs.
    """

    __slots__ = ("_groups", "_is_reachable", "answered", "level")

    def __init__(self, level: Level, groups: tuple[Group, ...], is_reachable: Callable[[bytes], bool]) -> None:
        self.level = level
        self._groups = groups
        self._is_reachable = is_reachable
        self.answered: set[bytes] = set()

    def _needed(self, group: Group) -> int:
        if self.level is Level.ALL:
            return len(group)
        if self.level is Level.MAJORITY:
            return majority(len(group))
        reachable = sum(1 for owner in group if owner in self.answered or self._is_reachable(owner))
        return majority(reachable) if reachable else 0

    def is_reached(self) -> bool:
        """Whether enough have answered."""
        if self.level is Level.ONE or not self.answered:
            return bool(self.answered)
        return all(len(self.answered.intersection(group)) >= self._needed(group) for group in self._groups)

    def can_be_reached(self, pending: set[bytes]) -> bool:
        """Whether the answers still awaited could suffice."""
        possible = self.answered | pending
        if self.level is Level.ONE:
            return bool(possible)
        return bool(possible) and all(len(possible.intersection(g)) >= self._needed(g) for g in self._groups)

    def text(self) -> str:
        """``REACHED/OWNERS``, for people, over the newest owner set."""
        newest = self._groups[-1]
        return f"{len(self.answered.intersection(newest))}/{len(newest)}"
