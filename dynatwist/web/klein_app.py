"""The routes, through Klein: a thin adapter from twisted.web requests to the handlers in `dynatwist.api`."""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus
from typing import Any

import msgspec
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
from dynatwist.api.limits import RESERVED_TABLES
from dynatwist.api.measured import level_of
from dynatwist.api.openapi.described import what_is_said_of
from dynatwist.api.openapi.document import Document, Operation
from dynatwist.api.openapi.query import Query
from dynatwist.api.origins import Origins
from dynatwist.api.request import Answer, Request, error_answer
from dynatwist.api.routes import ROUTES, fits, freedom
from dynatwist.api.traced import begun, ended
from dynatwist.budget import Charge
from dynatwist.core import Core
from dynatwist.errors import ApiError

from . import live
from .live import Live
from .pace import Pace
from .pages import ROUTES as PAGES
from .pages import Pages
from .request import BoundedRequest, parsed, query_of, segment

_log = Logger()
PIECE_BYTES = 1 << 20
"""A page of a listing; see `dynatwist.requests.listing.PAGE_BYTES`."""


class KleinApp:
    """The Klein application of one node.

    :ivar document: what it answers, as OpenAPI 3.1 has it, in JSON.
    """

    def __init__(self, core: Core, reactor: Any, origins: Origins = Origins()) -> None:  # noqa: B008 # as they are
        self._context = core.handlers.context
        self._metrics = self._context.metrics
        self._tracer = core.runtime.tracer
        self._reactor = reactor
        self.klein = Klein()
        self.live = Live(core, reactor)
        self._paths: list[tuple[str, list[str]]] = []
        self._operations: list[Operation] = []
        pages = Pages(origins.of_members)
        for method, path, name in ROUTES:
            self._route(method, path, name, core.handlers.named(name))
        for method, path, name in live.ROUTES:
            self._raw_route(method, path, f"live.{name}", getattr(self.live, name))
        for method, path, name in PAGES:
            self._route(method, path, f"pages.{name}", getattr(pages, name), takes_any=True)
        self.klein.handle_errors(Exception)(self._failed)
        self.document = msgspec.json.encode(Document(self._operations, self._context.limits).made())
        pages.publish(self.document)

    def resource(self) -> Any:
        """The root resource."""
        return self.klein.resource()

    def _route(self, method: str, path: str, name: str, handler: Handler, *, takes_any: bool = False) -> None:
        """A route.

        :param takes_any: whatever is in its query: that makes a browser load a file anew.
        """
        takes = Query(what_is_said_of(handler)) if not takes_any else None

        def endpoint(request: BoundedRequest, **segments: str) -> Deferred[Any]:
            if segments and next(iter(segments.values())) in RESERVED_TABLES:
                self._require_method(request)
            return ensureDeferred(self._run(request, name, handler, segments, takes))

        self._register(method, path, name, handler, endpoint)

    def _raw_route(self, method: str, path: str, name: str, handler: Callable[..., Any]) -> None:
        """A route whose handler answers by itself, in its own way."""
        takes = Query(what_is_said_of(handler))

        def endpoint(request: BoundedRequest, **segments: str) -> Deferred[Any]:
            try:
                takes.require_known(query_of(request))
            except ApiError as error:
                if request.getHeader(b"upgrade") is None:
                    raise
                request.channel.refuse(error)  # and closes, as `Live.websocket` does
                return Deferred()
            return ensureDeferred(handler(request, *map(segment, segments.values())))

        self._register(method, path, name, handler, endpoint)

    def _register(
        self, method: str, path: str, name: str, handler: Callable[..., Any], endpoint: Callable[..., Any]
    ) -> None:
        """Have Klein answer a route, and the document tell of it."""
        endpoint.__name__ = f"{method} {path}"
        self.klein.route(path, methods=[method], merge_slashes=False)(endpoint)
        self._paths.append((method, path.split("/")))
        operation = Operation.of(method, path, name, handler)
        if operation is not None:
            self._operations.append(operation)

    async def _run(
        self, request: BoundedRequest, name: str, handler: Handler, segments: dict[str, str], takes: Query | None
    ) -> Any:
        context, asked, who = self._context, None, ""
        try:
            asked = self._parsed(request)
            if takes is not None:
                takes.require_known(asked.query)
            who = context.who_asks(asked) if context.audit.is_on else ""
            answer = await self._handled(request, name, handler, asked, [segment(text) for text in segments.values()])
        except ApiError as error:
            answer = error_answer(error)
        if asked is not None and (request_id := id_of(asked.headers)):
            now_s = self._reactor.seconds()
            answer = followed(context.followed, request_id, name, answer, began_s=request.started_s, now_s=now_s)
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

    async def _handled(
        self, request: BoundedRequest, name: str, handler: Handler, asked: Request, segments: list[str]
    ) -> Answer:
        """What a handler answers, under a span where one is wanted."""
        span, status = begun(self._tracer, name, asked), 500
        if span is not None:
            asked = msgspec.structs.replace(asked, trace=span.traceparent)
        try:
            answer = handler(asked, *segments)
            if not isinstance(answer, Answer):
                answer = await answer
            status = answer.status
        except ApiError as error:
            status = error.status
            raise
        finally:
            if span is not None:
                ended(span, request.method.decode("latin-1")[:8], name, asked, segments, status)
        return answer

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

    def _require_method(self, request: BoundedRequest) -> None:
        """405 for what Klein takes for a request about a table ``admin``, for want of a better route."""
        methods = self._methods(request)
        if methods and request.method.decode() not in methods:
            raise MethodNotAllowed(methods)

    def _methods(self, request: BoundedRequest) -> list[str]:
        """What may be asked of a path, by the route that fits it best: ``/auth/ticket`` is no user's."""
        path = request.path.decode().split("/")
        fitting = [(method, freedom(parts)) for method, parts in self._paths if fits(parts, path)]
        least = min((free for _, free in fitting), default=0)
        methods = {method for method, free in fitting if free == least}
        return sorted(methods | ({"HEAD"} if "GET" in methods else set()))

    def _failed(self, request: IRequest, failure: Failure) -> bytes:
        assert isinstance(request, BoundedRequest)
        error = failure.value
        if isinstance(error, ApiError):
            return self._send(request, error_answer(error))
        if isinstance(error, MethodNotAllowed):
            allowed = ", ".join(self._methods(request) or sorted(error.valid_methods or ()))
            text = f"this path takes {allowed}"
            return self._send(request, error_answer(ApiError(405, "method_not_allowed", text, {"Allow": allowed})))
        if isinstance(error, HTTPException):
            return self._send(request, error_answer(ApiError(404, "not_found", "there is no such path")))
        _log.failure("a handler failed", failure=failure)
        internal = ApiError(500, "internal", "internal error; see the log of the node")
        return self._send(request, error_answer(internal))
