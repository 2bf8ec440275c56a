"""The pure heart's look at requests: whether bytes begin with a plain request for one key, and what it says.

What is plain is of the simplest kind in every part, so that no two readers of HTTP could understand it in two ways:
`dynatwist.api.lane` answers it, and leaves all else to Twisted's parser.
"""

from __future__ import annotations

import re

MOST_HEADERS = 64
"""More than plain clients send; the rest is left to Twisted, which counts them too."""
MOST_LENGTH_DIGITS = 9
"""Of a body's length: more than any body may have."""

_PLAIN = rb"[A-Za-z0-9._~!$&'()*+,;=:@-]+"
_REQUEST_LINE = re.compile(
    rb"(GET|PUT|PATCH|DELETE) /(" + _PLAIN + rb")/key/(" + _PLAIN + rb")(?:\?((?:r|w)=[a-z]+))? HTTP/1\.1\r\n"
)
_HEADER = re.compile(rb"([A-Za-z][A-Za-z0-9-]*):[ \t]*([\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?)[ \t]*\Z")
_LEAVE = frozenset(("transfer-encoding", "expect", "upgrade", "connection", "content-encoding", "cookie"))
"""Headers that change how a request is to be read."""
_OWN_NAMES = {
    name: name.decode().lower()
    for name in (b"Idempotency-Key", b"X-Causal-Token", b"X-Request-Id", b"Traceparent", b"traceparent")
}
_OWN = re.compile(rb"\r\n(" + b"|".join(_OWN_NAMES) + rb"): ([\x21-\x7e]+)(?=\r\n|\Z)")
"""Lines that differ from request to request, as our clients write them: the rest of the head is known by then."""


def request_of(data: bytes, most_head_bytes: int, /) -> tuple[str, str, str, str, bytes, int] | None:
    """The request at the beginning of some bytes, if its head is there and its first line is plain.

    :param most_head_bytes: what is longer is not taken, nor looked at to its end.
    :returns: method, table and key; the level as ``r=one``, empty where none is named; the lines of the head behind
        the first one, each with a line's end before it; and where the body begins.
    """
    line = _REQUEST_LINE.match(data)
    if line is None:
        return None
    begin = line.end() - 2
    end = data.find(b"\r\n\r\n", begin, most_head_bytes)
    if end < 0:
        return None
    method, table, key, query = line.groups(b"")
    return method.decode(), table.decode(), key.decode(), query.decode(), data[begin:end], end + 4


def apart(block: bytes, /) -> tuple[bytes, dict[str, str] | None]:
    """The lines of a head that most requests of a client have in common, and what this request has of its own.

    It takes a fifth of the time of `headers_of`. What is its own is ``None`` where something is said twice.

    :param block: lines, with a line's end before each.
    """
    parts = _OWN.split(block)
    if len(parts) == 1:
        return block, {}
    own: dict[str, str] = {}
    for at in range(1, len(parts), 3):
        own[_OWN_NAMES[parts[at]]] = parts[at + 1].decode()
    return b"".join(parts[::3]), own if len(own) == len(parts) // 3 else None


def headers_of(block: bytes, /) -> tuple[dict[str, str], int] | None:
    """The headers of a head, and the length of the body; ``None`` where they are not all plain.

    :param block: lines, with a line's end before each.
    """
    headers: dict[str, str] = {}
    for line in block[2:].split(b"\r\n") if block else ():
        match = _HEADER.match(line)
        if match is None:
            return None
        name = match[1].decode().lower()
        if name in _LEAVE and not (name == "connection" and match[2].lower() == b"keep-alive"):
            return None
        if name in headers or len(headers) >= MOST_HEADERS:
            return None
        headers[name] = match[2].decode()
    length = headers.get("content-length", "0")
    if not length.isdecimal() or len(length) > MOST_LENGTH_DIGITS:
        return None
    return headers, int(length)
