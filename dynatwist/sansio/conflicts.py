"""Values that lost a concurrent write, as a client has them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from .paths import query

MAX_PAGE = 1000
"""As many as a node answers at once."""


class Lost(msgspec.Struct, frozen=True):
    """The record that lost.

    :ivar value: ``None`` for a delete.
    """

    value: dict[str, Any] | None
    vector_clock: dict[str, int]
    version: int
    timestamp: int
    owner: str = ""
    etag: str = ""
    expires_at: int | None = None


class Won(msgspec.Struct, frozen=True):
    """What it lost against."""

    version: int
    timestamp: int
    owner: str


class Conflict(msgspec.Struct, frozen=True):
    """A pair of writes neither of whose writers had seen the other.

    :ivar won: ``None`` where this user may not read what is there now.
    :ivar at: when the lost value was written, in milliseconds since the epoch.
    """

    id: str
    table: str
    key: str
    lost: Lost
    won: Won | None
    at: int


async def listed(get: Callable[[str], Awaitable[bytes]], table: str | None, limit: int | None) -> list[Conflict]:
    """The conflicts, the newest first, page by page.

    :param get: has a path answered.
    """
    found: list[Conflict] = []
    after: str | None = None
    while limit is None or len(found) < limit:
        left = MAX_PAGE if limit is None else min(limit - len(found), MAX_PAGE)
        body = await get(f"/conflicts{query(table=table, after=after, limit=left)}")
        page = msgspec.json.decode(body, type=list[Conflict])
        if not page:
            break
        found += page
        after = page[-1].id
    return found
