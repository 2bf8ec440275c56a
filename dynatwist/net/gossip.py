"""The gossip port: datagrams on one side, the membership state machine on the other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from twisted.internet.protocol import DatagramProtocol
from twisted.logger import Logger

from dynatwist.membership.actions import Action, Address, Changed, Doubled, PingLink, Send
from dynatwist.membership.messages import DECODER, ENCODER
from dynatwist.membership.soundness import is_sound
from dynatwist.membership.swim import Swim
from dynatwist.model.flaws import NOT_DECODED
from dynatwist.once import Once
from dynatwist.runtime import Datagrams, Runtime, Timer, cancel

from .packet import PacketCodec

LEAST_TICK_S = 0.01
"""However much is due, the reactor does other things between two looks."""
MAX_DOUBLES = 16
"""So many addresses are told at which another process runs as this node; who reads none of them reads no more."""


class GossipPort(DatagramProtocol):
    """See the module.

    :param keys: the cluster's gossip keys, the one to seal with first.
    :param changed: hears of members whose state or address changed.
    :param ping_link: asks a member over its peer link whether it is there, and calls back if so.
    """

    log = Logger()
    noisy = False

    def logPrefix(self) -> str:
        """What the log calls the port."""
        return "gossip with other nodes (UDP)"

    def __init__(
        self,
        *,
        swim: Swim,
        keys: Sequence[bytes],
        epoch: bytes,
        runtime: Runtime,
        changed: Callable[[Changed], None],
        ping_link: Callable[[bytes, Callable[[], None]], None],
    ) -> None:
        self.swim = swim
        self._runtime = runtime
        self._changed = changed
        self._ping_link = ping_link
        self._unheard = Once()
        self._doubles: set[Address] = set()
        self._port: Datagrams | None = None
        self.codec = PacketCodec(
            keys=keys,
            node_id=swim.me.node,
            epoch=epoch,
            randbytes=runtime.randbytes,
            monotonic_s=runtime.monotonic_s,
            send=self._write,
        )
        self._ticker: Timer | None = None
        self._wake_s = 0.0
        self.packets_sent = self.packets_received = self.packets_unsent = 0

    def start(self, port: int) -> None:
        """Bind the port and begin."""
        self._port = self._runtime.network.datagrams(port, self)
        self._tick()

    def stop(self) -> None:
        """Say goodbye and close."""
        cancel(self._ticker)
        if self._port is not None:
            self.perform(self.swim.leave())
            self._port.stopListening()
            self._port = None

    def datagramReceived(self, datagram: bytes, addr: tuple[str, int]) -> None:
        """A packet, from anybody."""
        self.packets_received += 1
        for sender, payload in self.codec.open(datagram, addr[:2]):
            try:
                messages = DECODER.decode(payload)
            except NOT_DECODED:
                self.codec.dropped += 1
                continue
            sound = list(filter(is_sound, messages))
            self.codec.dropped += len(sound) < len(messages)
            self.perform(self.swim.receive(self._runtime.monotonic_s(), sender, addr[:2], sound))
        self._schedule()

    def perform(self, actions: list[Action]) -> None:
        """Do what the state machine wants done."""
        for action in actions:
            if isinstance(action, Send):
                self._write(self.codec.seal(ENCODER.encode(action.messages), action.whom.node), action.address)
            elif isinstance(action, PingLink):
                self._ping_link(action.node, partial(self._link_answered, action))
            elif isinstance(action, Doubled):
                self._say_doubled(action)
            else:
                self._changed(action)

    def _say_doubled(self, doubled: Doubled) -> None:
        """Once for each address: both go on announcing themselves."""
        if doubled.address not in self._doubles and len(self._doubles) < MAX_DOUBLES:
            self._doubles.add(doubled.address)
            host, port = doubled.address
            self.log.warn(
                "another process runs as this node at {host}:{port}: was its data folder copied? Stop one of them; "
                "a node of its own begins with an empty folder",
                host=host,
                port=port,
            )

    def _link_answered(self, ping: PingLink) -> None:
        self.swim.link_answered(ping.node, ping.seq)
        if self.swim.roster.knows(ping.node) and self._unheard.is_new(ping.node):
            peer = self.swim.roster.peer(ping.node)
            self.log.info(
                "{host}:{port} answered over TCP what it did not over UDP: are datagrams lost or blocked on the way?",
                host=peer.host,
                port=peer.port,
            )

    def _tick(self) -> None:
        self.perform(self.swim.tick(self._runtime.monotonic_s()))
        self._schedule()

    def _schedule(self) -> None:
        """Wake when the state machine wants to be; it may want so earlier than it did."""
        if self._port is None:
            return
        due_s = self.swim.next_s
        if self._ticker is not None and self._ticker.active():
            if due_s >= self._wake_s:
                return
            self._ticker.cancel()
        self._wake_s = due_s
        self._ticker = self._runtime.clock.callLater(max(LEAST_TICK_S, due_s - self._runtime.monotonic_s()), self._tick)

    def _write(self, data: bytes, address: tuple[str, int]) -> None:
        if self._port is None:
            return
        self.packets_sent += 1
        try:
            self._port.write(data, address)
        except OSError:  # no route, no buffer, not permitted: lost, like any packet, but we know of it
            self.packets_unsent += 1
            self.swim.cannot_send()
