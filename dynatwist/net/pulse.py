"""Whether a peer answers, from the pings that it is sent and the turns in which somebody looks.

A ping goes with every call, and every `IDLE_PING_S` where nobody calls. There is one at a time:

=========  =============================  ============================================
state      what happens                   what follows
=========  =============================  ============================================
quiet      a call, or `IDLE_PING_S` over  a ping: asked
asked      the answer                     quiet
asked      `STALL_S` over                 stalled: the peer is not reachable
stalled    the answer                     quiet: it is reachable again
stalled    `GIVE_UP_S` over               the connection is given up
=========  =============================  ============================================

A failure detector is too slow for this. After a long partition a new connection is there at once, while TCP's next
retransmission may be minutes away.

Looks that come late tell that this process slept. Then it is this process that has not read the answer yet: the time of
the ping begins anew, and the answer tells nothing about the network.
"""

from __future__ import annotations

from enum import Enum, auto

STALL_S = 0.1
"""A ping that goes with each request was not answered for so long: the peer is stalled, and nobody waits for it.
Round trips in a region take a tenth of that; garbage collection and a busy disk thread less than half."""
WATCH_S = STALL_S / 4
"""How often somebody looks; a stall is noticed a quarter late at most."""
GIVE_UP_S = 5.0
"""A stalled peer that is not back by then gets a new connection: this one may hang in a router."""
SLEEP_S = 0.25
"""A look that is so late tells that this process was stopped; a turn of the reactor never takes half of it."""
IDLE_PING_S = 0.5
"""How often a peer is pinged that is asked nothing, so that its stall is known before the next request."""


class Beat(Enum):
    """What is to be done when somebody has looked."""

    NOTHING = auto()
    PING = auto()
    STALL = auto()
    GIVE_UP = auto()


class Pulse:
    """See the module.

    :param now_s: when the connection began.
    :ivar is_stalled: whether the peer has to answer before it counts as reachable.
    :ivar has_answered: whether it ever did.
    :ivar rtt_ms: the last round trip.
    """

    __slots__ = ("_asked_s", "_is_measured", "_last_s", "_look_due_s", "has_answered", "is_stalled", "rtt_ms")

    def __init__(self, now_s: float) -> None:
        self._asked_s: float | None = None
        self._last_s = 0.0
        self._is_measured = True
        self._look_due_s = now_s + WATCH_S
        self.is_stalled = False
        self.has_answered = False
        self.rtt_ms = 0.0

    @property
    def is_asked(self) -> bool:
        """Whether a ping is not answered yet."""
        return self._asked_s is not None

    def ask(self, now_s: float) -> None:
        """A ping is sent."""
        self._asked_s = self._last_s = now_s
        self._is_measured = True

    def answer(self, now_s: float) -> float | None:
        """The peer has answered; how long the way there and back took, where that is known."""
        assert self._asked_s is not None
        rtt_s = now_s - self._asked_s
        self.rtt_ms = rtt_s * 1000
        self._asked_s = None
        self.has_answered, self.is_stalled = True, False
        return rtt_s if self._is_measured else None

    def slept_s(self, now_s: float) -> float:
        """How late the next look is by now."""
        return now_s - self._look_due_s

    def wake(self, now_s: float) -> None:
        """Somebody is about to look; where that is late, what the peer answered meanwhile is still to be read."""
        late_s, self._look_due_s = now_s - self._look_due_s, now_s + WATCH_S
        if late_s > STALL_S / 2 and self._asked_s is not None and not self.is_stalled:
            self._asked_s = now_s
            self._is_measured = False

    def look(self, now_s: float) -> Beat:
        """What is to be done about a peer that has said who it is."""
        if self._asked_s is None:
            return Beat.PING if now_s - self._last_s >= IDLE_PING_S else Beat.NOTHING
        since_s = now_s - self._asked_s
        if not self.is_stalled and since_s >= STALL_S:
            self.is_stalled = True
            return Beat.STALL
        return Beat.GIVE_UP if self.is_stalled and since_s >= GIVE_UP_S else Beat.NOTHING
