"""Whoever is connected for long, so that their streams and sockets end when their token does.

A token ends by its time, by a logout, with its user or the user's secret, and with the secret that signed it. All that
is looked for a few times a second: so it holds for every reason there is, also for one that another node was told of.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice

from dynatwist.auth.tokens import Identity
from dynatwist.calls import call_safely

A_TURN = 256
"""Identities looked at in one turn of the reactor: less than a millisecond."""

End = Callable[[], None]


class Connected:
    """See the module.

    :param counts: whether an identity is still good.
    :param later: runs a function in the next turn of the reactor.
    """

    def __init__(self, counts: Callable[[Identity], bool], later: Callable[[Callable[[], None]], object]) -> None:
        self._counts = counts
        self._later = later
        self._ends: dict[Identity, dict[End, None]] = {}
        self._is_looking = False

    def join(self, identity: Identity, end: End) -> None:
        """Somebody stays: `end` is called once when the identity counts no more."""
        self._ends.setdefault(identity, {})[end] = None

    def leave(self, identity: Identity, end: End) -> None:
        """They are gone; harmless when repeated."""
        ends = self._ends.get(identity, {})
        if ends.pop(end, self) is not self and not ends:
            del self._ends[identity]

    def look(self) -> None:
        """End whoever has to go; in several turns, where many are connected. Call it now and then."""
        if self._ends and not self._is_looking:
            self._is_looking = True
            self._look_on(list(self._ends), 0)

    def _look_on(self, identities: list[Identity], begin: int) -> None:
        for identity in islice(identities, begin, begin + A_TURN):
            if identity in self._ends and not self._counts(identity):
                for end in self._ends.pop(identity):
                    call_safely(end)
        if begin + A_TURN < len(identities):
            self._later(lambda: self._look_on(identities, begin + A_TURN))
        else:
            self._is_looking = False

    def __len__(self) -> int:
        """How many streams and sockets there are."""
        return sum(map(len, self._ends.values()))
