"""Slowing down whoever guesses secrets.

An attempt counts when it begins, so that many at once are no way around the bounds; one that succeeds is forgiven.
There are three bounds, and each attempt has to keep all that concern it:

- *Pairs*, a name tried from one address: after a few failures each further try has to wait, ever longer.
- *Addresses*: whoever tries many names fails often, and is slowed down likewise.
- *Strangers to a name*: all addresses together from which nobody ever logged in under it have so many tries an hour.
  Where somebody did, only the first bound counts: a stranger cannot lock a user out of the places where it is at home.

Each member of a cluster has its part of the strangers' tries, so that asking all of them wins nothing.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

from dynatwist.errors import ApiError

ADMINISTRATOR = "\0admin"
"""Stands for the administrator among the names, which have no control characters."""
LOOPBACK = ("127.0.0.1", "::/64")
FREE_FAILURES = 10
ADDRESS_FREE_FAILURES = 50
"""Many users may share an address, and mistype now and then."""
FIRST_WAIT_S = 1.0
"""After the first failures that count: unnoticed by a person who mistypes."""
MAX_WAIT_S = 60.0
"""The longest wait after a failure: sixty guesses an hour, and an owner that mistypes is not kept out for long."""
FORGET_AFTER_S = 300.0
"""Failures so old count no more: five times the longest wait, so that waiting alone does not start anew."""
STRANGERS_TRIES = 10
"""At once, and again so many in each `STRANGERS_PERIOD_S`: twice as many in any hour."""
STRANGERS_PERIOD_S = 3600.0
"""An hour, in which the tries of all strangers under one name are counted."""
HOME_S = 30 * 24 * 3600.0
"""For so long after a login an address is one where the user is at home."""
MAX_TRACKED = 10_000
"""Pairs, addresses, names and homes remembered, each; some 2 MB. The ones met longest ago are forgotten first."""

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


@dataclass(slots=True)
class _Failures:
    """How often something failed lately, tries under way among them."""

    count: int = 0
    last_s: float = 0.0

    def wait_s(self, free: int, now_s: float) -> float:
        """How long the next try has to wait."""
        if self.count < free:
            return 0.0
        return self.last_s + min(MAX_WAIT_S, FIRST_WAIT_S * 2.0 ** min(self.count - free, 30)) - now_s


class _Recent(Generic[K, V]):
    """A bounded mapping that forgets what was not touched for longest."""

    def __init__(self) -> None:
        self._held: OrderedDict[K, V] = OrderedDict()

    def get(self, key: K) -> V | None:
        return self._held.get(key)

    def put(self, key: K, value: V) -> None:
        self._held[key] = value
        self._held.move_to_end(key)
        if len(self._held) > MAX_TRACKED:
            self._held.popitem(last=False)

    def drop(self, key: K) -> None:
        self._held.pop(key, None)

    def __len__(self) -> int:
        return len(self._held)


class Throttle:
    """See the module.

    :param monotonic_s: the time.
    :param members: how many nodes share the strangers' tries.
    """

    def __init__(self, monotonic_s: Callable[[], float], members: Callable[[], int] = lambda: 1) -> None:
        self._now_s = monotonic_s
        self._members = members
        self._pairs: _Recent[tuple[str, str], _Failures] = _Recent()
        self._addresses: _Recent[str, _Failures] = _Recent()
        self._strangers: _Recent[str, tuple[float, float]] = _Recent()
        self._homes: _Recent[tuple[str, str], float] = _Recent()

    def begin(self, name: str, address: str) -> Attempt:
        """A try begins, and counts as failed until it has succeeded or was given up.

        :raises ApiError: 429 while it has to wait; it does not count then.
        """
        now_s = self._now_s()
        pair = self._current(self._pairs.get((name, address)), now_s)
        source = self._current(self._addresses.get(address), now_s)
        is_home = self.is_home(name, address)
        left_s = max(pair.wait_s(FREE_FAILURES, now_s), 0.0 if is_home else source.wait_s(ADDRESS_FREE_FAILURES, now_s))
        if left_s > 0:
            raise _slow_down(left_s, "too many failed logins; wait before the next try")
        if not is_home:
            self._take_strangers_try(name, now_s)
        self._pairs.put((name, address), _Failures(pair.count + 1, now_s))
        return Attempt(self, name, address, is_home)

    def is_home(self, name: str, address: str) -> bool:
        """Whether somebody has logged in under a name from an address, not too long ago; whoever is on this machine
        counts as the administrator's neighbour."""
        if name == ADMINISTRATOR and address in LOOPBACK:
            return True
        return self._now_s() - (self._homes.get((name, address)) or -HOME_S) < HOME_S

    @staticmethod
    def _current(failures: _Failures | None, now_s: float) -> _Failures:
        return failures if failures is not None and now_s - failures.last_s <= FORGET_AFTER_S else _Failures()

    def _take_strangers_try(self, name: str, now_s: float) -> None:
        """One of so many an hour, which come back evenly over the hour."""
        most = max(1.0, STRANGERS_TRIES // max(1, self._members()))
        left, since_s = self._strangers.get(name) or (most, now_s)
        left = min(most, left + (now_s - since_s) * most / STRANGERS_PERIOD_S)
        if left < 1.0:
            wait_s = (1.0 - left) * STRANGERS_PERIOD_S / most
            text = (
                "too many failed logins under this name from places where it is not at home; wait, or log in from one"
            )
            raise _slow_down(wait_s, text)
        self._strangers.put(name, (left - 1.0, now_s))

    # What attempts tell

    def failed(self, address: str) -> None:
        """An attempt failed; it counts for its name already."""
        now_s = self._now_s()
        source = self._current(self._addresses.get(address), now_s)
        self._addresses.put(address, _Failures(source.count + 1, now_s))

    def end(self, name: str, address: str, *, forgives_all: bool, was_home: bool) -> None:
        """An attempt did not fail.

        :param forgives_all: it succeeded; else it was given up, and only itself is forgiven.
        :param was_home: whether it took none of the strangers' tries.
        """
        pair = self._pairs.get((name, address))
        if forgives_all:
            self._pairs.drop((name, address))
            self._homes.put((name, address), self._now_s())
        elif pair is not None and pair.count:
            pair.count -= 1
        strangers = self._strangers.get(name)
        if strangers is not None and not was_home:
            self._strangers.put(name, (strangers[0] + 1.0, strangers[1]))


class Attempt:
    """One try, which counts as failed unless something else is said of it.

    :ivar address: where it comes from.
    """

    def __init__(self, throttle: Throttle, name: str, address: str, was_home: bool) -> None:
        self._throttle = throttle
        self._name = name
        self.address = address
        self._was_home = was_home
        self._is_over = False

    def failed(self) -> None:
        """The secret was wrong."""
        self._is_over = True
        self._throttle.failed(self.address)

    def succeeded(self) -> None:
        """The secret was right."""
        self._end(forgives_all=True)

    def give_up(self) -> None:
        """Nothing was tried, if nothing else was said before."""
        self._end(forgives_all=False)

    def _end(self, *, forgives_all: bool) -> None:
        if not self._is_over:
            self._is_over = True
            self._throttle.end(self._name, self.address, forgives_all=forgives_all, was_home=self._was_home)


def _slow_down(left_s: float, text: str) -> ApiError:
    return ApiError(429, "slow_down", text, {"Retry-After": str(int(left_s) + 1)})
