"""How many live keys each data table has, as held here.

Tables come and go as clients please, a hundred thousand of them perhaps: nothing here looks at all of them at once, and
a table without live keys leaves nothing behind.
"""

from __future__ import annotations

from sortedcontainers import SortedDict

from dynatwist.model.ring import is_system_table


class LiveCounts:
    """See the module.

    :ivar total: live keys of all data tables.
    """

    __slots__ = ("_by_table", "total")

    def __init__(self) -> None:
        self._by_table: SortedDict = SortedDict()
        self.total = 0

    def __len__(self) -> int:
        """How many data tables have a live key."""
        return len(self._by_table)

    def of(self, table: str) -> int:
        """Live keys of one table."""
        return int(self._by_table.get(table, 0))

    def add(self, table: str, change: int) -> None:
        """So many live keys more, or less; those of system tables are not counted."""
        if is_system_table(table) or not change:
            return
        self.total += change
        count = self._by_table.get(table, 0) + change
        if count:
            self._by_table[table] = count
        else:
            del self._by_table[table]

    def page(self, after: str = "", limit: int | None = None) -> dict[str, int]:
        """Some tables with their counts, in order.

        :param after: only tables behind this one.
        :param limit: how many at most; ``None`` for all.
        """
        names = self._by_table.keys()
        begin = self._by_table.bisect_right(after) if after else 0
        end = len(names) if limit is None else begin + limit
        return {table: self._by_table[table] for table in names[begin:end]}
