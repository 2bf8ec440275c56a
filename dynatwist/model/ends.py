"""The records that end by themselves, in the order of their ends: nobody has to look for those that are over."""

from __future__ import annotations

from itertools import islice

from sortedcontainers import SortedList

from .lease import ENDED_MS
from .record import Key

NEVER_MS = 1 << 62
"""Beyond every end that a record may have."""


class Ends:
    """Ends that are to come, and how far time has come; two ends in one millisecond go by their keys.

    :ivar passed_ms: the last end that was taken out by `take_over`.
    """

    __slots__ = ("_coming", "_upto", "passed_ms")

    def __init__(self) -> None:
        self._coming: SortedList = SortedList()
        self._upto: tuple[int, Key] = ENDED_MS + 1, ("", "")  # that one is over from the beginning
        self.passed_ms = 0

    def __len__(self) -> int:
        return len(self._coming)

    @property
    def next_ms(self) -> int:
        """The earliest end to come."""
        return self._coming[0][0] if self._coming else NEVER_MS

    def is_over(self, key: Key, end_ms: int) -> bool:
        """Whether an end is not among those to come any more."""
        return (end_ms, key) < self._upto

    def add(self, key: Key, end_ms: int) -> None:
        """One that is to come."""
        self._coming.add((end_ms, key))

    def add_all(self, ends: list[tuple[Key, int]]) -> None:
        """Many at once: sorting is quicker than inserting one by one."""
        self._coming.update((end_ms, key) for key, end_ms in ends)

    def discard(self, key: Key, end_ms: int) -> None:
        """One that will not come: the record was replaced, or is gone."""
        self._coming.discard((end_ms, key))

    def take_over(self, now_ms: int, limit: int) -> list[Key]:
        """Take out those that are over, the earliest first.

        :param limit: how many at most.
        """
        beyond = (now_ms + 1, ("", ""))
        over = list(islice(self._coming.irange(maximum=beyond), limit))
        del self._coming[: len(over)]
        if over:
            end_ms, (table, name) = over[-1]
            self.passed_ms = end_ms
            self._upto = end_ms, (table, name + "\0")
        if len(over) < limit:
            self._upto = max(self._upto, beyond)
        return [key for _, key in over]
