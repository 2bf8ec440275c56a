"""How many failures away it is that partitions have no majority: one reckoning for figures, alerts and the verdict."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from dynatwist.model.registry import majority

Groups = tuple[tuple[bytes, ...], ...]
"""The sets of owners of a partition, of each of which a majority is needed; two while members change."""


@dataclass(frozen=True, slots=True)
class Risk:
    """See the module.

    :ivar partitions: that were looked at.
    :ivar lacking: of these, how many lack an owner that can be asked.
    :ivar without: of these, how many lack a majority of owners that can be asked.
    :ivar failures_left: how many owners may fail, the most unfortunate ones, until a partition has no majority: with 1
        the next failure stops writes by majority; 0 where one has none already.
    """

    partitions: int
    lacking: int
    without: int
    failures_left: int


def risk_of(partitions: Mapping[Groups, int], is_reached: Callable[[bytes], bool]) -> Risk:
    """What follows from who can be asked.

    :param partitions: how many have which owners.
    """
    lacking = without = 0
    left: list[int] = []
    for groups, count in partitions.items():
        reached = [sum(map(is_reached, group)) for group in groups]
        spare = [many - majority(len(group)) + 1 for many, group in zip(reached, groups, strict=True)]
        lacking += count if reached != list(map(len, groups)) else 0
        without += count if min(spare, default=0) <= 0 else 0
        left += spare
    return Risk(sum(partitions.values()), lacking, without, max(0, min(left, default=0)))
