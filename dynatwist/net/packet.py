"""Sealed gossip packets.

    version u8 | flags u8 | sender 8 bytes | boot epoch 8 bytes | receiver 8 bytes | counter u64 | ciphertext and tag

Rules:

- AES-256-GCM; the key is per sender and boot, HKDF(cluster key, sender, epoch); the counter is the nonce; the header is
  associated data. While the cluster key is rotated several keys open packets; the first of them seals.
- What is meant for one receiver counts for nobody else. Zeros stand for whoever is at an address: a first word.
- A sender is believed only after a fresh round trip: its first packet is answered with a random challenge, and held
  back until the echo comes. The echo also says from which counter on the sender's packets are not older than about half
  a second; what is below counts as a recording, whenever it arrives.
- Of a sender's boots only the one that proved itself last is believed. A replay window lets each counter through once.
- What does not authenticate is dropped and counted, nothing more. Who has not proved itself costs more than others, and
  anybody can send such packets: so many a second are looked at, and a quarter of those from one address at most.
"""

from __future__ import annotations

import struct
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from zlib import crc32

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from dynatwist.membership.budget import Budget
from dynatwist.storage.seal import derive_key

PACKET_VERSION = 2
"""Packets of another one are dropped; see docs/wires.rst."""
MAX_PACKET_BYTES = 1200
"""Fits every path on the internet with its headers, so that no packet is fragmented."""
_HEADER = struct.Struct(">BB8s8s8sQ")
OVERHEAD_BYTES = _HEADER.size + 16
"""The header, and the tag of AES-GCM."""
MAX_PAYLOAD_BYTES = MAX_PACKET_BYTES - OVERHEAD_BYTES - 16
"""What is left for gossip, and a few bytes to spare."""
WINDOW = 1024
"""Packets may overtake each other by so many: a tenth of a second of the busiest sender."""
MAX_PROVEN = 8192
"""Boots that have answered a challenge: members and their restarts. The one that was met first is forgotten first."""
MAX_UNPROVEN = 1024
"""Boots that have not answered a challenge: newcomers, and recordings."""
STRANGE_A_SECOND = 2000
"""Packets of boots that are not proven; each costs 40 microseconds, so they take a twelfth of this process's time."""
SOURCES = 64
"""Sources are told apart by a number below this: a flood from one leaves room for those with another."""
MAX_HELD = 16
"""Packets of one boot that wait for its proof, which takes one round trip; later ones are dropped, as UDP may."""
CHALLENGE_BYTES = 16
"""Nobody guesses 128 bits."""
FRESH_S = 0.25
"""What a sender sealed this long before its proof is believed; twice that at most."""

_DATA, _CHALLENGE, _PROOF = 0, 1, 2
ANYBODY = bytes(8)
Address = tuple[str, int]


class ReplayWindow:
    """Lets each counter through once, in whatever order, as long as it is not too far behind the greatest."""

    __slots__ = ("_floor", "_seen", "_top")

    def __init__(self) -> None:
        self._floor = self._top = self._seen = 0

    def start_at(self, floor: int) -> None:
        """Never again let through what is not above this."""
        self._floor = max(self._floor, floor)

    def is_fresh(self, counter: int) -> bool:
        """Whether a counter is let through; notes it."""
        if counter <= self._floor:
            return False
        if counter > self._top:
            self._seen = ((self._seen << min(counter - self._top, WINDOW)) | 1) & ((1 << WINDOW) - 1)
            self._top = counter
            return True
        behind = self._top - counter
        if behind >= WINDOW or self._seen >> behind & 1:
            return False
        self._seen |= 1 << behind
        return True


@dataclass(slots=True)
class _Boot:
    """What is known of one sender's one boot.

    :ivar ciphers: those of the present keys, the one that fitted last first.
    :ivar held: packets that came before the proof, by counter.
    """

    epoch: bytes
    challenge: bytes
    ciphers: list[AESGCM]
    keys: Sequence[bytes]
    window: ReplayWindow = field(default_factory=ReplayWindow)
    held: dict[int, bytes] = field(default_factory=dict)


class PacketCodec:
    """Seals and opens; answers challenges by itself.

    :param keys: the cluster's gossip keys, the one that seals first.
    :param send: sends raw bytes to an address.
    :ivar dropped: packets that did not authenticate, were replayed, or made no sense.
    :ivar ignored: of them, those that were not even looked at, since there were too many of their kind.
    """

    def __init__(
        self,
        *,
        keys: Sequence[bytes],
        node_id: bytes,
        epoch: bytes,
        randbytes: Callable[[int], bytes],
        monotonic_s: Callable[[], float],
        send: Callable[[bytes, Address], None],
    ) -> None:
        self._node_id, self._epoch = node_id, epoch
        self._randbytes = randbytes
        self._monotonic_s = monotonic_s
        self._send = send
        self._counter = self._mark = self._floor = 0
        self._marked_s = float("-inf")
        self._proven: OrderedDict[bytes, _Boot] = OrderedDict()
        self._unproven: OrderedDict[tuple[bytes, bytes], _Boot] = OrderedDict()
        self._strange = Budget(STRANGE_A_SECOND)
        self._strange_sources = [Budget(STRANGE_A_SECOND // 4) for _ in range(SOURCES)]
        self.dropped = self.ignored = 0
        self.use(keys)

    def use(self, keys: Sequence[bytes]) -> None:
        """Seal with the first of these keys from now on, and open with any of them."""
        self._keys = tuple(keys)
        self._own = AESGCM(_key_of(keys[0], self._node_id, self._epoch))

    def seal(self, payload: bytes, receiver: bytes = b"", flags: int = _DATA) -> bytes:
        """A packet that carries a payload.

        :param receiver: its node id; empty for whoever gets it.
        """
        self._mark_time()
        self._counter += 1
        header = _HEADER.pack(PACKET_VERSION, flags, self._node_id, self._epoch, receiver or ANYBODY, self._counter)
        return header + self._own.encrypt(self._counter.to_bytes(12), payload, header)

    def open(self, data: bytes, source: Address) -> list[tuple[bytes, bytes]]:
        """Payloads that can be believed now, as (sender, payload): usually the packet's own one."""
        believed = self._opened(data, source) if OVERHEAD_BYTES <= len(data) <= MAX_PACKET_BYTES else None
        if believed is None:
            self.dropped += 1
            return []
        return believed

    def _opened(self, data: bytes, source: Address) -> list[tuple[bytes, bytes]] | None:
        """The same; ``None`` for what is to be dropped."""
        version, flags, sender, epoch, receiver, counter = _HEADER.unpack_from(data)
        if version != PACKET_VERSION or sender == self._node_id or receiver not in (self._node_id, ANYBODY):
            return None
        boot = self._proven.get(sender)
        proven = boot is not None and boot.epoch == epoch
        if not proven:
            if not self._has_time_for(source):
                self.ignored += 1
                return None
            boot = self._unproven.get((sender, epoch))
            if boot is None:
                boot = _Boot(epoch, self._randbytes(CHALLENGE_BYTES), [], ())
        assert boot is not None
        payload = self._decrypted(boot, sender, data, counter)
        if payload is None or not boot.window.is_fresh(counter):
            return None
        if flags == _CHALLENGE:
            self._prove(payload, sender, source)
        elif flags == _PROOF:
            return self._believe(sender, boot, payload)
        elif proven:
            return [(sender, payload)]
        else:
            self._doubt(sender, boot, counter, payload, source)
        return []

    def _has_time_for(self, source: Address) -> bool:
        now_s = self._monotonic_s()
        return self._strange_sources[crc32(source[0].encode()) % SOURCES].take(now_s, 1) and self._strange.take(
            now_s, 1
        )

    def _decrypted(self, boot: _Boot, sender: bytes, data: bytes, counter: int) -> bytes | None:
        if boot.keys is not self._keys:
            boot.keys = self._keys
            boot.ciphers = [AESGCM(_key_of(key, sender, boot.epoch)) for key in self._keys]
        nonce, header = counter.to_bytes(12), data[: _HEADER.size]
        for cipher in boot.ciphers:
            try:
                payload = cipher.decrypt(nonce, data[_HEADER.size :], header)
            except InvalidTag:
                continue
            if cipher is not boot.ciphers[0]:
                boot.ciphers.remove(cipher)
                boot.ciphers.insert(0, cipher)
            return payload
        return None

    # The round trip

    def _doubt(self, sender: bytes, boot: _Boot, counter: int, payload: bytes, source: Address) -> None:
        """Hold a packet back, and ask whether its sender is there now."""
        self._unproven[sender, boot.epoch] = boot
        if len(self._unproven) > MAX_UNPROVEN:
            self._unproven.popitem(last=False)
        if len(boot.held) < MAX_HELD:
            boot.held[counter] = payload
        self._send(self.seal(boot.challenge, sender, _CHALLENGE), source)

    def _prove(self, challenge: bytes, sender: bytes, source: Address) -> None:
        self._mark_time()
        self._send(self.seal(challenge[:CHALLENGE_BYTES] + self._floor.to_bytes(8), sender, _PROOF), source)

    def _mark_time(self) -> None:
        """Keep the floor between one and two `FRESH_S` behind, or at what was sealed before a longer silence."""
        now_s = self._monotonic_s()
        if now_s < self._marked_s + FRESH_S:
            return
        self._floor = self._mark if now_s < self._marked_s + 2 * FRESH_S else self._counter
        self._mark, self._marked_s = self._counter, now_s

    def _believe(self, sender: bytes, boot: _Boot, payload: bytes) -> list[tuple[bytes, bytes]] | None:
        challenge, floor = payload[:CHALLENGE_BYTES], int.from_bytes(payload[CHALLENGE_BYTES:])
        if challenge != boot.challenge:
            return None
        self._unproven.pop((sender, boot.epoch), None)
        self._proven[sender] = boot
        if len(self._proven) > MAX_PROVEN:
            self._proven.popitem(last=False)
        boot.window.start_at(floor)
        held, boot.held = boot.held, {}
        return [(sender, payload) for counter, payload in held.items() if counter > floor]


def _key_of(key: bytes, sender: bytes, epoch: bytes) -> bytes:
    return derive_key(key, sender + epoch, b"gossip")
