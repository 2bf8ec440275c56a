"""Calling whoever should be there and is not, for ever, so that a partition of any length heals."""

from __future__ import annotations

from collections.abc import Iterable

from .actions import Address, Random, Whom
from .exchange import Exchange
from .members import State
from .outbox import Outbox
from .settings import SwimSettings
from .view import View


class Redial:
    """See the module.

    :param seeds: addresses to call until they answer, and again whenever they are not members.
    """

    def __init__(
        self,
        *,
        seeds: Iterable[Address],
        settings: SwimSettings,
        random: Random,
        view: View,
        outbox: Outbox,
        exchange: Exchange,
    ) -> None:
        self._seeds = list(dict.fromkeys(seeds))
        self._settings = settings
        self._random = random
        self._view = view
        self._outbox = outbox
        self._exchange = exchange
        self._next_s = 0.0

    @property
    def due_s(self) -> float:
        """When somebody is to be called; infinite where nobody is missing."""
        return self._next_s if self._seeds or self._view.fates else float("inf")

    def tick(self, now_s: float) -> None:
        """Call seeds that are no members, and one dead member, if it is time for that."""
        if now_s < self._next_s:
            return
        self._next_s = now_s + self._settings.redial_interval_s
        if self._seeds:
            known = {self._outbox.whom(node).address for node in self._view.alive if self._view.is_up(node)}
            for seed in self._seeds:
                if seed not in known:
                    self._exchange.ask(Whom(b"", seed))
        dead = sorted(node for node, fate in self._view.fates.items() if fate.state is State.DEAD)
        if dead:
            self._exchange.ask(self._outbox.whom(self._random.choice(dead)))
