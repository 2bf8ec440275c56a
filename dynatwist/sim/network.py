"""A network with delay, loss, duplication, garbling, slow and cut ways. Streams are in `dynatwist.sim.stream`."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from twisted.internet.error import TCPTimedOutError
from twisted.python.failure import Failure

from dynatwist.storage.keyring import ClusterKeys

from .stream import SimStream
from .world import Process, World

DIAL_S = 3.0
CAPTURED = 64


@dataclass(slots=True)
class Weather:
    """How the network treats packets, and a little of it streams.

    :ivar loss: share of packets lost.
    :ivar duplication: share of packets that arrive twice.
    :ivar delays: share of packets and stream pieces that take up to 50 ms rather than 2, so packets overtake others.
    :ivar garbling: share of packets after which another one arrives: a bit flipped, cut short, or an old one again.
    """

    loss: float = 0.0
    duplication: float = 0.0
    delays: float = 0.05
    garbling: float = 0.0


class SimNetwork:
    """All hosts and what is between them.

    :param bytes_per_s: that a connection carries, each way.
    """

    def __init__(self, world: World, bytes_per_s: float = float("inf")) -> None:
        self.world = world
        self.weather = Weather()
        self.hosts: dict[str, SimHost] = {}
        self.streams = 0
        self.bytes_per_s = bytes_per_s
        self._cut: set[tuple[str, str]] = set()
        self._slow_s: dict[tuple[str, str], float] = {}
        self._captured: deque[bytes] = deque(maxlen=CAPTURED)

    def delay_s(self, source: str, target: str) -> float:
        """How long something is under way."""
        random = self.world.random
        fast = random.random() >= self.weather.delays
        delay_s = random.uniform(0.0002, 0.002) if fast else random.uniform(0.002, 0.05)
        return delay_s + self._slow_s.get((source, target), 0.0) if self._slow_s else delay_s

    def is_cut(self, source: str, target: str) -> bool:
        """Whether nothing gets from one host to another now."""
        return (source, target) in self._cut

    def cut(self, ones: Iterable[str], others: Iterable[str], one_way: bool = False) -> None:
        """Separate some hosts from others."""
        others = list(others)
        for one in ones:
            for other in others:
                self._cut.add((one, other))
                if not one_way:
                    self._cut.add((other, one))

    def mend(self, host: str) -> None:
        """A host reaches everybody again, and is reached."""
        self._cut = {way for way in self._cut if host not in way}

    def slow(self, source: str, target: str, extra_s: float) -> None:
        """Everything on this way takes longer."""
        self._slow_s[source, target] = extra_s

    def heal(self) -> None:
        """Everybody reaches everybody, fast."""
        self._cut.clear()
        self._slow_s.clear()
        for host in self.hosts.values():
            for stream in host.streams.values():
                stream.stuck_until_s = 0.0

    def host(self, name: str, process: Process) -> SimHost:
        """A host's sockets, for a new process on it."""
        self.hosts[name] = host = SimHost(self, name, process)
        return host

    def garbled(self, packet: bytes) -> bytes | None:
        """A packet that nobody sent, made from those that somebody did; mostly ``None``."""
        random = self.world.random
        if not self.weather.garbling:
            return None
        self._captured.append(packet)
        if random.random() >= self.weather.garbling:
            return None
        data = bytearray(random.choice(self._captured))
        match random.randrange(3):
            case 0:
                data[random.randrange(len(data))] ^= 1 << random.randrange(8)
            case 1:
                del data[random.randrange(len(data)) :]
            case _:
                pass  # a replay
        return bytes(data)


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
    """A `Network` for one process.

    :ivar streams: its open connections, in the order of their making.
    """

    def __init__(self, network: SimNetwork, name: str, process: Process) -> None:
        self._network = network
        self.name = name
        self.process = process
        self.stream_ports: dict[int, Any] = {}
        self.packet_ports: dict[int, Any] = {}
        self.streams: dict[int, SimStream] = {}
        self._keys: Callable[[], ClusterKeys] | None = None

    def show(self, keys: Callable[[], ClusterKeys]) -> None:
        """Whoever has no certificate by one of these secrets is not let in from now on, as TLS would have it."""
        self._keys = keys

    def takes(self, port: int, other: SimHost) -> bool:
        """Whether another host can connect."""
        is_open = self.process.alive and port in self.stream_ports
        return is_open and self._lets_in(other) and other._lets_in(self)

    def _lets_in(self, other: SimHost) -> bool:
        return self._keys is None or other._keys is None or other._keys().names()[0] in self._keys().names()

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
            elif target is None or not target.takes(port, self):
                world.later(network.delay_s(self.name, host), fail, self.process)
            else:
                mine, theirs = SimStream(network, self), SimStream(network, target)
                mine.other, theirs.other = theirs, mine
                mine.start(factory)
                theirs.start(target.stream_ports[port])

        world.later(network.delay_s(self.name, host), attempt, self.process)

    def datagrams(self, port: int, protocol: Any) -> Any:
        """See `dynatwist.runtime.Network`."""
        self.packet_ports[port] = protocol
        return _Datagrams(self, port)

    def send_packet(self, data: bytes, source_port: int, address: tuple[str, int]) -> None:
        """Send one packet; it arrives once, twice or never, and sometimes with company."""
        network, world = self._network, self._network.world
        weather = network.weather
        if not self.process.alive or network.is_cut(self.name, address[0]) or world.random.random() < weather.loss:
            return
        copies = [data, data] if world.random.random() < weather.duplication else [data]
        garbled = network.garbled(data)
        for packet in (*copies, garbled) if garbled is not None else copies:
            world.later(
                network.delay_s(self.name, address[0]),
                lambda packet=packet: self._arrive(packet, source_port, address),  # type: ignore[misc]
            )

    def _arrive(self, data: bytes, source_port: int, address: tuple[str, int]) -> None:
        target = self._network.hosts.get(address[0])
        if target is not None and address[1] in target.packet_ports:
            protocol = target.packet_ports[address[1]]
            target.process.run(protocol.datagramReceived, data, (self.name, source_port))

    def die(self, power: bool) -> None:
        """The process is dead. Its system closes the connections, after what was written or at once; without power
        nobody hears anything."""
        for stream in list(self.streams.values()):
            if power:
                stream.vanish()
            elif self._network.world.random.random() < 0.5:
                stream.loseConnection()
            else:
                stream.abortConnection()
