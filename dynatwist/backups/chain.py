"""A full backup and increments on it, each made on the one before: what they hold together is what a full backup of the
last one's moment would."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from .entries import Base, Entry, Totals
from .errors import BackupError
from .selection import is_system


@dataclass(frozen=True, slots=True)
class Link:
    """One backup of a chain.

    :ivar name: of its file.
    :ivar itself: what an increment on it names.
    """

    name: str
    itself: Base
    totals: Totals


def require_chain(links: Sequence[Link]) -> None:
    """They are a full backup, and increments in the order in which they were made, none left out.

    :raises BackupError: they are not; the text names the file, and what has to be before it.
    """
    first = links[0]
    if first.totals.base is not None:
        raise BackupError(f"{first.name}: it is an increment on {_named(first.totals.base)}: name that one before it")
    for before, link in pairwise(links):
        base = link.totals.base
        if base is None:
            raise BackupError(f"{link.name}: it is a full backup: name it first, with increments on it behind")
        if base.id != before.itself.id:
            raise BackupError(
                f"{link.name}: it is an increment on {_named(base)}, and not on {before.name}: name them in the order "
                "in which they were made, and leave none out"
            )
        if base.digest != before.itself.digest:
            raise BackupError(
                f"{before.name}: it was changed since {link.name} was made on it: find a copy that was not"
            )


def _named(base: Base) -> str:
    return f"the backup of {base.created} (id {base.id[:8]})"


class Latest:
    """What the backups of a chain say together, read from the last one back: of each key what is met first.

    Of what the system keeps, each of them holds all: that of the last one counts.

    :param count: of the backups.
    """

    def __init__(self, count: int) -> None:
        self._last = count - 1
        self._said: set[tuple[str, str]] = set()

    def of(self, index: int, entries: Iterable[Entry]) -> list[Entry]:
        """The live ones of some entries that count; nothing of that backup names a key twice.

        :param index: of their backup in the chain.
        """
        some = [one for one in entries if index == self._last or not is_system(one.table)]
        new = [one for one in some if (one.table, one.key) not in self._said]
        if index:  # before the full one there is none
            self._said.update((one.table, one.key) for one in new)
        return [one for one in new if not one.is_gone]
