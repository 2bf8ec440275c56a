"""The membership protocol's state machine: time and packets in, actions out.

Rules:

- Each probe period one member is probed (`dynatwist.membership.prober`); if nothing is heard of it, it is suspected.
- What is known of a member is the greatest claim; a suspected member that does not refute in time is dead
  (`dynatwist.membership.claims`).
- Who misses answers, has to refute, or finds its timers late, is less sure of itself and waits longer to accuse.
  A late timer means that *we* slept: the probe is void, and suspicions are extended by the time slept.
- Who hears from nobody waits even longer, and what it did not hear in that time it holds against nobody.
- Pings and acks carry a digest of the sender's view. Where they differ, views are compared: soon when no news is under
  way that would explain it, else now and then (`dynatwist.membership.exchange`).
- Dead members and seeds are called again for ever, so that a partition of any length heals
  (`dynatwist.membership.redial`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from .actions import Action, Address, Random, Send, Whom
from .awareness import Awareness
from .claims import Claims
from .exchange import Exchange
from .messages import Ack, Alive, AnyGossip, Compare, Dead, IndirectPing, Nack, Ping, States, Suspect
from .outbox import Outbox
from .prober import Prober
from .redial import Redial
from .ring import ProbeRing
from .roster import Roster
from .round_trips import RoundTrips
from .settings import SwimSettings
from .suspicion import Suspicions
from .view import View


class Swim:
    """See the module.

    :param me: this node's own entry; its incarnation is higher than at any former start.
    :param seeds: addresses to call until they answer, and again whenever they are not members.
    :param incarnation_raised: called when a refutation raised the incarnation, to be persisted.
    :ivar view: all members ever met, this node among them.
    :ivar suspicions: of members, by their id.
    :ivar roster: the members as others see them.
    :ivar claims: what is made of what is said of members.
    :ivar suspected: how often it suspected another by its own evidence.
    :ivar left: whether it said goodbye.
    """

    def __init__(
        self,
        *,
        me: Alive,
        seeds: Iterable[Address],
        settings: SwimSettings,
        random: Random,
        incarnation_raised: Callable[[int], None] = lambda incarnation: None,
    ) -> None:
        self._settings = settings
        self.view = View()
        self.view.hear_alive(me)
        self.suspicions = Suspicions()
        self.awareness = Awareness(settings.max_awareness if settings.awareness else 0)
        self.round_trips = RoundTrips()
        self.roster = Roster(me.node, self.view, self.suspicions, self.round_trips)
        self.suspected = 0
        self.left = False
        self._outbox = Outbox(settings, self.view)
        self._ring = ProbeRing(random)
        self._prober = Prober(
            me=me.node,
            settings=settings,
            random=random,
            view=self.view,
            suspicions=self.suspicions,
            awareness=self.awareness,
            round_trips=self.round_trips,
            ring=self._ring,
            outbox=self._outbox,
        )
        self.claims = Claims(
            me=me,
            settings=settings,
            view=self.view,
            suspicions=self.suspicions,
            awareness=self.awareness,
            round_trips=self.round_trips,
            roster=self.roster,
            ring=self._ring,
            outbox=self._outbox,
            incarnation_raised=incarnation_raised,
        )
        self._exchange = Exchange(
            settings=settings,
            random=random,
            view=self.view,
            claims=self.claims,
            outbox=self._outbox,
        )
        self._redial = Redial(
            seeds=seeds,
            settings=settings,
            random=random,
            view=self.view,
            outbox=self._outbox,
            exchange=self._exchange,
        )
        self._due_s: float | None = None

    def begin_with(self, view: View, first_probe_s: float) -> None:
        """Start with members known from elsewhere, before the first event.

        :param first_probe_s: when the first period begins.
        """
        self._prober.begin_at(first_probe_s)
        self.view.become(view)
        self.view.hear_alive(self.me)
        self._ring.fill(node for node in self.view.alive if node != self.me.node)

    # What others may look at

    @property
    def me(self) -> Alive:
        """This node's own entry, with its newest incarnation."""
        return self.claims.me

    @property
    def next_s(self) -> float:
        """When `tick` is to be called, at the latest."""
        due_s = min(self._prober.due_s, self._outbox.due_s, self._redial.due_s)
        if self.suspicions:
            due_s = min(due_s, self.suspicions.next_s())
        return due_s

    @property
    def news(self) -> int:
        """How much there is to pass on."""
        return len(self._outbox.news)

    # Events

    def tick(self, now_s: float) -> list[Action]:
        """Let time pass; to be called at `next_s`."""
        if self.left:
            return []
        self._notice_own_sleep(now_s)
        silent = self._prober.tick(now_s)
        if silent is not None:
            self.suspected += 1
            node, reason = silent
            self.claims.accuse(now_s, node, self.view.incarnation(node), reason)
        self.claims.bury_silent(now_s)
        self._prober.probe_next(now_s)
        self._redial.tick(now_s)
        return self._taken(now_s)

    def receive(self, now_s: float, sender: bytes, source: Address, messages: list[AnyGossip]) -> list[Action]:
        """Take in an authenticated packet."""
        if self.left or self.claims.is_barred(sender):
            return []
        self._notice_own_silence(now_s)
        self._prober.on_heard(sender)
        whom = Whom(sender, source)
        for message in messages:
            self._on_message(now_s, whom, message)
        return self._taken(now_s)

    def link_answered(self, node: bytes, seq: int) -> None:
        """A member that does not answer datagrams did answer over its stream connection: it lives."""
        self._prober.on_link_answer(node, seq)

    def cannot_send(self) -> None:
        """The system refused a packet of ours: whatever is not answered now is nobody else's fault."""
        self.awareness.worse()
        if self._settings.awareness:
            self._prober.give_up()

    def leave(self) -> list[Action]:
        """Say goodbye to everybody; the node goes down in order, and is nobody's concern."""
        goodbye = Dead(self.me.node, self.me.incarnation, self.me.node)
        actions: list[Action] = [Send(Whom(peer.node, peer.address), [goodbye]) for peer in self.roster.up()]
        self.left = True
        return actions

    # Not trusting oneself

    def _notice_own_sleep(self, now_s: float) -> None:
        due_s, self._due_s = self._due_s, None
        late_s = now_s - due_s if due_s is not None else 0.0
        if late_s <= self._settings.lag_s or not self._settings.awareness:
            return
        self.awareness.worse()
        self._prober.void(now_s)
        self.suspicions.extend(late_s)

    def _notice_own_silence(self, now_s: float) -> None:
        """Whoever had heard nobody for long had not heard refutations either."""
        silent_s = self.suspicions.hear(now_s)
        if silent_s > self._settings.silence_s and self._settings.awareness:
            self.suspicions.extend(silent_s)

    # Messages

    def _on_message(self, now_s: float, whom: Whom, message: AnyGossip) -> None:
        match message:
            case Ping(seq, target, digest):
                if target == self.me.node:
                    self._outbox.send(whom, [Ack(seq, self.view.digest)])
                    self._exchange.notice(now_s, whom, digest)
            case Ack(seq, digest):
                self._prober.on_ack(now_s, whom.node, seq)
                self._exchange.notice(now_s, whom, digest)
            case Nack(seq):
                self._prober.on_nack(whom.node, seq)
            case IndirectPing(seq, target):
                self._prober.on_indirect_ping(now_s, whom, seq, target)
            case Alive():
                self.claims.hear_alive(message)
            case Suspect():
                self._on_suspect(now_s, message)
            case Dead():
                self.claims.hear_dead(now_s, message)
            case Compare(digests):
                self._exchange.answer(now_s, whom, digests)
            case States(states, buckets):
                self._exchange.take_in(now_s, whom, states, buckets)

    def _on_suspect(self, now_s: float, suspect: Suspect) -> None:
        """Somebody suspects a member; perhaps it did not answer us either, when we asked for somebody else."""
        node, incarnation = suspect.node, suspect.incarnation
        if self.claims.hear_suspect(now_s, node, incarnation, suspect.accuser) and self._prober.missed(node, now_s):
            self.claims.accuse(now_s, node, incarnation, "did not answer us either")

    def _taken(self, now_s: float) -> list[Action]:
        actions = self._outbox.take(now_s, self._ring)
        self._due_s = self.next_s
        return actions
