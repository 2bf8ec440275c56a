"""Which tables there are, asked of all members.

Members of older releases do not know these kinds, and would end the link.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from .base import Message

MAX_TABLES = 1000
"""Tables in one message: as many as a client may ask for; the longest names make some hundred kilobytes."""


class ListTables(Message, frozen=True, tag=70):
    """Which tables do you hold live keys of? Reply `TablesAre`.

    :ivar after: only tables behind this one; empty for all.
    :ivar limit: so many at most.
    """

    after: str
    limit: Annotated[int, Meta(ge=1, le=MAX_TABLES)]


class TablesAre(Message, frozen=True, tag=71):
    """Reply: tables with the number of their live keys here, in order.

    :ivar more: whether there are further ones behind the last.
    """

    tables: Annotated[list[tuple[str, Annotated[int, Meta(ge=0)]]], Meta(max_length=MAX_TABLES)]
    more: bool
