"""Writes to which their clients gave a name (``Idempotency-Key``), so that each is made once however often it is sent.

A record remembers the last named writes of its key, its own among them. So whoever decides about a write by what is
held sees whether it was made already, on whatever node and after whatever failure, also where others have written
since. See `dynatwist.requests.deciding` for the answer to one that was.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from dynatwist import heart
from dynatwist.heart.pure import BODY_BYTES, NAME_BYTES, TAG_BYTES

from .clock import Stamp
from .dots import Dot

KEPT_MS = 600_000
"""For so long after it was made a name stands for the same write: a client that was away for minutes may still ask
what became of it, and nobody's names are kept for ever."""
MAX_NAMED = 32
"""Of one record, some sixty bytes each: by far more than clients that repeat after a failure have under way at once."""


class Named(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A write that has a name.

    :ivar name: what `name_for` makes of user, name and body.
    :ivar version: the record's that it became.
    :ivar ms: wall milliseconds of the write.
    :ivar tag: `tag_of` that record.
    """

    name: bytes
    version: int
    ms: int
    tag: bytes


def name_for(uid: str, name: str, *body: bytes) -> bytes:
    """The name of a write, as records keep it.

    :param uid: whose name it is.
    :param name: as the client sent it.
    :param body: all that makes the write what it is.
    """
    return heart.name_of(uid, name, body)


def is_name(name: bytes) -> bool:
    """Whether a peer's bytes can be a name."""
    return len(name) == NAME_BYTES + BODY_BYTES


def tag_of(dot: Dot, stamp: Stamp) -> bytes:
    """Tells a record from all others: dots alone are numbered per partition."""
    return heart.tag_of(*dot, *stamp[:2])


def made_before(named: tuple[Named, ...], name: bytes, now_ms: int) -> Named | None:
    """What was written under a name of the same user, if a record remembers it: the same write, or another body.

    :param named: what the record remembers.
    """
    for one in named:
        if one.name[:NAME_BYTES] == name[:NAME_BYTES] and now_ms - one.ms <= KEPT_MS:
            return one
    return None


def remembered(before: Iterable[Named], new: Named | None, now_ms: int) -> tuple[Named, ...]:
    """What the next record of a key remembers; see `MAX_NAMED` and `KEPT_MS`.

    :param before: what the record remembers that it is written over.
    :param new: the write itself, if it has a name.
    :param now_ms: the time that is over, by the clocks of a majority: one clock may be hours ahead.
    """
    young = [one for one in before if now_ms - one.ms <= KEPT_MS]
    if new is not None:
        young.append(new)
    return tuple(young[-MAX_NAMED:])


def is_flawless(named: tuple[Named, ...], beyond: int) -> bool:
    """Whether a peer's list can be one.

    :param beyond: above all numbers that there are.
    """
    return len(named) <= MAX_NAMED and all(
        is_name(one.name) and len(one.tag) == TAG_BYTES and 0 <= one.version | one.ms < beyond for one in named
    )
