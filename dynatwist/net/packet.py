"""Sealed gossip packets.

    version u8 | flags u8 | sender 8 bytes | boot epoch 8 bytes | counter u64 | AES-256-GCM ciphertext and tag

The key is per sender and boot: HKDF(cluster key, sender, epoch); the counter is the nonce; the header is associated
data. A receiver keeps a replay window per sender and epoch, and believes a sender it has not spoken with since its own
start only after a fresh round trip: it sends a random challenge, and waits for the echo. What does not authenticate is
dropped and counted, nothing more. Packets stay within 1,200 bytes.
"""

from __future__ import annotations

import struct
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from dynatwist.storage.seal import derive_key

PACKET_VERSION = 1
MAX_PACKET_BYTES = 1200
_HEADER = struct.Struct(">BB8s8sQ")
OVERHEAD_BYTES = _HEADER.size + 16
MAX_PAYLOAD_BYTES = MAX_PACKET_BYTES - OVERHEAD_BYTES - 16
WINDOW = 1024
MAX_SESSIONS = 8192
MAX_HELD = 16

_DATA, _CHALLENGE, _PROOF = 0, 1, 2
Address = tuple[str, int]


@dataclass(slots=True)
class _Session:
    """What is known of one sender's one boot."""

    cipher: AESGCM
    challenge: bytes
    proven: bool = False
    top: int = 0
    window: int = 0

    def is_fresh(self, counter: int) -> bool:
        """Whether a counter was not met before; notes it."""
        if counter > self.top:
            self.window = ((self.window << (counter - self.top)) | 1) & ((1 << WINDOW) - 1)
            self.top = counter
            return True
        behind = self.top - counter
        if behind >= WINDOW or self.window >> behind & 1:
            return False
        self.window |= 1 << behind
        return True


class PacketCodec:
    """Seals and opens; answers challenges by itself.

    :param send: sends raw bytes to an address.
    :ivar dropped: packets that did not authenticate, were replayed, or made no sense.
    """

    def __init__(
        self,
        cluster_key: bytes,
        node_id: bytes,
        epoch: bytes,
        randbytes: Callable[[int], bytes],
        send: Callable[[bytes, Address], None],
    ) -> None:
        self._cluster_key = cluster_key
        self._node_id, self._epoch = node_id, epoch
        self._own = AESGCM(self._key(node_id, epoch))
        self._counter = 0
        self._randbytes = randbytes
        self._send = send
        self._sessions: OrderedDict[tuple[bytes, bytes], _Session] = OrderedDict()
        self._held: dict[tuple[bytes, bytes], list[bytes]] = {}
        self.dropped = 0

    def _key(self, sender: bytes, epoch: bytes) -> bytes:
        return derive_key(self._cluster_key, sender + epoch, b"gossip")

    def seal(self, payload: bytes, flags: int = _DATA) -> bytes:
        """A packet that carries a payload."""
        self._counter += 1
        header = _HEADER.pack(PACKET_VERSION, flags, self._node_id, self._epoch, self._counter)
        return header + self._own.encrypt(self._counter.to_bytes(12), payload, header)

    def open(self, data: bytes, source: Address) -> list[tuple[bytes, bytes]]:
        """Payloads that can be believed now, as (sender, payload): usually the packet's own one."""
        if len(data) < OVERHEAD_BYTES or len(data) > 2 * MAX_PACKET_BYTES:
            self.dropped += 1
            return []
        version, flags, sender, epoch, counter = _HEADER.unpack_from(data)
        if version != PACKET_VERSION or sender == self._node_id:
            self.dropped += 1
            return []
        session = self._sessions.get((sender, epoch))
        known = session is not None
        if session is None:
            session = _Session(AESGCM(self._key(sender, epoch)), self._randbytes(16))
        try:
            payload = session.cipher.decrypt(counter.to_bytes(12), data[_HEADER.size :], data[: _HEADER.size])
        except InvalidTag:
            self.dropped += 1
            return []
        if not session.is_fresh(counter):
            self.dropped += 1
            return []
        if not known:
            self._sessions[sender, epoch] = session
            while len(self._sessions) > MAX_SESSIONS:
                self._sessions.popitem(last=False)
        return self._believe((sender, epoch), session, flags, payload, source)

    def _believe(
        self, who: tuple[bytes, bytes], session: _Session, flags: int, payload: bytes, source: Address
    ) -> list[tuple[bytes, bytes]]:
        if flags == _CHALLENGE:
            self._send(self.seal(payload[:16], _PROOF), source)
            return []
        if flags == _PROOF:
            if payload != session.challenge:
                self.dropped += 1
                return []
            session.proven = True
            return [(who[0], held) for held in self._held.pop(who, [])]
        if session.proven:
            return [(who[0], payload)]
        if len(self._held) < MAX_SESSIONS:
            self._held[who] = [*self._held.get(who, []), payload][:MAX_HELD]
        self._send(self.seal(session.challenge, _CHALLENGE), source)
        return []
