"""Whether a client is still there: asked often, while something is to end when it is not."""

from __future__ import annotations

from collections.abc import Callable

from dynatwist.runtime import Clock, Timer, cancel

ASK_S = 4.0
"""Between two pings: what ends 15 s after a client was heard of last has to be found out well before."""
SILENT_S = 9.0
"""Two pings unanswered, and a second: one may have been lost, and sent again by TCP."""
LATE_S = 1.0
"""A look that is so late tells that this process was stopped: what the client sent meanwhile is still to be read."""


class Heartbeat:
    """See the module.

    :param ask: sends a ping.
    :param lost: called when the client was not heard of for `SILENT_S`.
    """

    def __init__(self, clock: Clock, ask: Callable[[], None], lost: Callable[[], None]) -> None:
        self._clock = clock
        self._ask = ask
        self._lost = lost
        self._heard_s = self._due_s = clock.seconds()
        self._timer: Timer | None = None

    def start(self) -> None:
        """Ask from now on; harmless when repeated."""
        if self._timer is None:
            self._heard_s = self._due_s = self._clock.seconds()
            self._beat()

    def heard(self) -> None:
        """The client has sent something."""
        self._heard_s = self._clock.seconds()

    @property
    def silent_s(self) -> float:
        """For how long nothing was heard of it; nothing, where nobody asks."""
        return self._clock.seconds() - self._heard_s if self._timer is not None else 0.0

    def stop(self) -> None:
        """Ask no more."""
        cancel(self._timer)

    def _beat(self) -> None:
        late_s = self._clock.seconds() - self._due_s
        if late_s > LATE_S:
            self._heard_s += late_s
        self._due_s = self._clock.seconds() + ASK_S
        self._timer = self._clock.callLater(ASK_S, self._beat)
        if self.silent_s > SILENT_S:
            self._lost()
        else:
            self._ask()
