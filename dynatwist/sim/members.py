"""The membership protocol alone, by the thousand: many state machines, a network that loses and delays, and rules that
are checked with every packet.

Views share what members say of themselves, packets are handed over unsealed, and only who has something to do is woken;
otherwise these are the state machines of real nodes.
"""

from __future__ import annotations

import heapq
from collections import deque
from dataclasses import dataclass, field
from random import Random
from typing import Any

from dynatwist.membership.actions import Action, Changed, Send
from dynatwist.membership.members import State
from dynatwist.membership.messages import ENCODER, Alive
from dynatwist.membership.settings import SwimSettings
from dynatwist.membership.swim import Swim
from dynatwist.membership.view import View
from dynatwist.net.packet import MAX_PACKET_BYTES, MAX_PAYLOAD_BYTES, OVERHEAD_BYTES


@dataclass(slots=True)
class Host:
    """One node.

    :ivar started: its incarnation when its process began.
    :ivar alive: whether its process exists.
    :ivar healthy: whether it was never stalled.
    :ivar stalled_until_s: till then it neither takes in packets nor notices timers.
    :ivar blocked_until_s: till then no packet reaches it or leaves it; they wait. Its timers go on.
    :ivar wake_s: when it is woken next.
    """

    number: int
    swim: Swim
    incarnation: int = 1
    started: int = 1
    alive: bool = True
    healthy: bool = True
    stalled_until_s: float = 0.0
    blocked_until_s: float = 0.0
    wake_s: float = -1.0
    inbox: deque[Any] = field(default_factory=deque)
    outbox: deque[Send] = field(default_factory=deque)


@dataclass(slots=True)
class Crash:
    """One node that was killed, and who noticed when.

    :ivar suspected_s: when it was first suspected, after the kill; ``None`` before.
    :ivar heard: the seconds after the kill at which each other node declared it dead.
    """

    number: int
    at_s: float
    suspected_s: float | None = None
    heard: dict[int, float] = field(default_factory=dict)


class MembersWorld:
    """See the module.

    :param nodes: all of which know each other at the start.
    :param loss: share of packets lost.
    :param latency_s: least and greatest time that a packet is under way.
    :param duplication: share of packets that arrive once more, up to a second later.
    :param in_step: whether all begin their periods at once, as in the analysis of SWIM.
    :ivar false_alarms: live members declared dead, as (by whom, of whom, when).
    :ivar violations: rules that were broken.
    """

    def __init__(
        self,
        *,
        nodes: int,
        seed: int,
        settings: SwimSettings | None = None,
        loss: float = 0.0,
        latency_s: tuple[float, float] = (0.0002, 0.002),
        in_step: bool = False,
        duplication: float = 0.0,
    ) -> None:
        self.random = Random(seed)
        self.settings = settings or SwimSettings(payload_bytes=MAX_PAYLOAD_BYTES)
        self.loss = loss
        self.latency_s = latency_s
        self.duplication = duplication
        self.now_s = 0.0
        self.packets = self.bytes = 0
        self.crashes: dict[int, Crash] = {}
        self.false_alarms: list[tuple[int, int, float]] = []
        self.suspicions: list[tuple[int, int, float]] = []
        self.violations: list[str] = []
        self.ever_cut = self.ever_lost = False
        self._cut: set[int] = set()
        self._heap: list[tuple[float, int, int, Any]] = []
        self._count = 0
        view = View()
        members = [self._alive(number, 1) for number in range(nodes)]
        for alive in members:
            view.hear_alive(alive)
        self.numbers = {alive.node: number for number, alive in enumerate(members)}
        self.hosts = [
            Host(number, Swim(me=alive, seeds=[], settings=self.settings, random=self.random))
            for number, alive in enumerate(members)
        ]
        for host in self.hosts:
            first_s = 0.0 if in_step else self.random.uniform(0, self.settings.probe_interval_s)
            host.swim.begin_with(view, first_s)
            self._wake(host, first_s)

    def _alive(self, number: int, incarnation: int) -> Alive:
        return Alive(number.to_bytes(8), incarnation, "", number, 0)

    # What happens to nodes

    def kill(self, number: int) -> Crash:
        """kill -9."""
        self.hosts[number].alive = False
        crash = self.crashes[number] = Crash(number, self.now_s)
        return crash

    def restart(self, number: int) -> None:
        """Start a killed node again, with what its disk holds: its id, a raised incarnation, and whom it knew."""
        host = self.hosts[number]
        self.crashes.pop(number, None)
        host.incarnation = host.started = host.swim.me.incarnation + 1
        me = self._alive(number, host.incarnation)
        seeds = [("", one) for one in self.random.sample(range(len(self.hosts)), 3) if one != number]
        host.swim = Swim(me=me, seeds=seeds, settings=self.settings, random=self.random)
        host.alive = True
        host.inbox.clear()
        self._wake(host, self.now_s)

    def join(self) -> Host:
        """A new node, which knows one other."""
        number = len(self.hosts)
        me = self._alive(number, 1)
        self.numbers[me.node] = number
        host = Host(
            number, Swim(me=me, seeds=[("", self.random.randrange(number))], settings=self.settings, random=self.random)
        )
        self.hosts.append(host)
        self._wake(host, self.now_s)
        return host

    def leave(self, number: int) -> None:
        """An orderly stop."""
        host = self.hosts[number]
        self._perform(host, host.swim.leave())
        host.alive = False

    def stall(self, number: int, duration_s: float) -> None:
        """Stop a process for a while; packets wait for it. Like a real one it notices its timers first, afterwards."""
        host = self.hosts[number]
        host.healthy = False
        host.stalled_until_s = self.now_s + duration_s
        self._wake(host, host.stalled_until_s)

    def block(self, number: int, duration_s: float) -> None:
        """Hold up all that a process sends and receives for a while, as in Lifeguard's experiments (section V)."""
        host = self.hosts[number]
        host.healthy = False
        host.blocked_until_s = self.now_s + duration_s
        self._push(host.blocked_until_s, number, None)

    def cut_off(self, numbers: set[int]) -> None:
        """No packet passes between these and the others; none at all heals it."""
        self.ever_cut = self.ever_cut or bool(numbers)
        self._cut = numbers

    # Time

    def run(self, until_s: float) -> None:
        """Let time pass."""
        heap = self._heap
        while heap and heap[0][0] <= until_s:
            time_s, _, number, packet = heapq.heappop(heap)
            host = self.hosts[number]
            self.now_s = time_s
            if packet is None and host.alive and host.blocked_until_s == time_s:
                self._unblock(host)
            if not host.alive or (packet is None and time_s != host.wake_s):
                continue
            if packet is not None:
                self._arrive(host, packet)
            elif time_s >= host.stalled_until_s:
                host.wake_s = -1.0
                self._perform(host, host.swim.tick(time_s))
                self._drain(host)
            else:
                self._wake(host, host.stalled_until_s)
        self.now_s = until_s

    def _arrive(self, host: Host, packet: Any) -> None:
        if self.now_s < host.stalled_until_s or self.now_s < host.blocked_until_s:
            host.inbox.append(packet)
        else:
            self._receive(host, packet)

    def _receive(self, host: Host, packet: Any) -> None:
        """Have a node take a packet in."""
        self._perform(host, host.swim.receive(self.now_s, *packet))

    def _unblock(self, host: Host) -> None:
        while host.outbox:
            self._send(host, host.outbox.popleft())
        self._drain(host)

    def _drain(self, host: Host) -> None:
        while host.inbox and self.now_s >= max(host.stalled_until_s, host.blocked_until_s):
            self._receive(host, host.inbox.popleft())

    def _wake(self, host: Host, time_s: float) -> None:
        host.wake_s = time_s
        self._push(time_s, host.number, None)

    def _push(self, time_s: float, number: int, packet: Any) -> None:
        self._count += 1
        heapq.heappush(self._heap, (time_s, self._count, number, packet))

    def _perform(self, host: Host, actions: list[Action]) -> None:
        for action in actions:
            if isinstance(action, Send):
                if self.now_s < host.blocked_until_s:
                    host.outbox.append(action)
                else:
                    self._send(host, action)
            elif isinstance(action, Changed):
                self._changed(host, action)
        if host.swim.me.incarnation < host.incarnation:
            self.violations.append(f"node {host.number} lowered its incarnation")
        host.incarnation = host.swim.me.incarnation
        due_s = max(host.swim.next_s, self.now_s)
        if host.wake_s < 0 or due_s < host.wake_s:
            self._wake(host, due_s)

    def _send(self, host: Host, send: Send) -> None:
        size = len(ENCODER.encode(send.messages)) + OVERHEAD_BYTES
        self.packets += 1
        self.bytes += size
        if size > MAX_PACKET_BYTES:
            self.violations.append(f"a packet of {size} bytes")
        self._transmit(host.number, send.address[1], self._wrapped(host, send))

    def _wrapped(self, host: Host, send: Send) -> Any:
        """A packet as it is under way: whom it is from, and what it says."""
        me = host.swim.me
        return me.node, (me.host, me.port), send.messages

    def _transmit(self, number: int, target: int, packet: Any) -> None:
        if self.loss and self.random.random() < self.loss:
            self.ever_lost = True
            return
        if self._cut and (number in self._cut) != (target in self._cut):
            return
        delay_s = self.random.uniform(*self.latency_s)
        self._push(self.now_s + delay_s, target, packet)
        if self.duplication and self.random.random() < self.duplication:
            self._push(self.now_s + delay_s + self.random.random(), target, packet)

    def _changed(self, host: Host, change: Changed) -> None:
        peer = change.peer
        number = self.numbers[peer.node]
        target = self.hosts[number]
        if peer.incarnation > target.swim.me.incarnation:
            self.violations.append(f"node {host.number} raised the incarnation of {number}")
        if change.before is State.LEFT and peer.state is State.DEAD and target.swim.left:
            self.violations.append(f"node {host.number}: {number} left, and is dead")
        crash = self.crashes.get(number)
        if peer.state is State.SUSPECT:
            if crash is None:
                self.suspicions.append((host.number, number, self.now_s))
            elif crash.suspected_s is None:
                crash.suspected_s = self.now_s - crash.at_s
        elif peer.state is State.DEAD:
            if crash is not None:
                crash.heard.setdefault(host.number, self.now_s - crash.at_s)
            elif target.alive and peer.incarnation >= target.started:
                self.false_alarms.append((host.number, number, self.now_s))

    # Afterwards

    def awake(self) -> list[Host]:
        """The nodes that run."""
        return [host for host in self.hosts if host.alive]

    def views_agree(self) -> bool:
        """Whether all nodes that run see the same members the same way."""
        return len({host.swim.view.digest for host in self.awake()}) == 1

    def check(self) -> list[str]:
        """The rules that were broken so far."""
        broken = list(self.violations)
        if not self.ever_lost and not self.ever_cut and all(host.healthy for host in self.hosts):
            broken += [f"without loss or lag, {by} took {of} for dead" for by, of, _ in self.false_alarms[:3]]
        for host in self.hosts:
            if len(host.swim.view.fates) > self.settings.max_down or host.swim.news > len(self.hosts):
                broken.append(f"node {host.number} remembers more than it may")
        return broken
