"""Requests that keep a node busy for milliseconds each: a user that sends them without end is not to slow down others.

While nobody else asks for anything they go on at once, one after the other. Once somebody does, a pause that is five
times as long as the work follows each: so all of them together have a sixth of the node's time at most. Users take
turns.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable

from twisted.logger import Logger

HEAVY_BYTES = 64 << 10
"""Of a body, or of an answer's next piece."""
WORK_S_PER_BYTE = 1.5e-8
"""To check, log, encrypt and replicate: fifteen milliseconds a megabyte."""
PAUSES = 5.0
"""As many times the work."""


class Heavy:
    """See the module.

    :param seconds: monotonic.
    :param call_later: runs a function after so many seconds.
    :ivar last_holder: whose request was answered last.
    """

    log = Logger()

    def __init__(self, seconds: Callable[[], float], call_later: Callable[[float, Callable[[], None]], object]) -> None:
        self._seconds = seconds
        self._call_later = call_later
        self._waiting: OrderedDict[str, deque[tuple[int, Callable[[], None]]]] = OrderedDict()
        self._next_s = 0.0
        self._is_due = False
        self.last_holder = ""
        self._others = 0
        self._others_before = 0

    def met(self, holder: str) -> None:
        """Somebody's request was answered, heavy or not."""
        if holder != self.last_holder:
            self.last_holder = holder
            self._others += 1

    def begin(self, holder: str, size_bytes: int, call: Callable[[], None]) -> None:
        """Call when it is time for so much work of somebody's."""
        self._waiting.setdefault(holder, deque()).append((size_bytes, call))
        if not self._is_due:
            self._go_on()

    def _go_on(self) -> None:
        self._is_due = False
        while self._waiting:
            left_s = self._next_s - self._seconds()
            if left_s > 0:
                self._is_due = True
                self._call_later(left_s, self._go_on)
                return
            self._run(*self._next())

    def _next(self) -> tuple[int, Callable[[], None]]:
        holder, calls = next(iter(self._waiting.items()))
        item = calls.popleft()
        if calls:
            self._waiting.move_to_end(holder)
        else:
            del self._waiting[holder]
        return item

    def _run(self, size_bytes: int, call: Callable[[], None]) -> None:
        work_s = size_bytes * WORK_S_PER_BYTE
        are_others = self._others - self._others_before > 1
        self._others_before = self._others
        self._next_s = self._seconds() + work_s * (1.0 + PAUSES if are_others else 0.0)
        try:
            call()
        except Exception:  # the others are not to wait for ever
            self.log.failure("a request that had to wait failed")

    def __len__(self) -> int:
        """How many wait."""
        return sum(map(len, self._waiting.values()))
