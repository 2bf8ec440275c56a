"""The frames of one websocket, begun in their order, and only as many at once as their answers allow.

A client may send thousands of operations at once, and read none of the answers. Few are begun at first; the fewer, the
longer the answers turn out to be. None is begun while answers wait to be read. What is not begun waits, within a bound:
when that is reached, no more frames are read from the connection.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

FIRST_AT_ONCE = 16
"""Requests of one connection that are begun together, until it is known how long their answers are."""
MOST_AT_ONCE = 256
"""More does not get quicker; they are begun over several turns all the same."""
LEAST_AT_ONCE = 2
"""One is answered while the next is carried out."""
LONG_ANSWER_BYTES = 16 << 10
"""After a longer answer fewer requests of its connection are begun together: answers wait in memory to be read."""
MOST_WAITING_BYTES = 64 << 10
"""As much as a transport reads at once."""


class Pipeline:
    """See the module.

    :param begin: carries out a frame; `over` has to follow, later or at once.
    :param want_more: called with whether more frames are to be read from the connection.
    """

    def __init__(self, begin: Callable[[bytes], None], want_more: Callable[[bool], None]) -> None:
        self._begin = begin
        self._want_more = want_more
        self._waiting: deque[bytes] = deque()
        self._waiting_bytes = 0
        self._under_way = 0
        self._at_once = FIRST_AT_ONCE
        self._is_full = False
        self._is_unread = False
        self._is_beginning = False

    def offer(self, frame: bytes) -> None:
        """A frame has arrived."""
        self._waiting.append(frame)
        self._waiting_bytes += len(frame)
        self._go_on()

    def over(self, answer_bytes: int) -> None:
        """A frame was answered."""
        self._under_way -= 1
        if answer_bytes > LONG_ANSWER_BYTES:
            self._at_once = LEAST_AT_ONCE
        else:
            self._at_once = min(self._at_once + 1, MOST_AT_ONCE)
        self._go_on()

    def unread(self, is_unread: bool) -> None:
        """Answers wait to be read, or do so no more."""
        self._is_unread = is_unread
        self._go_on()

    def close(self) -> None:
        """Nothing is begun any more."""
        self._waiting.clear()
        self._waiting_bytes = 0
        self._is_unread = True

    def _go_on(self) -> None:
        if self._is_beginning:  # the loop below goes on with it
            return
        self._is_beginning = True
        try:
            while self._waiting and self._under_way < self._at_once and not self._is_unread:
                frame = self._waiting.popleft()
                self._waiting_bytes -= len(frame)
                self._under_way += 1
                self._begin(frame)
        finally:
            self._is_beginning = False
        is_full = self._is_unread or self._waiting_bytes > MOST_WAITING_BYTES
        if is_full is not self._is_full:
            self._is_full = is_full
            self._want_more(not is_full)
