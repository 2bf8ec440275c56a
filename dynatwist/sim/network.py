"""A network with delay, loss, duplication and partitions. Streams keep their order and hold back what a partition
stops, as TCP does; packets do neither."""

from __future__ import annotations

from collections import deque
from typing import Any

from twisted.internet.error import ConnectionDone, ConnectionLost, TCPTimedOutError
from twisted.python.failure import Failure

from .world import Process, World

RETRY_S = 0.2
GIVE_UP_S = 20.0
DIAL_S = 3.0


class SimNetwork:
    """All hosts and what is between them.

    :ivar loss: share of packets that are lost.
    """

    def __init__(self, world: World) -> None:
        self.world = world
        self.loss = 0.0
        self.duplication = 0.0
        self._cut: set[tuple[str, str]] = set()
        self.hosts: dict[str, SimHost] = {}

    def delay_s(self) -> float:
        """How long something is under way."""
        random = self.world.random
        return random.uniform(0.0002, 0.002) if random.random() < 0.95 else random.uniform(0.002, 0.05)

    def is_cut(self, source: str, target: str) -> bool:
        """Whether nothing gets from one host to another now."""
        return (source, target) in self._cut

    def cut(self, ones: list[str], others: list[str], one_way: bool = False) -> None:
        """Separate some hosts from others."""
        for one in ones:
            for other in others:
                self._cut.add((one, other))
                if not one_way:
                    self._cut.add((other, one))

    def heal(self) -> None:
        """Everybody reaches everybody."""
        self._cut.clear()

    def host(self, name: str, process: Process) -> SimHost:
        """A host's sockets, for a new process on it."""
        self.hosts[name] = host = SimHost(self, name, process)
        return host


class _Port:
    def __init__(self, close: Any) -> None:
        self._close = close

    def stopListening(self) -> None:
        self._close()


class _Datagrams:
    def __init__(self, host: SimHost, port: int) -> None:
        self._host = host
        self._port = port

    def write(self, data: bytes, address: tuple[str, int]) -> None:
        self._host.send_packet(data, self._port, address)

    def stopListening(self) -> None:
        self._host.packet_ports.pop(self._port, None)


class SimHost:
    """A `Network` for one process."""

    def __init__(self, network: SimNetwork, name: str, process: Process) -> None:
        self._network = network
        self.name = name
        self.process = process
        self.stream_ports: dict[int, Any] = {}
        self.packet_ports: dict[int, Any] = {}
        self.streams: set[SimStream] = set()

    def listen(self, port: int, factory: Any) -> Any:
        """See `dynatwist.runtime.Network`."""
        self.stream_ports[port] = factory
        return _Port(lambda: self.stream_ports.pop(port, None))

    def connect(self, host: str, port: int, factory: Any) -> Any:
        """See `dynatwist.runtime.Network`."""
        network, world = self._network, self._network.world

        def fail() -> None:
            factory.clientConnectionFailed(None, Failure(TCPTimedOutError()))

        def attempt() -> None:
            target = network.hosts.get(host)
            if network.is_cut(self.name, host) or network.is_cut(host, self.name):
                world.later(DIAL_S, fail, self.process)
            elif target is None or not target.process.alive or port not in target.stream_ports:
                world.later(network.delay_s(), fail, self.process)
            else:
                mine, theirs = SimStream(network, self), SimStream(network, target)
                mine.other, theirs.other = theirs, mine
                mine.start(factory)
                theirs.start(target.stream_ports[port])

        world.later(network.delay_s(), attempt, self.process)

    def datagrams(self, port: int, protocol: Any) -> Any:
        """See `dynatwist.runtime.Network`."""
        self.packet_ports[port] = protocol
        return _Datagrams(self, port)

    def send_packet(self, data: bytes, source_port: int, address: tuple[str, int]) -> None:
        """Send one packet; it arrives once, twice or never."""
        network, world = self._network, self._network.world
        if network.is_cut(self.name, address[0]) or world.random.random() < network.loss:
            return
        copies = 2 if world.random.random() < network.duplication else 1
        for _ in range(copies):

            def arrive() -> None:
                target = network.hosts.get(address[0])
                if target is not None and address[1] in target.packet_ports:
                    protocol = target.packet_ports[address[1]]
                    target.process.run(lambda: protocol.datagramReceived(data, (self.name, source_port)))

            world.later(network.delay_s(), arrive)

    def reset_all(self) -> None:
        """The process died: its peers hear of it, if the network lets them."""
        for stream in sorted(self.streams, key=lambda stream: stream.number):
            stream.abortConnection()


class SimStream:
    """One end of a connection: the transport of the protocol on this end."""

    _numbers = 0

    def __init__(self, network: SimNetwork, host: SimHost) -> None:
        SimStream._numbers += 1
        self.number = SimStream._numbers
        self._network = network
        self._host = host
        self.other: SimStream | None = None
        self._protocol: Any = None
        self._queue: deque[bytes | None] = deque()
        self._moving = False
        self._open = True
        self._stuck_since_s: float | None = None
        host.streams.add(self)

    def start(self, factory: Any) -> None:
        """Build the protocol on this end."""

        def begin() -> None:
            self._protocol = factory.buildProtocol(None)
            self._protocol.makeConnection(self)

        self._network.world.later(self._network.delay_s(), begin, self._host.process)

    # Transport

    def write(self, data: bytes) -> None:
        """Send."""
        if self._open:
            self._queue.append(data)
            self._move()

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """The simulated network has no limit to what it buffers."""

    def loseConnection(self) -> None:
        """Close after what was written."""
        if self._open:
            self._queue.append(None)
            self._move()

    def abortConnection(self) -> None:
        """Close now."""
        if self._open:
            self._queue.clear()
            self._queue.append(None)
            self._closed(ConnectionLost())
            self._move()

    def _move(self) -> None:
        """Carry the queue to the other end, in order."""
        if self._moving or not self._queue:
            return
        self._moving = True
        self._network.world.later(self._network.delay_s(), self._carry)

    def _carry(self) -> None:
        world = self._network.world
        self._moving = False
        assert self.other is not None
        if not self._queue:
            return
        if self._network.is_cut(self._host.name, self.other._host.name):
            self._stuck_since_s = self._stuck_since_s if self._stuck_since_s is not None else world.now_s
            if world.now_s - self._stuck_since_s > GIVE_UP_S:
                self._closed(ConnectionLost())
                self.other._closed(ConnectionLost())
                return
            self._moving = True
            world.later(RETRY_S, self._carry)
            return
        self._stuck_since_s = None
        item = self._queue.popleft()
        if item is None:
            self._closed(ConnectionDone())
            self.other._closed(ConnectionDone())
            return
        self.other._receive(item)
        self._move()

    def _receive(self, data: bytes) -> None:
        def deliver() -> None:
            if self._open:
                if self._protocol is None:  # the other end was quicker
                    self._network.world.later(0.001, deliver, self._host.process)
                else:
                    self._protocol.dataReceived(data)

        self._host.process.run(deliver)

    def _closed(self, why: Exception) -> None:
        if not self._open:
            return
        self._open = False
        self._host.streams.discard(self)

        def tell() -> None:
            if self._protocol is not None:
                self._protocol.connectionLost(Failure(why))

        self._network.world.later(0.0, tell, self._host.process)
