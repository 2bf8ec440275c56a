"""A record, as a client has it."""

from __future__ import annotations

from typing import Any, Generic, TypeVar

import msgspec

T = TypeVar("T")


class Record(msgspec.Struct, Generic[T], frozen=True):
    """A record.

    :ivar value: the JSON object, or what it was read as.
    :ivar vector_clock: the writes of this key that its writer had seen.
    :ivar version: grows with every accepted write.
    :ivar timestamp: milliseconds since the epoch.
    :ivar etag: for ``if_match``.
    :ivar superseded: of a repeated write: it was made before, and others have written since. What it became is told,
        but for vector clock, owner, and a patch's value, which nobody remembers.
    :ivar ephemeral: whether it ends with the connection of whoever put it.
    """

    value: T
    vector_clock: dict[str, int]
    version: int
    timestamp: int
    owner: str = ""
    etag: str = ""
    expires_at: int | None = None
    superseded: bool = False
    ephemeral: bool = False


AnyRecord = Record[dict[str, Any]]
"""With its value as a dictionary."""
