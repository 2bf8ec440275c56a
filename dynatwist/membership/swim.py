"""The membership protocol's state machine: time and packets in, actions out.

Rules:

- Each probe period one member, in shuffled round-robin order, is pinged. Without an ack in time, k others are asked to
  ping it; without any ack by the end of the period it is suspected.
- A suspected member that does not refute in time is dead. It refutes by a higher incarnation, which only it may raise.
- ``alive(i)`` replaces ``alive(j)``, ``suspect(j)`` and ``dead(j)`` when i > j; ``suspect(i)`` replaces ``alive(j)``
  when i >= j; ``dead(i)`` replaces both when i >= j. Whatever changed is passed on.
- A late timer means that *we* slept: the round is void, and suspicions are extended by the time slept.
- Dead members and seeds are called again for ever, so that a partition of any length heals.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from math import ceil, log10

from .actions import Action, Address, Changed, Random, Send
from .broadcast import BroadcastQueue
from .members import Peer, State
from .messages import (
    ENCODER,
    Ack,
    Alive,
    AnyGossip,
    Dead,
    IndirectPing,
    Nack,
    Ping,
    PushPull,
    Suspect,
)
from .settings import SwimSettings

EAGER_PUSH_PULLS = 3


@dataclass(slots=True)
class _Probe:
    seq: int
    node: bytes
    sent_s: float
    deadline_s: float
    asked: bool = False


@dataclass(frozen=True, slots=True)
class _Relay:
    """An indirect ping that we make for somebody."""

    requester: Address
    their_seq: int
    deadline_s: float


class Swim:
    """See the module.

    :param me: this node's own entry; its incarnation is higher than at any former start.
    :param seeds: addresses to call until they answer, and again whenever they are not members.
    :param incarnation_raised: called when a refutation raised the incarnation, to be persisted.
    """

    def __init__(
        self,
        me: Alive,
        seeds: Iterable[Address],
        settings: SwimSettings,
        random: Random,
        incarnation_raised: Callable[[int], None] = lambda incarnation: None,
    ) -> None:
        self.settings = settings
        self._random = random
        self._incarnation_raised = incarnation_raised
        self.me = Peer(me.node, me.host, me.port, me.peer_port, me.incarnation, State.ALIVE, 0.0)
        self.peers: dict[bytes, Peer] = {}
        self._seeds = list(dict.fromkeys(seeds))
        self._queue = BroadcastQueue()
        self._seq = 0
        self._probe: _Probe | None = None
        self._round: list[bytes] = []
        self._relays: dict[int, _Relay] = {}
        self._next_probe_s = self._next_push_pull_s = self._next_redial_s = 0.0
        self._eager_push_pulls = 0
        self._last_tick_s: float | None = None
        self._actions: list[Action] = []
        self.left = False

    # What others may look at

    def up(self) -> list[Peer]:
        """The members that take part, without this node, in order."""
        return [peer for _, peer in sorted(self.peers.items()) if peer.is_up]

    def everybody(self) -> list[Peer]:
        """All members ever met, this node first."""
        return [self.me, *(peer for _, peer in sorted(self.peers.items()))]

    # Events

    def tick(self, now_s: float) -> list[Action]:
        """Let time pass; to be called about every 50 ms."""
        if self.left:
            return []
        self._forgive_own_sleep(now_s)
        self._check_probe(now_s)
        self._check_suspicions(now_s)
        if now_s >= self._next_probe_s:
            self._next_probe_s = now_s + self.settings.probe_interval_s
            self._start_probe(now_s)
        if now_s >= self._next_redial_s:
            self._next_redial_s = now_s + self.settings.redial_interval_s
            self._redial()
        if now_s >= self._next_push_pull_s:
            eager = self._eager_push_pulls > 0
            self._eager_push_pulls -= eager
            self._next_push_pull_s = now_s + (
                self.settings.redial_interval_s / 2 if eager else self.settings.push_pull_interval_s
            )
            if self.up():
                self._push_pull(self._random.choice(self.up()).address, reply=True)
        return self._take_actions()

    def receive(self, now_s: float, sender: bytes, source: Address, messages: list[AnyGossip]) -> list[Action]:
        """Take in an authenticated packet."""
        if self.left:
            return []
        for message in messages:
            self._on_message(now_s, sender, source, message)
        return self._take_actions()

    def remove(self, node: bytes) -> None:
        """Forget a member that was struck out."""
        self.peers.pop(node, None)

    def leave(self) -> list[Action]:
        """Say goodbye to everybody; the node goes down in order, and is nobody's concern."""
        goodbye = Dead(self.me.node, self.me.incarnation, self.me.node)
        for peer in self.up():
            self._actions.append(Send(peer.address, [goodbye]))
        self.left = True
        return self._take_actions()

    # Probing

    def _forgive_own_sleep(self, now_s: float) -> None:
        late_s = 0.0 if self._last_tick_s is None else now_s - self._last_tick_s
        self._last_tick_s = now_s
        if late_s > self.settings.probe_timeout_s:
            self._probe = None
            for peer in self.peers.values():
                peer.suspect_until_s += late_s

    def _start_probe(self, now_s: float) -> None:
        while self._round and not self._is_up(self._round[-1]):
            self._round.pop()
        if not self._round:
            self._round = [peer.node for peer in self.up()]
            self._random.shuffle(self._round)
        if not self._round:
            return
        peer = self.peers[self._round.pop()]
        self._seq += 1
        self._probe = _Probe(self._seq, peer.node, now_s, now_s + self.settings.probe_interval_s * 0.95)
        messages: list[AnyGossip] = [Ping(self._seq, peer.node)]
        if peer.state is State.SUSPECT:  # the buddy system: whoever is suspected hears of it first
            messages.append(Suspect(peer.node, peer.incarnation, self.me.node))
        self._send(peer.address, messages)

    def _is_up(self, node: bytes) -> bool:
        peer = self.peers.get(node)
        return peer is not None and peer.is_up

    def _check_probe(self, now_s: float) -> None:
        probe = self._probe
        if probe is None:
            return
        peer = self.peers.get(probe.node)
        if peer is None or not peer.is_up:
            self._probe = None
        elif not probe.asked and now_s - probe.sent_s >= self.settings.probe_timeout_s:
            probe.asked = True
            others = [one for one in self.up() if one.node != probe.node]
            for one in self._random.sample(others, min(len(others), self.settings.indirect_probes)):
                self._send(one.address, [IndirectPing(probe.seq, probe.node)])
        elif now_s >= probe.deadline_s:
            self._probe = None
            self._suspect(now_s, peer, peer.incarnation, self.me.node)

    def _check_suspicions(self, now_s: float) -> None:
        suspects = [peer for peer in self.peers.values() if peer.state is State.SUSPECT]
        for peer in sorted(suspects, key=lambda peer: peer.node):
            if now_s >= peer.suspect_until_s:
                self._bury(now_s, peer, peer.incarnation, self.me.node)
        if self._relays:
            self._relays = {seq: relay for seq, relay in self._relays.items() if not self._relay_expired(now_s, relay)}

    def _relay_expired(self, now_s: float, relay: _Relay) -> bool:
        if now_s < relay.deadline_s:
            return False
        self._send(relay.requester, [Nack(relay.their_seq)])
        return True

    def _redial(self) -> None:
        """Call whoever should be there and is not: seeds that are no members, and one dead member."""
        known = {peer.address for peer in self.peers.values() if peer.is_up} | {self.me.address}
        for seed in self._seeds:
            if seed not in known:
                self._push_pull(seed, reply=True)
        dead = [peer for peer in self.peers.values() if not peer.is_up and peer.address not in self._seeds]
        if dead:
            self._push_pull(self._random.choice(sorted(dead, key=lambda peer: peer.node)).address, reply=True)

    # Messages

    def _on_message(self, now_s: float, sender: bytes, source: Address, message: AnyGossip) -> None:
        match message:
            case Ping(seq, target):
                if target == self.me.node:
                    self._send(source, [Ack(seq)])
            case Ack(seq):
                self._on_ack(now_s, seq)
            case Nack():
                pass
            case IndirectPing(seq, target):
                self._on_indirect_ping(now_s, source, seq, target)
            case Alive():
                self._on_alive(now_s, message)
            case Suspect(node, incarnation, accuser):
                self._on_suspect(now_s, node, incarnation, accuser)
            case Dead(node, incarnation, accuser):
                self._on_dead(now_s, node, incarnation, accuser)
            case PushPull(reply, states):
                for state in states:
                    self._on_message(now_s, sender, source, state)
                if reply:
                    self._push_pull(source, reply=False)

    def _on_ack(self, now_s: float, seq: int) -> None:
        if self._probe is not None and self._probe.seq == seq:
            peer = self.peers.get(self._probe.node)
            if peer is not None:
                peer.rtt_s = now_s - self._probe.sent_s
            self._probe = None
        relay = self._relays.pop(seq, None)
        if relay is not None:
            self._send(relay.requester, [Ack(relay.their_seq)])

    def _on_indirect_ping(self, now_s: float, source: Address, seq: int, target: bytes) -> None:
        peer = self.peers.get(target)
        if peer is None:
            return
        self._seq += 1
        self._relays[self._seq] = _Relay(source, seq, now_s + self.settings.probe_timeout_s)
        self._send(peer.address, [Ping(self._seq, target)])

    def _on_alive(self, now_s: float, alive: Alive) -> None:
        if alive.node == self.me.node:
            if alive.incarnation > self.me.incarnation:
                self._refute(alive.incarnation)
            return
        peer = self.peers.get(alive.node)
        if peer is not None and alive.incarnation <= peer.incarnation:
            return
        before = peer.state if peer is not None else None
        moved = peer is not None and (peer.address, peer.peer_port) != ((alive.host, alive.port), alive.peer_port)
        if before is None:  # there may be more whom we do not know, and the packet that said so may be lost
            self._eager_push_pulls = EAGER_PUSH_PULLS
            self._next_push_pull_s = min(self._next_push_pull_s, now_s + self.settings.redial_interval_s / 2)
        fresh = Peer(
            alive.node, alive.host, alive.port, alive.peer_port, alive.incarnation, State.ALIVE, now_s,
            rtt_s=peer.rtt_s if peer is not None else 0.0,
        )  # fmt: skip
        if before is State.ALIVE and peer is not None:
            fresh.since_s = peer.since_s
        self.peers[alive.node] = fresh
        self._queue.add(alive)
        if before is not State.ALIVE or moved:
            self._actions.append(Changed(fresh, before))

    def _on_suspect(self, now_s: float, node: bytes, incarnation: int, accuser: bytes) -> None:
        if node == self.me.node:
            if incarnation >= self.me.incarnation:
                self._refute(incarnation)
            return
        peer = self.peers.get(node)
        if peer is not None and incarnation >= peer.incarnation:
            self._suspect(now_s, peer, incarnation, accuser)

    def _suspect(self, now_s: float, peer: Peer, incarnation: int, accuser: bytes) -> None:
        if not peer.is_up:
            return
        if peer.state is State.SUSPECT and incarnation == peer.incarnation:
            if accuser in peer.accusers:
                return
            peer.accusers |= {accuser}  # an independent confirmation: half the rest is enough
            peer.suspect_until_s = now_s + (peer.suspect_until_s - now_s) / 2
            self._queue.add(Suspect(peer.node, incarnation, accuser))
            return
        before, peer.state, peer.incarnation, peer.since_s = peer.state, State.SUSPECT, incarnation, now_s
        peer.accusers = frozenset({accuser})
        members = len(self.up()) + 1
        factor = max(1.0, self.settings.suspicion_multiplier * log10(members + 1))
        peer.suspect_until_s = now_s + factor * self.settings.probe_interval_s
        self._queue.add(Suspect(peer.node, incarnation, accuser))
        self._actions.append(Changed(peer, before))

    def _on_dead(self, now_s: float, node: bytes, incarnation: int, accuser: bytes) -> None:
        if node == self.me.node:
            if incarnation >= self.me.incarnation:
                self._refute(incarnation)
            return
        peer = self.peers.get(node)
        if peer is not None and incarnation >= peer.incarnation:
            self._bury(now_s, peer, incarnation, accuser)

    def _bury(self, now_s: float, peer: Peer, incarnation: int, accuser: bytes) -> None:
        state = State.LEFT if accuser == peer.node else State.DEAD
        if not peer.is_up:
            return
        before, peer.state, peer.incarnation, peer.since_s = peer.state, state, incarnation, now_s
        self._queue.add(Dead(peer.node, incarnation, accuser))
        self._actions.append(Changed(peer, before))

    def _refute(self, incarnation: int) -> None:
        self.me.incarnation = incarnation + 1
        self._incarnation_raised(self.me.incarnation)
        self._queue.add(self._alive(self.me))

    # Sending

    def _alive(self, peer: Peer) -> Alive:
        return Alive(peer.node, peer.incarnation, peer.host, peer.port, peer.peer_port)

    def _states(self) -> list[Alive | Suspect | Dead]:
        states: list[Alive | Suspect | Dead] = [self._alive(self.me)]
        for peer in self.everybody()[1:]:
            states.append(self._alive(peer))
            if peer.state is State.SUSPECT:
                states.append(Suspect(peer.node, peer.incarnation, self.me.node))
            elif peer.state is State.DEAD:
                states.append(Dead(peer.node, peer.incarnation, self.me.node))
            elif peer.state is State.LEFT:
                states.append(Dead(peer.node, peer.incarnation, peer.node))
        return states

    def _push_pull(self, address: Address, reply: bool) -> None:
        page: list[Alive | Suspect | Dead] = []
        room = self.settings.payload_bytes - 16
        for state in self._states():
            size = len(ENCODER.encode(state))
            if page and size > room:
                self._actions.append(Send(address, [PushPull(False, page)]))
                page, room = [], self.settings.payload_bytes - 16
            page.append(state)
            room -= size
        self._actions.append(Send(address, [PushPull(reply, page)]))

    def _send(self, address: Address, messages: list[AnyGossip]) -> None:
        """Queue a packet, filled up with news."""
        room = self.settings.payload_bytes - sum(len(ENCODER.encode(message)) for message in messages) - 8
        messages.extend(self._queue.take(room, len(self.peers) + 1))
        self._actions.append(Send(address, messages))

    def _take_actions(self) -> list[Action]:
        actions, self._actions = self._actions, []
        if any(isinstance(action, Changed) for action in actions):
            self._spread(actions)
        return actions

    def _spread(self, actions: list[Action]) -> None:
        """Tell a few members of a change at once, instead of waiting for the next probe."""
        others = self.up()
        count = min(len(others), max(3, ceil(log10(len(others) + 1) * 3)))
        for peer in self._random.sample(others, count):
            news = self._queue.take(self.settings.payload_bytes - 8, len(self.peers) + 1)
            if news:
                actions.append(Send(peer.address, list(news)))
