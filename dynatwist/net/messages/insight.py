"""How members are, what they have counted, and who waits at them: asked of all members, for people who look.

Members of older releases do not know these kinds, and would end the link.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from dynatwist.health.condition import Condition
from dynatwist.history.history import SPANS, SpanName
from dynatwist.model.flaws import MAX_KEY_CHARS, MAX_OWNER_CHARS, MAX_TABLE_CHARS

from .base import Message

MOST_SERIES = 100
MOST_WAITING, MOST_IN_LINE = 200, 50
"""Lines of one table that are told of, and who stands in each: people read them."""
Samples = Annotated[list[float], Meta(max_length=max(span.steps for span in SPANS.values()))]
Name = Annotated[str, Meta(max_length=MAX_OWNER_CHARS)]
KeyName = Annotated[str, Meta(max_length=MAX_KEY_CHARS)]
Waiting = Annotated[list[Name], Meta(max_length=MOST_IN_LINE)]


class AskCondition(Message, frozen=True, tag=80):
    """How are you? Reply `ConditionIs`."""


class ConditionIs(Message, frozen=True, tag=81):
    """Reply: so."""

    condition: Condition


class AskHistory(Message, frozen=True, tag=82):
    """What were your figures? Reply `HistoryIs`.

    :ivar tick: up to when; see `dynatwist.history.history`.
    """

    span: SpanName
    tick: Annotated[int, Meta(ge=0)]


class HistoryIs(Message, frozen=True, tag=83):
    """Reply: by series the samples, the newest last; not a number where the node was not running."""

    series: Annotated[dict[Name, Samples], Meta(max_length=MOST_SERIES)]


class AskWaiting(Message, frozen=True, tag=84):
    """Who waits at you for locks of a table? Reply `WaitingAre`."""

    table: Annotated[str, Meta(max_length=MAX_TABLE_CHARS)]


class WaitingAre(Message, frozen=True, tag=85):
    """Reply: by key, the names of those who wait, the first in line first."""

    lines: Annotated[dict[KeyName, Waiting], Meta(max_length=MOST_WAITING)]
