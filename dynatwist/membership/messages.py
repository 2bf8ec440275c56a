"""What gossip packets say: msgpack arrays, the first element names the kind."""

from __future__ import annotations

import msgspec


class Gossip(msgspec.Struct, frozen=True, array_like=True):
    """Base of all gossip messages."""


class Ping(Gossip, frozen=True, tag=1):
    """Are you `target`, and alive? Answered with `Ack`."""

    seq: int
    target: bytes


class Ack(Gossip, frozen=True, tag=2):
    """Reply to `Ping`, or to `IndirectPing` once the target answered."""

    seq: int


class Nack(Gossip, frozen=True, tag=3):
    """Reply to `IndirectPing`: the target did not answer me either, but I am here."""

    seq: int


class IndirectPing(Gossip, frozen=True, tag=4):
    """Ping `target` for me."""

    seq: int
    target: bytes


class Alive(Gossip, frozen=True, tag=5):
    """A member is alive at this address with this incarnation."""

    node: bytes
    incarnation: int
    host: str
    port: int
    peer_port: int


class Suspect(Gossip, frozen=True, tag=6):
    """`accuser` could not reach a member."""

    node: bytes
    incarnation: int
    accuser: bytes


class Dead(Gossip, frozen=True, tag=7):
    """A member is dead; when `accuser` is the member itself, it left."""

    node: bytes
    incarnation: int
    accuser: bytes


class PushPull(Gossip, frozen=True, tag=8):
    """The sender's whole view, in as many packets as it needs.

    :ivar reply: whether the receiver is to send its own.
    """

    reply: bool
    states: list[Alive | Suspect | Dead]


AnyGossip = Ping | Ack | Nack | IndirectPing | Alive | Suspect | Dead | PushPull
ENCODER = msgspec.msgpack.Encoder()
DECODER = msgspec.msgpack.Decoder(list[AnyGossip])
