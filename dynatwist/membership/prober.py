"""Probing: one member a period, and pings made for others.

Rules:

- Each probe period one member, in shuffled round-robin order, is pinged. Without an ack in time, it is pinged again,
  also over its stream connection, and k others are asked to ping it; and again until the period is over.
- An ack counts from the member, or from those that were asked to ping it, and from nobody else.
- A missed ack, and each of those asked that says nothing either, makes this node less sure of itself.
- Whoever was heard of in the period lives: it is our packets that are lost.
"""

from __future__ import annotations

from .actions import PingLink, Random, Whom
from .awareness import Awareness
from .messages import Ack, AnyGossip, IndirectPing, Nack, Ping, Suspect
from .outbox import Outbox
from .probing import Probe, Relay, Relays
from .ring import ProbeRing
from .round_trips import RoundTrips
from .settings import SwimSettings
from .suspicion import Suspicions
from .view import View

SHARE_OF_PERIOD = 0.95
"""How long an ack may take, repeated pings and other ways included."""


class Prober:
    """See the module.

    :param me: this node's id.
    :param ring: whom to probe, and whom to choose helpers from.
    :ivar probe: the one under way.
    """

    def __init__(
        self,
        *,
        me: bytes,
        settings: SwimSettings,
        random: Random,
        view: View,
        suspicions: Suspicions,
        awareness: Awareness,
        round_trips: RoundTrips,
        ring: ProbeRing,
        outbox: Outbox,
    ) -> None:
        self._me = me
        self._settings = settings
        self._view = view
        self._suspicions = suspicions
        self._awareness = awareness
        self._round_trips = round_trips
        self._outbox = outbox
        self._ring = ring
        self.probe: Probe | None = None
        self._relays = Relays()
        self._seq = random.randrange(0, 1 << 32)  # an answer to somebody else must not fit a probe of ours
        self._next_s = 0.0

    @property
    def due_s(self) -> float:
        """When something is to be done."""
        due_s = self._next_s if self.probe is None else min(self._next_s, self.probe.due_s)
        for relay in self._relays.open.values():
            due_s = min(due_s, relay.deadline_s)
        return due_s

    def begin_at(self, first_s: float) -> None:
        """Begin the first period then."""
        self._next_s = first_s

    def tick(self, now_s: float) -> tuple[bytes, str] | None:
        """Let time pass; answers who has to be suspected now, and why."""
        silent = self._check(now_s)
        for relay in self._relays.expired(now_s):
            self._outbox.send(relay.requester, [Nack(relay.their_seq)])
        return silent

    def probe_next(self, now_s: float) -> None:
        """Begin another period, if it is time for that."""
        if now_s >= self._next_s:
            self._next_s = now_s + self._awareness.stretched(self._settings.probe_interval_s)
            self._start(now_s)

    def void(self, now_s: float) -> None:
        """The probe under way proves nothing; begin with another one."""
        if self.probe is not None:
            self.probe = None
            self._next_s = now_s

    def give_up(self) -> None:
        """The probe under way proves nothing; the next one is due at its time."""
        self.probe = None

    def missed(self, node: bytes, now_s: float) -> bool:
        """Whether a member did not answer a ping made for somebody else, not long ago."""
        return self._relays.has_missed(node, now_s - 2 * self._settings.probe_interval_s)

    # Pinging

    def _start(self, now_s: float) -> None:
        settings = self._settings
        if settings.random_probes:
            node = next(iter(self._ring.choose(1, self._view.is_up)), None)
        else:
            node = self._ring.next(self._view.is_up)
        if node is None:
            return
        timeout_s = settings.probe_timeout_s
        if settings.measured_timeouts:
            timeout_s = self._round_trips.timeout_s(node, settings.least_probe_timeout_s, timeout_s)
        self._seq += 1
        wait_s = self._awareness.stretched(timeout_s)
        deadline_s = now_s + self._awareness.stretched(settings.probe_interval_s * SHARE_OF_PERIOD)
        self.probe = Probe(self._seq, node, now_s, now_s + wait_s, wait_s, deadline_s)
        messages: list[AnyGossip] = [Ping(self._seq, node, self._view.digest)]
        suspicion = self._suspicions.get(node)
        if suspicion is not None and settings.buddy:
            messages.append(Suspect(node, suspicion.incarnation, self._me))
        self._outbox.send(self._outbox.whom(node), messages)

    def _check(self, now_s: float) -> tuple[bytes, str] | None:
        probe = self.probe
        if probe is None:
            return None
        if not self._view.is_up(probe.node):
            self.probe = None
        elif now_s >= probe.deadline_s:
            self.probe = None
            return self._failed(probe)
        elif now_s >= probe.again_s:
            self._ping_again(now_s, probe)
        return None

    def _ping_again(self, now_s: float, probe: Probe) -> None:
        if probe.pings == 1:
            helpers = self._ring.choose(self._settings.indirect_probes, lambda node: self._can_help(node, probe.node))
            probe.helpers = frozenset(helpers)
            for helper in helpers:
                self._outbox.send(self._outbox.whom(helper), [IndirectPing(probe.seq, probe.node)])
            if self._settings.link_pings:
                self._outbox.actions.append(PingLink(probe.node, probe.seq))
        probe.pings += 1
        probe.wait_s *= 2
        probe.again_s = now_s + probe.wait_s
        self._outbox.send(self._outbox.whom(probe.node), [Ping(probe.seq, probe.node, self._view.digest)])

    def _can_help(self, node: bytes, target: bytes) -> bool:
        return node != target and self._view.is_up(node)

    def _failed(self, probe: Probe) -> tuple[bytes, str] | None:
        asked, said_no = len(probe.helpers), len(probe.nacks)
        self._awareness.worse(asked - said_no if asked else 1)
        if probe.heard and self._settings.awareness:
            return None
        reason = f"no ack within {probe.deadline_s - probe.sent_s:.2f} s"
        reason += f", nor through {asked} others ({said_no} say so)" if asked else ""
        return probe.node, reason

    # What arrives

    def on_heard(self, sender: bytes) -> None:
        """Something came from a node."""
        if self.probe is not None and self.probe.node == sender:
            self.probe.heard = True

    def on_ack(self, now_s: float, sender: bytes, seq: int) -> None:
        """An ack, for a ping of ours or one that was made for somebody else."""
        probe = self.probe
        if probe is not None and probe.seq == seq and (sender == probe.node or sender in probe.helpers):
            if probe.pings == 1:  # else it is not known which one was answered (Karn's algorithm)
                self._round_trips.add(probe.node, now_s - probe.sent_s)
            self._awareness.better()
            self.probe = None
        relay = self._relays.answered(seq, sender)
        if relay is not None:
            self._outbox.send(relay.requester, [Ack(relay.their_seq)])

    def on_nack(self, sender: bytes, seq: int) -> None:
        """Somebody that was asked did not reach the member either."""
        if self.probe is not None and self.probe.seq == seq and sender in self.probe.helpers:
            self.probe.nacks.add(sender)

    def on_indirect_ping(self, now_s: float, whom: Whom, seq: int, target: bytes) -> None:
        """Ping a member for somebody else."""
        if not self._view.is_up(target) or target == self._me:
            return
        self._seq += 1
        self._relays.open[self._seq] = Relay(whom, seq, target, now_s + self._settings.probe_timeout_s)
        self._outbox.send(self._outbox.whom(target), [Ping(self._seq, target, self._view.digest)])

    def on_link_answer(self, node: bytes, seq: int) -> None:
        """A member that does not answer datagrams did answer over its stream connection: it lives."""
        if self.probe is not None and (self.probe.node, self.probe.seq) == (node, seq):
            self.probe = None
