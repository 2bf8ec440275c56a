"""The client port of a simulated node: bytes of HTTP go in, an answer comes out, by the ways that real requests go.

Requests for one key are offered to the fast lane as bytes; what it leaves, and all others, are handed to the same
handlers as Klein hands them to.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from urllib.parse import quote

import msgspec
from twisted.internet.defer import ensureDeferred
from twisted.python.failure import Failure

from dynatwist.api.lane import FastLane
from dynatwist.api.origins import Origins
from dynatwist.api.request import Answer, Request, error_answer
from dynatwist.api.routes import find
from dynatwist.core import Core
from dynatwist.errors import ApiError

BAD = 0
"""The status of an answer that ends in the middle."""


@dataclass(frozen=True, slots=True)
class Ask:
    """A request.

    :ivar path: its decoded segments.
    """

    method: str
    path: tuple[str, ...]
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer; names of headers are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def code(self) -> str:
        """``ok``, or the code of the error object."""
        if self.status < 400:
            return "ok" if self.status else "cut"
        return self.field("code")

    def field(self, name: str) -> str:
        """A member of the object that the body is."""
        return str(msgspec.json.decode(self.body)[name])


Respond = Callable[[Reply], None]


class Door:
    """See the module; one for each process."""

    def __init__(self, core: Core) -> None:
        self._core = core
        limits = core.config.limits
        self._lane = FastLane(
            data=core.handlers.data,
            metrics=core.handlers.context.metrics,
            seconds=core.runtime.monotonic_s,
            origins=Origins(),
            max_head_bytes=limits.header_bytes,
            max_body_bytes=limits.body_bytes,
        )

    def send(self, ask: Ask, respond: Respond, broke: Callable[[Failure], object]) -> None:
        """Have a request answered.

        :param respond: called once with the answer.
        :param broke: called with what a handler raised that is no answer.
        """
        if len(ask.path) == 3 and self._lane.take(_bytes_of(ask), "client", lambda data, _: respond(_read(data))):
            return
        found = find(ask.method, ask.path)
        if found is None:
            raise ValueError(f"{ask.method} {ask.path}")
        name, segments = found
        handler = self._core.handlers.named(name)
        request = Request(dict(ask.query), {name.lower(): value for name, value in ask.headers.items()}, ask.body, "")

        async def run() -> Reply:
            try:
                answer: Answer | Awaitable[Answer] = handler(request, *segments)
                if not isinstance(answer, Answer):
                    answer = await answer
            except ApiError as error:
                answer = error_answer(error)
            body = answer.body
            try:
                if answer.stream is not None:
                    async for piece in answer.stream:
                        body += piece
            except ApiError:
                return Reply(BAD, {}, body)
            return Reply(answer.status, {name.lower(): value for name, value in answer.headers.items()}, body)

        ensureDeferred(run()).addCallback(lambda reply: respond(reply)).addErrback(broke)


def _bytes_of(ask: Ask) -> bytes:
    path = "/" + "/".join(quote(segment, safe="~!$&'()*+,;=:@") for segment in ask.path)
    query = "&".join(f"{quote(name)}={quote(value)}" for name, value in ask.query.items())
    headers = {"Host": "sim", **ask.headers, **({"Content-Length": str(len(ask.body))} if ask.body else {})}
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"{ask.method} {path}{'?' + query if query else ''} HTTP/1.1\r\n{lines}\r\n".encode() + ask.body


def _read(data: bytes) -> Reply:
    """An answer as it goes down the wire."""
    head, _, body = data.partition(b"\r\n\r\n")
    line, *lines = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value for name, _, value in (one.partition(": ") for one in lines)}
    assert int(headers["content-length"]) == len(body)
    return Reply(int(line.split(" ")[1]), headers, body)
