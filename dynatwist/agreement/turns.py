"""Whose turn it is to change a register, among the requests of one node; and the reads that follow a change.

One change runs at a time, so those of one node do not outbid each other. A read that comes meanwhile waits for the next
change: what that one finds or makes was chosen after the read came. So it does not meet what is under way here.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Protocol

import msgspec

from dynatwist.calls import call_safely
from dynatwist.model.record import Key
from dynatwist.replication.proposal import Chosen


class Ended(msgspec.Struct, frozen=True):
    """How a request to a register ended.

    :ivar chosen: what is chosen; ``None`` when that is not known in time.
    :ivar in_doubt: whether what was proposed may be chosen still.
    :ivar reached: how many of the owners have voted, by the newest owner set.
    """

    chosen: Chosen | None
    in_doubt: bool = False
    reached: int = 0


OnEnded = Callable[[Ended], None]


Follower = tuple[float, OnEnded]
"""A read that waits for a change: when it gives up, and what is to be called."""


class Turn(Protocol):
    """A change that waits for its turn."""

    @property
    def key(self) -> Key:
        """Of the register."""

    def start(self) -> None:
        """It is its turn; harmless when it is over."""


class Turns:
    """See the module.

    :param later: calls a function in a later turn of the reactor.
    :param look: reads a register for somebody.
    """

    def __init__(
        self, later: Callable[[Callable[[], None]], object], look: Callable[[Key, float, OnEnded], None]
    ) -> None:
        self._later = later
        self._look = look
        self._queues: dict[Key, deque[Turn]] = {}
        self._followers: dict[Key, list[Follower]] = {}

    def read(self, key: Key, until_s: float, done: OnEnded) -> None:
        """Read behind the next change, or at once where none waits for its turn."""
        if key in self._queues:
            self._followers.setdefault(key, []).append((until_s, done))
        else:
            self._look(key, until_s, done)

    def enter(self, turn: Turn) -> None:
        """A change stands in line; its turn may be now."""
        queue = self._queues.setdefault(turn.key, deque())
        queue.append(turn)
        if len(queue) == 1:
            turn.start()

    def has(self, turn: Turn) -> bool:
        """Whether it is a change's turn."""
        queue = self._queues.get(turn.key)
        return queue is not None and queue[0] is turn

    def leave(self, turn: Turn) -> None:
        """A change changes nothing now, if it ever does: the next one's turn, if it was this one's."""
        queue = self._queues.get(turn.key, deque())
        if turn not in queue:
            return
        had_turn = queue[0] is turn
        queue.remove(turn)
        if not queue:
            del self._queues[turn.key]
            for until_s, done in self._followers.pop(turn.key, ()):
                self._look(turn.key, until_s, done)
        elif had_turn:
            self._later(queue[0].start)

    def followers(self, key: Key) -> list[Follower]:
        """The reads that wait for the change that begins now."""
        return self._followers.pop(key, [])

    def tell(self, key: Key, followers: list[Follower], ended: Ended) -> None:
        """A change has ended for those who waited for it; where nobody knows how, they read anew."""
        for until_s, done in followers:
            if ended.chosen is None:
                self.read(key, until_s, done)
            else:
                call_safely(done, Ended(ended.chosen, reached=ended.reached))
