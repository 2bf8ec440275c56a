"""Records, and the one order in which they win.

A record never changes after it is written; equal dots mean equal records. `beats` is a total order, so taking the
greater of two is associative, commutative and idempotent: replicas that merged the same records, in whatever order
and however often, hold the same one. "Newer by vector clock, else by time" is not transitive and would not converge.
"""

from __future__ import annotations

import msgspec

from .clock import Stamp
from .dots import Dot
from .lease import Lease
from .lineage import EXACT_CREATIONS, Lineage
from .named import Named, remembered, tag_of

Key = tuple[str, str]
"""(table, key)."""

MAX_VV_ACTORS = 16
"""Of one key's writers: three owners and their restarts. It is for people and counters; merging never reads it."""
MAX_VERSION = (1 << 53) - 1
"""Nobody gets there; a record that says so is followed by others that do, rather than by none."""


class Record(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One write of one key.

    :ivar dot: the name of this write; comes first, so that packed records begin with it.
    :ivar value: minified JSON exactly as it will be sent, or ``None`` for a tombstone.
    :ivar vv: the dots of this key that its writer had seen, newest first, at most 16 actors.
    :ivar stamp: when, in hybrid time; causally later is always greater.
    :ivar lineage: the key's creations; see `Lineage`.
    :ivar version: 1 + the greatest version seen. For people.
    :ivar owner: uid, that is ``name`` or ``name#ACTOR-SEQ`` of the registration.
    :ivar expires_ms: the wall time from which this record *is* a tombstone; 0 for never.
    :ivar op: id of the request that wrote it, so that a repeated one is the same write; may be empty.
    :ivar named: the last writes of the key to which clients gave a name; see `dynatwist.model.named`.
    :ivar lease: whose life it depends on; ``None``, as nearly always, for nobody's.
    """

    dot: Dot
    value: bytes | None
    vv: tuple[Dot, ...]
    stamp: Stamp
    lineage: Lineage
    version: int
    owner: str
    expires_ms: int = 0
    op: bytes = b""
    named: tuple[Named, ...] = ()
    lease: Lease | None = None

    def is_dead(self, now_ms: int) -> bool:
        """Whether this is a tombstone, by deletion or by expiry."""
        return self.value is None or (self.expires_ms != 0 and now_ms >= self.expires_ms)

    @property
    def millis(self) -> int:
        """Wall milliseconds of the write, as clients see it."""
        return self.stamp.ms


def beats(new: Record, held: Record) -> bool:
    """Whether `new` replaces `held`; false for equal records."""
    if new.lineage != held.lineage:
        return new.lineage.beats(held.lineage)
    return new.stamp > held.stamp


def had_seen(writer: Record, dot: Dot) -> bool:
    """Whether the writer of a record had seen a dot of the same key. For counters and people, never for merging."""
    if writer.dot == dot:
        return True
    actor, seq = dot
    for seen in writer.vv:  # noqa: SIM110 - half as long as any(), and called with every merge
        if seen[1] >= seq and seen[0] == actor:
            return True
    return False


def join_vv(*dots: Dot) -> tuple[Dot, ...]:
    """The version vector of some dots, given newest first: the greatest number of each actor, at most 16 actors."""
    greatest: dict[bytes, Dot] = {}
    for dot in dots:
        actor, seq = dot
        if seq > (greatest[actor][1] if actor in greatest else 0):
            greatest[actor] = dot
    return tuple(greatest.values())[:MAX_VV_ACTORS]


class Draft(msgspec.Struct, frozen=True):
    """What a client wants written, before it has a dot.

    :ivar value: JSON bytes, or ``None`` to delete.
    :ivar owner: uid of the writer, taken over only when the key is created.
    :ivar created: the stamp that stands for a creation in the lineage, where it was given before the write.
    :ivar may_have_created: whether another replica may have created the key at that moment for the same request.
    :ivar name: that its client gave it; see `dynatwist.model.named`.
    :ivar lease: whose life the record is to depend on; ``None`` for nobody's.
    :ivar takes_over: whether `owner` owns it also where somebody else owned what was held.
    """

    value: bytes | None
    owner: str
    expires_ms: int = 0
    op: bytes = b""
    created: Stamp | None = None
    may_have_created: bool = False
    name: bytes = b""
    lease: Lease | None = None
    takes_over: bool = False


def write_over(
    held: Record | None,
    seen: tuple[Dot, ...],
    generation: int,
    draft: Draft,
    dot: Dot,
    stamp: Stamp,
    now_ms: int,
    exact_creations: int = EXACT_CREATIONS,
    forgotten_version: int = 0,
) -> Record:
    """The record that a draft becomes on top of what a replica holds.

    :param held: what is held for the key, tombstones included.
    :param seen: dots of the key that the replica merged besides.
    :param generation: the partition's G.
    :param exact_creations: how many moments of a history of creations are kept apart; see `dynatwist.model.lineage`.
    :param forgotten_version: to be exceeded where nothing is held.
    """
    owner, created = draft.owner, draft.created or stamp
    if held is None:
        lineage, version = Lineage(generation, (created,)), min(forgotten_version + 1, MAX_VERSION)
        vv: tuple[Dot, ...] = ()
    else:
        vv, version = join_vv(held.dot, *seen, *held.vv), min(held.version + 1, MAX_VERSION)
        lineage = held.lineage
        if draft.may_have_created:
            lineage = lineage.created_besides(created, exact_creations)
        if held.is_dead(now_ms) and draft.value is not None:
            lineage = lineage.created_again(created, exact_creations)
        elif not draft.takes_over:
            owner = held.owner
    named = held.named if held is not None else ()
    if named or draft.name:
        new = Named(draft.name, version, stamp.ms, tag_of(dot, stamp)) if draft.name else None
        named = remembered(named, new, now_ms)
    return Record(dot, draft.value, vv, stamp, lineage, version, owner, draft.expires_ms, draft.op, named, draft.lease)
