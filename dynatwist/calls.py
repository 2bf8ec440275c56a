"""Calling many who wait for one thing: what one of them raises is logged, and the others are called all the same."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVarTuple, Unpack

from twisted.logger import Logger

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
