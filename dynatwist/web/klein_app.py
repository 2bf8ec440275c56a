"""The routes, through Klein: a thin adapter from twisted.web requests to the handlers in `dynatwist.api`."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qsl, unquote_to_bytes

from klein import Klein
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.iweb import IRequest
from werkzeug.exceptions import HTTPException, MethodNotAllowed

from dynatwist.api.followed import answered as followed
from dynatwist.api.followed import id_of
from dynatwist.api.handlers import Handler
from dynatwist.api.heavy import HEAVY_BYTES
from dynatwist.api.measured import level_of
from dynatwist.api.request import Answer, Request, error_answer, json_answer
from dynatwist.api.routes import ROUTES
from dynatwist.api.source import Proxies
from dynatwist.budget import Charge
from dynatwist.core import Core
from dynatwist.errors import ApiError

from .client import NAMES, client_file, client_list
from .dashboard import dashboard_file
from .handshake import check_handshake
from .pace import Pace
from .request import BoundedRequest, headers_of
from .sse import SseStream
from .websocket import KvSocket, take_over

_BAD_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_log = Logger()
PIECE_BYTES = 1 << 20
"""A page of a listing; see `dynatwist.requests.listing.PAGE_BYTES`."""


def parsed(request: BoundedRequest, proxies: Proxies) -> Request:
    """A twisted.web request, parsed; 400 where it makes no sense."""
    headers = headers_of(request)
    if headers.get("content-encoding", "identity").lower() != "identity":
        raise ApiError(415, "unsupported_encoding", "send the body without Content-Encoding")
    query: dict[str, str] = {}
    if request.query:
        try:
            pairs = parse_qsl(request.query.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=64)
        except (ValueError, UnicodeDecodeError):
            raise ApiError(400, "bad_query", "the query is not percent-encoded UTF-8") from None
        query = dict(pairs)
    address = proxies.client_of(request.getClientAddress().host, headers)
    return Request(query, headers, request.content.read(), address, request.certificate())


def segment(text: str) -> str:
    """A decoded path segment."""
    raw = text.encode()
    if _BAD_ESCAPE.search(raw):
        raise ApiError(400, "bad_path", "the path contains a % that begins no escape; write it as %25")
    try:
        return unquote_to_bytes(raw).decode()
    except UnicodeDecodeError:
        raise ApiError(400, "bad_path", "the path is not percent-encoded UTF-8") from None


class KleinApp:
    """The Klein application of one node."""

    def __init__(self, core: Core, reactor: Any) -> None:
        self._core = core
        self._handlers = core.handlers
        self._context = core.handlers.context
        self._metrics = self._context.metrics
        self._reactor = reactor
        self.klein = Klein()
        self.streams: set[SseStream] = set()
        self.sockets: set[KvSocket] = set()
        for method, path, name in ROUTES:
            self._route(method, path, name, core.handlers.named(name))
        self._plain_route("/<a>/subscribe/<b>", self._subscribe)
        self._plain_route("/<a>/subscribe", self._subscribe)
        self._plain_route("/ws", self._websocket)
        self._plain_route("/", self._front_page)
        self._plain_route("/admin", self._dashboard)
        self._plain_route("/admin/assets/<a>", self._dashboard)
        self._plain_route("/client/", lambda request: self._send(request, client_list()))
        for file in NAMES:
            self._plain_route(f"/client/{file}", partial(self._client_file, name=file))
        self.klein.handle_errors(Exception)(self._failed)

    def resource(self) -> Any:
        """The root resource."""
        return self.klein.resource()

    def _route(self, method: str, path: str, name: str, handler: Handler) -> None:
        def endpoint(request: BoundedRequest, **segments: str) -> Deferred[Any]:
            return ensureDeferred(self._run(request, name, handler, segments))

        endpoint.__name__ = f"{method} {path}"
        self.klein.route(path, methods=[method], merge_slashes=False)(endpoint)

    def _plain_route(self, path: str, handler: Callable[..., Any]) -> None:
        def endpoint(request: BoundedRequest, **segments: str) -> Any:
            return handler(request, *segments.values())

        endpoint.__name__ = f"GET {path}"
        self.klein.route(path, methods=["GET"], merge_slashes=False)(endpoint)

    async def _run(self, request: BoundedRequest, name: str, handler: Handler, segments: dict[str, str]) -> Any:
        context, asked, who = self._context, None, ""
        try:
            asked = self._parsed(request)
            who = context.who_asks(asked) if context.audit.is_on else ""
            answer = handler(asked, *[segment(text) for text in segments.values()])
            if not isinstance(answer, Answer):
                answer = await answer
        except ApiError as error:
            answer = error_answer(error)
        if asked is not None and (request_id := id_of(asked.headers)):
            answer = followed(request_id, name, answer, self._reactor.seconds() - request.started_s)
        if context.audit.is_on and asked is not None:
            context.audit.answered(name, asked, tuple(segments.values()), answer, who)
        if answer.stream is not None:
            budget, holder = self._context.budget, answer.holder
            with Charge(budget.streams, holder) as stream, Charge(budget.unread, holder) as piece:
                try:
                    stream.take()
                    piece.take(PIECE_BYTES)  # one is held all the time, read or not
                except ApiError as error:
                    answer = error_answer(error)
                else:
                    await self._send_stream(request, answer, name)
                    return None
        return self._send(request, answer, name, level_of(name, asked))

    def _parsed(self, request: BoundedRequest) -> Request:
        return parsed(request, self._context.proxies)

    def _send(self, request: BoundedRequest, answer: Answer, route: str = "", level: str = "") -> bytes:
        self._head(request, answer, route, level)
        if answer.status != 304:
            request.setHeader(b"content-length", b"%d" % len(answer.body))
        return answer.body

    def _head(self, request: BoundedRequest, answer: Answer, route: str = "", level: str = "") -> None:
        if answer.holder and request.is_connected:
            request.channel.belongs_to(answer.holder)
            request.channel.site.heavy.met(answer.holder)
        request.setResponseCode(answer.status, HTTPStatus(answer.status).phrase.encode())
        request.setHeader(b"content-type", answer.content_type.encode())
        for name, value in answer.headers.items():
            request.setHeader(name.encode(), value.encode("latin-1", "replace"))
        took_s = self._reactor.seconds() - request.started_s
        method = request.method.decode("latin-1")[:8]
        self._metrics.observe(method, answer.status, max(took_s, 1e-6), route, level)

    async def _send_stream(self, request: BoundedRequest, answer: Answer, route: str) -> None:
        """Write pieces as they come, at the pace at which the client reads."""
        self._head(request, answer, route)
        pace = Pace(request)
        assert answer.stream is not None
        try:
            async for piece in answer.stream:
                await pace.ready()
                if pace.is_over:
                    break
                request.write(piece)
                if len(piece) > HEAVY_BYTES:
                    await self._turn(request, answer.holder, len(piece))
        except ApiError:
            request.channel.loseConnection()  # half an answer cannot become an error any more
        finally:
            pace.end()

    @staticmethod
    def _turn(request: BoundedRequest, holder: str, size_bytes: int) -> Deferred[None]:
        """Fires when it is time for as much again."""
        turn: Deferred[None] = Deferred()
        if not request.is_connected:
            turn.callback(None)
        else:
            request.channel.site.heavy.begin(holder, size_bytes, lambda: turn.callback(None))
        return turn

    def _failed(self, request: IRequest, failure: Failure) -> bytes:
        assert isinstance(request, BoundedRequest)
        error = failure.value
        if isinstance(error, ApiError):
            return self._send(request, error_answer(error))
        if isinstance(error, MethodNotAllowed):
            allowed = ", ".join(sorted(error.valid_methods or ()))
            text = f"this path takes {allowed}"
            return self._send(request, error_answer(ApiError(405, "method_not_allowed", text, {"Allow": allowed})))
        if isinstance(error, HTTPException):
            return self._send(request, error_answer(ApiError(404, "not_found", "there is no such path")))
        _log.failure("a handler failed", failure=failure)
        internal = ApiError(500, "internal", "internal error; see the log of the node")
        return self._send(request, error_answer(internal))

    # What is more than a request and an answer

    async def _subscribe(self, request: BoundedRequest, table: str, key: str | None = None) -> None:
        asked = self._parsed(request)
        self._context.require_ready()
        identity = await self._context.identify_listener(asked, segment(table))
        stream = SseStream(request, self._reactor, self._metrics, self.streams)
        listening = self._handlers.live.subscribe(
            asked,
            identity,
            segment(table),
            segment(key) if key is not None else None,
            wake=stream.wake,
            end=stream.close,
        )
        if listening.holder:
            request.channel.belongs_to(listening.holder)
        took_s = max(self._reactor.seconds() - request.started_s, 1e-6)
        self._metrics.observe("GET", 200, took_s, "live.subscribe")
        await stream.begin(listening)

    async def _websocket(self, request: BoundedRequest) -> None:
        if b"websocket" not in (request.getHeader(b"upgrade") or b"").lower():
            raise ApiError(426, "upgrade_required", "this path speaks websocket", {"Upgrade": "websocket"})
        try:
            check_handshake(request)
        except ApiError as error:
            # And closes: a proxy that did not wait for this answer may send frames behind it, which are no requests.
            request.channel.refuse(error)
            await Deferred()
        identity = None
        asked = self._parsed(request)
        if asked.token is not None or "ticket" in asked.query:
            self._context.require_ready()
            identity = await self._context.identify_listener(asked)
            self._context.require_ready()
        else:
            identity = self._context.certified(asked)
        if request.is_connected:
            await take_over(request, self._core, identity, asked.address, self.sockets)

    def _front_page(self, request: BoundedRequest) -> bytes:
        """People are sent to the dashboard; programs are told where to ask."""
        if b"text/html" in (request.getHeader(b"accept") or b""):
            return self._send(request, Answer(302, b"", "text/plain; charset=utf-8", {"Location": "/admin"}))
        where = {"store": "DynaTwist", "dashboard": "/admin", "health": "/heartbeat", "members": "/membership"}
        return self._send(request, json_answer(200, where))

    def _client_file(self, request: BoundedRequest, name: str) -> bytes:
        return self._send(request, client_file(name, headers_of(request).get("if-none-match", "")))

    def _dashboard(self, request: BoundedRequest, name: str = "index.html") -> bytes:
        body, content_type = dashboard_file(name)
        request.setHeader(
            b"content-security-policy",
            b"default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
            b"base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        )
        headers = {"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "Cache-Control": "no-cache"}
        return self._send(request, Answer(200, body, content_type, headers))
