"""Which tables there are, asked of all members, for a backup. Members of older releases do not know these kinds."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from .base import Message

MAX_TABLES = 1000
"""Names in one answer, the longest possible ones less than a mebibyte."""


class SettleTables(Message, frozen=True, tag=72):
    """Which data tables have live records with you? Settle before what you have accepted of registers: whatever was
    chosen by now is to be seen by whoever lists tables after that. Reply `SettledTables`.

    :ivar after: only tables behind this name.
    :ivar wants_clock: whether it is to be said what had been merged when this was asked.
    """

    registry: int
    after: str
    wants_clock: bool = False


class SettledTables(Message, frozen=True, tag=73):
    """Reply: names, in order.

    :ivar more: whether there are further ones.
    :ivar is_settled: whether nothing is left of which the answerer knows not whether it is chosen.
    :ivar clock: see `dynatwist.requests.clocks`; empty where nobody asked, and from older releases.
    """

    names: Annotated[list[str], Meta(max_length=MAX_TABLES)]
    more: bool
    is_settled: bool
    clock: bytes = b""
