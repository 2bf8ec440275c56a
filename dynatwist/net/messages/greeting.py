"""Greetings, and what any call may be answered with."""

from __future__ import annotations

from dynatwist.model.registry import Member, Registry

from .base import Message, PartitionNumber


class Hello(Message, frozen=True, tag=1):
    """The first message either way, one-way.

    :ivar cluster_id: empty while the sender is in no cluster.
    :ivar starts: the sender's count of process starts.
    :ivar recovered: how far its log reached when it started: segment, and bytes of it.
    :ivar knows_zones: whether the sender's release places partitions by zones, where the registry says so.
    """

    version: int
    cluster_id: bytes
    member: Member
    epoch: bytes
    starts: int
    registry: Registry | None
    recovered: tuple[int, int] = (0, 0)
    knows_zones: bool = False


class Refused(Message, frozen=True, tag=2):
    """Instead of going on after `Hello`: why not. One-way; the link closes."""

    reason: str


class Ping(Message, frozen=True, tag=3):
    """Are you there? Answered with `Done`, at once."""


class Done(Message, frozen=True, tag=4):
    """Plain reply: it is done, and durable where that applies."""


class StaleRegistry(Message, frozen=True, tag=5):
    """Reply: you went by an older registry, here is mine; nothing was done."""

    registry: Registry


class Unable(Message, frozen=True, tag=6):
    """Reply: not now, not by me; nothing was done."""

    reason: str


class Leaving(Message, frozen=True, tag=33):
    """The sender stops in a moment; one-way. It stays a member."""


class Status(Message, frozen=True, tag=31):
    """What peers should know, one-way, sent on every change.

    :ivar ready: whether the data routes answer.
    :ivar not_whole: partitions that are not whole.
    :ivar yields: how far it lets other owners go first; see `dynatwist.cluster.yielding`. Older releases do not say.
    :ivar has_registers: whether its release knows registers; see `dynatwist.replication.register`.
    :ivar has_grants: whether its release knows rules of access; see `dynatwist.model.access`.
    :ivar has_bookmarks: whether its release knows bookmarks; see `dynatwist.feed.bookmarks`.
    :ivar has_conflicts: whether its release keeps conflicts; see `dynatwist.replication.conflicts`.
    :ivar has_leases: whether its release knows leases; see `dynatwist.model.lease`.
    :ivar has_table_lists: whether its release tells which tables it holds; see `dynatwist.requests.table_list`.
    :ivar has_backups: whether its release takes part in backups; see `dynatwist.requests.backups`.
    :ivar has_insight: whether its release tells how it is; see `dynatwist.requests.everybody`.
    """

    ready: bool
    not_whole: list[PartitionNumber]
    yields: int = 0
    has_registers: bool = False
    has_grants: bool = False
    has_bookmarks: bool = False
    has_conflicts: bool = False
    has_leases: bool = False
    has_table_lists: bool = False
    has_backups: bool = False
    has_insight: bool = False
