"""The membership protocol with sealed packets, and an attacker on the wire who has no key.

He keeps what was delivered, sends it again to anybody at any time, and delivers packets once more cut short or with
bits flipped. None of that may change what a node believes; each case in which it does is a violation.
"""

from __future__ import annotations

from collections import deque
from typing import Any, NamedTuple

from dynatwist.membership.actions import Address, Send
from dynatwist.membership.messages import DECODER, ENCODER
from dynatwist.net.packet import PacketCodec

from .members import Host, MembersWorld

KEY = bytes(32)
RECORDINGS = 4096


class Sealed(NamedTuple):
    """A packet on the wire.

    :ivar genuine: whether a node sent it, and not the attacker.
    """

    data: bytes
    source: Address
    genuine: bool


class HostileWorld(MembersWorld):
    """See the module.

    :param hostility: attacks per packet.
    :ivar attacks: how many there were.
    """

    def __init__(self, nodes: int, seed: int, hostility: float = 0.3, **weather: Any) -> None:
        super().__init__(nodes=nodes, seed=seed, **weather)
        self.hostility = hostility
        self.attacks = 0
        self._recordings: deque[tuple[int, Sealed]] = deque(maxlen=RECORDINGS)
        self._codecs = {host.number: self._codec(host) for host in self.hosts}

    def _codec(self, host: Host) -> PacketCodec:
        def send(data: bytes, address: Address) -> None:
            self._transmit(host.number, address[1], Sealed(data, ("", host.number), True))

        epoch = self.random.randbytes(8)
        return PacketCodec(
            keys=(KEY,),
            node_id=host.swim.me.node,
            epoch=epoch,
            randbytes=self.random.randbytes,
            monotonic_s=lambda: self.now_s,
            send=send,
        )

    def restart(self, number: int) -> None:
        """See `MembersWorld`."""
        super().restart(number)
        self._codecs[number] = self._codec(self.hosts[number])

    def join(self) -> Host:
        """See `MembersWorld`."""
        host = super().join()
        self._codecs[host.number] = self._codec(host)
        return host

    def _wrapped(self, host: Host, send: Send) -> Sealed:
        data = self._codecs[host.number].seal(ENCODER.encode(send.messages), send.whom.node)
        return Sealed(data, ("", host.number), True)

    def _receive(self, host: Host, packet: Sealed) -> None:
        before = _belief(host)
        for sender, payload in self._codecs[host.number].open(packet.data, packet.source):
            self._perform(host, host.swim.receive(self.now_s, sender, packet.source, DECODER.decode(payload)))
        if not packet.genuine:
            if _belief(host) != before:
                self.violations.append(f"an attacker's packet changed what node {host.number} believes")
            return
        self._recordings.append((host.number, packet))
        if self.random.random() < self.hostility:
            self.attacks += 1
            self._attack(host.number, packet)

    def _attack(self, target: int, packet: Sealed) -> None:
        data = bytearray(packet.data)
        kind = self.random.choice(("flip", "cut", "replay", "misdirect"))
        if kind == "flip":
            data[self.random.randrange(len(data))] ^= 1 << self.random.randrange(8)
        elif kind == "cut":
            del data[self.random.randrange(len(data)) :]
        else:
            target, packet = self.random.choice(self._recordings)
            data = bytearray(packet.data)
            if kind == "misdirect":
                target = self.random.randrange(len(self.hosts))
        self._push(self.now_s + self.random.random(), target, Sealed(bytes(data), packet.source, False))


def _belief(host: Host) -> tuple[object, ...]:
    swim = host.swim
    suspected = {node: frozenset(suspicion.accusers) for node, suspicion in swim.suspicions.items()}
    probe = swim._prober.probe
    probed = (probe.seq, probe.heard, len(probe.nacks)) if probe is not None else None
    return swim.view.digest, swim.me.incarnation, suspected, probed
