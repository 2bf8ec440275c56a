"""Twisted's reactor, opened: the clock of its timers, the beginning of its turns, and how it hands on events."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from dynatwist.calls import call_safely


def time_by(reactor: Any, seconds: Callable[[], float]) -> None:
    """Have a reactor's timers go by another clock; call before anything is timed.

    :param seconds: the time of that clock.
    """
    reactor.seconds = seconds


def at_each_turn(reactor: Any, call: Callable[[], None]) -> Callable[[], None]:
    """Have something called at the beginning of each turn, before timers that are due.

    :returns: ends that.
    """
    run: Callable[[], None] = reactor.runUntilCurrent

    def turn() -> None:
        call()
        run()

    def end() -> None:
        reactor.runUntilCurrent = run

    reactor.runUntilCurrent = turn
    return end


def hand_on_plainly(reactor: Any) -> None:
    """Have a reactor that waits by epoll(7) hand each event on without the context that Twisted makes for it.

    That context would tell which connection a line is about, in the log that Twisted had before `twisted.logger`. To
    make it takes longer than all else that the reactor does for an event, and each request is one.

    :param reactor: one of another kind stays as it is.
    """
    if sys.platform == "linux":
        from twisted.internet.epollreactor import EPollReactor

        if isinstance(reactor, EPollReactor):
            _hand_on_plainly(reactor)


def _hand_on_plainly(reactor: Any) -> None:
    def iterate(timeout_s: float | None) -> None:
        limit_s = -1 if timeout_s is None else timeout_s
        for descriptor, event in reactor._poller.poll(limit_s, len(reactor._selectables)):
            selectable = reactor._selectables.get(descriptor)
            if selectable is not None:  # nobody has closed it in this turn
                call_safely(reactor._doReadOrWrite, selectable, descriptor, event)

    reactor.doIteration = iterate
