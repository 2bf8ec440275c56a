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
from dynatwist.model.record import Key, Record
from dynatwist.model.records import unpack
from dynatwist.replication.proposal import Chosen
from dynatwist.runtime import Runtime, cancel


class Ended(msgspec.Struct, frozen=True):
    """How a request to a register ended.

    :ivar chosen: what is chosen; ``None`` when that is not known in time.
    :ivar in_doubt: whether what was proposed may be chosen still.
    :ivar reached: how many of the owners have voted, by the newest owner set.
    """

    chosen: Chosen | None
    in_doubt: bool = False
    reached: int = 0

    @property
    def record(self) -> Record | None:
        """What is chosen as a record; ``None`` where that is nothing, or not known."""
        return unpack(self.chosen.value) if self.chosen is not None and self.chosen.value else None


OnEnded = Callable[[Ended], None]


class Follower:
    """A read that waits for a change.

    :param until_s: when it gives up, in monotonic seconds.
    :param done: called once.
    """

    __slots__ = ("_done", "_timer", "until_s")

    def __init__(self, runtime: Runtime, until_s: float, done: OnEnded) -> None:
        self.until_s = until_s
        self._done: OnEnded | None = done
        self._timer = runtime.clock.callLater(max(0.0, until_s - runtime.monotonic_s()), self.end, Ended(None))

    def end(self, ended: Ended) -> None:
        """It is told, if it was not yet."""
        done, self._done = self._done, None
        cancel(self._timer)
        if done is not None:
            call_safely(done, ended)


class Turn(Protocol):
    """A change that waits for its turn."""

    @property
    def key(self) -> Key:
        """Of the register."""

    def start(self) -> None:
        """It is its turn; harmless when it is over."""


class Turns:
    """See the module.

    :param look: reads a register for somebody.
    """

    def __init__(self, runtime: Runtime, look: Callable[[Key, float, OnEnded], None]) -> None:
        self._runtime = runtime
        self._look = look
        self._queues: dict[Key, deque[Turn]] = {}
        self._followers: dict[Key, list[Follower]] = {}

    def read(self, key: Key, until_s: float, done: OnEnded) -> None:
        """Read behind the next change, or at once where none waits for its turn."""
        if key in self._queues:
            self._followers.setdefault(key, []).append(Follower(self._runtime, until_s, done))
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
            for one in self._followers.pop(turn.key, ()):
                self._look(turn.key, one.until_s, one.end)
        elif had_turn:
            self._runtime.later(queue[0].start)

    def followers(self, key: Key) -> list[Follower]:
        """The reads that wait for the change that begins now."""
        return self._followers.pop(key, [])

    def tell(self, key: Key, followers: list[Follower], ended: Ended) -> None:
        """A change has ended for those who waited for it; where nobody knows how, they look for themselves."""
        for one in followers:
            if ended.chosen is None:
                self._look(key, one.until_s, one.end)
            else:
                one.end(Ended(ended.chosen, reached=ended.reached))
