"""Host names, looked up a few at a time and remembered: in gossip, whoever has the cluster key can name any.

Each look-up holds a thread of the process until the name server answers, or for a minute. So there are only so many at
once, and what was found stays good while it cannot be looked up again.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from ipaddress import ip_address
from typing import NamedTuple

from twisted.internet.defer import Deferred

MAX_LOOKUPS = 4
"""At once, of the ten threads that the process has for such things."""
MAX_WAITING = 16
"""Packets and dials that wait for one name; a further packet is lost, like any packet, and a dial is tried again."""
MAX_NAMES = 1024
"""Remembered; as many as a cluster can have members."""
GOOD_S = 60.0
"""How long a name is not looked up again: a member that has moved to another address is found within a minute."""
BAD_S = 5.0
"""The same, of one that was not found."""

Found = Callable[[str | None], None]
"""Called once with the address; ``None`` if there is none, or not now."""


class _Entry(NamedTuple):
    address: str | None
    until_s: float


class Names:
    """See the module.

    :param look_up: asks the system; its result is an address.
    """

    def __init__(self, look_up: Callable[[str], Deferred[str]], monotonic_s: Callable[[], float]) -> None:
        self._look_up = look_up
        self._monotonic_s = monotonic_s
        self._known: OrderedDict[str, _Entry] = OrderedDict()
        self._waiting: dict[str, list[Found]] = {}

    def find(self, host: str, found: Found) -> None:
        """Find the address of a host, now or in a while."""
        if is_address(host):
            found(host)
            return
        entry = self._known.get(host)
        if entry is not None and self._monotonic_s() < entry.until_s:
            found(entry.address)
        elif entry is not None and entry.address is not None:
            found(entry.address)
            self._ask(host)
        elif self._ask(host) and len(self._waiting[host]) < MAX_WAITING:
            self._waiting[host].append(found)
        else:
            found(None)

    def _ask(self, host: str) -> bool:
        """Have a name looked up, if there is a thread for it; answers whether it is."""
        if host in self._waiting:
            return True
        if len(self._waiting) >= MAX_LOOKUPS:
            return False
        self._waiting[host] = []
        looked = self._look_up(host)
        looked.addCallbacks(lambda address: self._found(host, address), lambda _: self._found(host, None))
        return host in self._waiting

    def _found(self, host: str, address: str | None) -> None:
        before = self._known.pop(host, None)
        good_s = BAD_S if address is None else GOOD_S
        if address is None and before is not None:
            address = before.address
        self._known[host] = _Entry(address, self._monotonic_s() + good_s)
        if len(self._known) > MAX_NAMES:
            self._known.popitem(last=False)
        for found in self._waiting.pop(host):
            found(address)


def is_address(host: str) -> bool:
    """Whether a host is named by its address."""
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
