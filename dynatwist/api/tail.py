"""The last lines of the audit log, in memory, for people who look: a bounded number of lines, and of bytes."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

MOST_LINES = 1000
"""More than anybody reads of a page; older ones are in the file."""
MOST_BYTES = 256 << 10
"""Lines have some two hundred bytes; names of keys may make one much longer."""


class Tail:
    """See the module. Lines are numbered from 1 on, by each process anew.

    :ivar last: the number of the last line; 0 before the first.
    """

    def __init__(self, most_lines: int = MOST_LINES, most_bytes: int = MOST_BYTES) -> None:
        self._most_lines, self._most_bytes = most_lines, most_bytes
        self._lines: deque[bytes] = deque()
        self._size_bytes = 0
        self.last = 0

    def add(self, line: bytes) -> None:
        """Take a line in, and let old ones go."""
        self._lines.append(line)
        self._size_bytes += len(line)
        self.last += 1
        while len(self._lines) > self._most_lines or self._size_bytes > self._most_bytes:
            self._size_bytes -= len(self._lines.popleft())

    def behind(self, after: int | None, limit: int) -> Iterator[tuple[int, bytes]]:
        """Some lines with their numbers, in order.

        :param after: only those behind this one, the first ones; ``None`` for the last ones there are, and so is a
            number that was never given, as after a restart.
        """
        first = self.last - len(self._lines) + 1
        known = after if after is not None and after <= self.last else self.last - limit
        begin = max(first, known + 1)
        for number in range(begin, min(begin + limit, self.last + 1)):
            yield number, self._lines[number - first]
