"""The events behind a number, for one listener that takes them as it reads."""

from __future__ import annotations

from typing import Protocol

from .subscription import Subscription


class Offers(Protocol):
    """Whoever has the events: a hub."""

    def offer_behind(self, subscription: Subscription, seq: int) -> int | None:
        """Offer a listener some events behind a number; answers the last number looked at, ``None`` at the end."""

    def may_go_on(self, subscription: Subscription) -> bool:
        """Whether there is time in this turn; else the listener is woken in a later one."""


class Behind:
    """See the module, and `dynatwist.feed.subscription.Backlog`."""

    __slots__ = ("_hub", "_seq", "_subscription")

    def __init__(self, hub: Offers, subscription: Subscription, seq: int) -> None:
        self._hub = hub
        self._subscription = subscription
        self._seq = seq

    def pull(self) -> None:
        """See `Backlog`."""
        while not self._subscription.closed:
            last = self._hub.offer_behind(self._subscription, self._seq)
            if last is None:
                return
            self._seq = last
            if len(self._subscription) or not self._hub.may_go_on(self._subscription):
                return
