"""The members as the rest of the node and people see them: view, suspicions and round trips in one."""

from __future__ import annotations

from .members import Peer, State
from .round_trips import RoundTrips
from .suspicion import Suspicions
from .view import View


class Roster:
    """See the module.

    :param me: this node's id.
    """

    def __init__(self, me: bytes, view: View, suspicions: Suspicions, round_trips: RoundTrips) -> None:
        self._me = me
        self._view = view
        self._suspicions = suspicions
        self._round_trips = round_trips

    def knows(self, node: bytes) -> bool:
        """Whether a member was met, and not struck out since."""
        return node in self._view.alive

    def peer(self, node: bytes) -> Peer:
        """What is known of a member that was met."""
        alive, fate, suspicion = self._view.alive[node], self._view.fates.get(node), self._suspicions.get(node)
        state = fate.state if fate else State.SUSPECT if suspicion else State.ALIVE
        since_s = fate.since_s if fate else suspicion.started_s if suspicion else 0.0
        return Peer(
            node, alive.host, alive.port, alive.peer_port, self._view.incarnation(node), state, since_s,
            frozenset(suspicion.accusers) if suspicion else frozenset(), alive.version, alive.zone,
            self._round_trips.smoothed_s(node),
        )  # fmt: skip

    def up(self) -> list[Peer]:
        """The members that take part, without this node, in order."""
        return [self.peer(node) for node in self._others() if self._view.is_up(node)]

    def everybody(self) -> list[Peer]:
        """All members ever met, this node first."""
        return [self.peer(self._me), *map(self.peer, self._others())]

    def _others(self) -> list[bytes]:
        return sorted(node for node in self._view.alive if node != self._me)
