"""Values that lost a concurrent write, as a client has them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from .paths import query
from .world import Response

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


class Conflicts(list[Conflict]):
    """A list of them.

    :ivar missing: addresses of members that did not answer: what they alone have met is not in the list.
    """

    def __init__(self) -> None:
        super().__init__()
        self.missing: tuple[str, ...] = ()

    def add(self, page: Response) -> list[Conflict]:
        """A node has answered some more."""
        silent = page.headers.get("x-partial", "").replace(",", " ").split()
        self.missing = tuple(sorted({*self.missing, *silent}))
        found = msgspec.json.decode(page.body, type=list[Conflict])
        self.extend(found)
        return found


async def listed(get: Callable[[str], Awaitable[Response]], table: str | None, limit: int | None) -> Conflicts:
    """The conflicts, the newest first, page by page.

    :param get: has a path answered.
    """
    found = Conflicts()
    after: str | None = None
    while limit is None or len(found) < limit:
        left = MAX_PAGE if limit is None else min(limit - len(found), MAX_PAGE)
        page = found.add(await get(f"/conflicts{query(table=table, after=after, limit=left)}"))
        if not page:
            break
        after = page[-1].id
    return found
