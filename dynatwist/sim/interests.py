"""What a user listens to at a node: a key, or those with a prefix; and what it has heard of that so far."""

from __future__ import annotations

from dataclasses import dataclass, field

from dynatwist.model.record import Key, Record

from .keys import ROOT

REPEATS_S = 15.0
"""So long after a move a listener may hear again what it has heard: the node fetches what was not relayed to it."""


@dataclass(slots=True, eq=False)
class Interest:
    """One subscription, over all connections that it lives through.

    :ivar who: listens.
    :ivar host: the node that tells it.
    :ivar since_s: when it began.
    :ivar told_s: when it was last told to read afresh.
    :ivar last: per key the newest record heard. Of a delete only that is told: the oldest that it can be.
    :ivar again: the keys of which it may be told again what it has heard, or what was before, once.
    :ivar moved_s: when it last came to a node that could not tell exactly what it had heard.
    :ivar ended: the keys of which it has heard that the newest record has ended by itself.
    """

    who: str
    host: str
    table: str
    key: str | None
    prefix: str
    since_s: float
    told_s: float = -1.0
    cursor: str = ""
    last: dict[Key, Record] = field(default_factory=dict)
    ended: set[Key] = field(default_factory=set)
    moved_s: float = -REPEATS_S
    again: set[Key] = field(default_factory=set)

    def begin(self, now_s: float, *, is_precise: bool) -> None:
        """It is subscribed; where it was not told a cursor yet, it begins anew.

        :param is_precise: whether the node knows which events came behind the cursor; else it may tell some again.
        """
        if not self.cursor:
            self.since_s = now_s
            self._forget()
        elif not is_precise:
            self.again, self.moved_s = set(self.last), now_s

    def told(self, now_s: float) -> None:
        """It is told that something may be missing."""
        self.told_s = now_s
        self._forget()

    def _forget(self) -> None:
        self.last.clear()
        self.ended.clear()
        self.again.clear()

    def matches(self, key: Key) -> bool:
        """Whether a key is listened to."""
        if key[0] != self.table:
            return False
        return key[1] == self.key if self.key is not None else key[1].startswith(self.prefix)

    def may_repeat(self, key: Key, record: Record, now_s: float) -> bool:
        """Whether it may be told the newest record of a key once more."""
        last = self.last.get(key)
        return last is not None and last.dot == record.dot and now_s < self.moved_s + REPEATS_S

    def may_see(self, record: Record) -> bool:
        """Whether a record is shown to this user."""
        return self.who in (ROOT, record.owner.partition("#")[0])

    def text(self, key: Key) -> str:
        """For people: what is said of a key."""
        what = f"{self.table}/{self.key or self.prefix + '*'}"
        return f"{self.who} at {self.host} listens to {what}: {'/'.join(key)}"
