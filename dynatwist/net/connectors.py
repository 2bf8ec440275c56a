"""What the network builds links with, for those that this node dials and those that dial this node."""

from __future__ import annotations

from typing import Any, Protocol

from twisted.internet.protocol import Factory

from .link import PeerLink


class Building(Protocol):
    """Whoever has the links."""

    def build(self, target: bytes | None) -> PeerLink:
        """A link for a new connection."""

    def accept(self, host: str) -> PeerLink | None:
        """A link for a connection that somebody made to this node; ``None`` if it is to be closed at once."""

    def dial_failed(self, node: bytes | None, reason: Any) -> None:
        """The network could not connect."""


class Dialled(Factory):
    """Builds the link of one dial; told by the network when the connection fails.

    :param target: the node that is dialled, where its name is known.
    """

    noisy = False

    def __init__(self, links: Building, target: bytes | None) -> None:
        self._links = links
        self._target = target

    def buildProtocol(self, addr: Any) -> PeerLink | None:
        """The connection is made."""
        return self._links.build(self._target)

    def clientConnectionFailed(self, connector: Any, reason: Any) -> None:
        """Nobody answered."""
        self._links.dial_failed(self._target, reason)

    def startedConnecting(self, connector: Any) -> None:
        """Twisted asks for it; there is nothing to do."""

    def clientConnectionLost(self, connector: Any, reason: Any) -> None:
        """Likewise; the link hears of that itself."""


class Accepted(Factory):
    """Builds links for those who dial this node, as far as there is room."""

    noisy = False

    def __init__(self, links: Building) -> None:
        self._links = links

    def buildProtocol(self, addr: Any) -> PeerLink | None:
        """Somebody has connected."""
        return self._links.accept(getattr(addr, "host", ""))
