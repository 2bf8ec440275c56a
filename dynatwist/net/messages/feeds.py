"""From owners to the nodes where somebody listens."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from dynatwist.model.record import Key, Record

from .base import Message


class Relay(Message, frozen=True, tag=32):
    """Records that won at an owner, for listeners at a node that does not own them; one-way.

    :ivar cursor: of the sender's feed, right behind them.
    :ivar gap: what was relayed before may not be what is held any more, and nothing that wins says so.
    :ivar is_over: whether they have ended by themselves, rather than won.
    """

    records: list[tuple[Key, Record]]
    cursor: str
    gap: bool = False
    is_over: bool = False


class Listen(Message, frozen=True, tag=38):
    """Somebody listens at the sender: relay to it what wins. Reply: `Listening`.

    :ivar tables: to which; an empty string stands for all. These replace what was asked for before.
    :ivar since: a cursor of the receiver's feed, to be told what came behind it too; empty for from now on.
    """

    tables: list[str]
    since: str = ""


class Listening(Message, frozen=True, tag=39):
    """What won since the cursor named, and where the feed is now.

    :ivar gap: the cursor is too old, or of another process: something may have been missed.
    :ivar over: which of the records have ended by themselves, by their places in the list; the others have won.
    """

    records: list[tuple[Key, Record]]
    cursor: str
    gap: bool = False
    over: list[int] = []


class BookmarkIs(Message, frozen=True, tag=60):
    """Whoever has heard the events of a process up to a number has heard of so much; one-way. See
    `dynatwist.feed.bookmarks`. Of the sender's own process it comes behind all events that it covers.

    :ivar epoch: of the process, as its cursors say.
    :ivar heard: as `dynatwist.feed.heard.Heard.pack` makes it.
    :ivar age_ms: for so long it has been known; 0 of one that the sender has just made.
    """

    epoch: Annotated[str, Meta(max_length=64)]
    before: Annotated[int, Meta(ge=0)]
    after: Annotated[int, Meta(ge=0)]
    heard: bytes
    age_ms: Annotated[int, Meta(ge=0)] = 0
