"""What requests are about: the tables and keys of a seed, and the users whose they are."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import count, islice

from dynatwist.model.record import Key
from dynatwist.model.ring import partition_of

from .history import STRICT_TABLE
from .plan import Load

TABLES = ("users", "things")
OWNERS = ("alice", "bob")
ROOT = "admin"
STRICT_KEYS = ("s0", "s1")


def _keys(partitions: int) -> Iterator[Key]:
    """Keys of both tables; all in a few partitions, on request, where they meet each other's clocks and G."""
    for number in count():
        key = (TABLES[number % 2], f"k{number // 2}")
        if not partitions or partition_of(*key) < partitions:
            yield key


def owner_of(key: Key) -> str:
    """Who writes a key, as a rule."""
    return OWNERS[sum(key[1].encode()) % 2]


class Keys:
    """See the module.

    :param more: keys besides those that the plan asks for.
    :ivar all: those of `TABLES`, and the others.
    """

    def __init__(self, load: Load, more: Iterable[Key] = ()) -> None:
        self.all = [*islice(_keys(load.partitions), load.keys), *more]
        self._staged: list[str] = []

    def stage(self, name: str) -> None:
        """A key of `STRICT_TABLE` that a scene is about; listings have to show it."""
        self._staged.append(name)

    def of(self, table: str) -> list[str]:
        """The keys of a table that requests are about."""
        if table == STRICT_TABLE:
            return [*STRICT_KEYS, *self._staged]
        return [key[1] for key in self.all if key[0] == table] or ["k0"]
