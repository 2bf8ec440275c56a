"""What `dynatwist.twisted_inside` relies on, asked of the versions that are installed.

Each contract fails with a sentence that says what changed. Then mend the module that it names, run these tests and
those of the doors, and raise the bound in ``pyproject.toml``.
"""

from __future__ import annotations

import ast
import re
import socket
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest
from autobahn.twisted.websocket import WebSocketServerFactory, WebSocketServerProtocol
from OpenSSL import SSL
from twisted.internet import tcp, udp
from twisted.internet.abstract import FileDescriptor
from twisted.internet.epollreactor import EPollReactor
from twisted.internet.error import ConnectError, ConnectionDone, ConnectionRefusedError, DNSLookupError
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactor, StringTransport
from twisted.protocols.tls import TLSMemoryBIOFactory, TLSMemoryBIOProtocol
from twisted.web._newclient import HTTP11ClientProtocol, Request
from twisted.web.http import HTTPChannel
from twisted.web.http_headers import Headers

from dynatwist.net.tls import TlsConnections
from dynatwist.twisted_inside.client import was_not_sent
from dynatwist.twisted_inside.http import OpenRequest
from dynatwist.twisted_inside.reactor import at_each_turn, hand_on_plainly, time_by

ROOT = Path(__file__).parent.parent
ROOM = ROOT / "dynatwist" / "twisted_inside"
LIBRARIES = {"twisted": "Twisted", "klein": "klein", "autobahn": "autobahn"}


# The names


def a_channel() -> HTTPChannel:
    channel = HTTPChannel()
    channel.timeOut = None
    channel.makeConnection(StringTransport())
    return channel


def a_channel_in_a_body() -> HTTPChannel:
    channel = a_channel()
    channel.dataReceived(b"PUT / HTTP/1.1\r\nContent-Length: 5\r\n\r\n")
    return channel


def a_tls() -> TLSMemoryBIOProtocol:
    creator = TlsConnections(SSL.Context(SSL.TLS_METHOD))
    made = TLSMemoryBIOFactory(creator, True, Factory.forProtocol(Protocol), Clock()).buildProtocol(None)
    made.makeConnection(StringTransport())
    return made


def a_socket() -> WebSocketServerProtocol:
    factory = WebSocketServerFactory()
    factory.setProtocolOptions(openHandshakeTimeout=0)  # its timer would stay on the reactor, for tests that come later
    factory.protocol = WebSocketServerProtocol
    made = factory.buildProtocol(None)
    made.makeConnection(StringTransport())
    made.onMessageBegin(False)
    return made


def an_epoll() -> EPollReactor:
    made = EPollReactor()
    made.removeAll()
    return made


NAMES = {
    "http.py": [
        (a_channel, "_networkProducer", "stop and go on reading"),
        (a_channel, "_waitingForTransport", "see that a client does not read its answers"),
        (a_channel, "_handlingRequest", "see that a request is being answered"),
        (a_channel, "_transferDecoder", "see that a body is being read"),
        (a_channel, "_buffer", "see that the parser holds some of a line"),
        (a_channel, "_busyReceiving", "see that the parser is at work"),
        (a_channel, "line_mode", "see that the parser reads lines"),
        (a_channel, "_HTTPChannel__first_line", "see that the parser waits for a request line"),
        (a_channel, "persistent", "see that another request may come"),
        (a_channel, "requests", "find the request that is being read"),
        (a_channel, "_dataBuffer", "take what arrived behind a request"),
        (a_channel, "_receivedHeaderSize", "see that a head is too large"),
        (a_channel, "_receivedHeaderCount", "see that a head has too many lines"),
        (a_channel, "totalHeadersSize", "bound the size of heads"),
        (a_channel, "MAX_LENGTH", "bound the length of lines"),
        (a_channel, "maxHeaders", "see that a head has too many lines"),
        (a_channel, "length", "see whether a request has a body"),
        (a_channel, "allHeadersReceived", "hear that a head is complete"),
        (a_channel, "allContentReceived", "hear that a request is complete"),
        (a_channel_in_a_body, "_path", "know the path before the body is read"),
        (a_channel, "requestDone", "hear that a request was answered"),
        (a_channel, "_respondToBadRequestAndDisconnect", "answer what is malformed"),
        (a_channel, "_send100Continue", "decide whether a body is invited"),
        (lambda: OpenRequest, "chunked", "know how an answer is framed"),
        (lambda: OpenRequest, "startedWriting", "see that an answer is begun"),
        (lambda: OpenRequest, "content", "keep a body in memory"),
        (lambda: OpenRequest, "gotLength", "hear that a body comes"),
        (lambda: OpenRequest, "getRequestHostname", "have Klein route under one name"),
    ],
    "sockets.py": [
        (lambda: tcp.Connection, "TLS", "leave TLS its own way of writing"),
        (lambda: tcp.Connection, "dataBuffer", "see that nothing waits to be sent"),
        (lambda: FileDescriptor(MemoryReactor()), "_tempDataBuffer", "see that nothing waits to be sent"),
        (lambda: FileDescriptor(MemoryReactor()), "_tempDataLen", "let go of what was not sent"),
        (lambda: tcp.Connection(socket.socket(), Protocol(), MemoryReactor()), "socket", "write to the kernel at once"),
        (lambda: tcp.Connection, "doWrite", "send at once what TLS has made"),
        (lambda: tcp.Port, "transport", "have connections of its own kind"),
        (lambda: udp.Port, "doRead", "bound the datagrams of a turn"),
        (lambda: udp.Port(0, None), "maxPacketSize", "read one datagram"),
    ],
    "tls.py": [
        (a_tls, "_producer", "see that more is to be written"),
        (a_tls, "_appSendBuffer", "see that something waits for the handshake"),
    ],
    "websocket.py": [
        (lambda: WebSocketServerProtocol, "STATE_OPEN", "see that messages may be sent"),
        (a_socket, "state", "see that messages may be sent"),
        (a_socket, "failedByMe", "see that a socket has failed"),
        (a_socket, "message_data_total_length", "bound a message before it comes"),
        (a_socket, "send_queue", "overtake nothing"),
        (lambda: WebSocketServerProtocol, "_max_message_size_exceeded", "refuse a message that is too long"),
        (lambda: WebSocketServerProtocol, "_closeConnection", "hear that a socket is being closed"),
        (lambda: WebSocketServerProtocol, "failHandshake", "answer a handshake that is refused"),
        (lambda: WebSocketServerProtocol, "sendCloseFrame", "close with any code"),
        (lambda: WebSocketServerProtocol, "sendData", "write past the frames"),
        (lambda: WebSocketServerProtocol, "dropConnection", "end a handshake"),
        (lambda: WebSocketServerFactory, "setProtocolOptions", "bound what a client sends"),
    ],
    "reactor.py": [
        (EPollReactor, "seconds", "time by a clock that never jumps"),
        (EPollReactor, "runUntilCurrent", "measure turns"),
        (EPollReactor, "doIteration", "hand events on plainly"),
        (an_epoll, "_poller", "wait for events"),
        (an_epoll, "_selectables", "find whose an event is"),
        (EPollReactor, "_doReadOrWrite", "hand an event on"),
    ],
}  # fmt: skip


@pytest.mark.parametrize(
    ("module", "owner", "name", "purpose"),
    [(module, *one) for module, names in NAMES.items() for one in names],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_the_name_is_there(module, owner, name, purpose):
    found = owner()
    where = (found if isinstance(found, type) else type(found)).__module__.split(".")[0]
    label = LIBRARIES.get(where, "Twisted")
    assert hasattr(found, name), (
        f"{label} {version(label)} has no {name} any more; twisted_inside/{module} needs it to {purpose}"
    )


PYTHONS = {"_exit", "_replace", "_asdict", "_fields"}
"""Names of Python's own library that it documents."""
OURS = [path for path in sorted((ROOT / "dynatwist").rglob("*.py")) if ROOM not in path.parents]


DOCUMENTED = {"content", "gotLength", "transport", "seconds"}
"""Public names: what is relied on is how the library uses them."""


def defined(tree: ast.AST) -> set[str]:
    """Names that some code of ours defines: attributes, functions, classes, variables."""
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute | ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.attr if isinstance(node, ast.Attribute) else node.id)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.add(node.name)
    return found


OF_BACKENDS = {"_get_new_session_key", "_get_session", "_session_key"}
"""What Django hands to those who write a backend for its sessions, and what its own backends use."""


def test_no_other_package_uses_a_private_name_of_a_library():
    """A name that is opened here may be ours too, in a module that defines it; any other must be ours somewhere."""
    trees = {path: ast.parse(path.read_text()) for path in OURS}
    opened = {name for names in NAMES.values() for _, name, _ in names}
    ours = set().union(*map(defined, trees.values()), PYTHONS, OF_BACKENDS) - opened
    for path, tree in trees.items():
        here = ours | defined(tree)
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in LIBRARIES:
                words = [*f"{node.module}".split("."), *(one.name for one in node.names)]
                private = [word for word in words if word.startswith("_")]
                assert not private, f"{path} imports {private}; put what needs it into twisted_inside/"
            elif isinstance(node, ast.Attribute) and re.match(r"_(?!_)", node.attr):
                assert node.attr in here, f"{path} uses {node.attr}, which is not ours; put it into twisted_inside/"


def test_the_web_uses_no_undocumented_name_of_a_library():
    undocumented = {name for names in NAMES.values() for _, name, _ in names} - DOCUMENTED
    for path in sorted((ROOT / "dynatwist" / "web").glob("*.py")):
        used = {node.attr for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Attribute)}
        assert not used & undocumented, f"{path} uses {used & undocumented}; put what needs it into twisted_inside/"


def test_what_was_tested_bounds_what_is_installed():
    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    for name, label in LIBRARIES.items():
        (line,) = [one for one in wanted if re.match(rf"{name}\b", one)]
        bound = re.search(r",<([\d.]+)", line)
        assert bound, f"{line}: no upper bound, and the contracts hold for the versions that they were run against"
        installed = [int(part) for part in version(label).split(".")[:2]]
        assert installed < [int(part) for part in bound[1].split(".")], f"{label} {version(label)} is beyond {line}"


# Reactor and client


class TestReactor:
    @pytest.fixture
    def reactor(self):
        made = EPollReactor()
        yield made
        made.removeAll()

    def test_timers_go_by_another_clock(self, reactor):
        now_s, called = [100.0], []
        time_by(reactor, lambda: now_s[0])
        reactor.callLater(5, called.append, True)
        reactor.iterate()
        assert not called, "ReactorBase.callLater does not go by its seconds any more"
        now_s[0] += 5
        reactor.iterate()
        assert called, "ReactorBase.runUntilCurrent does not go by its seconds any more"

    def test_each_turn_is_heard_of_until_that_ends(self, reactor):
        heard = []
        end = at_each_turn(reactor, lambda: heard.append("turn"))
        reactor.callLater(0, heard.append, "timer")
        reactor.iterate()
        assert heard == ["turn", "timer"], "a turn does not begin with ReactorBase.runUntilCurrent any more"
        end()
        reactor.iterate()
        assert heard == ["turn", "timer"]

    def test_events_are_handed_on_plainly_and_whoever_fails_stops_nobody(self, reactor):
        hand_on_plainly(reactor)
        pairs, heard = [socket.socketpair() for _ in range(3)], []

        class Heard:
            def __init__(self, number):
                self.number = number

            def logPrefix(self):
                raise AssertionError("a context for lines of the old log is made, which takes longer than the rest")

            def fileno(self):
                return pairs[self.number][0].fileno()

            def doRead(self):
                heard.append(pairs[self.number][0].recv(1))
                return ConnectionDone() if self.number == 1 else None

            def connectionLost(self, reason):
                heard.append("ends")
                raise ValueError

        for number in range(3):
            reactor.addReader(Heard(number))
            pairs[number][1].send(b"x")
        reactor.iterate()
        assert sorted(map(str, heard)) == ["b'x'", "b'x'", "b'x'", "ends"], "EPollReactor hands events on otherwise"
        for _, theirs in pairs:
            theirs.send(b"x")
        reactor.iterate()
        assert heard[4:] == [b"x", b"x"], "what fails when it ends keeps the others from their events"
        reactor.removeAll()
        for one in (one for pair in pairs for one in pair):
            one.close()

    def test_a_reactor_of_another_kind_stays_as_it_is(self):
        other = MemoryReactor()
        before = dict(vars(other))
        hand_on_plainly(other)
        assert vars(other) == before


class TestClient:
    @pytest.mark.parametrize("error", [ConnectError(), ConnectionRefusedError(), DNSLookupError()])
    def test_no_connection_no_request(self, error):
        assert was_not_sent(error)

    def test_a_connection_that_cannot_take_a_request(self):
        client, failed = HTTP11ClientProtocol(lambda _: None), []
        client.makeConnection(StringTransport())
        for _ in range(2):
            asked = client.request(Request(b"GET", b"/", Headers({b"host": [b"x"]}), None))
            asked.addErrback(lambda failure: failed.append(failure.value))
        assert len(failed) == 1
        assert was_not_sent(failed[0]), "a request that is not sent fails with another error than RequestNotSent"

    def test_a_connection_that_dies_may_have_sent(self):
        assert not was_not_sent(ConnectionDone())
