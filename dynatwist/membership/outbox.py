"""What is to be sent: packets filled up with news, and packets that carry nothing else."""

from __future__ import annotations

from .actions import Action, Send, Whom
from .broadcast import BroadcastQueue
from .messages import ENCODER, AnyGossip
from .ring import ProbeRing
from .settings import SwimSettings
from .view import View

LIST_BYTES = 8
"""What goes around the messages of a packet."""


class Outbox:
    """See the module.

    :ivar news: what is to be passed on.
    :ivar actions: what is to be done, in order, since they were taken last.
    """

    def __init__(self, settings: SwimSettings, view: View) -> None:
        self._settings = settings
        self._view = view
        self.news = BroadcastQueue()
        self.actions: list[Action] = []
        self._next_gossip_s = 0.0

    @property
    def due_s(self) -> float:
        """When news is to be sent; infinite without any."""
        return self._next_gossip_s if self.news else float("inf")

    def whom(self, node: bytes) -> Whom:
        """Where a member that was met is."""
        alive = self._view.alive[node]
        return Whom(node, (alive.host, alive.port))

    def send(self, whom: Whom, messages: list[AnyGossip]) -> None:
        """A packet, filled up with news."""
        if self.news:
            room = self._settings.payload_bytes - sum(len(ENCODER.encode(one)) for one in messages) - LIST_BYTES
            messages.extend(self.news.take(room, len(self._view)))
        self.actions.append(Send(whom, messages))

    def take(self, now_s: float, ring: ProbeRing) -> list[Action]:
        """All that is to be done, and news for a few members if it is time for that."""
        if now_s >= self.due_s:
            self._next_gossip_s = now_s + self._settings.gossip_interval_s
            for node in ring.choose(self._settings.gossip_nodes, self._view.is_up):
                news = self.news.take(self._settings.payload_bytes - LIST_BYTES, len(self._view))
                if news:
                    self.actions.append(Send(self.whom(node), list(news)))
        actions, self.actions = self.actions, []
        return actions
