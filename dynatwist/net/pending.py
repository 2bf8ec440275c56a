"""The calls on one link that are not answered yet: each ends once, with an answer or the reason why there is none."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from dynatwist.calls import call_each, call_safely

from .replies import NoAnswer, OnReply, Reply


@dataclass(slots=True)
class _Call:
    on_reply: OnReply
    on_stall: Callable[[], None] | None
    deadline_s: float


class PendingCalls:
    """See the module."""

    __slots__ = ("_calls", "_last")

    def __init__(self) -> None:
        self._calls: dict[int, _Call] = {}
        self._last = 1

    def __len__(self) -> int:
        return len(self._calls)

    @property
    def ids(self) -> frozenset[int]:
        """Their numbers."""
        return frozenset(self._calls)

    def add(self, on_reply: OnReply, deadline_s: float, on_stall: Callable[[], None] | None = None) -> int:
        """A call is about to be sent.

        :param deadline_s: monotonic time at which it is late.
        :param on_stall: called if the peer does not answer a ping meanwhile.
        :returns: its number; what answers it has the same one, negated.
        """
        self._last += 1
        self._calls[self._last] = _Call(on_reply, on_stall, deadline_s)
        return self._last

    def end(self, call_id: int, reply: Reply) -> None:
        """A call ends. A second answer, or one to nothing that was asked, is nothing."""
        call = self._calls.pop(call_id, None)
        if call is not None:
            call.on_reply(reply)

    def stall(self) -> None:
        """The peer does not answer pings; the calls go on, and who waits may look for somebody else."""
        call_each([call.on_stall for call in self._calls.values() if call.on_stall is not None])

    def expire(self, now_s: float) -> None:
        """End those that are late."""
        for call_id in [call_id for call_id, call in self._calls.items() if now_s >= call.deadline_s]:
            call_safely(self.end, call_id, NoAnswer.LATE)

    def lose(self) -> None:
        """The connection is gone, and all of them with it."""
        calls, self._calls = self._calls, {}
        call_each([call.on_reply for call in calls.values()], NoAnswer.LOST)
