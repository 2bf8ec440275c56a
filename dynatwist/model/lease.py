"""Leases: records that live as long as the process of a node that keeps them, or not much longer.

A client's presence is to end when its connection does, or the node that has the connection, or the network between. To
write the record again and again would be a write, and an event for whoever listens, for each presence every few
seconds. So the record names the process that keeps it, and owners watch processes: one word from a process keeps all
its records. See `dynatwist.requests.leases` for how a record ends when its process is not heard of any more.
"""

from __future__ import annotations

import msgspec

from .dots import EPOCH_BYTES, NODE_ID_BYTES, Actor

MAX_TTL_S = 86_400
"""A day: who is not heard of for longer is not there by anybody's measure."""
ENDED_MS = 1
"""The end of a record whose lease has ended: long ago, so that it is a tombstone at once, at every owner, and told as
one that has ended by itself. No client can ask for such an end, so it says how the record ended."""


class Lease(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Who keeps a record.

    :ivar actor: the process start of a node: its id and epoch.
    :ivar ttl_s: for how long it may not be heard of before the record ends.
    """

    actor: Actor
    ttl_s: int


def is_flawless(lease: Lease) -> bool:
    """Whether what a peer sends can be one."""
    return len(lease.actor) == NODE_ID_BYTES + EPOCH_BYTES and 0 < lease.ttl_s <= MAX_TTL_S
