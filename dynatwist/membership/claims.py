"""What a node makes of claims about members, its own claims among them.

Rules:

- A suspected member that does not refute in time is dead. It refutes by a higher incarnation, which only it may raise.
- What is known of a member is the greatest claim: by incarnation, then alive < dead < left. ``suspect(i)`` counts when
  nothing newer than i is known. Whatever changed is passed on.
- Claims of and about members that were struck out for good do not count.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import msgspec

from .actions import Changed, Doubled
from .awareness import Awareness
from .members import State
from .messages import Alive, Dead, Suspect
from .outbox import Outbox
from .ring import ProbeRing
from .roster import Roster
from .round_trips import RoundTrips
from .settings import SwimSettings
from .suspicion import Suspicions, suspicion_of
from .view import Fate, View


class Claims:
    """See the module.

    :param me: this node's own entry; its incarnation is higher than at any former start.
    :param incarnation_raised: called when a refutation raised the incarnation, to be persisted.
    :ivar me: the same, with the newest incarnation.
    :ivar refutations: how often this node was suspected and said that it lives.
    """

    def __init__(
        self,
        *,
        me: Alive,
        settings: SwimSettings,
        view: View,
        suspicions: Suspicions,
        awareness: Awareness,
        round_trips: RoundTrips,
        roster: Roster,
        ring: ProbeRing,
        outbox: Outbox,
        incarnation_raised: Callable[[int], None],
    ) -> None:
        self.me = me
        self._settings = settings
        self._view = view
        self._suspicions = suspicions
        self._awareness = awareness
        self._round_trips = round_trips
        self._roster = roster
        self._ring = ring
        self._outbox = outbox
        self._incarnation_raised = incarnation_raised
        self._is_registered: Callable[[bytes], bool] = lambda node: False
        self._barred: frozenset[bytes] = frozenset()
        self.refutations = 0

    def prefer(self, is_registered: Callable[[bytes], bool]) -> None:
        """Where there is no room for all members, keep those in the registry, of which nothing is known here."""
        self._is_registered = is_registered

    def remove(self, node: bytes) -> None:
        """Forget a member that was struck out."""
        if node in self._view.alive and node != self.me.node:
            self._view.forget(node)
            self._suspicions.pop(node, None)
            self._round_trips.forget(node)
            self._ring.remove(node)

    def bar(self, nodes: frozenset[bytes]) -> None:
        """Hear nothing any more of or from members that were struck out for good."""
        self._barred = nodes - {self.me.node}
        for node in sorted(self._barred):
            self.remove(node)

    def is_barred(self, node: bytes) -> bool:
        """Whether a member was struck out for good."""
        return node in self._barred

    # Alive

    def hear_alive(self, alive: Alive) -> None:
        """A member says of itself that it lives, or another passes that on."""
        node = alive.node
        if node in self._barred:
            return
        if node == self.me.node:
            self._hear_of_me(alive)
            return
        known = self._view.alive.get(node)
        suspicion = self._suspicions.get(node)
        if suspicion is not None and alive.incarnation <= suspicion.incarnation:
            return
        before = None if known is None else State.SUSPECT if suspicion else self._view.state(node)
        if not self._has_room_for(node) or not self._view.hear_alive(alive):
            return
        self._suspicions.pop(node, None)
        if known is None:
            self._ring.add(node)
        self._outbox.news.add(alive)
        moved = known is not None and _place(known) != _place(alive)
        if before is not State.ALIVE or moved:
            why = {None: "new", State.ALIVE: "moved", State.SUSPECT: "refuted"}.get(before, "back")
            changed = Changed(self._roster.peer(node), before, f"{why}, incarnation {alive.incarnation}")
            self._outbox.actions.append(changed)

    def _hear_of_me(self, alive: Alive) -> None:
        if alive.incarnation > self.me.incarnation:
            if _place(alive) != _place(self.me):  # only this node raises it, and each start begins higher
                self._outbox.actions.append(Doubled((alive.host, alive.port)))
            self._refute(alive.incarnation)

    def _has_room_for(self, node: bytes) -> bool:
        return self._view.is_up(node) or len(self._view) < self._settings.max_up or self._makes_room_for(node)

    def _makes_room_for(self, node: bytes) -> bool:
        """Forget a member that is in no registry for one that is: the others can be made up."""
        if not self._is_registered(node):
            return False
        for other in self._view.alive:
            if self._view.is_up(other) and other != self.me.node and not self._is_registered(other):
                self.remove(other)
                return True
        return True

    # Suspect

    def hear_suspect(self, now_s: float, node: bytes, incarnation: int, accuser: bytes) -> bool:
        """Somebody suspects a member.

        :returns: whether that counts.
        """
        if node == self.me.node:
            if incarnation >= self.me.incarnation:
                self._refute(incarnation)
            return False
        if not self._view.is_up(node) or incarnation < self._view.incarnation(node):
            return False
        self._suspect(now_s, node, incarnation, accuser, "accused")
        return True

    def accuse(self, now_s: float, node: bytes, incarnation: int, reason: str) -> None:
        """This node suspects a member by its own evidence."""
        self._suspect(now_s, node, incarnation, self.me.node, reason)

    def _suspect(self, now_s: float, node: bytes, incarnation: int, accuser: bytes, reason: str) -> None:
        suspicion = self._suspicions.get(node)
        if suspicion is not None and incarnation <= suspicion.incarnation:
            if incarnation == suspicion.incarnation and suspicion.confirm(accuser):
                self._outbox.news.add(Suspect(node, incarnation, accuser))
            return
        self._suspicions[node] = suspicion_of(incarnation, accuser, len(self._view), self._settings, now_s)
        self._outbox.news.add(Suspect(node, incarnation, accuser))
        if suspicion is None:
            who = "" if accuser == self.me.node else f" by {accuser.hex()}"
            self._outbox.actions.append(Changed(self._roster.peer(node), State.ALIVE, reason + who))

    # Dead, or gone in order

    def hear_dead(self, now_s: float, dead: Dead) -> None:
        """Somebody says that a member is dead, or a member says goodbye."""
        node, incarnation, accuser = dead.node, dead.incarnation, dead.accuser
        if node == self.me.node:
            if incarnation >= self.me.incarnation:
                self._refute(incarnation)
            return
        left = accuser == node
        reason = "said goodbye" if left else f"dead, says {accuser.hex() or 'the view of another'}"
        self._bury(node, Fate(State.LEFT if left else State.DEAD, incarnation, now_s), accuser, reason)

    def bury_silent(self, now_s: float) -> None:
        """Those that did not refute in time are dead."""
        for node in self._suspicions.due(now_s):
            suspicion = self._suspicions[node]
            lasted_s = now_s - suspicion.started_s
            reason = f"did not refute within {lasted_s:.1f} s; accusers: {_names(suspicion.accusers)}"
            self._bury(node, Fate(State.DEAD, suspicion.incarnation, now_s), self.me.node, reason)

    def _bury(self, node: bytes, fate: Fate, accuser: bytes, reason: str) -> None:
        if not self._view.is_up(node):
            before = self._view.fates[node].state if node in self._view.fates else None
        else:
            before = State.SUSPECT if node in self._suspicions else State.ALIVE
        if not self._view.hear_fate(node, fate):
            return
        self._suspicions.pop(node, None)
        self._outbox.news.add(Dead(node, fate.incarnation, node if fate.state is State.LEFT else accuser))
        self._outbox.actions.append(Changed(self._roster.peer(node), before, reason))
        while len(self._view.fates) > self._settings.max_down:
            self.remove(self._view.oldest_down())

    def _refute(self, incarnation: int) -> None:
        self.refutations += 1
        self._awareness.worse()
        self.me = msgspec.structs.replace(self.me, incarnation=incarnation + 1)
        self._view.hear_alive(self.me)
        self._incarnation_raised(self.me.incarnation)
        self._outbox.news.add(self.me)

    # A whole view

    def take_in(self, now_s: float, states: list[Alive | Dead]) -> bool:
        """Another's view. Members first met here are news to nobody but us, and are not passed on.

        :returns: whether there were any.
        """
        met = {state.node for state in states if not self._roster.knows(state.node)}
        for state in states:
            if isinstance(state, Alive):
                self.hear_alive(state)
            else:
                self.hear_dead(now_s, state)
        for node in met:
            self._outbox.news.discard(node)
        return bool(met)


def _place(alive: Alive) -> tuple[str, int, int]:
    return alive.host, alive.port, alive.peer_port


def _names(nodes: Iterable[bytes]) -> str:
    return ", ".join(sorted(node.hex() for node in nodes))
