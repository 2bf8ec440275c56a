"""Connections of the simulated network: in order, cut anywhere, and held back by what stops packets, as TCP does.

What cannot be carried is tried again after a growing pause (RFC 6298), so a connection that lived through a long
partition needs about as long again to come back, unless somebody gives it up and dials anew.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.python.failure import Failure

if TYPE_CHECKING:
    from .network import SimHost, SimNetwork

FIRST_RETRY_S = 0.2
MAX_RETRY_S = 120.0
GIVE_UP_S = 900.0
BUFFER_BYTES = 64 << 10
"""What Twisted's transports take before they ask the producer to pause."""


class SimStream:
    """One end of a connection: the transport of the protocol on this end.

    :ivar other: the other end.
    :ivar stuck_until_s: nothing leaves this end before; nobody is told.
    """

    def __init__(self, network: SimNetwork, host: SimHost) -> None:
        network.streams += 1
        self.number = network.streams
        self._network = network
        self._host = host
        self.other: SimStream | None = None
        self.stuck_until_s = 0.0
        self._protocol: Any = None
        self._early: list[bytes] = []
        self._queue: deque[bytes | None] = deque()
        self._moving = False
        self._open = True
        self._vanished = False
        self._retry_s = FIRST_RETRY_S
        self._waited_s = 0.0
        self._producer: Any = None
        self._queued_bytes = 0
        self._is_producer_paused = False
        host.streams[self.number] = self

    def start(self, factory: Any) -> None:
        """Build the protocol on this end."""

        def begin() -> None:
            self._protocol = factory.buildProtocol(None)
            if self._protocol is None:  # not wanted
                self.abortConnection()
                return
            self._protocol.makeConnection(self)
            early, self._early = self._early, []
            for data in early:
                self._deliver(data)
            if not self._open:
                self._protocol.connectionLost(Failure(ConnectionLost()))

        self._network.world.later(self._delay_s(), begin, self._host.process)

    def _delay_s(self) -> float:
        assert self.other is not None
        return self._network.delay_s(self._host.name, self.other._host.name)

    # Transport

    def write(self, data: bytes) -> None:
        """Send."""
        if self._open and self._host.process.alive:
            self._queue.append(data)
            self._queued_bytes += len(data)
            if self._queued_bytes > BUFFER_BYTES and self._producer is not None:
                self._is_producer_paused = True
                self._producer.pauseProducing()
            self._move()

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """Pause a producer when much is to be sent, and resume it when all is."""
        self._producer = producer

    def _sent(self, data: bytes) -> None:
        self._queued_bytes -= len(data)
        if self._is_producer_paused and not self._queued_bytes:
            self._is_producer_paused = False
            self._host.process.run(self._producer.resumeProducing)

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

    def vanish(self) -> None:
        """This end's machine is gone, without a word."""
        self._open, self._vanished = False, True
        self._queue.clear()
        self._host.streams.pop(self.number, None)

    # On the way

    def _move(self) -> None:
        """Carry the queue to the other end, in order."""
        if self._moving or not self._queue:
            return
        self._moving = True
        size_bytes = len(self._queue[0] or b"")
        self._network.world.later(self._delay_s() + size_bytes / self._network.bytes_per_s, self._carry)

    def _carry(self) -> None:
        world = self._network.world
        self._moving = False
        assert self.other is not None
        if not self._queue:
            return
        if self._is_held_up():
            if self._waited_s > GIVE_UP_S:
                self._closed(ConnectionLost())
                return
            self._moving = True
            self._waited_s += self._retry_s
            world.later(self._retry_s, self._carry)
            self._retry_s = min(MAX_RETRY_S, 2 * self._retry_s)
            return
        self._retry_s, self._waited_s = FIRST_RETRY_S, 0.0
        item = self._queue.popleft()
        if self.other._vanished:
            self._closed(ConnectionLost())  # the machine is back, and knows nothing of this connection
        elif item is None:
            self._closed(ConnectionDone())
            self.other._closed(ConnectionDone())
        else:
            self._sent(item)
            self._hand_over(item)
            self._move()

    def _is_held_up(self) -> bool:
        assert self.other is not None
        here, there = self._host.name, self.other._host.name
        if self._network.is_cut(here, there) or self._network.world.now_s < self.stuck_until_s:
            return True
        target = self._network.hosts[there]
        return self.other._vanished and not target.process.alive

    def _hand_over(self, data: bytes) -> None:
        """In one piece, or cut anywhere."""
        assert self.other is not None
        random = self._network.world.random
        if len(data) > 1 and random.random() < 0.05:
            at = random.randrange(1, len(data))
            self.other._receive(data[:at])
            data = data[at:]
        self.other._receive(data)

    def _receive(self, data: bytes) -> None:
        self._host.process.run(self._deliver, data)

    def _deliver(self, data: bytes) -> None:
        if not self._open:
            return
        if self._protocol is None:
            self._early.append(data)  # the other end was quicker
        else:
            self._protocol.dataReceived(data)

    def _closed(self, why: Exception) -> None:
        if not self._open:
            return
        self._open = False
        self._host.streams.pop(self.number, None)

        def tell() -> None:
            if self._protocol is not None:
                self._protocol.connectionLost(Failure(why))

        self._network.world.later(0.0, tell, self._host.process)
