"""Suspicions, and how long they last (Lifeguard, section IV.B)."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import log, log10

from .settings import SwimSettings


@dataclass(slots=True)
class Suspicion:
    """Of one member, in one incarnation.

    :ivar incarnation: of the member, when it was suspected.
    :ivar wanted: confirmations that make it as short as it gets.
    :ivar accusers: who suspects the member by its own evidence.
    """

    incarnation: int
    started_s: float
    shortest_s: float
    longest_s: float
    wanted: int
    accusers: set[bytes] = field(default_factory=set)

    @property
    def deadline_s(self) -> float:
        """When the member is dead, unless it refutes: the logarithm of confirmations shortens the longest time."""
        confirmations = len(self.accusers) - 1
        if self.wanted < 1 or confirmations >= self.wanted:
            return self.started_s + self.shortest_s
        share = log(confirmations + 1) / log(self.wanted + 1)
        return self.started_s + self.longest_s - (self.longest_s - self.shortest_s) * share

    def confirm(self, accuser: bytes) -> bool:
        """Somebody accuses the member too.

        :returns: whether that is evidence not met before, and still wanted.
        """
        if accuser in self.accusers or len(self.accusers) > self.wanted:
            return False
        self.accusers.add(accuser)
        return True


def suspicion_of(incarnation: int, accuser: bytes, members: int, settings: SwimSettings, now_s: float) -> Suspicion:
    """A new suspicion.

    :param members: how many are up, with this node and the suspected one.
    """
    shortest_s = settings.suspicion_multiplier * max(1.0, log10(members + 1)) * settings.probe_interval_s
    if not settings.shortening:
        return Suspicion(incarnation, now_s, shortest_s, shortest_s, 0, {accuser})
    others = members - 2  # beyond the first accuser and the suspected member
    wanted = settings.confirmations if others >= settings.confirmations else 0
    return Suspicion(incarnation, now_s, shortest_s, shortest_s * settings.longest_suspicion, wanted, {accuser})


class Suspicions(dict[bytes, Suspicion]):
    """Those that are open, by member.

    Who has heard from nobody since one began, where others should have been heard, takes twice the longest time: it is
    rather cut off itself.

    """

    _heard_s = 0.0
    """When anybody was heard last."""

    def hear(self, now_s: float) -> float:
        """Somebody is heard.

        :returns: how long nobody was before.
        """
        silent_s, self._heard_s = now_s - self._heard_s, now_s
        return silent_s

    def due_s(self, suspicion: Suspicion) -> float:
        """When the member is dead."""
        if suspicion.wanted and self._heard_s < suspicion.started_s:
            return suspicion.started_s + 2 * suspicion.longest_s
        return suspicion.deadline_s

    def next_s(self) -> float:
        """When the first is due; infinite without any."""
        return min(map(self.due_s, self.values()), default=float("inf"))

    def due(self, now_s: float) -> list[bytes]:
        """The members that are dead by now, in order."""
        return sorted(node for node, suspicion in self.items() if now_s >= self.due_s(suspicion))

    def extend(self, duration_s: float) -> None:
        """A time in which no refutation could have been heard does not count."""
        for suspicion in self.values():
            suspicion.started_s += duration_s
