"""How much is taken in per turn of the reactor.

What one turn takes in is on its way to log and peers at the turn's end. They work on it while the next turn takes in
more, and nobody has to wait for all the others; so a turn that could take in more for longer is cut short.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from twisted.logger import Logger

TURN_S = 0.002


class Intake:
    """See the module. Shared by all ways in.

    :param seconds: monotonic.
    :param later: runs a function in the next turn of the reactor.
    :ivar turn_s: for how long a turn takes in requests; with 0, one a turn.
    """

    log = Logger()

    def __init__(self, seconds: Callable[[], float], later: Callable[[Callable[[], None]], object]) -> None:
        self._seconds = seconds
        self._later = later
        self._turn_ends_s = 0.0
        self.turn_s = TURN_S
        self._is_in_turn = False
        self._postponed: deque[Callable[[], None]] = deque()

    def has_time(self) -> bool:
        """Whether this turn may take in one more request: nobody waits before it, and time is left."""
        if self._postponed:
            return False
        if not self._is_in_turn:
            self._is_in_turn = True
            self._turn_ends_s = self._seconds() + self.turn_s
            self._later(self._turn_is_over)
            return True
        return self._seconds() < self._turn_ends_s

    def postpone(self, call: Callable[[], None]) -> None:
        """Call in the next turn, or one behind it; to be used when there is no time."""
        self._postponed.append(call)

    def _turn_is_over(self) -> None:
        self._is_in_turn = False
        if self._postponed:
            self._later(self._resume)  # behind what this turn has for the peers and the log

    def _resume(self) -> None:
        calls, self._postponed = self._postponed, deque()
        while calls and self.has_time():
            try:
                calls.popleft()()
            except Exception:  # the others are not to wait for ever
                self.log.failure("a request that had been postponed failed")
        calls.extend(self._postponed)
        self._postponed = calls
