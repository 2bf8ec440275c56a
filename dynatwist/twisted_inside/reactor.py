"""Twisted's reactor, opened: the clock of its timers, and the beginning of each of its turns."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


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
