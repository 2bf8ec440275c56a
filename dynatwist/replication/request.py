"""What an owner of a key is asked, and what it answers. Both travel inside `Forward` when the owner is another node."""

from __future__ import annotations

import re
from enum import Enum

import msgspec

from dynatwist import heart
from dynatwist.model.access import OWN, May
from dynatwist.model.dots import Dot
from dynatwist.model.lease import Lease
from dynatwist.model.named import Named
from dynatwist.model.record import Key, Record

from .quorum import Level


class Kind(Enum):
    """What is to be done."""

    GET = "get"
    PUT = "put"
    PATCH = "patch"
    DELETE = "delete"
    KEEP = "keep"
    """To have a record with a lease be there as it was put, unless somebody has written since; see `Operation`."""
    END = "end"
    """To end a record whose lease has ended. Both are asked for by nodes, never by clients."""


class Restored(msgspec.Struct, frozen=True, array_like=True):
    """Of a put that brings back what was backed up: `Operation.uid` owns it, also where somebody else owned the key.

    :ivar expires_ms: when it ends by itself, as it did before; 0 for never.
    """

    expires_ms: int = 0


class Operation(msgspec.Struct, frozen=True, array_like=True):
    """One request on one key.

    :ivar value: JSON object for a put or keep, RFC 7396 patch for a patch.
    :ivar uid: who asks; decides ownership of what is created.
    :ivar any_owner: whether records of others may be changed; what members of former releases go by.
    :ivar ttl_ms: life of what is written; 0 for ever.
    :ivar if_match: ETags of which one must be held; empty for no condition. Of a keep, what its writer put: that is
        made anew where it has ended by its lease, and is refused where a client has written or deleted since.
    :ivar if_none_match: the key must be absent.
    :ivar seen: dots of the partition, from a causal token, that have to be merged before.
    :ivar name: of a write that is made once; see `dynatwist.model.named`.
    :ivar may: what whoever asks may write under the key.
    :ivar lease: whose life the record is to depend on.
    :ivar restored: of a put that brings back what was backed up.
    :ivar followed: id of a request whose way is to be seen in logs; empty for any other.
    :ivar trace: ``traceparent`` of the span that it belongs to; empty for none. Earlier releases do not read so far.
    """

    kind: Kind
    key: Key
    level: Level = Level.QUORUM
    value: bytes = b""
    uid: str = ""
    any_owner: bool = False
    ttl_ms: int = 0
    if_match: tuple[str, ...] = ()
    if_none_match: bool = False
    seen: tuple[Dot, ...] = ()
    name: bytes = b""
    may: May = OWN
    lease: Lease | None = None
    restored: Restored | None = None
    followed: str = ""
    trace: str = ""

    @property
    def is_write(self) -> bool:
        """Whether it may change something."""
        return self.kind is not Kind.GET

    @property
    def is_conditional(self) -> bool:
        """Whether it has to go through the first reachable owner."""
        return self.kind is Kind.PATCH or bool(self.if_match) or self.if_none_match

    @property
    def makes(self) -> bool:
        """Whether it makes a record where there is none."""
        return self.kind is Kind.PUT or self.kind is Kind.KEEP


_FOLLOWED = re.compile(r"[A-Za-z0-9._-]{1,64}")


def is_followed(text: str) -> bool:
    """Whether a text can be the id of a request that is followed: it is printed into logs, and goes between nodes."""
    return _FOLLOWED.fullmatch(text) is not None


class Code(Enum):
    """How it went."""

    OK = "ok"
    ABSENT = "absent"
    FORBIDDEN = "forbidden"
    PRECONDITION = "precondition"
    CONFLICT = "conflict"
    """Said by nodes of former versions, of a key that was deleted and created too often in a short time."""
    TOO_LARGE = "too_large"
    MALFORMED = "malformed"
    MISMATCH = "mismatch"
    """Something else was written under the name that its client gave it."""
    UNAVAILABLE = "unavailable"
    """Nothing was done."""
    UNCERTAIN = "uncertain"
    """Written, but not known to be on enough replicas; it may still take effect."""
    FULL = "full"
    OVERLOADED = "overloaded"
    """Nothing was done: this node's log is too far behind."""


class Result(msgspec.Struct, frozen=True, array_like=True):
    """The answer.

    :ivar record: what is held now; of a get, only a live one.
    :ivar replicas: ``REACHED/OWNERS``.
    :ivar is_shown: whether `record` is what a refused condition was judged by; ``None`` stands for nothing then.
    :ivar was: what a repeated write was made as, where others have written since: the answer to it, beside its value.
    """

    code: Code
    record: Record | None = None
    replicas: str = ""
    text: str = ""
    was: Named | None = None
    is_shown: bool = True


BEHIND = "this node's log is too far behind to take in more; try again, or another node"
"""The text of `Code.OVERLOADED`, and of the refusal that peers are told."""

ENCODER = msgspec.msgpack.Encoder()
OPERATION = msgspec.msgpack.Decoder(Operation)
RESULT = msgspec.msgpack.Decoder(Result)


def etag(record: Record) -> str:
    """The ETag of a record."""
    actor, seq = record.dot
    return heart.etag_of(actor, seq, record.stamp[0], record.stamp[1])


def quoted(tag: bytes) -> str:
    """The ETag that a record's tag is."""
    return '"' + tag.hex() + '"'
