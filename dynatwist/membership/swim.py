"""The membership protocol's state machine: time and packets in, actions out.

Rules:

- Each probe period one member is probed (`dynatwist.membership.prober`); if nothing is heard of it, it is suspected.
- A suspected member that does not refute in time is dead. It refutes by a higher incarnation, which only it may raise.
- What is known of a member is the greatest claim: by incarnation, then alive < dead < left. ``suspect(i)`` counts when
  nothing newer than i is known. Whatever changed is passed on.
- Who misses answers, has to refute, or finds its timers late, is less sure of itself and waits longer to accuse.
  A late timer means that *we* slept: the probe is void, and suspicions are extended by the time slept.
- Who hears from nobody waits even longer, and what it did not hear in that time it holds against nobody.
- Pings and acks carry a digest of the sender's view. Where they differ, views are compared: soon when no news is under
  way that would explain it, else now and then.
- Dead members and seeds are called again for ever, so that a partition of any length heals.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import msgspec

from .actions import Action, Address, Changed, Doubled, Random, Send, Whom
from .awareness import Awareness
from .exchange import Exchange
from .members import Peer, State
from .messages import Ack, Alive, AnyGossip, Compare, Dead, IndirectPing, Nack, Ping, States, Suspect
from .outbox import Outbox
from .prober import Prober
from .round_trips import RoundTrips
from .settings import SwimSettings
from .suspicion import Suspicions, suspicion_of
from .view import Fate, View

NEVER_S = float("inf")


class Swim:
    """See the module.

    :param me: this node's own entry; its incarnation is higher than at any former start.
    :param seeds: addresses to call until they answer, and again whenever they are not members.
    :param incarnation_raised: called when a refutation raised the incarnation, to be persisted.
    :ivar view: all members ever met, this node among them.
    :ivar is_registered: whether a node is in the registry, of which this state machine knows nothing.
    :ivar suspicions: of members, by their id.
    :ivar refutations: how often this node was suspected and said that it lives.
    :ivar suspected: how often it suspected another by its own evidence.
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
        self.settings = settings
        self._random = random
        self._incarnation_raised = incarnation_raised
        self.me = me
        self.view = View()
        self.view.hear_alive(me)
        self.suspicions = Suspicions()
        self.awareness = Awareness(settings.max_awareness if settings.awareness else 0)
        self.round_trips = RoundTrips()
        self.refutations = self.suspected = 0
        self.left = False
        self._seeds = list(dict.fromkeys(seeds))
        self._outbox = Outbox(settings, self.view)
        self._prober = Prober(
            me=me.node,
            settings=settings,
            random=random,
            view=self.view,
            suspicions=self.suspicions,
            awareness=self.awareness,
            round_trips=self.round_trips,
            outbox=self._outbox,
        )
        self._exchange = Exchange(settings)
        self.is_registered: Callable[[bytes], bool] = lambda node: False
        self._barred: frozenset[bytes] = frozenset()
        self._next_redial_s = 0.0
        self._due_s: float | None = None

    def begin_with(self, view: View, first_probe_s: float) -> None:
        """Start with members known from elsewhere, before the first event.

        :param first_probe_s: when the first period begins.
        """
        self._prober.begin_at(first_probe_s)
        self.view.become(view)
        self.view.hear_alive(self.me)
        self._prober.ring.fill(node for node in self.view.alive if node != self.me.node)

    # What others may look at

    @property
    def next_s(self) -> float:
        """When `tick` is to be called, at the latest."""
        due_s = min(self._prober.due_s, self._outbox.due_s)
        if self._seeds or self.view.fates:
            due_s = min(due_s, self._next_redial_s)
        if self.suspicions:
            due_s = min(due_s, self.suspicions.next_s())
        return due_s

    def up(self) -> list[Peer]:
        """The members that take part, without this node, in order."""
        return [self.peer(node) for node in sorted(self.view.alive) if node != self.me.node and self.view.is_up(node)]

    def everybody(self) -> list[Peer]:
        """All members ever met, this node first."""
        others = [self.peer(node) for node in sorted(self.view.alive) if node != self.me.node]
        return [self.peer(self.me.node), *others]

    @property
    def news(self) -> int:
        """How much there is to pass on."""
        return len(self._outbox.news)

    def knows(self, node: bytes) -> bool:
        """Whether a member was met, and not struck out since."""
        return node in self.view.alive

    def peer(self, node: bytes) -> Peer:
        """What is known of a member that was met."""
        alive, fate, suspicion = self.view.alive[node], self.view.fates.get(node), self.suspicions.get(node)
        state = fate.state if fate else State.SUSPECT if suspicion else State.ALIVE
        since_s = fate.since_s if fate else suspicion.started_s if suspicion else 0.0
        return Peer(
            node, alive.host, alive.port, alive.peer_port, self.view.incarnation(node), state, since_s,
            frozenset(suspicion.accusers) if suspicion else frozenset(), alive.version, alive.zone,
            self.round_trips.smoothed_s(node),
        )  # fmt: skip

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
            self._suspect(now_s, node, self.view.incarnation(node), self.me.node, reason)
        self._check_suspicions(now_s)
        self._prober.probe_next(now_s)
        if now_s >= self._next_redial_s:
            self._next_redial_s = now_s + self.settings.redial_interval_s
            self._redial()
        return self._taken(now_s)

    def receive(self, now_s: float, sender: bytes, source: Address, messages: list[AnyGossip]) -> list[Action]:
        """Take in an authenticated packet."""
        if self.left or sender in self._barred:
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
        if self.settings.awareness:
            self._prober.probe = None

    def remove(self, node: bytes) -> None:
        """Forget a member that was struck out."""
        if node in self.view.alive and node != self.me.node:
            self.view.forget(node)
            self.suspicions.pop(node, None)
            self.round_trips.forget(node)
            self._prober.ring.remove(node)

    def bar(self, nodes: frozenset[bytes]) -> None:
        """Hear nothing any more of or from members that were struck out for good."""
        self._barred = nodes - {self.me.node}
        for node in sorted(self._barred):
            self.remove(node)

    def leave(self) -> list[Action]:
        """Say goodbye to everybody; the node goes down in order, and is nobody's concern."""
        goodbye = Dead(self.me.node, self.me.incarnation, self.me.node)
        actions: list[Action] = [Send(Whom(peer.node, peer.address), [goodbye]) for peer in self.up()]
        self.left = True
        return actions

    # Not trusting oneself

    def _notice_own_sleep(self, now_s: float) -> None:
        due_s, self._due_s = self._due_s, None
        late_s = now_s - due_s if due_s is not None else 0.0
        if late_s <= self.settings.lag_s or not self.settings.awareness:
            return
        self.awareness.worse()
        self._prober.void(now_s)
        self.suspicions.extend(late_s)

    def _notice_own_silence(self, now_s: float) -> None:
        """Whoever had heard nobody for long had not heard refutations either."""
        silent_s = now_s - self.suspicions.heard_s
        if silent_s > self.settings.silence_s and self.settings.awareness:
            self.suspicions.extend(silent_s)
        self.suspicions.heard_s = now_s

    # Time

    def _check_suspicions(self, now_s: float) -> None:
        for node in self.suspicions.due(now_s):
            suspicion = self.suspicions[node]
            lasted_s = now_s - suspicion.started_s
            reason = f"did not refute within {lasted_s:.1f} s; accusers: {_names(suspicion.accusers)}"
            self._bury(node, Fate(State.DEAD, suspicion.incarnation, now_s), self.me.node, reason)

    def _redial(self) -> None:
        """Call whoever should be there and is not: seeds that are no members, and one dead member."""
        if self._seeds:
            known = {self._outbox.whom(node).address for node in self.view.alive if self.view.is_up(node)}
            for seed in self._seeds:
                if seed not in known:
                    self._compare(Whom(b"", seed))
        dead = sorted(node for node, fate in self.view.fates.items() if fate.state is State.DEAD)
        if dead:
            self._compare(self._outbox.whom(self._random.choice(dead)))

    # Messages

    def _on_message(self, now_s: float, whom: Whom, message: AnyGossip) -> None:
        match message:
            case Ping(seq, target, digest):
                if target == self.me.node:
                    self._outbox.send(whom, [Ack(seq, self.view.digest)])
                    self._check_digest(now_s, whom, digest)
            case Ack(seq, digest):
                self._prober.on_ack(now_s, whom.node, seq)
                self._check_digest(now_s, whom, digest)
            case Nack(seq):
                self._prober.on_nack(whom.node, seq)
            case IndirectPing(seq, target):
                self._prober.on_indirect_ping(now_s, whom, seq, target)
            case Alive():
                self._on_alive(now_s, message)
            case Suspect(node, incarnation, accuser):
                self._on_suspect(now_s, node, incarnation, accuser)
            case Dead(node, incarnation, accuser):
                self._on_dead(now_s, node, incarnation, accuser)
            case Compare(digests):
                differing = self.view.differing(digests)
                self._random.shuffle(differing)
                self._tell(now_s, whom, differing, self.view.bucket_digest)
            case States(states, buckets):
                self._take_in(now_s, whom, states)
                differing = [n for n, digest in sorted(buckets.items()) if self._differs(n, digest)]
                self._tell(now_s, whom, differing, None)

    def _on_alive(self, now_s: float, alive: Alive) -> None:
        node = alive.node
        if node in self._barred:
            return
        if node == self.me.node:
            if alive.incarnation > self.me.incarnation:
                if _place(alive) != _place(self.me):  # only this node raises it, and each start begins higher
                    self._outbox.actions.append(Doubled((alive.host, alive.port)))
                self._refute(alive.incarnation)
            return
        known = self.view.alive.get(node)
        suspicion = self.suspicions.get(node)
        if suspicion is not None and alive.incarnation <= suspicion.incarnation:
            return
        before = None if known is None else State.SUSPECT if suspicion else self.view.state(node)
        if not self.view.is_up(node) and len(self.view) >= self.settings.max_up and not self._makes_room_for(node):
            return
        if not self.view.hear_alive(alive):
            return
        self.suspicions.pop(node, None)
        if known is None:
            self._prober.ring.add(node)
        self._outbox.news.add(alive)
        moved = known is not None and _place(known) != _place(alive)
        if before is not State.ALIVE or moved:
            why = {None: "new", State.ALIVE: "moved", State.SUSPECT: "refuted"}.get(before, "back")
            self._outbox.actions.append(Changed(self.peer(node), before, f"{why}, incarnation {alive.incarnation}"))

    def _makes_room_for(self, node: bytes) -> bool:
        """Forget a member that is in no registry for one that is: the others can be made up."""
        if not self.is_registered(node):
            return False
        for other in self.view.alive:
            if self.view.is_up(other) and other != self.me.node and not self.is_registered(other):
                self.remove(other)
                return True
        return True

    def _on_suspect(self, now_s: float, node: bytes, incarnation: int, accuser: bytes) -> None:
        if node == self.me.node:
            if incarnation >= self.me.incarnation:
                self._refute(incarnation)
        elif self.view.is_up(node) and incarnation >= self.view.incarnation(node):
            self._suspect(now_s, node, incarnation, accuser, "accused")
            if self._prober.missed(node, now_s):
                self._suspect(now_s, node, incarnation, self.me.node, "did not answer us either")

    def _suspect(self, now_s: float, node: bytes, incarnation: int, accuser: bytes, reason: str) -> None:
        suspicion = self.suspicions.get(node)
        if suspicion is not None and incarnation <= suspicion.incarnation:
            if incarnation == suspicion.incarnation and suspicion.confirm(accuser):
                self._outbox.news.add(Suspect(node, incarnation, accuser))
            return
        self.suspicions[node] = suspicion_of(incarnation, accuser, len(self.view), self.settings, now_s)
        self._outbox.news.add(Suspect(node, incarnation, accuser))
        if suspicion is None:
            who = "" if accuser == self.me.node else f" by {accuser.hex()}"
            self._outbox.actions.append(Changed(self.peer(node), State.ALIVE, reason + who))

    def _on_dead(self, now_s: float, node: bytes, incarnation: int, accuser: bytes) -> None:
        if node == self.me.node:
            if incarnation >= self.me.incarnation:
                self._refute(incarnation)
            return
        left = accuser == node
        reason = "said goodbye" if left else f"dead, says {accuser.hex() or 'the view of another'}"
        self._bury(node, Fate(State.LEFT if left else State.DEAD, incarnation, now_s), accuser, reason)

    def _bury(self, node: bytes, fate: Fate, accuser: bytes, reason: str) -> None:
        if not self.view.is_up(node):
            before = self.view.fates[node].state if node in self.view.fates else None
        else:
            before = State.SUSPECT if node in self.suspicions else State.ALIVE
        if not self.view.hear_fate(node, fate):
            return
        self.suspicions.pop(node, None)
        self._outbox.news.add(Dead(node, fate.incarnation, node if fate.state is State.LEFT else accuser))
        self._outbox.actions.append(Changed(self.peer(node), before, reason))
        while len(self.view.fates) > self.settings.max_down:
            self.remove(self.view.oldest_down())

    def _refute(self, incarnation: int) -> None:
        self.refutations += 1
        self.awareness.worse()
        self.me = msgspec.structs.replace(self.me, incarnation=incarnation + 1)
        self.view.hear_alive(self.me)
        self._incarnation_raised(self.me.incarnation)
        self._outbox.news.add(self.me)

    # Comparing views

    def _check_digest(self, now_s: float, whom: Whom, digest: int) -> None:
        """Compare with somebody whose view differs."""
        if digest and digest != self.view.digest and self._exchange.is_due(now_s, news=bool(self._outbox.news)):
            self._compare(whom)

    def _compare(self, whom: Whom) -> None:
        """Ask where views differ. We say who we are as well: a stranger is told apart by that."""
        self._outbox.actions.append(Send(whom, [self.me, Compare(self.view.digests())]))

    def _differs(self, bucket: int, digest: bytes) -> bool:
        return self.view.bucket_digest(bucket) != digest

    def _take_in(self, now_s: float, whom: Whom, states: list[Alive | Dead]) -> None:
        """Another's view. Members first met here are news to nobody but us, and are not passed on."""
        met = {state.node for state in states if not self.knows(state.node)}
        for state in states:
            self._on_message(now_s, whom, state)
        for node in met:
            self._outbox.news.discard(node)
        self._exchange.learning |= bool(met)

    def _tell(self, now_s: float, whom: Whom, buckets: list[int], digest: Callable[[int], bytes] | None) -> None:
        for page in self._exchange.tell(now_s, self.view, buckets, digest):
            self._outbox.actions.append(Send(whom, [page]))

    def _taken(self, now_s: float) -> list[Action]:
        actions = self._outbox.take(now_s, self._prober.ring)
        self._due_s = self.next_s
        return actions


def _place(alive: Alive) -> tuple[str, int, int]:
    return alive.host, alive.port, alive.peer_port


def _names(nodes: Iterable[bytes]) -> str:
    return ", ".join(sorted(node.hex() for node in nodes))
