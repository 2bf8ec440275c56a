"""The fast lane answers as Klein does: the same bytes go to a node with the lane and to one without it.

What differs between two answers to equal requests (dots, stamps, ETags) is taken out before they are compared; that
each answer is as long as it says is seen when it is read.
"""

from __future__ import annotations

import base64
import contextlib
import random
import re
import socket
import ssl
import struct

import msgspec
import pytest

from dynatwist.api.lane import rendered, understood
from dynatwist.api.request import Answer

from .real import RealCluster, certificate, wait_until

CHANGING = re.compile(
    rb'(?<="etag":")[0-9a-f]{24}|(?<=ETag: ")[0-9a-f]{24}|(?<="timestamp":)\d+|(?<=X-Causal-Token: )\S+|'
    rb'(?<="vector_clock":\{)[^}]*(?=\})|(?<="version":)\d+|(?<=X-Replicas: )\d|(?<="expires_at":)\d+'
)


PAGE = b"https://app.example.org"
NAMED = (b"Origin: " + PAGE, b"Sec-Fetch-Site: cross-site", b"User-Agent: Mozilla/5.0")
"""What a browser sends for a page of an origin that the nodes name."""


@pytest.fixture(scope="module")
def pair():
    """A node with the lane, and one without it, in a cluster; the same user on both."""
    cluster = RealCluster.start(2, "--max-header", "2048", "--max-value", "4096", "--cors-origin", PAGE.decode())
    lane, klein = cluster.nodes
    klein.stop()
    klein.start("--join", lane.address, "--klein-only")
    cluster.wait_ready()
    token = lane.register("alice", "a long secret")
    yield lane, klein, token.encode()
    cluster.close()


def exchange(node, pieces, answers=1, method=b"", limit_s=10.0):
    """Send pieces, each in a packet of its own, and read as many answers, or up to the end of the connection."""
    with socket.create_connection((node.host, node.port), timeout=limit_s) as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return talk(client, pieces, answers, method)


def talk(client, pieces, answers, method=b""):
    for piece in pieces:
        client.sendall(piece)
    received = b""
    while len(split(received, method)) < answers:
        try:
            more = client.recv(65536)
        except ConnectionResetError:
            break
        if not more:
            break
        received += more
    return [comparable(one) for one in split(received, method)]


def comparable(answer):
    if b"vector_clock" in answer:
        answer = re.sub(rb"(?<=Content-Length: )\d+", b"*", answer)
    return CHANGING.sub(b"*", answer)


def split(data, method=b""):
    """Complete answers."""
    found = []
    while (end := data.find(b"\r\n\r\n")) >= 0:
        head = data[: end + 4]
        length = re.search(rb"Content-Length: (\d+)", head, re.IGNORECASE)
        size = len(head) + (int(length[1]) if length and method != b"HEAD" and b" 304 " not in head else 0)
        if len(data) < size:
            break
        found.append(data[:size])
        data = data[size:]
    return found


def request(method, path, token, body=b"", *more, version=b"HTTP/1.1", length=True):
    lines = [b"%b %b %b" % (method, path, version), b"Host: here"]
    if token:
        lines.append(b"Authorization: Bearer " + token)
    if body and length:
        lines.append(b"Content-Length: %d" % len(body))
    return b"\r\n".join([*lines, *more, b"", b""]) + body


def both(pair, make, answers=1, method=b""):
    """The answers of both nodes to what `make` builds from a token and a table's name."""
    lane, klein, token = pair
    table = b"t%d" % random.randrange(10**9)
    one = exchange(lane, make(token, table), answers, method)
    other = exchange(klein, make(token, table + b"x"), answers, method)
    assert one == [answer.replace(table + b"x", table) for answer in other]
    return one


ODD_NAMES = (
    b"%41", b"a%2Fb", b"%", b"%zz", b"a+b", b"..", b".", b"~", b"a:b@c", b"k;x=1", b"%C3%A9", b"a//b", b"k/", b"",
    b"a'b", b"(x)", b"$&", b"a%00b", b"x" * 1025, b"x" * 1024,
)  # fmt: skip
ELSEWHERE = base64.urlsafe_b64encode(msgspec.msgpack.encode([(256, bytes(16), 1)]))
"""A causal token that names nothing of any table."""
PUT, GET, PATCH, DELETE = b"PUT", b"GET", b"PATCH", b"DELETE"

SEQUENCES = {
    "a key's life": lambda t, n: [
        request(PUT, b"/%b/key/k" % n, t, b'{"a": 1}'),
        request(GET, b"/%b/key/k" % n, t),
        request(PATCH, b"/%b/key/k" % n, t, b'{"b": [1, 2.50, "\\u00e9"]}'),
        request(GET, b"/%b/key/k?r=one" % n, t),
        request(GET, b"/%b/key/k?r=all" % n, t),
        request(DELETE, b"/%b/key/k?w=majority" % n, t),
        request(GET, b"/%b/key/k" % n, t),
        request(DELETE, b"/%b/key/k" % n, t),
    ],
    "parameters that are none of the route": lambda t, n: [
        request(PUT, b"/%b/key/k?r=one" % n, t, b"{}"),
        request(PUT, b"/%b/key/k?level=one" % n, t, b"{}"),
        request(PUT, b"/%b/key/k?w=one&tll=9" % n, t, b"{}"),
        request(PUT, b"/%b/key/k?w=one&ttl=9" % n, t, b"{}"),
        request(GET, b"/%b/key/k?w=one" % n, t),
        request(GET, b"/%b/key/k?r=one&w=one" % n, t),
        request(PATCH, b"/%b/key/k?r=all" % n, t, b"{}"),
        request(DELETE, b"/%b/key/k?r=all" % n, t),
        request(GET, b"/%b/key/k?r=one" % n, t),
    ],
    "a page of a named origin": lambda t, n: [
        request(PUT, b"/%b/key/k" % n, t, b'{"a": 1}', *NAMED),
        request(GET, b"/%b/key/k" % n, t, b"", *NAMED),
        request(PUT, b"/%b/key/k" % n, t, b"[]", *NAMED),
        request(PUT, b"/%b/key/k" % n, t, b"{}", *NAMED, b"If-None-Match: *"),
        request(GET, b"/%b/key/k" % n, b"", b"", *NAMED),
        request(DELETE, b"/%b/key/k" % n, t, b"", *NAMED),
        request(GET, b"/%b/key/k" % n, t),
    ],
    "a page of another origin": lambda t, n: [request(GET, b"/%b/key/k" % n, t, b"", b"Origin: https://evil.example")],
    "a page of nobody's": lambda t, n: [request(GET, b"/%b/key/k" % n, t, b"", b"Origin: null")],
    "a page that only looks named": lambda t, n: [request(GET, b"/%b/key/k" % n, t, b"", b"Origin: %b.example" % PAGE)],
    "a page that says nothing": lambda t, n: [request(GET, b"/%b/key/k" % n, t, b"", *NAMED[1:])],
    "a browser by a strange name": lambda t, n: [request(GET, b"/%b/key/k" % n, t, b"", NAMED[2])],
    "no token": lambda t, n: [request(GET, b"/%b/key/k" % n, b""), request(PUT, b"/%b/key/k" % n, b"", b"{}")],
    "bad token": lambda t, n: [request(GET, b"/%b/key/k" % n, t[:-3] + b"abc")],
    "another scheme": lambda t, n: [request(GET, b"/%b/key/k" % n, b"", b"", b"Authorization: Basic " + t)],
    "scheme in capitals": lambda t, n: [request(GET, b"/%b/key/k" % n, b"", b"", b"AUTHORIZATION: BEARER " + t)],
    "bad level": lambda t, n: [request(GET, b"/%b/key/k?r=some" % n, t), request(GET, b"/%b/key/k?w=some" % n, t)],
    "level for the other method": lambda t, n: [request(PUT, b"/%b/key/k?r=one" % n, t, b"{}")],
    "time to live": lambda t, n: [request(PUT, b"/%b/key/k?ttl=100" % n, t, b"{}")],
    "several parameters": lambda t, n: [request(PUT, b"/%b/key/k?w=all&ttl=100" % n, t, b"{}")],
    "bad bodies": lambda t, n: [
        request(PUT, b"/%b/key/k" % n, t, body)
        for body in (b"[]", b"1", b"{", b'{"a":1}x', b"\xff", b'{"a":"\xff"}', b"null", b'{"a":NaN}', b" {} ", b"{}\n")
    ],
    "no body": lambda t, n: [request(PUT, b"/%b/key/k" % n, t), request(PATCH, b"/%b/key/k" % n, t)],
    "a body with GET": lambda t, n: [request(GET, b"/%b/key/k" % n, t, b"hello"), request(GET, b"/%b/key/k" % n, t)],
    "too deep": lambda t, n: [request(PUT, b"/%b/key/k" % n, t, b'{"a":' * 65 + b"1" + b"}" * 65)],
    "as big as it may be": lambda t, n: [request(PUT, b"/%b/key/k" % n, t, b'{"a":"%b"}' % (b"x" * 4088))],
    "too big a value": lambda t, n: [request(PUT, b"/%b/key/k" % n, t, b'{"a":"%b"}' % (b"x" * 4089))],
    "reserved words": lambda t, n: [
        request(method, b"/%b/key/%b" % (word, key), t, b"{}")
        for word in (b"admin", b"auth", b"ws", b"_x", b"stats")
        for key in (b"secret", b"logout", b"forget", b"k")
        for method in (GET, PUT)
    ],
    "odd names": lambda t, n: [
        request(method, b"/%b/key/%b" % (n, name), t, b"{}")
        for name in ODD_NAMES
        for method in (PUT, GET)
    ],
    "odd tables": lambda t, n: [
        request(PUT, b"/%b/key/k" % name, t, b"{}")
        for name in (b"x" * 129, b"%20", b"", b"..", b"t.t", b"a+b")
    ],
    "other methods": lambda t, n: [
        request(method, b"/%b/key/k" % n, t, b"{}") for method in (b"POST", b"OPTIONS", b"get", b"BREW", b"TRACE")
    ],
    "conditions": lambda t, n: [
        request(PUT, b"/%b/key/k" % n, t, b'{"a":1}', b"If-None-Match: *"),
        request(PUT, b"/%b/key/k" % n, t, b'{"a":2}', b"If-None-Match: *"),
        request(PUT, b"/%b/key/k" % n, t, b'{"a":2}', b'If-None-Match: "abc"'),
        request(PUT, b"/%b/key/k" % n, t, b'{"a":2}', b'If-Match: "abc"'),
        request(PUT, b"/%b/key/k" % n, t, b'{"a":2}', b'If-Match: "abc"', b"Prefer: return=representation"),
        request(PATCH, b"/%b/key/none" % n, t, b'{"a":2}', b'If-Match: "abc"', b"Prefer: a, return=representation"),
        request(PATCH, b"/%b/key/k" % n, t, b'{"b":2}', b"If-Match: *"),
        request(DELETE, b"/%b/key/k" % n, t, b"", b"If-Match: *"),
        request(PUT, b"/%b/key/k" % n, t, b"{}", b"If-Match: *", b"If-Match: *"),
        request(GET, b"/%b/key/k" % n, t, b"", b"If-None-Match: *"),
    ],
    "causal tokens": lambda t, n: [
        request(GET, b"/%b/key/k" % n, t, b"", b"X-Causal-Token: " + token)
        for token in (b"rubbish", b"kA==", ELSEWHERE, b"")
    ],
    "what each request has of its own": lambda t, n: [
        request(method, b"/%b/key/k" % n, t, b'{"a": 1}' if method == PUT else b"", *more)
        for method in (PUT, GET)
        for more in (
            (b"X-Request-Id: dk-0123456789abcdef",),
            (b"X-Request-Id: mine",),
            (b"X-Request-Id: mine", b"Accept: */*", b"Idempotency-Key: " + n),
            (b"X-Request-Id: mine", b"X-Causal-Token: " + ELSEWHERE, b"traceparent: 00-1-1-01"),
            (b"x-request-id: mine",),
            (b"X-Request-Id:mine",),
            (b"X-Request-Id:  mine ",),
            (b"X-Request-Id: mi ne",),
            (b"X-Request-Id: mine", b"X-Request-Id: yours"),
            (b"X-Request-Id: mine", b"x-request-id: yours"),
            (b"X-Causal-Token: " + ELSEWHERE, b"X-Causal-Token: rubbish"),
            (b"Idempotency-Key: " + b"x" * 200,),
        )
    ],
    "content codings": lambda t, n: [
        request(PUT, b"/%b/key/k" % n, t, b"{}", b"Content-Encoding: gzip"),
        request(PUT, b"/%b/key/k" % n, t, b"{}", b"Content-Encoding: identity"),
        request(PUT, b"/%b/key/k" % n, t, b"{}", b"Content-Type: text/plain"),
    ],
    "chunked": lambda t, n: [
        request(PUT, b"/%b/key/k" % n, t, b"", b"Transfer-Encoding: chunked") + b'3\r\n{"a\r\n4\r\n":1}\r\n0\r\n\r\n',
        request(GET, b"/%b/key/k" % n, t),
    ],
    "repeated headers": lambda t, n: [
        request(GET, b"/%b/key/k" % n, t, b"", b"Authorization: Bearer nobody"),
        request(PUT, b"/%b/key/k" % n, t, b"{}", b"X-Causal-Token: a", b"x-causal-token: b"),
    ],
    "cookies and the rest": lambda t, n: [
        request(GET, b"/%b/key/k" % n, t, b"", b"Cookie: a=b; c", b"Accept: */*", b"X-Empty:", b"X-Odd: \xe9"),
        request(GET, b"/%b/key/k" % n, t, b"", b"X-Spaced:   a  b\t "),
    ],
    "keep-alive": lambda t, n: [
        request(PUT, b"/%b/key/k" % n, t, b"{}", b"Connection: keep-alive"),
        request(GET, b"/%b/key/k" % n, t, b"", b"Connection: Keep-Alive"),
    ],
    "a stray line": lambda t, n: [b"\r\n" + request(GET, b"/%b/key/k" % n, t), request(GET, b"/%b/key/k" % n, t)],
    "other routes between": lambda t, n: [
        request(PUT, b"/%b/key/k" % n, t, b"{}"),
        request(GET, b"/%b/keys" % n, t),
        request(GET, b"/%b/key/k" % n, t),
        request(b"POST", b"/%b/keys" % n, t, b'{"keys": ["k"]}'),
        request(GET, b"/nowhere/at/all", t),
        request(GET, b"/%b/key/k" % n, t),
    ],
}  # fmt: skip

ENDINGS = {
    "close": lambda t, n: [request(GET, b"/%b/key/k" % n, t, b"", b"Connection: close"), request(GET, b"/x/key/k", t)],
    "HTTP/1.0": lambda t, n: [request(GET, b"/%b/key/k" % n, t, version=b"HTTP/1.0"), request(GET, b"/x/key/k", t)],
    "HTTP/2": lambda t, n: [request(GET, b"/%b/key/k" % n, t, version=b"HTTP/2.0"), request(GET, b"/x/key/k", t)],
    "bad length": lambda t, n: [request(PUT, b"/%b/key/k" % n, t, b"", b"Content-Length: x")],
    "two lengths": lambda t, n: [request(PUT, b"/%b/key/k" % n, t, b"{}", b"Content-Length: 3")],
    "length and chunks": lambda t, n: [request(PUT, b"/%b/key/k" % n, t, b"{}", b"Transfer-Encoding: chunked")],
    "no colon": lambda t, n: [request(GET, b"/%b/key/k" % n, t, b"", b"nonsense")],
    "bad name": lambda t, n: [request(GET, b"/%b/key/k" % n, t, b"", b"na me: x")],
    "zero byte": lambda t, n: [request(GET, b"/%b/key/k" % n, t, b"", b"X-Zero: \x00")],
    "too long a head": lambda t, n: [request(GET, b"/%b/key/k" % n, t, b"", b"X-Long: " + b"x" * 3000)],
    "too long a body": lambda t, n: [request(PUT, b"/%b/key/k" % n, t, b"", b"Content-Length: 99999999")],
    "no version": lambda t, n: [b"GET /%b/key/k\r\n\r\n" % n],
    "a folded header": lambda t, n: [request(GET, b"/%b/key/k" % n, t, b"", b"X-Folded: a", b" b")],
    "a space": lambda t, n: [request(PUT, b"/%b/key/a b" % n, t, b"{}")],
    "not ASCII": lambda t, n: [request(PUT, b"/%b/key/\xc3\xa9" % n, t, b"{}")],
    "not UTF-8": lambda t, n: [request(PUT, b"/%b/key/\xff" % n, t, b"{}")],
    "no request behind that of a page": lambda t, n: [
        request(GET, b"/%b/key/k" % n, b"", b"", *NAMED),  # answered at once, so that the parser goes on in the packet
        b"GET /x HT\r\n\r\n",
    ],
    "no request": lambda t, n: [b"\x16\x03\x01 hello\r\n\r\n"],
}


class TestParity:
    @pytest.mark.parametrize("name", SEQUENCES)
    def test_one_after_the_other(self, pair, name):
        lane, klein, token = pair
        table = b"t%d" % random.randrange(10**9)
        address, other_address = (lane.host, lane.port), (klein.host, klein.port)
        with socket.create_connection(address, 10) as one, socket.create_connection(other_address, 10) as other:
            asked = zip(SEQUENCES[name](token, table), SEQUENCES[name](token, table + b"x"), strict=True)
            for mine, theirs in asked:
                found = [answer.replace(table + b"x", table) for answer in talk(other, [theirs], 1)]
                assert talk(one, [mine], 1) == found, mine

    @pytest.mark.parametrize("name", SEQUENCES)
    def test_all_in_one_packet(self, pair, name):
        count = len(SEQUENCES[name](b"", b""))
        answers = both(pair, lambda t, n: [b"".join(SEQUENCES[name](t, n))], count)
        assert len(answers) == count

    @pytest.mark.parametrize("name", ENDINGS)
    def test_what_ends_the_connection(self, pair, name):
        both(pair, lambda t, n: [b"".join(ENDINGS[name](t, n))], 9)

    def test_hundred_continue(self, pair):
        def make(token, table):
            return [
                request(PUT, b"/%b/key/k" % table, token, b"", b"Expect: 100-continue", b"Content-Length: 2"),
                b"{}",
            ]

        answers = both(pair, make, 2)
        assert answers[0].startswith(b"HTTP/1.1 100 ")
        assert answers[1].startswith(b"HTTP/1.1 201 ")

    def test_head(self, pair):
        answers = both(pair, lambda t, n: [request(b"HEAD", b"/%b/key/k" % n, t)], 1, b"HEAD")
        assert answers[0].startswith(b"HTTP/1.1 404 ")

    def test_split_at_every_byte(self, pair):
        def make(token, table):
            return request(PUT, b"/%b/key/k" % table, token, b'{"a":1}') + request(GET, b"/%b/key/k" % table, token)

        whole = both(pair, lambda t, n: [make(t, n)], 2)
        lane, _, token = pair
        data = make(token, b"t%d" % random.randrange(10**9))
        exchange(lane, [data], 2)
        for at in range(1, len(data)):
            assert exchange(lane, [data[:at], data[at:]], 2) == whole, data[:at]

    def test_one_byte_at_a_time(self, pair):
        both(pair, lambda t, n: [bytes((byte,)) for byte in request(PUT, b"/%b/key/k" % n, t, b'{"a":1}')])

    def test_a_long_pipeline_is_answered_in_order(self, pair):
        lane, klein, token = pair
        for node in (lane, klein):
            asked = [request(PUT, b"/pipe/key/k%d" % n, token, b'{"n":%d}' % n) for n in range(600)]
            answers = exchange(node, [b"".join(asked)], 600)
            assert [answer for answer in answers if b'"n":' not in answer] == []
            assert [int(re.search(rb'"n":(\d+)', answer)[1]) for answer in answers] == list(range(600))

    @pytest.mark.parametrize("number", [0, 1])
    def test_a_pipeline_whose_answers_are_not_read_is_held_back(self, pair, number):
        node, token = pair[number], pair[2]
        one = request(GET, b"/pipe/key/nothing?r=one", token)
        with socket.socket() as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.connect((node.host, node.port))
            client.settimeout(1.0)
            sent = 0
            with contextlib.suppress(TimeoutError):
                while sent < 40 << 20:
                    sent += client.send(one * 50)
            assert sent < 40 << 20, "the node reads on and on"
        assert exchange(node, [one])[0].startswith((b"HTTP/1.1 404 ", b"HTTP/1.1 400 "))

    def test_random_requests(self, pair):
        """Whatever is put together at random from plain and odd parts."""
        source = random.Random(7)
        methods = [PUT, GET, GET, PUT, PATCH, DELETE, b"POST"]
        extras = [
            b"Accept: */*",
            b"Connection: keep-alive",
            b"If-Match: *",
            b"X-A: b",
            b"User-Agent: x/1",
            b"TE: trailers",
        ]
        queries = [b"", b"", b"?r=one", b"?w=one", b"?r=all", b"?ttl=9", b"?", b"?x=1", b"?r=%6fne", b"?r=one&r=all"]
        bodies = [b"{}", b'{"a":1}', b"", b"[]", b'{"a":null}', b'{"a":{"b":null}}']
        plans = [
            (source.choice(methods), source.choice(b"abc"), source.choice(queries), source.choice(bodies),
             source.sample(extras, source.randrange(3)))
            for _ in range(300)
        ]  # fmt: skip

        def make(token, table):
            return [
                b"".join(
                    request(method, b"/%b/key/%c%b" % (table, key, query), token, body, *more)
                    for method, key, query, body, more in plans
                )
            ]

        assert len(both(pair, make, 300)) == 300

    def test_many_connections_at_once(self, pair):
        """More than a turn of the reactor takes in: all are answered, nobody before it is his turn."""
        lane, _, token = pair
        clients = [socket.create_connection((lane.host, lane.port), 10) for _ in range(200)]
        for number, client in enumerate(clients):
            client.sendall(request(PUT, b"/many/key/k%d" % number, token, b'{"n":%d}' % number))
        for number, client in enumerate(clients):
            assert b'"n":%d}' % number in talk(client, [], 1)[0]
            client.close()

    def test_upgrade_after_a_hot_request(self, pair):
        def make(token, table):
            key = b"dGhlIHNhbXBsZSBub25jZQ=="
            return [
                request(GET, b"/%b/key/k" % table, token),
                b"GET /ws HTTP/1.1\r\nHost: here\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                b"Sec-WebSocket-Key: %b\r\nSec-WebSocket-Version: 13\r\n\r\n" % key,
            ]

        lane, klein, token = pair
        for node in (lane, klein):
            with socket.create_connection((node.host, node.port), 10) as client:
                hot, upgrade = make(token, b"t")
                assert talk(client, [hot], 1)[0].startswith(b"HTTP/1.1 404 ")
                assert talk(client, [upgrade], 1)[0].startswith(b"HTTP/1.1 101 ")
                client.sendall(b"\x81\x80\x00\x00\x00\x00")  # an empty text frame
                assert b"malformed_json" in client.recv(4096)

    def test_a_client_that_goes_away_hurts_nobody(self, pair):
        lane, _, token = pair
        for _ in range(50):
            with socket.create_connection((lane.host, lane.port), 10) as client:
                client.sendall(request(PUT, b"/gone/key/k", token, b"{}") * 20)
        # Whether any of it was written is open: nobody was there to be told.
        assert exchange(lane, [request(PUT, b"/gone/key/k", token, b"{}")])[0].startswith(b"HTTP/1.1 201 ")
        assert b"Traceback" not in lane.log.read_bytes()


def test_over_tls(tmp_path):
    """TLS transports take another way out of the lane."""
    cluster = RealCluster(tmp_path)
    node = cluster.add(*certificate(tmp_path))
    context = ssl.create_default_context(cafile=str(tmp_path / "cert.pem"))

    def connect():
        return context.wrap_socket(socket.create_connection((node.host, node.port), 10), server_hostname="localhost")

    def register():
        body = b'{"secret": "a long secret"}'
        try:
            with connect() as client:
                answer = talk(client, [request(b"POST", b"/auth/alice", b"", body)], 1)[0]
        except OSError:
            return None
        return re.search(rb'"token":"([^"]+)"', answer)

    try:
        token = wait_until(register)[1]
        with connect() as client:
            asked = b"".join(SEQUENCES["a key's life"](token, b"tls"))
            statuses = [answer[9:12] for answer in talk(client, [asked], 8)]
        assert statuses == [b"201", b"200", b"200", b"200", b"200", b"200", b"404", b"404"]
    finally:
        cluster.close()


class TestParsing:
    def test_plain_headers_are_understood(self):
        head = understood(b"\r\nHost: a\r\nAuthorization:Bearer x\r\nContent-Length: 12")
        assert head.headers == {"host": "a", "authorization": "Bearer x", "content-length": "12"}
        assert head.length == 12

    @pytest.mark.parametrize(
        "line", [b"Origin: https://app.example.org", b"Sec-Fetch-Site: same-origin", b"User-Agent: Mozilla/5.0", b"A"]
    )
    def test_what_is_not_plain_or_of_a_browser_is_left_to_twisted(self, line):
        assert understood(b"\r\n" + line) is None

    def test_an_answer_has_its_length(self):
        assert rendered(Answer(200, b"{}", headers={"ETag": '"x"'})) == (
            b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nETag: "x"\r\nContent-Length: 2\r\n\r\n{}'
        )


def test_who_leaves_while_he_waits_takes_nobody_with_him(pair):
    """Batches fill the turns, so that requests are postponed, those of clients that are gone by then among them."""
    node, _, token = pair
    ops = [{"op": "put", "key": f"k{number}", "value": {"n": number}} for number in range(500)]
    body = msgspec.json.encode({"ops": ops})
    head = b"POST /t/batch HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer %b\r\nContent-Length: %d\r\n\r\n"
    batch = head % (token, len(body)) + body
    put = b"PUT /t/key/stays HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer %b\r\nContent-Length: 2\r\n\r\n{}" % token
    address = node.host, node.port
    for _ in range(20):
        with contextlib.ExitStack() as stack:
            leaving = [stack.enter_context(socket.create_connection(address)) for _ in range(8)]
            staying = [stack.enter_context(socket.create_connection(address, timeout=5)) for _ in range(8)]
            for leaver, stayer in zip(leaving, staying, strict=True):
                leaver.sendall(batch)
                stayer.sendall(put)
                leaver.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                leaver.close()
            for stayer in staying:
                assert stayer.recv(65536).startswith(b"HTTP/1.1 201")
    assert "Traceback" not in node.log.read_text()


def test_the_lane_is_taken(pair):
    """Else this file would compare Klein with itself."""
    lane, klein, token = pair

    def taken(node):
        return int(
            re.search(rb"^dynakv_fast_lane_requests_total (\d+)", node.request("GET", "/metrics").body, re.MULTILINE)[1]
        )

    before = taken(lane), taken(klein)
    for node in (lane, klein):
        for more in ((), NAMED):
            exchange(node, [request(GET, b"/pace/key/k", token, b"", *more) * 10], 10)
    wait_until(lambda: taken(lane) >= before[0] + 20)  # what `/metrics` says may be a second old
    assert taken(klein) == 0
