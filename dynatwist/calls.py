"""Calling many who wait for one thing: what one of them raises is logged, and the others are called all the same; and
waiting for many."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar, TypeVarTuple, Unpack

from twisted.internet.defer import Deferred, FirstError, gatherResults
from twisted.logger import Logger

T = TypeVar("T")
Ts = TypeVarTuple("Ts")
_log = Logger()


def call_safely(call: Callable[[Unpack[Ts]], object], *arguments: *Ts) -> None:
    """Call; log what it raises."""
    try:
        call(*arguments)
    except Exception:
        _log.failure("a callback failed; the others are called all the same")


def call_each(calls: Iterable[Callable[[Unpack[Ts]], object]], *arguments: *Ts) -> None:
    """Call all of them, in order, with the same arguments."""
    for call in calls:
        call_safely(call, *arguments)


async def all_of(waiting: Iterable[Deferred[T]]) -> list[T]:
    """What all of them fire with, in the same order.

    When one fails, or all are cancelled since their client has hung up, that error itself is raised, rather than
    Twisted's `FirstError` about it, and nothing is logged of the others.
    """
    try:
        return await gatherResults(list(waiting), consumeErrors=True)
    except FirstError as error:
        error.subFailure.raiseException()
