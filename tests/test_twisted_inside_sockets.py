"""The contracts of `dynatwist.twisted_inside.sockets` and `tls`; see `test_twisted_inside`."""

from __future__ import annotations

import socket
from contextlib import suppress

import pytest
from OpenSSL import SSL
from twisted.internet.error import ConnectionDone
from twisted.internet.protocol import DatagramProtocol, Factory, Protocol
from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactor, StringTransport
from twisted.python.failure import Failure

from dynatwist.net.tls import TlsConnections, peer_context
from dynatwist.storage.keyring import ClusterKeys
from dynatwist.twisted_inside import sockets, tls, together

from .real import wait_until


class Kept(Protocol):
    """Notes how it ends."""

    def connectionMade(self):
        self.factory.made.append(self)


@pytest.fixture
def port():
    """A listening port whose turns are the test's own calls of ``doRead``."""
    factory = Factory.forProtocol(Kept)
    factory.made = []
    made = sockets.PatientPort(0, factory, 50, "127.0.0.1", MemoryReactor())
    made.startListening()
    yield made
    for one in factory.made:
        if one.transport.connected:
            one.transport.connectionLost(Failure(ConnectionDone()))
    made.connectionLost(Failure(ConnectionDone()))


@pytest.fixture
def pair(port):
    """A connection: the transport of a protocol, and the client's socket."""
    client = socket.create_connection(("127.0.0.1", port.getHost().port), 5)
    wait_until(lambda: port.doRead() or port.factory.made)
    yield port.factory.made[0].transport, client
    client.close()


class TestSockets:
    def test_few_connections_are_accepted_in_a_turn(self, port):
        clients = [socket.create_connection(("127.0.0.1", port.getHost().port), 5) for _ in range(30)]
        accepted = []
        while len(port.factory.made) < 30:
            before = len(port.factory.made)
            port.doRead()
            accepted.append(len(port.factory.made) - before)
        for client in clients:
            client.close()
        assert max(accepted) == sockets.ACCEPTED_A_TURN, "tcp.Port.numberAccepts does not bound a turn any more"

    def test_connections_are_of_the_port_s_kind(self, pair):
        assert isinstance(pair[0], sockets._LettingGo), "tcp.Port.transport does not make connections any more"

    def test_what_is_written_goes_at_once_and_in_order(self, pair):
        transport, client = pair
        sockets.write_now(transport, b"one")
        assert client.recv(10) == b"one", "a tcp.Connection's socket is no socket any more"
        transport.write(b"two")
        sockets.write_now(transport, b"three")
        transport.doWrite()
        assert client.recv(10) == b"twothree", "a tcp.Connection keeps what waits elsewhere than in its two buffers"

    def test_what_the_kernel_does_not_take_waits_in_order(self, pair):
        transport, client = pair
        sent = bytes(range(256)) * 40_000
        sockets.write_now(transport, sent)
        assert transport.dataBuffer or transport._tempDataBuffer, "a tcp.Connection keeps elsewhere what waits"
        sockets.write_now(transport, b"end")
        got = bytearray()
        while len(got) < len(sent) + 3:
            got += client.recv(1 << 20)
            transport.doWrite()
        assert got == sent + b"end"

    def test_what_was_not_sent_is_let_go(self, pair):
        transport, _ = pair
        transport.write(bytes(16 << 20))
        transport.doWrite()
        transport.connectionLost(Failure(ConnectionDone()))
        kept = [value for value in vars(transport).values() if isinstance(value, bytes | list) and value]
        assert not kept, "a tcp.Connection keeps what it did not send in more places than two"

    def test_few_datagrams_are_read_in_a_turn(self):
        heard = []
        protocol = DatagramProtocol()
        protocol.datagramReceived = lambda data, address: heard.append(data)
        port = sockets.FairPort(0, protocol, "127.0.0.1", 2000, MemoryReactor())
        port.startListening()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            for _ in range(100):
                sender.sendto(b"", ("127.0.0.1", port.getHost().port))
        port.doRead()
        assert len(heard) == sockets.PACKETS_A_TURN, "udp.Port.doRead is not what reads in a turn any more"
        port.connectionLost()


class Secured:
    """A server's end of TLS over a transport in memory, and the client's end, by hand.

    :ivar below: the transport.
    :ivar clock: of the server.
    """

    def __init__(self, make, wanted=True):
        context = peer_context(ClusterKeys((b"k" * 32,), (b"s" * 32,)), b"node")
        self.clock = Clock()
        self.protocol = Protocol()
        factory = Factory.forProtocol(lambda: self.protocol if wanted else None)
        if not wanted:
            factory.buildProtocol = lambda addr: None
        self.factory = make(TlsConnections(context), factory, self.clock)
        self.client = SSL.Connection(context)
        self.client.set_connect_state()
        self.below = StringTransport()
        self.below.connected = True
        self.below.writes = 0
        self.below.doWrite = self._count
        self.tls = self.factory.buildProtocol(None)
        if self.tls is not None:
            self.tls.makeConnection(self.below)

    def _count(self):
        self.below.writes += 1

    def shake_hands(self):
        for _ in range(3):
            with suppress(SSL.WantReadError):
                self.client.do_handshake()
            self.exchange()

    def exchange(self):
        for take, give in (
            (lambda: self.client.bio_read(1 << 16), self.tls.dataReceived),
            (lambda: self.below.value(), self.client.bio_write),
        ):
            try:
                data = take()
            except SSL.WantReadError:
                continue
            if data:
                give(data)
        self.below.clear()


class TestTls:
    @pytest.mark.parametrize("make", [tls.for_clients, tls.for_accepted_links])
    def test_an_unwanted_connection_gets_no_tls(self, make):
        assert Secured(make, wanted=False).tls is None

    def test_a_client_that_never_says_goodbye_is_let_go(self):
        secured = Secured(tls.for_clients)
        secured.shake_hands()
        assert secured.tls._handshakeDone, "TLSMemoryBIOFactory does not use connection creators any more"
        secured.protocol.transport.loseConnection()
        assert not secured.below.disconnecting, "Twisted closes below TLS by itself now: delete our timer"
        secured.clock.advance(tls.CLOSE_S)
        assert secured.below.disconnecting

    def test_what_waits_for_the_handshake_delays_the_end(self):
        secured = Secured(tls.for_clients)
        secured.protocol.transport.write(b"early")
        secured.clock.advance(0)
        assert secured.tls._appSendBuffer == [b"early"], "TLS keeps elsewhere what waits for the handshake"
        secured.protocol.transport.loseConnection()
        secured.clock.advance(tls.CLOSE_S)
        assert not secured.below.disconnecting, "what waits in TLS would be lost"

    def test_a_producer_delays_the_end(self):
        secured = Secured(tls.for_clients)
        secured.shake_hands()
        secured.below.registerProducer(secured.protocol, True)
        secured.below.unregisterProducer()
        secured.protocol.transport.registerProducer(StringTransport(), True)
        assert secured.tls._producer is not None, "TLS keeps its producer elsewhere"
        secured.protocol.transport.loseConnection()
        secured.clock.advance(tls.CLOSE_S)
        assert not secured.below.disconnecting, "what a producer has still to write would be lost"

    def test_what_was_not_sent_is_let_go(self):
        secured = Secured(tls.for_clients)
        secured.protocol.transport.write(bytes(1 << 20))
        secured.clock.advance(0)
        secured.tls.connectionLost(Failure(ConnectionDone()))
        kept = [value for value in vars(secured.tls).values() if isinstance(value, bytes | list) and value]
        assert not kept, "TLS keeps what it did not send in another place"

    def test_links_send_at_once(self):
        secured = Secured(tls.for_accepted_links)
        secured.shake_hands()
        before = secured.below.writes
        secured.protocol.transport.write(b"frame")
        assert secured.below.value(), "TLSMemoryBIOProtocol gathers what is written"
        assert secured.below.writes == before + 1


class TestWrittenTogether:
    """`dynatwist.twisted_inside.together`: what many connections are written in one turn."""

    @pytest.fixture
    def pairs(self, port):
        clients = []
        for count in range(30, 301, 30):  # fewer at once than wait at the port
            clients += [socket.create_connection(("127.0.0.1", port.getHost().port), 5) for _ in range(30)]
            wait_until(lambda count=count: port.doRead() or len(port.factory.made) == count)
        by_address = {made.transport.client: made.transport for made in port.factory.made}
        yield [(by_address[client.getsockname()], client) for client in clients]
        for client in clients:
            client.close()

    def test_each_connection_gets_what_was_written_to_it_in_order(self, pairs):
        with together.written_together():
            for number, (transport, _) in enumerate(pairs):
                sockets.write_now(transport, b"%d " % number)
                sockets.write_now(transport, b"once")
            pairs[0][1].setblocking(False)
            with pytest.raises(BlockingIOError):
                pairs[0][1].recv(10)
        pairs[0][1].setblocking(True)
        assert [client.recv(20) for _, client in pairs] == [b"%d once" % number for number in range(300)]

    def test_what_is_written_since_in_twisted_s_way_comes_behind(self, pairs):
        transport, client = pairs[7]
        with together.written_together():
            for one, _ in pairs:
                sockets.write_now(one, b"first ")
            transport.write(b"second ")
            sockets.write_now(transport, b"third")
        transport.doWrite()
        assert client.recv(20) == b"first second third"

    def test_what_the_kernel_does_not_take_waits_in_front(self, pairs):
        transport, client = pairs[200]
        large = bytes(range(256)) * 40_000
        with together.written_together():
            for one, _ in pairs[:200]:
                sockets.write_now(one, b"short")
            sockets.write_now(transport, large)
            transport.write(b"end")
        got = bytearray()
        while not got.endswith(b"end"):
            got += client.recv(1 << 20)
            transport.doWrite()
        assert got == large + b"end"
        assert {client.recv(10) for _, client in pairs[:200]} == {b"short"}

    def test_a_connection_that_is_given_up_meanwhile_gets_nothing_and_harms_nobody(self, pairs):
        lost, left = pairs[3][0], pairs[4][0]
        with together.written_together():
            for one, _ in pairs:
                sockets.write_now(one, b"all")
            lost.connectionLost(Failure(ConnectionDone()))
            left.loseConnection()
        assert [client.recv(10) for _, client in (*pairs[:3], *pairs[4:])] == [b"all"] * 299
        assert pairs[3][1].recv(10) == b""

    def test_an_exception_keeps_nothing_back(self, pairs):
        with suppress(ZeroDivisionError), together.written_together():
            sockets.write_now(pairs[0][0], b"before")
            raise ZeroDivisionError
        assert pairs[0][1].recv(10) == b"before"
        sockets.write_now(pairs[0][0], b"after")
        assert pairs[0][1].recv(10) == b"after"
