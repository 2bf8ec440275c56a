"""The world of Twisted: treq for requests, Autobahn for websockets, and a reactor."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from random import Random, SystemRandom
from typing import Any
from urllib.parse import urlsplit

import treq
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.endpoints import HostnameEndpoint, wrapClientTLS
from twisted.logger import Logger
from twisted.web.client import Agent, HTTPConnectionPool, ResponseNeverReceived

from dynatwist.sansio.world import IS_IT_HTTPS, NOT_TRUSTED, AnswerLost, Ends, NotSent, Request, Response
from dynatwist.twisted_inside.client import is_not_trusted, was_not_sent

from .sockets import OPEN_TIMEOUT_S, Sockets
from .tls import Policy

CONNECT_TIMEOUT_S = 2.0
"""Then the next node is tried."""
KEEP_IDLE_S = 30
"""How long a connection is kept that nothing is sent on. Nodes close idle ones after 75 s (`web.channel`). A client
that closes first sends no write into a connection that just ends, of which nobody could tell what became of it."""
MOST_IDLE = 8
"""Connections to one node that are kept."""


class Waiter:
    """See `dynatwist.sansio.world.Waiter`."""

    def __init__(self) -> None:
        self._waiting: list[Deferred[Any]] = []
        self._outcome: list[Any] = []

    @property
    def awaited(self) -> Deferred[Any]:
        """A Deferred of its own for each that awaits it."""
        waits: Deferred[Any] = Deferred()
        if self._outcome:
            _fire(waits, self._outcome[0])
        else:
            self._waiting.append(waits)
        return waits

    @property
    def has_happened(self) -> bool:
        """Whether it has, or failed."""
        return bool(self._outcome)

    def happen(self, result: Any = None) -> None:
        """It happens."""
        if not self._outcome:
            self._outcome.append(result)
            waiting, self._waiting = self._waiting, []
            for waits in waiting:
                _fire(waits, result)

    def fail(self, error: Exception) -> None:
        """It never will."""
        self.happen(error)


def _fire(waits: Deferred[Any], outcome: Any) -> None:
    if isinstance(outcome, Exception):
        waits.errback(outcome)
    else:
        waits.callback(outcome)


class _Timer:
    def __init__(self, call: Any) -> None:
        self._call = call

    def cancel(self) -> None:
        if self._call.active():
            self._call.cancel()


class TwistedWorld:
    """See the module.

    :param policy: which certificates are trusted, and which is shown.
    """

    log = Logger()

    def __init__(self, reactor: Any, policy: Policy) -> None:
        self._reactor = reactor
        self._policy = policy
        self._pool = HTTPConnectionPool(reactor, persistent=True)
        self._pool.maxPersistentPerHost = MOST_IDLE
        self._pool.cachedConnectionTimeout = KEEP_IDLE_S
        self._pool.retryAutomatically = False  # it would repeat deletes, whose answer may be what was lost
        agent = Agent(reactor, contextFactory=policy, connectTimeout=CONNECT_TIMEOUT_S, pool=self._pool)
        self._http = treq.client.HTTPClient(agent)
        self.random: Random = SystemRandom()

    def now_s(self) -> float:
        """See `World`."""
        seconds: float = self._reactor.seconds()
        return seconds

    def later(self, delay_s: float, call: Callable[[], object]) -> _Timer:
        """See `World`."""
        return _Timer(self._reactor.callLater(delay_s, call))

    def waiter(self) -> Waiter:
        """See `World`."""
        return Waiter()

    def start(self, work: Coroutine[Any, Any, None]) -> None:
        """See `World`."""
        ensureDeferred(work).addErrback(lambda failure: self.log.failure("a client's work ends", failure=failure))

    async def send(self, request: Request) -> Response:
        """See `World`."""
        headers: dict[bytes | str, bytes | str] = dict(request.headers.items())
        try:
            answer = await self._http.request(
                request.method, request.url, headers=headers, data=request.body, timeout=request.timeout_s
            )
            body: bytes = await answer.content()
        except Exception as error:
            if is_not_trusted(error):
                raise NotSent(NOT_TRUSTED) from None
            if was_not_sent(error):
                raise NotSent(error) from None
            is_cut = isinstance(error, ResponseNeverReceived) and request.url.startswith("http:")
            raise AnswerLost(IS_IT_HTTPS if is_cut else type(error).__name__) from None
        told = {name.decode().lower(): values[-1].decode() for name, values in answer.headers.getAllRawHeaders()}
        return Response(answer.code, told, body)

    def connect(self, url: str, ends: Ends, ping_s: float) -> None:
        """See `World`."""
        parts = urlsplit(url)
        secure = parts.scheme == "https"
        host, port = parts.hostname or "", parts.port or (443 if secure else 80)
        named = f"[{host}]" if ":" in host else host
        factory = Sockets(f"{'wss' if secure else 'ws'}://{named}:{port}/ws", ends, ping_s)
        endpoint: Any = HostnameEndpoint(self._reactor, host, port, timeout=OPEN_TIMEOUT_S)
        if secure:
            endpoint = wrapClientTLS(self._policy.options(host), endpoint)
        endpoint.connect(factory).addErrback(lambda _: ends.closed())

    def close(self) -> Deferred[None]:
        """See `World`."""
        closed: Deferred[None] = self._pool.closeCachedConnections()
        return closed
