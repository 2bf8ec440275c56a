"""Records, and what is done to them."""

from typing import Annotated, Any, Literal, NotRequired, TypedDict

import msgspec
from msgspec import UNSET, Meta, UnsetType

from ..limits import MAX_BATCH, MAX_IDEMPOTENCY_KEY_BYTES, MAX_TTL_S
from .names import Key

Value = dict[str, Any]
"""A value: a JSON object."""
Version = Annotated[int, Meta(ge=1)]
Millis = Annotated[int, Meta(ge=0)]


class Record(TypedDict):
    """A record.

    :ivar value: the object as it was put; `null` in the answer to a patch by somebody who may not read it.
    :ivar vector_clock: by process of a node, the number of the last write that this one has seen.
    :ivar version: grows with each write of the key.
    :ivar timestamp: when it was written, in milliseconds since 1970.
    :ivar owner: whose it is.
    :ivar etag: for `If-Match`.
    :ivar expires_at: when it ends by itself, in milliseconds since 1970.
    :ivar ephemeral: its life depends on that of a websocket.
    :ivar superseded: a write that was repeated, and that others have written over since.
    """

    value: Value | None
    vector_clock: dict[str, int]
    version: Version
    timestamp: Millis
    etag: str
    owner: NotRequired[str]
    expires_at: NotRequired[Millis]
    ephemeral: NotRequired[bool]
    superseded: NotRequired[bool]


class Deleted(TypedDict):
    """What became of a delete.

    :ivar version: of the delete.
    """

    status: Literal["deleted"]
    version: Version


class Keys(msgspec.Struct):
    """Which records are wanted."""

    keys: Annotated[list[Key], Meta(max_length=MAX_BATCH, examples=[["profile", "settings"]])]


class Op(msgspec.Struct):
    """An operation of a batch.

    :ivar value: of a put: a JSON object.
    :ivar ttl: of a put: seconds after which the record ends by itself.
    :ivar if_none_match: of a put: written only where there is no record.
    :ivar idempotency_key: a name, under which it is made once.
    """

    op: Literal["put", "delete"]
    key: Key
    value: msgspec.Raw | UnsetType = UNSET
    ttl: Annotated[int, Meta(ge=1, le=MAX_TTL_S)] | None = None
    if_none_match: bool = False
    idempotency_key: Annotated[str, Meta(min_length=1, max_length=MAX_IDEMPOTENCY_KEY_BYTES)] | None = None


class Ops(msgspec.Struct):
    """Operations, independent of each other."""

    ops: Annotated[list[Op], Meta(max_length=MAX_BATCH)]


class Outcome(TypedDict):
    """What became of one operation: a version and an ETag, or an error.

    :ivar status: as that of the same request alone.
    """

    status: int
    version: NotRequired[Version]
    etag: NotRequired[str]
    error: NotRequired[str]
    code: NotRequired[str]


class Results(TypedDict):
    """An outcome for each operation, in their order."""

    results: list[Outcome]


class Refusal(TypedDict):
    """An error.

    :ivar error: a line for a person: what, where, and what to do instead.
    :ivar code: for a program.
    """

    error: str
    code: str


class Unmet(Refusal):
    """A condition does not hold.

    :ivar record: with `Prefer: return=representation`, what is held; `null` where nothing is.
    """

    record: NotRequired[Record | None]


# Locks


class Terms(msgspec.Struct):
    """How a lock is to be had.

    :ivar ttl: seconds after which it ends if it is not renewed.
    :ivar note: anything, shown to those who find it held.
    """

    ttl: Annotated[int, Meta(ge=1, le=3600)] = 15
    note: msgspec.Raw | UnsetType = UNSET


class Holder(TypedDict):
    """Who holds a lock; owner and note as far as the rules let the caller read them.

    :ivar version: its fencing number.
    """

    version: Version
    expires_at: Millis
    owner: NotRequired[str]
    note: NotRequired[Any]


class Held(Refusal):
    """A lock that cannot be had."""

    holder: NotRequired[Holder]


class Released(TypedDict):
    """A lock is free."""

    status: Literal["released"]
    version: Version


# Conflicts


class Winner(TypedDict):
    """What a value lost against."""

    version: Version
    timestamp: Millis
    owner: str


class Conflict(TypedDict):
    """A value that lost a concurrent write.

    :ivar lost: its value is `null` where a delete lost.
    :ivar won: `null` where the caller may not read it.
    :ivar at: when the lost value was written.
    """

    id: str
    table: str
    key: str
    lost: Record
    won: Winner | None
    at: Millis


class Settled(TypedDict):
    """A conflict that is shown no more."""

    status: Literal["settled"]
    id: str
