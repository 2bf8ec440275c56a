"""The fast lane: plain requests for one key, read without Twisted's HTTP parser and answered without Klein.

It adds no second set of HTTP semantics. It takes a request only if all of it is there, and every part of it is of the
simplest kind; whatever else arrives goes to `HTTPChannel`, byte for byte. The same handlers answer, and the answer is
written with the same headers in the same order; `tests/test_lane.py` demands both. It knows bytes and no sockets, so
the simulated world drives it too.
"""

from __future__ import annotations

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
HEADS_REMEMBERED = 4096
"""A few megabytes: the head that each client sends again and again."""

_KINDS = {
    kind.value.upper(): (kind, f"data.{kind.value}", "r" if kind is Kind.GET else "w")
    for kind in (Kind.GET, Kind.PUT, Kind.PATCH, Kind.DELETE)
}
"""By method: the kind, and as metrics have them the route, and the parameter that names the level."""
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


def understood(block: bytes, origins: Origins = Origins()) -> Head | None:  # noqa: B008 # nothing changes it
    """What the lines of a head say, or ``None`` when they are not all plain.

    What a browser sent is plain where a page of a named origin had it sent: it may do all that the lane does.

    :param block: see `heart.headers_of`.
    """
    plain = heart.headers_of(block)
    if plain is None:
        return None
    headers, length = plain
    origin = headers.get("origin", "")
    shared = origins.shown_to(origin) if origins.is_named(origin) else {}
    is_program = not origins.is_browser(headers)
    if not shared and not is_program:
        return None
    return Head(headers, length, shared, is_program)


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
        found = heart.request_of(data, self._max_head_bytes)
        if found is None:
            return 0
        method, table, key, query, block, begin = found
        if table in RESERVED_TABLES or (query and query[0] != _KINDS[method][2]):  # or no parameter of that route
            return 0
        head, own = self._understood(block)
        if head is None or (method == "GET" and "if-none-match" in head.headers):  # perhaps 304, which has no body
            return 0
        size = begin + head.length
        if size > len(data) or head.length > self._max_body_bytes:
            return 0
        shown = certificate() if head.is_program else None
        headers = {**head.headers, **own} if own else head.headers
        if self._proxies.are_there:
            address = self._proxies.client_of(address, headers)
        named = {query[0]: query[2:]} if query else _NOTHING
        request = Request(named, headers, data[begin:size], address, shown)
        self._serve(method, table, key, request, respond, head.shared)
        return size

    def _understood(self, block: bytes) -> tuple[Head | None, dict[str, str]]:
        """A head, and what this request has of its own besides; no head when it is none for this lane."""
        known = self._heads.get(block, _UNKNOWN)
        if known is not _UNKNOWN:
            return known, _NOTHING
        common, own = heart.apart(block)
        head = self._head(common)
        if head is None or own is None or not own.keys().isdisjoint(head.headers):
            return None, _NOTHING
        return head, own

    def _head(self, block: bytes) -> Head | None:
        """Most requests of a client have the same headers, but for what is their own."""
        try:
            return self._heads[block]
        except KeyError:
            head = understood(block, self._origins)
            if head is None or not head.varies:
                if len(self._heads) >= HEADS_REMEMBERED:
                    self._heads.clear()
                self._heads[block] = head
            return head

    def _serve(self, method: str, table: str, key: str, request: Request, respond: Respond, shared: bytes) -> None:
        started_s = self._seconds()
        kind, route, parameter = _KINDS[method]
        span = begun(self._tracer, route, request) if self._tracer.is_on else None
        if span is not None:
            request = msgspec.structs.replace(request, trace=span.traceparent)

        def answered(answer: Answer) -> None:
            if self._audit.is_on:
                who = self._data.context.who_asks(request)
                self._audit.answered(route, request, (table, key), answer, who)
            self._metrics.lane_requests += 1
            now_s = self._seconds()
            took_s = max(now_s - started_s, 1e-6)
            level = known_level(request.query.get(parameter)) if request.query else USUAL_LEVEL
            self._metrics.observe(method, answer.status, took_s, route, level)
            if "x-request-id" in request.headers and (request_id := id_of(request.headers)):
                noted = self._data.context.followed
                answer = followed(noted, request_id, route, answer, began_s=started_s, now_s=now_s)
            if span is not None:
                ended(span, method, route, request, (table, key), answer.status)
            respond(rendered(answer, shared), answer.holder)

        try:
            self._data.serve(kind, request, table, key, answered)
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
