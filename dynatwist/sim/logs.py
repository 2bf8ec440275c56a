"""The log of the code under test: its lines belong to the trace, and failures that nobody handled to the errors."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

from twisted.logger import ILogObserver, globalLogBeginner, globalLogPublisher
from zope.interface import implementer

from .world import Killed, World

CUT_FOR_LENGTH = ("peer link dropped", "a message for {peer} was longer")
"""What a node logs when a peer sends a frame that is too long, or would have to."""


@cache
def forget_what_is_logged() -> None:
    """Until somebody begins to log, Twisted keeps what is logged, and with it who logged it: all nodes of a world."""
    globalLogBeginner.beginLoggingTo([], discardBuffer=True, redirectStandardIO=False)


@contextmanager
def logged(world: World) -> Iterator[None]:
    """Have what is logged told in a world."""

    @implementer(ILogObserver)
    def observe(event: dict[str, Any]) -> None:
        failure = event.get("log_failure")
        if failure is not None and not failure.check(Killed):
            world.errors.append(f"unhandled: {failure.getTraceback()}")
        elif str(event.get("log_format", "")).startswith(CUT_FOR_LENGTH):
            world.errors.append("P10: " + str(event["log_format"]).format_map(event))
        elif world.tracing and failure is None:
            world.say("log: " + str(event.get("log_format", "")).format_map(event))

    forget_what_is_logged()
    globalLogPublisher.addObserver(observe)
    try:
        yield
    finally:
        globalLogPublisher.removeObserver(observe)
