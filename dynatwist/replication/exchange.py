"""Anti-entropy's last step: two replicas with equal clocks and differing digests find out what to do about it."""

from __future__ import annotations

from dataclasses import dataclass

from dynatwist.model.dots import Dot, DotSet
from dynatwist.model.record import Key
from dynatwist.model.replica import Replica


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one side does after comparing some buckets.

    :ivar drops: entries that the peer has collected: drop them and adopt its G in the same step.
    :ivar wanted: keys whose record is to be fetched and taken if greater.
    :ivar alarms: pairs that both clocks cover and that yet differ. Stays 0 in a healthy store.
    """

    drops: tuple[tuple[Key, Dot], ...]
    wanted: tuple[Key, ...]
    alarms: int


def compare(replica: Replica, mine: dict[Key, Dot], theirs: dict[Key, Dot], clock: DotSet) -> Verdict:
    """Judge the entries of some buckets.

    :param mine: the entries of the replica in these buckets.
    :param theirs: the peer's.
    :param clock: the peer's clock, taken at the same instant as its entries.
    """
    drops: list[tuple[Key, Dot]] = []
    wanted: list[Key] = []
    alarms = 0
    for key, dot in mine.items():
        if key not in theirs and clock.covers(dot):
            drops.append((key, dot))
    for key, dot in theirs.items():
        held = mine.get(key)
        if held == dot:
            continue
        if not replica.clock.covers(dot):
            wanted.append(key)
        elif held is not None and clock.covers(held):
            wanted.append(key)
            alarms += 1
    return Verdict(tuple(sorted(drops)), tuple(sorted(wanted)), alarms)
