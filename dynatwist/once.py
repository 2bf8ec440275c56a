"""What is said once each, and of a bounded number of things: whoever makes a node say something can make up any."""

from __future__ import annotations

from collections.abc import Hashable

MOST_SAID = 64
"""More different lines of one kind in a log help nobody."""


class Once:
    """See the module."""

    __slots__ = ("_said",)

    def __init__(self) -> None:
        self._said: set[Hashable] = set()

    def is_new(self, what: Hashable) -> bool:
        """Whether something is to be said now; it counts as said from then on."""
        if what in self._said or len(self._said) >= MOST_SAID:
            return False
        self._said.add(what)
        return True
