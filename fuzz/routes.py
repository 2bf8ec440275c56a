"""Requests by method and path to a simulated node, by the table of routes that Klein has, or through the fast lane."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from twisted.python.failure import Failure

from dynatwist.api.request import Answer, Request, error_answer
from dynatwist.api.routes import find
from dynatwist.auth.tokens import Identity
from dynatwist.errors import ApiError
from dynatwist.sim.door import Ask, Door, Reply

from .target import Found
from .world import Nodes


class Routes:
    """See the module.

    :param nodes: whose first node answers.
    """

    def __init__(self, nodes: Nodes) -> None:
        self._nodes = nodes
        self._door = Door(nodes.core)

    def ask(
        self,
        method: str,
        *path: str,
        token: str | None = None,
        body: object = None,
        query: Mapping[str, str] | None = None,
        in_lane: bool = False,
    ) -> tuple[int, Any]:
        """Status and decoded body of an answer."""
        headers = {"authorization": f"Bearer {token}"} if token is not None else {}
        data = msgspec.json.encode(body) if body is not None else b""
        if in_lane:
            out: list[Reply] = []
            self._door.send(Ask(method, path, query or {}, headers, data), out.append, _broke)
            self._nodes.world.run_until(lambda: bool(out), 1, 0.001)
            reply = out[0]
            status, text = reply.status, reply.body
        else:
            answer = self._nodes.result(self._answered(method, path, Request(query or {}, headers, data, "10.1.0.1")))
            if isinstance(answer, BaseException):
                raise answer
            status, text = answer
        if status >= 500:
            raise Found(f"{method} {path} is answered with {status}: {text!r}")
        return status, msgspec.json.decode(text)

    def listener(self, request: Request) -> Identity | None:
        """Who listens, by a token or a ticket."""
        found: Identity | BaseException | None = self._nodes.result(
            self._nodes.core.handlers.context.identify_listener(request)
        )
        if isinstance(found, BaseException):
            raise found
        return found

    async def _answered(self, method: str, path: tuple[str, ...], request: Request) -> tuple[int, bytes]:
        try:
            found = find(method, path)
            assert found is not None, (method, path)
            name, segments = found
            answer = self._nodes.core.handlers.named(name)(request, *segments)
            if not isinstance(answer, Answer):
                answer = await answer
        except ApiError as error:
            answer = error_answer(error)
        body = answer.body
        if answer.stream is not None:
            async for piece in answer.stream:
                body += piece
        return answer.status, body


def _broke(failure: Failure) -> None:
    raise Found(failure.getTraceback())
