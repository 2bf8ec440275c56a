"""Where a request comes from: what counts as one source address, and what a trusted proxy says of it."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from functools import lru_cache

from dynatwist.net.doors import source_of as address_of

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_FOR = re.compile(r'(?i)\bfor="?\[?([0-9a-f.:]+?)\]?(?::[0-9]+)?"?(?=[;,\s]|\Z)')
"""The address in an element of ``Forwarded`` (RFC 7239)."""


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


source_of = lru_cache(4096)(address_of)
"""What counts as one source address; see `dynatwist.net.doors.source_of`."""


class Proxies:
    """The proxies in front of a node, which say for whom they ask.

    :param trusted: their addresses.
    :ivar are_there: whether any is trusted; else nobody has to ask further.
    """

    def __init__(self, trusted: tuple[Network, ...] = ()) -> None:
        self._trusted = trusted
        self.are_there = bool(trusted)

    def is_trusted(self, host: str) -> bool:
        """Whether an address is a proxy's."""
        address = _address(host) if self._trusted else None
        return address is not None and any(address in network for network in self._trusted)

    def client_of(self, host: str, headers: Mapping[str, str]) -> str:
        """Whom a request comes from: what the last proxy that is trusted says, else the connection's own address."""
        if not self.is_trusted(host):
            return host
        said = headers.get("x-forwarded-for")
        if said is not None:  # proxies that write it pass on what a client sends as Forwarded
            named = [text.strip() for text in said.split(",")]
        else:
            named = _FOR.findall(headers.get("forwarded", ""))
        for name in reversed(named):
            if _address(name) is None:
                return host
            if not self.is_trusted(name):
                return str(_address(name))
        return host
