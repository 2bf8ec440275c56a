"""The peer port's door: how many connections may stand in it, and which one goes when there are too many.

Rules:

- A connection stands in the door until it has finished TLS and said `Hello`: without the cluster key, for ever.
- Beyond the bounds a newcomer takes the place of the one that has stood there longest: of its own address if that one
  has its share, else of the address that has most. Members need some milliseconds, and whoever floods stands idle.
- Addresses where nodes of this cluster are known to be go last, so no number of foreign ones keeps a member out.
- TLS costs about a millisecond, and it is begun for so many a second only; the others are closed before it.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from typing import NamedTuple, Protocol

from dynatwist.membership.budget import Budget

STRANGERS_A_SECOND = 100
"""Handshakes with addresses where no node is known: at most a tenth of this process's time."""
NEIGHBOURS_A_SECOND = 400
"""Handshakes with addresses where nodes are known. Many nodes may share one, and all start at once."""
MAX_ADDRESSES = 1024
"""Addresses remembered from which nodes have connected, beside those that are dialled."""
NETWORK_BITS_V6 = 64
"""Whoever has one address of IPv6 usually has all of the same network."""


class DoorLimits(NamedTuple):
    """What the options say.

    :ivar handshakes: connections in the door, in all.
    :ivar handshakes_per_address: of them, from one address.
    :ivar links: connections that have passed it, in all.
    """

    handshakes: int = 64
    handshakes_per_address: int = 16
    links: int = 512

    @property
    def descriptors(self) -> int:
        """As many as all this may take: what is dropped keeps its descriptor for a turn."""
        return 2 * self.handshakes + self.links

    def within(self, descriptors: int) -> DoorLimits:
        """The same, made smaller so that so many descriptors are enough."""
        if self.descriptors <= descriptors:
            return self
        handshakes = min(self.handshakes, max(1, descriptors // 6))
        return DoorLimits(handshakes, self.handshakes_per_address, max(1, descriptors - 2 * handshakes))


class Visitor(Protocol):
    """A connection in the door."""

    def abort(self) -> None:
        """Drop it."""


class Doors:
    """See the module.

    :param dialled: whether this node dials an address itself.
    :ivar refused: connections closed before TLS.
    :ivar dropped: connections dropped for a newer one.
    """

    def __init__(self, monotonic_s: Callable[[], float], dialled: Callable[[str], bool]) -> None:
        self.limits = DoorLimits()
        self._monotonic_s = monotonic_s
        self._dialled = dialled
        self._waiting: dict[Visitor, str] = {}
        self._going: set[Visitor] = set()
        self._addresses: dict[str, None] = {}
        self._strangers, self._neighbours = Budget(STRANGERS_A_SECOND), Budget(NEIGHBOURS_A_SECOND)
        self.refused = self.dropped = 0

    def __len__(self) -> int:
        return len(self._waiting)

    def go_by(self, limits: DoorLimits) -> None:
        """Other bounds than the usual ones, from now on."""
        self.limits = limits

    def lets_in(self, host: str) -> bool:
        """Whether a new connection from an address may stand in the door; makes room for it.

        Those that were dropped still have their descriptors for a turn of the reactor: they count once more.
        """
        source = source_of(host)
        budget = self._neighbours if self._is_near(source) else self._strangers
        if not budget.take(self._monotonic_s(), 1) or len(self._going) >= self.limits.handshakes:
            self.refused += 1
            return False
        mine = [visitor for visitor, other in self._waiting.items() if other == source]
        if len(mine) >= self.limits.handshakes_per_address:
            self._drop(mine[0])
        elif len(self._waiting) >= self.limits.handshakes:
            victim = self._least_wanted(source)
            if victim is None:
                self.refused += 1
                return False
            self._drop(victim)
        return True

    def enter(self, visitor: Visitor, host: str) -> None:
        """A connection stands in the door."""
        self._waiting[visitor] = source_of(host)

    def passed(self, visitor: Visitor) -> None:
        """A connection proved that it is a node's: its address is known from now on."""
        source = self._waiting.pop(visitor, None)
        if source is not None:
            self._addresses.pop(source, None)
            self._addresses[source] = None
            if len(self._addresses) > MAX_ADDRESSES:
                del self._addresses[next(iter(self._addresses))]

    def gone(self, visitor: Visitor) -> None:
        """A connection is closed."""
        self._waiting.pop(visitor, None)
        self._going.discard(visitor)

    def _is_near(self, source: str) -> bool:
        return source in self._addresses or self._dialled(source)

    def _least_wanted(self, source: str) -> Visitor | None:
        """Who goes for a newcomer: the oldest of the foreign address that has most, else of a known one."""
        counts: dict[str, int] = {}
        for other in self._waiting.values():
            counts[other] = counts.get(other, 0) + 1
        foreign = [other for other in counts if not self._is_near(other)]
        if not foreign and not self._is_near(source):
            return None
        crowd = max(foreign or counts, key=lambda other: counts[other])
        return next(visitor for visitor, other in self._waiting.items() if other == crowd)

    def _drop(self, visitor: Visitor) -> None:
        self.dropped += 1
        del self._waiting[visitor]
        self._going.add(visitor)
        visitor.abort()


def source_of(host: str) -> str:
    """What counts as one address: of IPv6 a network, of IPv4 within IPv6 the address itself."""
    if ":" not in host:
        return host
    try:
        address = ipaddress.IPv6Address(host.partition("%")[0])
    except ValueError:
        return host
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(ipaddress.IPv6Network((int(address), NETWORK_BITS_V6), strict=False))
