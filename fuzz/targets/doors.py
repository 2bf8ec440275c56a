"""The client port: whatever bytes come, over connections in memory, to the shipped channel, handlers and core.

``lane`` sends the same bytes to a node with the fast lane and to one without it, on which Twisted's `HTTPChannel` reads
all of them: the answers have to be the same.
"""

from __future__ import annotations

import gc
import re
from collections.abc import Iterable
from ipaddress import ip_network
from typing import Any, cast

import msgspec
from twisted.internet import reactor
from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionDone
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from dynatwist.web.channel import BoundedChannel
from dynatwist.web.front import Front

from ..target import Found, Target
from ..world import Nodes, nothing_logged

ANSWERED_S = 0.3
"""Of simulated time: hashing a secret takes 0.02."""
FRESH_AFTER = 500
"""Inputs that one pair of nodes is given; then they hold a lot."""
PLACES = {b"@TOKEN": "token", b"@ADMIN": "admin"}
_CHANGING = re.compile(
    rb'(?<="etag":")[0-9a-f]{24}|(?<=ETag: ")[0-9a-f]{24}|(?<="timestamp":)\d+|(?<=X-Causal-Token: )\S+|'
    rb'(?<="vector_clock":\{)[^}]*(?=\})|(?<="version":)\d+|(?<="expires_at":)\d+|(?<="token":")[^"]*|'
    rb'(?<="ticket":")[^"]*|(?<="id":")[0-9a-f]*|(?<="cluster":")[0-9a-f]*|(?<=\nDate: )[^\r]*|'
    rb'(?<=\nLast-Modified: )[^\r]*|(?<=\nid: )\S+|(?<="cursor":")[^"]*|'
    rb'(?<="average_latency_ms":)[0-9.e-]+|(?<="lane_requests":)\d+|(?<=\ndynakv_)[^\r\n]*'
)
"""What differs between two answers to equal requests: what is drawn, and what is counted."""
_TIME = re.compile(rb'(?<="time":")[^"]*|(?<="at":")[^"]*')
_LENGTH = re.compile(rb"(?<=\nContent-Length: )\d+|\n[0-9a-f]+(?=\r\nid: )", re.IGNORECASE)


class _Transport(StringTransport):
    """A client's connection; nothing is read from one that ends.

    :ivar protocol: whose it is: of the channel, until a websocket takes it over.
    """

    protocol: Any = None

    def unregisterProducer(self) -> None:
        """Nothing where there is none, as with Twisted's sockets: a timer may come when all is over."""
        if self.producer is not None:
            self.producer = None

    @property
    def is_over(self) -> bool:
        return bool(self.disconnecting) or bool(getattr(self, "aborting", False))


class Door:
    """A node with its client port.

    :param klein_only: whether Twisted's parser reads every request.
    :ivar noted: lines of the audit log.
    """

    def __init__(self, *, klein_only: bool = False) -> None:
        self.nodes = Nodes(
            1, seed=1, trusted_proxies=(ip_network("10.1.0.0/24"),), cors_origins=("https://app.example",)
        )
        core = self.nodes.core
        self.noted: list[bytes] = []
        core.handlers.context.audit._append = self.noted.append
        self._front = Front(core, core.config, self.nodes.node.process)
        if klein_only:
            self._front.site.lane = None
        self.tokens = {
            "token": self.nodes.result(core.users.register_or_login("alice", "a long secret", "x"))[1],
            "admin": core.users.admin_login(core.users.admin_passwords[0], "x"),
        }

    def send(self, pieces: Iterable[bytes]) -> bytes:
        """What is answered on one connection."""
        transport = _Transport(peerAddress=IPv4Address("TCP", "10.1.0.1", 9))
        channel = self._front.site.buildProtocol(IPv4Address("TCP", "10.1.0.1", 9))
        assert isinstance(channel, BoundedChannel)
        process = self.nodes.node.process
        assert process is not None
        transport.protocol = channel
        process.run(channel.makeConnection, transport)
        for piece in pieces:
            if transport.producerState != "producing":
                self.nodes.run(ANSWERED_S)
            if transport.is_over or transport.producerState != "producing":
                break
            process.run(transport.protocol.dataReceived, piece)
        self.nodes.run(ANSWERED_S)
        answered = bytes(transport.value())
        process.run(transport.protocol.connectionLost, Failure(ConnectionDone()))
        self.nodes.run(0.01)
        self._check(answered)
        return answered

    def _check(self, answered: bytes) -> None:
        nothing_logged()
        self.nodes.check()
        if b"HTTP/1.1 500" in answered:
            raise Found(f"answers {answered!r}")
        if self._front.site.channels:
            raise Found("a connection that ended is still counted")
        core = self.nodes.core
        spent = {name: one.spent for name, one in core.budget.all().items() if one.spent}
        if spent or len(core.hub):
            raise Found(f"a connection that ended is still charged: {spent}")

    def filled(self, data: bytes) -> bytes:
        """An input with this node's tokens."""
        for place, name in PLACES.items():
            data = data.replace(place, self.tokens[name].encode())
        return data


def _comparable(answered: bytes) -> bytes:
    if _CHANGING.search(answered):
        answered = _LENGTH.sub(b"*", answered)
    return _CHANGING.sub(b"*", answered)


class _Doors:
    def __init__(self, count: int) -> None:
        self._count = count
        self._doors: list[Door] = []
        self._runs = 0

    def fresh(self) -> None:
        """Have some."""
        self._runs += 1
        if not self._doors or self._runs % FRESH_AFTER == 0:
            self._doors.clear()
            cast(Any, reactor).runUntilCurrent()  # it never runs, and would keep what Autobahn's timers are for
            gc.collect()  # a node is one large cycle
            self._doors = [Door(klein_only=number > 0) for number in range(self._count)]

    def take(self) -> list[Door]:
        """They are given back by `back`; after a finding the next input gets others."""
        doors, self._doors = self._doors, []
        return doors

    def back(self, doors: list[Door]) -> None:
        self._doors = doors


_PAIR, _SOCKETS, _SESSIONS = _Doors(2), _Doors(1), _Doors(1)


def lane(data: bytes) -> None:
    """Requests, however they are cut: the first byte says how. The same answers with the fast lane and without."""
    doors = _PAIR.take()
    answers = []
    for door in doors:
        text = door.filled(data[1:])
        door.noted.clear()
        answers.append(_comparable(door.send(_cut(text, data[0] if data else 0))))
    if answers[0] != answers[1]:
        raise Found(f"the lane answers {answers[0]!r}, and the channel {answers[1]!r}")
    noted = [[_TIME.sub(b"*", line) for line in door.noted] for door in doors]
    if noted[0] != noted[1]:
        raise Found(f"the lane notes {noted[0]}, and the channel {noted[1]}")
    _PAIR.back(doors)


def _cut(text: bytes, how: int) -> list[bytes]:
    if how < 0x80:
        return [text]
    if how < 0xF8:
        at = len(text) * (how - 0x80) // 0x78
        return [text[:at], text[at:]]
    step = max(1, len(text) // 64)
    return [text[at : at + step] for at in range(0, len(text), step)]


HANDSHAKE = (
    b"GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nAuthorization: Bearer @TOKEN\r\n\r\n"
)


def websocket(data: bytes) -> None:
    """Bytes behind the handshake of a websocket."""
    doors = _SOCKETS.take()
    text = doors[0].filled(data[1:])
    answered = doors[0].send([doors[0].filled(HANDSHAKE), *_cut(text, data[0] if data else 0)])
    if b" 101 " not in answered.partition(b"\r\n")[0]:
        raise Found(f"the handshake is answered with {answered!r}")
    _SOCKETS.back(doors)


def session(data: bytes) -> None:
    """Text frames of a websocket, one a line: each gets one answer that is JSON, and repeats its ``id``."""
    doors = _SESSIONS.take()
    door = doors[0]
    core = door.nodes.core
    sent: list[bytes] = []
    identity = core.users.authenticate(door.tokens["token"])
    one = core.handlers.session(identity=identity, address="x", send=sent.append, wake=lambda: None, end=lambda: None)
    for number, line in enumerate(door.filled(data).split(b"\n")):
        door.nodes.result(one.receive(line))
        if len(sent) != number + 1:
            raise Found(f"{line!r} is answered with {sent[number:]}")
        _check_answer(line, sent[number])
        while (event := one.take()) is not None:
            _check_answer(b"", event)
    one.close()
    door._check(b"")
    _SESSIONS.back(doors)


def _check_answer(asked: bytes, answer: bytes) -> None:
    try:
        said = msgspec.json.decode(answer)
    except msgspec.MsgspecError as error:
        raise Found(f"{asked!r} is answered with {answer!r}, which is no JSON: {error}") from None
    if asked and ("ok" in said) is ("error" in said):
        raise Found(f"{asked!r} is answered with {answer!r}")


def frame(payload: bytes, opcode: int = 1, first: int = 0x80) -> bytes:
    """A client's frame (RFC 6455, section 5.2), masked with zeros."""
    size = len(payload)
    if size < 126:
        length = bytes((0x80 | size,))
    elif size < 1 << 16:
        length = b"\xfe" + size.to_bytes(2)
    else:
        length = b"\xff" + size.to_bytes(8)
    return bytes((first | opcode,)) + length + bytes(4) + payload


FRAMES = (
    b'{"op":"ping","id":1}', b'{"op":"put","id":2,"table":"t","key":"k","value":{"a":1}}',
    b'{"op":"get","id":"3","table":"t","key":"k","r":"one"}', b'{"op":"subscribe","id":4,"table":"t","prefix":"k"}',
    b'{"op":"unsubscribe","id":5,"sub":4}', b'{"op":"delete","id":6,"table":"t","key":"k","w":"all"}',
    b'{"op":"patch","id":7,"table":"t","key":"k","value":{"b":null}}', b'{"op":"auth","id":8,"token":"@TOKEN"}',
    b'{"op":"subscribe","id":9,"table":"t","key":"k","from":"ffffffffffffffff-3"}', b'{"op":"nothing"}', b"[]", b"{",
    b'{"op":"put","id":123456789012345678901234567890,"table":"t","key":"k","value":{}}', b'{"op":"ping","id":1e999}',
    b'{"op":"auth","id":null,"token":"x"}', b'{"op":"put","id":{},"table":5,"key":[],"value":1,"ttl":"5"}',
    b'{"op":"put","id":true,"table":"t","key":"k","value":{},"ttl":5}', b'{"op":"subscribe","id":1.5,"table":"t"}',
)  # fmt: skip


def _request(method: bytes, path: bytes, body: bytes = b"", *lines: bytes) -> bytes:
    length = (b"Content-Length: %d" % len(body),) if body else ()
    return b"\r\n".join(
        [method + b" " + path + b" HTTP/1.1", b"Host: x", b"Authorization: Bearer @TOKEN", *lines, *length, b"", body]
    )


def _lane_seeds() -> Iterable[bytes]:
    put = _request(b"PUT", b"/t/key/k", b'{"a":1}')
    get = _request(b"GET", b"/t/key/k?r=one")
    life = [put, get, _request(b"PATCH", b"/t/key/k", b'{"b":2}'), _request(b"DELETE", b"/t/key/k?w=all"), get]
    yield b"\0" + b"".join(life)
    yield b"\xff" + b"".join(life)
    yield b"\xb0" + put + get
    for one in (
        _request(b"GET", b"/t/keys"), _request(b"POST", b"/t/keys", b'{"keys":["k"]}'), _request(b"GET", b"/t/store"),
        _request(b"POST", b"/t/batch", b'{"ops":[{"op":"put","key":"k","value":{}},{"op":"delete","key":"k"}]}'),
        _request(b"POST", b"/auth/bob", b'{"secret":"another secret"}'), _request(b"POST", b"/auth/ticket"),
        _request(b"PUT", b"/auth/alice/secret", b'{"secret":"a long secret","old_secret":"wrong"}'),
        _request(b"GET", b"/t/subscribe/k"), HANDSHAKE, _request(b"GET", b"/readyz"), _request(b"OPTIONS", b"/t/key/k"),
        _request(b"PUT", b"/t/key/k", b"{}", b"If-None-Match: *"), _request(b"PUT", b"/t/key/k?ttl=9", b"{}"),
        _request(b"PUT", b"/t/key/k", b"", b"Transfer-Encoding: chunked") + b'3\r\n{"a\r\n4\r\n":1}\r\n0\r\n\r\n',
        _request(b"PUT", b"/t/key/k", b"{}", b"Content-Length: 2"), _request(b"GET", b"/t/key/%6b"),
        _request(b"PUT", b"/t/key/k", b"{}", b"Expect: 100-continue"), _request(b"HEAD", b"/t/key/k"),
        _request(b"GET", b"/t/key/k", b"", b"X-Causal-Token: kA=="), _request(b"GET", b"/t/key/k", b"", b"X: \x00"),
        _request(b"GET", b"/admin/tables").replace(b"@TOKEN", b"@ADMIN"), b"\r\n" + get, b"GET / HTTP/1.0\r\n\r\n",
        _request(b"PUT", b"/admin/table/t/key/k", b"{}").replace(b"@TOKEN", b"@ADMIN"), get.replace(b"\r\n", b"\n"),
        _request(b"GET", b"/t/key/k", b"", b"X-Forwarded-For: 1.2.3.4, ::1"), _request(b"GET", b"/_x/key/k"),
        _request(b"PUT", b"/t/key/k", b"{}", b"Forwarded: for=\"[::1]:5\";by=x"),
        _request(b"GET", b"/t/key/k", b"", b"Origin: https://app.example"),
        _request(b"DELETE", b"/t/key/k").replace(b"@TOKEN", b"@ADMIN"),
        _request(b"GET", b"/t/key/k", b"", b"X-Forwarded-For: 1.2.3.4").replace(b"@T", b"x"),
        _request(b"GET", b"/t/key/k", b"", b"Connection: close") + get, get.replace(b"HTTP/1.1", b"HTTP/1.0"),
        get.replace(b": ", b" : "), get.replace(b"GET", b"get"), get.replace(b"/t/", b"http://x/t/"),
    ):  # fmt: skip
        yield b"\0" + one + get


def _socket_seeds() -> Iterable[bytes]:
    for text in FRAMES:
        yield b"\0" + frame(text)
    yield b"\xff" + b"".join(map(frame, FRAMES[:6]))
    yield b"\0" + frame(FRAMES[0][:5], 1, 0) + frame(b"x", 9) + frame(FRAMES[0][5:], 0)
    for opcode in (0, 2, 3, 8, 9, 10, 11, 15):
        yield b"\0" + frame(b"\x03\xe8bye", opcode)
        yield b"\0" + frame(b"", opcode, 0x70)
    yield b"\0" + frame(b"\xff\xfe") + frame(FRAMES[0])
    yield b"\0" + b"\x81\xff" + (1 << 62).to_bytes(8) + bytes(4)
    yield b"\0" + b"\x81\x02{}"


HTTP_WORDS = (
    b"\r\n", b"\r\n\r\n", b"GET ", b"PUT ", b"PATCH ", b"DELETE ", b" HTTP/1.1\r\n", b"/t/key/k", b"?r=one", b"?w=all",
    b"Content-Length: ", b"Transfer-Encoding: chunked\r\n", b"Connection: close\r\n", b"Connection: keep-alive\r\n",
    b"Authorization: Bearer @TOKEN\r\n", b"Authorization: Bearer @ADMIN\r\n", b"Expect: 100-continue\r\n", b"%2F",
    b"If-Match: ", b"If-None-Match: *\r\n", b"X-Causal-Token: ", b"Content-Encoding: gzip\r\n", b"Cookie: a\r\n",
    b"Origin: http://x\r\n", b"User-Agent: Mozilla/5\r\n", b"0\r\n\r\n", b"\x00", b"\xff", b"+", b"_", b"admin",
    b"auth", b"Host: ", b"X-Forwarded-For: 1.2.3.4\r\n", b"Forwarded: for=", b"Origin: https://app.example\r\n",
)  # fmt: skip
_SOCKET_WORDS = (b"\x81\x80", b"\x88\x82\0\0\0\0\x03\xe8", *FRAMES[:8])
TARGETS = (
    Target("lane", lane, _lane_seeds, HTTP_WORDS, _PAIR.fresh),
    Target("websocket", websocket, _socket_seeds, _SOCKET_WORDS, _SOCKETS.fresh),
    Target("session", session, lambda: [*FRAMES, b"\n".join(FRAMES)], (*FRAMES, b"\n", b'"id":'), _SESSIONS.fresh),
)
