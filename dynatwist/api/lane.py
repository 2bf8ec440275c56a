"""The fast lane: plain requests for one key, read without Twisted's HTTP parser and answered without Klein.

It adds no second set of HTTP semantics. It takes a request only if all of it is there, and every part of it is of the
simplest kind; whatever else arrives goes to `HTTPChannel`, byte for byte. The same handlers answer, and the answer is
written with the same headers in the same order; `tests/test_lane.py` demands both. It knows bytes and no sockets, so
the simulated world drives it too.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from http import HTTPStatus

import msgspec
from twisted.logger import Logger

from dynatwist import heart
from dynatwist.errors import ApiError
from dynatwist.metrics import Metrics
from dynatwist.replication.request import Kind

from .data import DataRoutes
from .followed import answered as followed
from .followed import id_of
from .limits import RESERVED_TABLES
from .measured import USUAL_LEVEL, known_level
from .origins import Origins
from .request import Answer, Certificate, Request, error_answer
from .traced import begun, ended

MAX_HEAD_BYTES = 4096
"""Heads of clients that speak plainly have a few hundred."""
MAX_HEADERS = 64
"""More than plain clients send; the rest is left to Twisted, which counts them too."""
HEADS_REMEMBERED = 4096
"""A few megabytes: the head that each client sends again and again."""

_PLAIN = rb"[A-Za-z0-9._~!$&'()*+,;=:@-]+"
_REQUEST_LINE = re.compile(
    rb"(GET|PUT|PATCH|DELETE) /(" + _PLAIN + rb")/key/(" + _PLAIN + rb")(?:\?((?:r|w)=[a-z]+))? HTTP/1\.1\r\n"
)
_HEADER = re.compile(rb"([A-Za-z][A-Za-z0-9-]*):[ \t]*([\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?)[ \t]*\Z")
_KINDS = {b"GET": Kind.GET, b"PUT": Kind.PUT, b"PATCH": Kind.PATCH, b"DELETE": Kind.DELETE}
_NAMES = {
    method: (method.decode(), f"data.{method.decode().lower()}", "r" if method == b"GET" else "w") for method in _KINDS
}
"""As metrics have them: the method, the route, and the parameter that names the level."""
_LEVELS = {method: parameter.encode() for method, (_, _, parameter) in _NAMES.items()}
_LEAVE = frozenset(("transfer-encoding", "expect", "upgrade", "connection", "content-encoding", "cookie"))
"""Headers that change how a request is to be read."""
_OWN_NAMES = {
    name: name.decode().lower()
    for name in (b"Idempotency-Key", b"X-Causal-Token", b"X-Request-Id", b"Traceparent", b"traceparent")
}
_OWN = re.compile(rb"\r\n(" + b"|".join(_OWN_NAMES) + rb"): ([\x21-\x7e]+)(?=\r\n|\Z)")
"""Lines that differ from request to request, as our clients write them: the rest of the head is known by then."""
_VARYING = frozenset(
    ("x-causal-token", "if-match", "if-none-match", "idempotency-key", "x-request-id", "traceparent", "tracestate")
)
"""Headers that differ from request to request, these among them where somebody writes them in another way."""


def _NOT_SHOWN() -> Certificate | None:
    return None


Respond = Callable[[bytes, str], None]
"""Takes an answer, and the user to whom it is given, if that is known."""


class Head:
    """The headers of a request, understood.

    :ivar length: of the body.
    :ivar is_program: whether no page of a browser had it sent; see `dynatwist.api.origins`.
    :ivar shared: lines of the answer by which a page of a named origin may read it; empty for a program.
    :ivar varies: whether the next request will have other headers.
    """

    __slots__ = ("headers", "is_program", "length", "shared", "varies")

    def __init__(
        self, headers: dict[str, str], length: int, shared: Mapping[str, str], is_program: bool = True
    ) -> None:
        self.headers = headers
        self.is_program = is_program
        self.length = length
        self.shared = "".join(f"{name}: {value}\r\n" for name, value in shared.items()).encode("latin-1")
        self.varies = not _VARYING.isdisjoint(headers)


def parse_headers(block: bytes, origins: Origins = Origins()) -> Head | None:  # noqa: B008 # nothing changes it
    """The headers between request line and empty line, or ``None`` when they are not all plain.

    What a browser sent is plain where a page of a named origin had it sent: it may do all that the lane does.
    """
    headers: dict[str, str] = {}
    for line in block.split(b"\r\n") if block else ():
        match = _HEADER.match(line)
        if match is None:
            return None
        name = match[1].decode().lower()
        if name in _LEAVE and not (name == "connection" and match[2].lower() == b"keep-alive"):
            return None
        if name in headers or len(headers) >= MAX_HEADERS:
            return None
        headers[name] = match[2].decode()
    length = headers.get("content-length", "0")
    if not length.isdecimal() or len(length) > 9:
        return None
    origin = headers.get("origin", "")
    shared = origins.shown_to(origin) if origins.is_named(origin) else {}
    is_program = not origins.is_browser(headers)
    if not shared and not is_program:
        return None
    return Head(headers, int(length), shared, is_program)


def apart(block: bytes) -> tuple[bytes, dict[str, str] | None]:
    """The lines of a head that most requests of a client have in common, and what this request has of its own.

    It takes a fifth of the time of `parse_headers`. What is its own is ``None`` where something is said twice.

    :param block: lines, with a line's end before each.
    """
    parts = _OWN.split(block)
    if len(parts) == 1:
        return block, _NOTHING
    own: dict[str, str] = {}
    for at in range(1, len(parts), 3):
        own[_OWN_NAMES[parts[at]]] = parts[at + 1].decode()
    return b"".join(parts[::3]), own if len(own) == len(parts) // 3 else None


_UNKNOWN = Head({}, 0, {})
"""In place of a head that is not remembered."""


class FastLane:
    """See the module; one for all connections of a node.

    :param max_head_bytes: bound on a request's head; those near it are left to Twisted, which refuses them.
    :param max_body_bytes: bound on its body, likewise.
    """

    _log = Logger()

    def __init__(
        self,
        *,
        data: DataRoutes,
        metrics: Metrics,
        seconds: Callable[[], float],
        origins: Origins,
        max_head_bytes: int,
        max_body_bytes: int,
    ) -> None:
        self._origins = origins
        self._data = data
        self._proxies, self._audit = data.context.proxies, data.context.audit
        self._tracer = data.context.cluster.runtime.tracer
        self._metrics = metrics
        self._seconds = seconds
        self._max_head_bytes = min(MAX_HEAD_BYTES, max_head_bytes // 2)
        self._max_body_bytes = max_body_bytes
        self._heads: dict[bytes, Head | None] = {}

    def take(
        self, data: bytes, address: str, respond: Respond, certificate: Callable[[], Certificate | None] = _NOT_SHOWN
    ) -> int:
        """Begin to answer the request at the beginning of some bytes.

        :param respond: called once with the answer's bytes, perhaps before this returns.
        :param certificate: asked for what the client has shown.
        :returns: how many bytes the request has; 0 when it is none for this lane, and nothing was done.
        """
        line = _REQUEST_LINE.match(data)
        if line is None:
            return 0
        method, table, key, query = line.groups()
        if query and query[:1] != _LEVELS[method]:  # no parameter of that route
            return 0
        end = data.find(b"\r\n\r\n", line.end() - 2, self._max_head_bytes)
        if end < 0 or table.decode() in RESERVED_TABLES:
            return 0
        head, own = self._understood(data[line.end() - 2 : end])
        if head is None or (method == b"GET" and "if-none-match" in head.headers):  # perhaps 304, which has no body
            return 0
        size = end + 4 + head.length
        if size > len(data) or head.length > self._max_body_bytes:
            return 0
        shown = certificate() if head.is_program else None
        headers = {**head.headers, **own} if own else head.headers
        if self._proxies.are_there:
            address = self._proxies.client_of(address, headers)
        named = {query[:1].decode(): query[2:].decode()} if query else _NOTHING
        request = Request(named, headers, data[end + 4 : size], address, shown)
        self._serve(method, table.decode(), key.decode(), request, respond, head.shared)
        return size

    def _understood(self, block: bytes) -> tuple[Head | None, dict[str, str]]:
        """A head, and what this request has of its own besides; no head when it is none for this lane."""
        known = self._heads.get(block, _UNKNOWN)
        if known is not _UNKNOWN:
            return known, _NOTHING
        common, own = apart(block)
        head = self._head(common)
        if head is None or own is None or not own.keys().isdisjoint(head.headers):
            return None, _NOTHING
        return head, own

    def _head(self, block: bytes) -> Head | None:
        """Most requests of a client have the same headers, but for what is their own."""
        try:
            return self._heads[block]
        except KeyError:
            head = parse_headers(block[2:], self._origins)
            if head is None or not head.varies:
                if len(self._heads) >= HEADS_REMEMBERED:
                    self._heads.clear()
                self._heads[block] = head
            return head

    def _serve(self, method: bytes, table: str, key: str, request: Request, respond: Respond, shared: bytes) -> None:
        started_s = self._seconds()
        span = begun(self._tracer, _NAMES[method][1], request) if self._tracer.is_on else None
        if span is not None:
            request = msgspec.structs.replace(request, trace=span.traceparent)

        def answered(answer: Answer) -> None:
            if self._audit.is_on:
                who = self._data.context.who_asks(request)
                self._audit.answered(f"data.{method.decode().lower()}", request, (table, key), answer, who)
            self._metrics.lane_requests += 1
            now_s = self._seconds()
            took_s = max(now_s - started_s, 1e-6)
            name, route, parameter = _NAMES[method]
            level = known_level(request.query.get(parameter)) if request.query else USUAL_LEVEL
            self._metrics.observe(name, answer.status, took_s, route, level)
            if "x-request-id" in request.headers and (request_id := id_of(request.headers)):
                noted = self._data.context.followed
                answer = followed(noted, request_id, route, answer, began_s=started_s, now_s=now_s)
            if span is not None:
                ended(span, name, route, request, (table, key), answer.status)
            respond(rendered(answer, shared), answer.holder)

        try:
            self._data.serve(_KINDS[method], request, table, key, answered)
        except ApiError as error:
            answered(error_answer(error))
        except Exception:
            self._log.failure("a handler failed")
            answered(error_answer(ApiError(500, "internal", "internal error; see the log of the node")))


_NOTHING: dict[str, str] = {}
_STATUS_LINES = {status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() for status in HTTPStatus}


def rendered(answer: Answer, shared: bytes = b"") -> bytes:
    """An answer as `KleinApp` has it written.

    :param shared: see `Head`.
    """
    return heart.answer_of(_STATUS_LINES[answer.status], shared, answer.content_type, answer.headers, answer.body)
