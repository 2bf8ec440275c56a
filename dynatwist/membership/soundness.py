"""Whether a message can be meant: whoever has the cluster key can put anything into a packet."""

from __future__ import annotations

from dynatwist.model.dots import NODE_ID_BYTES
from dynatwist.model.registry import is_host

from .messages import Ack, Alive, AnyGossip, Compare, Dead, IndirectPing, Nack, Ping, States, Suspect
from .view import BUCKETS

MAX_INCARNATION = 1 << 62
"""A member raises its incarnation by one at each start and refutation. Beyond this it could not be raised any more."""
MAX_SEQ = 1 << 62
"""Numbers of pings begin anywhere below 2^32, and grow by one."""
MAX_LABEL_CHARS = 128
"""Of a version or a zone, which people read."""


def is_sound(message: AnyGossip) -> bool:
    """Whether a message has a meaning, and can be passed on."""
    match message:
        case Ping(seq, target, _) | IndirectPing(seq, target):
            return 0 <= seq < MAX_SEQ and len(target) == NODE_ID_BYTES
        case Ack(seq, _) | Nack(seq):
            return 0 <= seq < MAX_SEQ
        case Alive():
            return _is_sound_member(message)
        case Suspect(node, incarnation, accuser) | Dead(node, incarnation, accuser):
            return len(node) == NODE_ID_BYTES and 0 <= incarnation < MAX_INCARNATION and len(accuser) <= NODE_ID_BYTES
        case Compare(digests):
            return len(digests) == 8 * BUCKETS
        case States(states, buckets):
            return all(map(is_sound, states)) and all(0 <= number < BUCKETS for number in buckets)


def _is_sound_member(alive: Alive) -> bool:
    ports = 1 <= alive.port <= 65535 and 1 <= alive.peer_port <= 65535
    labels = len(alive.version) <= MAX_LABEL_CHARS and len(alive.zone) <= MAX_LABEL_CHARS
    is_named = len(alive.node) == NODE_ID_BYTES and is_host(alive.host)
    return is_named and ports and labels and 0 <= alive.incarnation <= MAX_INCARNATION
