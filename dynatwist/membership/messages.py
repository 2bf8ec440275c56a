"""What gossip packets say: msgpack arrays, the first element names the kind."""

from __future__ import annotations

import msgspec


class Gossip(msgspec.Struct, frozen=True, array_like=True):
    """Base of all gossip messages."""


class Ping(Gossip, frozen=True, tag=1):
    """Are you `target`, and alive? Answered with `Ack`.

    :ivar digest: of the sender's view.
    """

    seq: int
    target: bytes
    digest: int = 0


class Ack(Gossip, frozen=True, tag=2):
    """Reply to `Ping`, or to `IndirectPing` once the target answered.

    :ivar digest: of the view of whoever was pinged; 0 when another one passes the ack on.
    """

    seq: int
    digest: int = 0


class Nack(Gossip, frozen=True, tag=3):
    """Reply to `IndirectPing`: the target did not answer me either, but I am here."""

    seq: int


class IndirectPing(Gossip, frozen=True, tag=4):
    """Ping `target` for me."""

    seq: int
    target: bytes


class Alive(Gossip, frozen=True, tag=5):
    """A member is alive at this address with this incarnation; only the member itself says so first.

    :ivar version: of its program.
    :ivar zone: where it runs, as its operator says.
    """

    node: bytes
    incarnation: int
    host: str
    port: int
    peer_port: int
    version: str = ""
    zone: str = ""


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


class Compare(Gossip, frozen=True, tag=8):
    """Where do our views differ? Answered with `States`.

    :ivar digests: of the sender's view, eight bytes a bucket.
    """

    digests: bytes


class States(Gossip, frozen=True, tag=9):
    """What the sender knows of the members in some buckets; one page of it.

    :ivar buckets: those told whole with this page, and their digests at the sender; those that differ still are to be
        answered with `States`.
    """

    states: list[Alive | Dead]
    buckets: dict[int, bytes] = {}


AnyGossip = Ping | Ack | Nack | IndirectPing | Alive | Suspect | Dead | Compare | States
ENCODER = msgspec.msgpack.Encoder()
DECODER = msgspec.msgpack.Decoder(list[AnyGossip])
