"""Which bytes begin with a plain request, as both hearts decide: all else is left to Twisted's parser.

What two readers of HTTP might understand in two ways is plain to neither of them, so that nobody can hide one request
in another.
"""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dynatwist import heart
from dynatwist.heart import pure

NATIVE = heart.compiled()
needs_native = pytest.mark.skipif(NATIVE is None, reason="no compiled heart was built: the pure one alone is tested")
MOST = 4096


@pytest.fixture(params=[pytest.param(pure, id="pure"), pytest.param(NATIVE, id="compiled", marks=needs_native)])
def either(request):
    """One heart, and then the other."""
    return request.param


LINES = b"\r\nHost: a\r\nContent-Length: 2"
HEAD = b"PUT /t/key/k?w=one HTTP/1.1" + LINES + b"\r\n\r\n"


class TestRequests:
    def test_are_understood(self, either):
        assert either.request_of(HEAD + b"{}GET", MOST) == ("PUT", "t", "k", "w=one", LINES, len(HEAD))
        assert either.request_of(b"GET /t/key/k HTTP/1.1\r\n\r\n", MOST) == ("GET", "t", "k", "", b"", 25)
        assert either.request_of(b"PATCH /key/key/key HTTP/1.1\r\n\r\n", MOST)[:3] == ("PATCH", "key", "key")

    def test_whose_head_is_not_all_there_are_not(self, either):
        for size in range(len(HEAD)):
            assert either.request_of(HEAD[:size], MOST) is None
            assert either.request_of(HEAD, size) is None
        assert either.request_of(HEAD, len(HEAD)) is not None

    @pytest.mark.parametrize(
        "line",
        [b"get /t/key/k HTTP/1.1", b"HEAD /t/key/k HTTP/1.1", b"POST /t/key/k HTTP/1.1", b"GET  /t/key/k HTTP/1.1",
         b"GET http://a/t/key/k HTTP/1.1", b"GET //t/key/k HTTP/1.1", b"GET /t//key/k HTTP/1.1",
         b"GET /t/keys HTTP/1.1",
         b"GET /t/key/ HTTP/1.1", b"GET /t/key/a/b HTTP/1.1", b"GET /t/key/k# HTTP/1.1", b"GET /t/key/\x80 HTTP/1.1",
         b"GET /\xc3\xa9/key/k HTTP/1.1", b"GET /t/key/%6B HTTP/1.1", b"GET /t/key/%6b HTTP/1.1",
         b"GET /t/key/% HTTP/1.1",
         b"GET /t/key/%00 HTTP/1.1", b"GET /t/key/\0 HTTP/1.1", b"GET /t/key/k? HTTP/1.1", b"GET /t/key/k?r= HTTP/1.1",
         b"GET /t/key/k?r=ONE HTTP/1.1", b"GET /t/key/k?r=%6fne HTTP/1.1", b"GET /t/key/k?x=one HTTP/1.1",
         b"GET /t/key/k?r=one&w=one HTTP/1.1", b"GET /t/key/k?r=one? HTTP/1.1", b"GET /t/key/k HTTP/1.0",
         b"GET /t/key/k HTTP/2.0", b"GET /t/key/k http/1.1", b"GET /t/key/k HTTP/1.1 ", b"GET /t/key/k HTTP/1.1\r",
         b"GET /t/key/k HTTP/1.1\n", b"GET /t/key/k\tHTTP/1.1", b"GET /t/key/k", b"\r\nGET /t/key/k HTTP/1.1",
         b" GET /t/key/k HTTP/1.1", b"GET /t\\key/k HTTP/1.1", b'GET /t/key/" HTTP/1.1', b"GET * HTTP/1.1"],
    )  # fmt: skip
    def test_that_are_written_in_another_way_are_not(self, either, line):
        assert either.request_of(line + b"\r\nHost: a\r\n\r\n", MOST) is None

    def test_end_their_lines_as_they_should(self, either):
        for ends in (b"\n", b"\r", b"\n\r", b"\r\r\n"):
            assert either.request_of(b"GET /t/key/k HTTP/1.1" + ends + b"Host: a" + ends + ends, MOST) is None

    def test_have_names_without_a_byte_that_would_be_escaped(self, either):
        plain = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._~!$&'()*+,;=:@-"
        for byte in range(256):
            for path in (b"/t%cx/key/k", b"/t/key/k%cx"):
                found = either.request_of(b"GET " + path % byte + b" HTTP/1.1\r\n\r\n", MOST)
                assert (found is not None) == (byte in plain)


class TestHeads:
    def test_what_a_request_has_of_its_own_is_taken_out(self, either):
        block = b"\r\nX-Request-Id: r1\r\nHost: a\r\nTraceparent: 00-1\r\nB: c\r\nX-Causal-Token: c"
        own = {"x-request-id": "r1", "traceparent": "00-1", "x-causal-token": "c"}
        assert either.apart(block) == (b"\r\nHost: a\r\nB: c", own)
        assert either.apart(b"\r\nX-Request-Id: r1") == (b"", {"x-request-id": "r1"})
        assert either.apart(b"\r\nHost: a\r\nX-Request-Id: r1\r\nX-Request-Id: r2") == (b"\r\nHost: a", None)
        assert either.apart(b"\r\nTraceparent: r1\r\ntraceparent: r2") == (b"", None)
        assert either.apart(b"") == (b"", {})

    @pytest.mark.parametrize(
        "line", [b"Host: a", b"X-Request-Ids: r", b"X-Request-Id: r 1", b"X-Request-Id:r", b"X-Request-Id: \xe9",
                 b"Host: X-Request-Id: r", b"X-Request-Id: r ", b"X-REQUEST-ID: r", b"X-Request-Id: r\n"],
    )  # fmt: skip
    def test_but_nothing_that_is_written_in_another_way(self, either, line):
        for block in (b"\r\n" + line, b"\r\nHost: a\r\n" + line + b"\r\nB: c"):
            assert either.apart(block) == (block, {})

    def test_plain_headers_are_understood(self, either):
        block = b"\r\nHost: a\r\nAuthorization:Bearer x\r\nContent-Length: 12\r\nConnection: Keep-Alive\r\nA: \t b  c\t"
        headers = {"host": "a", "authorization": "Bearer x", "content-length": "12", "connection": "Keep-Alive"}
        assert either.headers_of(block) == ({**headers, "a": "b  c"}, 12)
        assert either.headers_of(b"") == ({}, 0)
        assert either.headers_of(b"\r\nContent-Length: 000000007")[1] == 7

    @pytest.mark.parametrize(
        "lines",
        [b"Expect: 100-continue", b"Upgrade: x", b"Connection: close", b"A: 1\r\na: 2", b" A: 1", b"A", b"\tfolded",
         b"A : 1", b"A: \xe9", b"A:", b"A: ", b": b", b"-A: b", b"1: b", b"A\0: b", b"A: b\0", b"A: b\tc", b"A: \x7f",
         b"Content-Length: 1x", b"Content-Length: +1", b"Content-Length: -1", b"Content-Length: 9999999999",
         b"Content-Length: 1, 1", b"Content-Length: 1\r\nContent-Length: 1", b"Content-Length: 1\r\ncontent-length: 2",
         b"Content-Length: 0x1", b"Content-Length: 1_0", b"Content-Length: \xd9\xa1", b"Transfer-Encoding: chunked",
         b"transfer-encoding: identity", b"Content-Length: 1\r\nTransfer-Encoding: chunked", b"Content-Encoding: gzip",
         b"Cookie: a=b", b"A: b\nC: d", b"A: b\rC: d", b"A: b\r\n C: d", b"A: b\r\n\r\nC: d", b"A: b\r\n",
         b"\xc3\xa9: b"],
    )  # fmt: skip
    def test_all_others_are_left_to_twisted(self, either, lines):
        assert either.headers_of(b"\r\n" + lines) is None
        assert either.headers_of(b"\r\nHost: a\r\n" + lines) is None

    def test_there_may_be_sixty_four(self, either):
        lines = [b"\r\nA%d: b" % number for number in range(65)]
        assert len(either.headers_of(b"".join(lines[:64]))[0]) == 64
        assert either.headers_of(b"".join(lines)) is None


PIECES = (
    b"GET /t/key/k HTTP/1.1", b"PUT /", b"DELETE /", b"PATCH /", b"t", b"/key/", b"?r=one", b"?w=",
    b" HTTP/1.1\r\n", b"\r\n",
    b"\r\n", b"\r\n\r\n", b"\r", b"\n", b"%4a", b"%4A", b"%", b"\0", b"\x80", b" ", b"\t", b":", b"/", b"a: b",
    b"Host: a",
    b"\r\nHost: a", b"Content-Length: 2", b"\r\nContent-Length: 0012", b"Transfer-Encoding: chunked",
    b"\r\nConnection: keep-alive", b"Connection: close", b"X-Request-Id: r", b"\r\nX-Request-Id: r1",
    b"\r\nIdempotency-Key: ~", b"\r\nX-Causal-Token: kA==", b"\r\nTraceparent: 0", b"\r\ntraceparent: 1", b"{}",
)  # fmt: skip
mixed = st.lists(st.sampled_from(PIECES) | st.binary(max_size=3), max_size=16).map(b"".join)
heads = st.builds(lambda lines: b"GET /t/key/k?r=one HTTP/1.1" + lines + b"\r\n\r\n", mixed)


@needs_native
class TestTwins:
    """What the compiled heart gives, and the types of it, is what the pure one does, whatever the bytes are."""

    @given(st.binary(max_size=300) | mixed | heads, st.integers(0, 100) | st.just(MOST))
    @settings(max_examples=400)
    def test_requests(self, data, most):
        assert repr(NATIVE.request_of(data, most)) == repr(pure.request_of(data, most))

    @given(st.binary(max_size=300) | mixed)
    @settings(max_examples=400)
    def test_heads(self, block):
        assert repr(NATIVE.apart(block)) == repr(pure.apart(block))
        assert repr(NATIVE.headers_of(block)) == repr(pure.headers_of(block))

    @given(st.binary(max_size=6), st.integers(0, 60))
    def test_heads_with_other_bytes_in_them(self, other, at):
        block = b"\r\nHost: a\r\nX-Request-Id: r1\r\nContent-Length: 12\r\nA: b c"
        block = block[:at] + other + block[at + len(other) :]
        assert repr(NATIVE.apart(block)) == repr(pure.apart(block))
        assert repr(NATIVE.headers_of(block)) == repr(pure.headers_of(block))
        head = b"PUT /t/key/k?w=all HTTP/1.1" + block + b"\r\n\r\n{}"
        assert repr(NATIVE.request_of(head, MOST)) == repr(pure.request_of(head, MOST))
