"""In which tables somebody is interested, so that others relay what happens there; an empty name stands for all."""

from __future__ import annotations

from collections.abc import Callable


class Interest:
    """See the module."""

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}
        self._since: dict[str, int] = {}
        self._changed: Callable[[], None] = lambda: None
        self._fades: Callable[[str], None] = self.end

    def tell(self, changed: Callable[[], None], fades: Callable[[str], None]) -> None:
        """Whom to tell.

        :param changed: called when there are other tables than before.
        :param fades: called with a table when its last listener left; `end` is to follow, in a while.
        """
        self._changed, self._fades = changed, fades

    def rise(self, name: str, seq: int) -> None:
        """One more listens to a table.

        :param seq: a number beyond all events so far, which no event has.
        """
        count = self._counts.get(name)
        self._counts[name] = (count or 0) + 1
        if count is None:
            self._since[name] = seq
            self._changed()

    def fall(self, name: str) -> None:
        """One less listens to a table."""
        self._counts[name] -= 1
        if not self._counts[name]:
            self._fades(name)

    def end(self, name: str) -> None:
        """Nobody has come back to a table: nothing of it needs to be relayed to this node any more."""
        if self._counts.get(name, 1) == 0:
            del self._counts[name], self._since[name]
            self._changed()

    def since(self, name: str) -> int:
        """The number of the event behind which nothing of a table was missed that others had to relay."""
        return self._since[name]

    def has(self, name: str) -> bool:
        """Whether somebody listens to a table, or did a moment ago."""
        return name in self._counts

    def names(self) -> list[str]:
        """The tables that somebody listens to, or did a moment ago."""
        return sorted(self._counts)
