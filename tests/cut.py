"""A proxy in front of a node that carries requests to it, and loses the answers to some."""

from __future__ import annotations

from twisted.internet import reactor
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.protocol import Factory, Protocol

LINE_END = b" HTTP/1.1"


class _Behind(Protocol):
    """The connection to the node."""

    def __init__(self, before: _Before) -> None:
        self._before = before

    def dataReceived(self, data: bytes) -> None:
        self._before.answered(data)

    def connectionLost(self, reason=None) -> None:
        self._before.transport.loseConnection()


class _Before(Protocol):
    """A client's connection."""

    def __init__(self, cut: Cut) -> None:
        self._cut = cut
        self._behind: _Behind | None = None
        self._waiting = b""
        self._is_cut = False

    def connectionMade(self) -> None:
        connecting = connectProtocol(TCP4ClientEndpoint(reactor, "127.0.0.1", self._cut.node_port), _Behind(self))
        connecting.addCallbacks(self._connected, lambda _: self.transport.loseConnection())

    def _connected(self, behind: _Behind) -> None:
        self._behind = behind
        behind.transport.write(self._waiting)

    def dataReceived(self, data: bytes) -> None:
        line = data.split(b"\r\n", 1)[0]
        if line.endswith(LINE_END):
            self._is_cut = self._cut.takes(line.removesuffix(LINE_END).decode())
        if self._behind is None:
            self._waiting += data
        else:
            self._behind.transport.write(data)

    def answered(self, data: bytes) -> None:
        if self._is_cut:
            self.transport.abortConnection()
        else:
            self.transport.write(data)

    def connectionLost(self, reason=None) -> None:
        if self._behind is not None:
            self._behind.transport.loseConnection()


class Cut:
    """See the module; runs in the reactor of the tests.

    :param losing: what begins the requests whose answers are lost, such as ``PUT`` or ``POST /jobs/lock``.
    :ivar taken: methods and paths of all requests that came.
    :ivar lost: of those whose answers were lost.
    :ivar left: how many more answers are to be lost.
    """

    def __init__(self, node_port: int, *losing: str, left: int = 1) -> None:
        self.node_port = node_port
        self.taken: list[str] = []
        self.lost: list[str] = []
        self.left = left
        self._losing = losing
        self._listens = reactor.listenTCP(0, Factory.forProtocol(lambda: _Before(self)), interface="127.0.0.1")
        self.url = f"http://127.0.0.1:{self._listens.getHost().port}"

    def takes(self, line: str) -> bool:
        """A request comes; answers whether it is one whose answer is lost."""
        self.taken.append(line)
        if not self.left or not line.startswith(self._losing):
            return False
        self.left -= 1
        self.lost.append(line)
        return True

    def close(self):
        """Take no more connections."""
        return self._listens.stopListening()
