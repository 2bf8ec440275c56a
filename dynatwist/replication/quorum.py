"""Counting answers: when has a request reached its level, and when can it not reach it any more?"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum, auto
from functools import cache

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


class Verdict(Enum):
    """How a request stands."""

    OPEN = auto()
    """More answers are needed, and may come."""
    REACHED = auto()
    OUT_OF_REACH = auto()
    """Not even all answers that are still expected would be enough."""


@dataclass(frozen=True, slots=True)
class Reach:
    """How far a request has come.

    :ivar is_enough: whether that is its level.
    :ivar answered: how many of the owners, by the newest owner set, were counted.
    :ivar owners: how many there are.
    """

    is_enough: bool
    answered: int
    owners: int

    def __str__(self) -> str:
        """``ANSWERED/OWNERS``, for people."""
        return _text(self.answered, self.owners)


@cache
def _text(answered: int, owners: int) -> str:
    return f"{answered}/{owners}"


class Tally:
    """The answers to one request.

    :param groups: the owner sets in each of which the level must be reached: one, or old and new during a change.
    :param is_reachable: asked at each count, since a peer may freeze while the request runs.
    :ivar answered: the owners that count.
    :ivar expected: the owners that may still answer.
    """

    __slots__ = ("_groups", "_is_reachable", "answered", "expected", "level")

    def __init__(self, level: Level, groups: tuple[Group, ...], is_reachable: Callable[[bytes], bool]) -> None:
        self.level = level
        self._groups = groups
        self._is_reachable = is_reachable
        self.answered: set[bytes] = set()
        self.expected: set[bytes] = set()

    # What happened

    def expect(self, *owners: bytes) -> None:
        """These may answer."""
        self.expected.update(owners)

    def count(self, owner: bytes) -> None:
        """An owner has answered as it is wanted."""
        self.expected.discard(owner)
        self.answered.add(owner)

    def give_up_on(self, owner: bytes) -> None:
        """An owner has refused, or will not be heard of."""
        self.expected.discard(owner)

    # What follows

    def verdict(self) -> Verdict:
        """How it stands now."""
        if self.is_reached():
            return Verdict.REACHED
        return Verdict.OPEN if self.can_be_reached(self.expected) else Verdict.OUT_OF_REACH

    def is_reached(self) -> bool:
        """Whether enough have answered."""
        if self.level is Level.ONE or not self.answered:
            return bool(self.answered)
        return all(len(self.answered.intersection(group)) >= self._needed(group) for group in self._groups)

    def can_be_reached(self, more: Iterable[bytes]) -> bool:
        """Whether it would be enough if all of these answered too."""
        possible = self.answered.union(more)
        if self.level is Level.ONE:
            return bool(possible)
        return bool(possible) and all(len(possible.intersection(g)) >= self._needed(g) for g in self._groups)

    def _needed(self, group: Group) -> int:
        if self.level is Level.ALL:
            return len(group)
        if self.level is Level.MAJORITY:
            return majority(len(group))
        reachable = sum(1 for owner in group if owner in self.answered or self._is_reachable(owner))
        return majority(reachable) if reachable else 0

    def reach(self, is_enough: bool) -> Reach:
        """What to say of it, over the newest owner set."""
        newest = self._groups[-1]
        return Reach(is_enough, len(self.answered.intersection(newest)), len(newest))
