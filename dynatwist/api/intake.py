"""How much is taken in per turn of the reactor.

What one turn takes in is on its way to log and peers at the turn's end. They work on it while the next turn takes in
more, and nobody has to wait for all the others; so a turn that could take in more for longer is cut short.

Requests on connections where nobody has shown a token yet are taken in behind all others, one a turn at least, and the
addresses that they come from take turns: a flood of them delays neither users nor strangers from elsewhere.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable

from twisted.logger import Logger

TURN_S = 0.002
"""Taking requests in: a round trip between nodes takes about a tenth of that, so peers and the log get to work
early."""


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
        self._is_resuming = False
        self._postponed: deque[Callable[[], None]] = deque()
        self._strangers: OrderedDict[str, deque[Callable[[], None]]] = OrderedDict()

    def bound(self, turn_s: float) -> None:
        """Another `turn_s` than the usual one, from now on."""
        self.turn_s = turn_s

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

    def take_strange(self, source: str, call: Callable[[], None]) -> None:
        """Call now if there is time and no stranger waits, else behind everything else.

        :param source: the address that the request comes from.
        """
        if not self._strangers and self.has_time():
            call()
            return
        self._strangers.setdefault(source, deque()).append(call)
        if not self._is_in_turn:
            self._resume_later()

    def _turn_is_over(self) -> None:
        self._is_in_turn = False
        if self._postponed or self._strangers:
            self._resume_later()  # behind what this turn has for the peers and the log

    def _resume_later(self) -> None:
        if not self._is_resuming:
            self._is_resuming = True
            self._later(self._resume)

    def _resume(self) -> None:
        self._is_resuming = False
        calls, self._postponed = self._postponed, deque()
        while calls and self.has_time():
            self._run(calls.popleft())
        calls.extend(self._postponed)
        self._postponed = calls
        if self._strangers:
            self._run(self._next_stranger())
            while self._strangers and self.has_time():
                self._run(self._next_stranger())
        if not self._is_in_turn and (self._postponed or self._strangers):
            self._resume_later()

    def _next_stranger(self) -> Callable[[], None]:
        source, calls = next(iter(self._strangers.items()))
        call = calls.popleft()
        if calls:
            self._strangers.move_to_end(source)
        else:
            del self._strangers[source]
        return call

    def _run(self, call: Callable[[], None]) -> None:
        try:
            call()
        except Exception:  # the others are not to wait for ever
            self.log.failure("a request that had been postponed failed")
