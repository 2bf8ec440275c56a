"""A node that ends with the process that started it, and that can be cut off from others: ``twistd dynakv-local``.

Its standard input is a pipe that only the starter holds the other end of. When that process ends, however it does, the
pipe ends, and so does the node: at once, as by ``kill -9``, which it survives by promise. A line that comes by the pipe
names the ports on this machine that nothing from here is to reach; an empty one, that all are reached again. No root is
needed, and it is the same for UDP and TCP. Both sides of a partition are told, so nothing passes between them. Open
links are broken off, which a real partition would not tell.
"""

from __future__ import annotations

import os
import signal
import threading
from typing import Any
from weakref import WeakSet

from twisted.application.service import IService
from twisted.internet.error import TCPTimedOutError
from twisted.python.failure import Failure

from dynatwist import tap
from dynatwist.network import DIAL_TIMEOUT_S, RealNetwork
from dynatwist.runtime import Datagrams

Options = tap.Options
STDIN = 0
PIPE_BYTES = 4096
"""Read at once; a line takes a few dozen."""


class LeashedNetwork(RealNetwork):
    """See the module."""

    def __init__(self, reactor: Any, interface: str) -> None:
        super().__init__(reactor, interface)
        self._cut: frozenset[int] = frozenset()
        self._links: dict[int, WeakSet[Any]] = {}
        threading.Thread(target=self._obey, name="leash", daemon=True).start()

    def connect(self, host: str, port: int, factory: Any) -> Any:
        """See `dynatwist.runtime.Network`; nobody answers behind a cut."""
        if port in self._cut:
            self._reactor.callLater(DIAL_TIMEOUT_S, factory.clientConnectionFailed, None, Failure(TCPTimedOutError()))
        else:
            super().connect(host, port, _Noting(factory, self._links.setdefault(port, WeakSet())))

    def datagrams(self, port: int, protocol: Any) -> Datagrams:
        """See `dynatwist.runtime.Network`."""
        return _CutDatagrams(super().datagrams(port, protocol), self)

    def is_cut(self, port: int) -> bool:
        """Whether nothing from here reaches a port."""
        return port in self._cut

    def cut_off(self, ports: frozenset[int]) -> None:
        """Reach all ports but these from now on."""
        self._cut = ports
        for port in ports:
            for link in list(self._links.get(port, ())):
                link.abort()

    def _obey(self) -> None:
        """What the thread does. It reads from the descriptor: a stream's lock, held here, would break Python's exit."""
        text = b""
        while piece := os.read(STDIN, PIPE_BYTES):
            *lines, text = (text + piece).split(b"\n")
            for line in lines:
                self._reactor.callFromThread(self.cut_off, frozenset(int(port) for port in line.split()))
        os.kill(os.getpid(), signal.SIGKILL)


class _Noting:
    """A factory of links that remembers those it made."""

    def __init__(self, factory: Any, links: WeakSet[Any]) -> None:
        self._factory, self._links = factory, links

    def buildProtocol(self, addr: Any) -> Any:
        link = self._factory.buildProtocol(addr)
        if link is not None:
            self._links.add(link)
        return link

    def clientConnectionFailed(self, connector: Any, reason: Failure) -> None:
        self._factory.clientConnectionFailed(connector, reason)


class _CutDatagrams:
    """A UDP port that sends nothing to where the network is cut."""

    def __init__(self, port: Datagrams, network: LeashedNetwork) -> None:
        self._port, self._network = port, network

    def write(self, data: bytes, address: tuple[str, int]) -> None:
        if not self._network.is_cut(address[1]):
            self._port.write(data, address)

    def stopListening(self) -> Any:
        return self._port.stopListening()


def makeService(options: tap.Options) -> IService:
    """The service of one node on a leash."""
    return tap.makeService(options, LeashedNetwork)
