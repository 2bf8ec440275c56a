"""Asking several peers at once, and hearing when all of them have answered or will not."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

from dynatwist.calls import call_safely
from dynatwist.net.link import CALL_TIMEOUT_S
from dynatwist.net.links import PeerLinks
from dynatwist.net.messages import AnyMessage
from dynatwist.net.replies import OnReply, Reply


class Ask(NamedTuple):
    """One call among several.

    :ivar node: who is asked.
    :ivar heard: called once, with the answer or why there is none.
    """

    node: bytes
    message: AnyMessage
    heard: OnReply


def ask_all(links: PeerLinks, asks: Sequence[Ask], over: Callable[[], None], timeout_s: float = CALL_TIMEOUT_S) -> None:
    """Send some calls.

    :param over: called once, behind the last `Ask.heard`; at once when nobody is asked.
    :param timeout_s: for each of them.
    """
    left = len(asks)

    def answered(ask: Ask, reply: Reply) -> None:
        nonlocal left
        left -= 1
        call_safely(ask.heard, reply)
        if not left:
            over()

    if not asks:
        over()
    for ask in asks:
        links.call(ask.node, ask.message, partial(answered, ask), timeout_s=timeout_s)
