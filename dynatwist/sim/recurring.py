"""Something that is done again and again, at moments of chance: a Poisson process, as many clients make together."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from .world import World


class Recurring:
    """See the module.

    :param rate_s: how often a second; never, if 0.
    :param act: what is done.
    :param random: chance of its own; otherwise the world's.
    :ivar is_running: whether it goes on.
    """

    def __init__(self, world: World, rate_s: float, act: Callable[[], None], random: Random | None = None) -> None:
        self._world = world
        self._rate_s = rate_s
        self._act = act
        self._random = random or world.random
        self.is_running = False

    def start(self) -> None:
        """Begin now."""
        self.is_running = True
        self._go_on()

    def start_later(self) -> None:
        """Begin when it is time for the first."""
        self.is_running = True
        self._wait()

    def stop(self) -> None:
        """No more."""
        self.is_running = False

    def _wait(self) -> None:
        if self._rate_s:
            self._world.later(self._random.expovariate(self._rate_s), self._go_on)

    def _go_on(self) -> None:
        if self.is_running and self._rate_s:
            self._wait()
            self._act()
