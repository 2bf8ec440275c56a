"""Websockets by Autobahn, as a client's world has them."""

from __future__ import annotations

from typing import Any

import msgspec
from autobahn.twisted.websocket import WebSocketClientFactory, WebSocketClientProtocol
from twisted.internet.interfaces import IAddress

from dynatwist.sansio.world import GOODBYE, Ends, Fields

SUBPROTOCOL = "dynakv.v1.json"
OPEN_TIMEOUT_S = 5.0
"""For a node to begin its stream, or the next one is tried."""


class _Socket(WebSocketClientProtocol):
    """One connection."""

    def __init__(self, ends: Ends) -> None:
        super().__init__()
        self._ends = ends

    def send(self, fields: Fields) -> None:
        """See `dynatwist.sansio.world.Socket`."""
        self.sendMessage(msgspec.json.encode(fields))

    def close(self, code: int = GOODBYE) -> None:
        """See `dynatwist.sansio.world.Socket`."""
        self.sendClose(code)

    def onOpen(self) -> None:
        self._ends.opened(self)

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        self._ends.received(msgspec.json.decode(payload))

    def onClose(self, wasClean: bool, code: int, reason: str) -> None:
        self._ends.closed()


class Sockets(WebSocketClientFactory):
    """Makes one connection.

    :param ping_s: see `dynatwist.sansio.world.World.connect`.
    """

    noisy = False

    def __init__(self, url: str, ends: Ends, ping_s: float) -> None:
        super().__init__(url, protocols=[SUBPROTOCOL])
        self._ends = ends
        self.setProtocolOptions(openHandshakeTimeout=OPEN_TIMEOUT_S, autoPingInterval=ping_s, autoPingTimeout=ping_s)

    def buildProtocol(self, addr: IAddress | None) -> Any:
        """The one connection."""
        socket = _Socket(self._ends)
        socket.factory = self
        return socket
