"""The world of asyncio: httpx for requests, websockets for websockets."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Coroutine
from contextlib import suppress
from random import Random, SystemRandom
from typing import Any
from urllib.parse import urlsplit

import httpx
import msgspec
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException
from websockets.typing import Subprotocol

from dynatwist.sansio.world import (
    GOODBYE,
    IS_IT_HTTPS,
    NOT_TRUSTED,
    NOT_WELCOME,
    AnswerLost,
    Ends,
    Fields,
    NotSent,
    Request,
    Response,
)

CONNECT_TIMEOUT_S = 2.0
"""Then the next node is tried."""
KEEP_IDLE_S = 30
"""How long a connection is kept that nothing is sent on. Nodes close idle ones after 75 s. A client that closes first
sends no write into a connection that just ends, of which nobody could tell what became of it."""
MOST_IDLE = 8
"""Connections that are kept."""
SUBPROTOCOL = Subprotocol("dynakv.v1.json")
OPEN_TIMEOUT_S = 5.0
"""For a node to begin its stream, or the next one is tried."""
CLOSE_TIMEOUT_S = 2.0
"""For a node to answer a goodbye; one that is well needs milliseconds."""


class Waiter:
    """See `dynatwist.sansio.world.Waiter`."""

    def __init__(self) -> None:
        self._waiting: list[asyncio.Future[Any]] = []
        self._outcome: list[Any] = []

    @property
    def awaited(self) -> asyncio.Future[Any]:
        """A future of its own for each that awaits it."""
        waits: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
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


def _fire(waits: asyncio.Future[Any], outcome: Any) -> None:
    if waits.done():  # whoever awaited it was cancelled
        return
    if isinstance(outcome, Exception):
        waits.set_exception(outcome)
    else:
        waits.set_result(outcome)


class _Socket:
    """A websocket that stands; what is sent waits its turn, since sending is awaited."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection
        self._waiting: asyncio.Queue[bytes | int] = asyncio.Queue()

    def send(self, fields: Fields) -> None:
        self._waiting.put_nowait(msgspec.json.encode(fields))

    def close(self, code: int = GOODBYE) -> None:
        self._waiting.put_nowait(code)

    async def send_all(self) -> None:
        """Send what comes, until it is to be closed, or lost."""
        with suppress(WebSocketException):
            while isinstance(text := await self._waiting.get(), bytes):
                await self._connection.send(text, text=True)
            await self._connection.close(text)


def _why(error: Exception) -> str:
    """What people are told of a connection that was not made."""
    text = str(error) or type(error).__name__
    if "CERTIFICATE_VERIFY_FAILED" in text:
        return NOT_TRUSTED
    return "the node takes http, and no https" if "WRONG_VERSION_NUMBER" in text else text


class AioWorld:
    """See the module.

    :param tls: which certificates are trusted, and which is shown; ``None`` for http alone.
    """

    def __init__(self, tls: ssl.SSLContext | None) -> None:
        self._tls = tls
        self._http = httpx.AsyncClient(
            verify=tls or False,
            trust_env=False,  # nodes are asked directly, as the other faces do
            limits=httpx.Limits(max_keepalive_connections=MOST_IDLE, keepalive_expiry=KEEP_IDLE_S),
        )
        self._tasks: set[asyncio.Task[None]] = set()
        self.random: Random = SystemRandom()

    def now_s(self) -> float:
        """See `World`."""
        return asyncio.get_running_loop().time()

    def later(self, delay_s: float, call: Callable[[], object]) -> asyncio.TimerHandle:
        """See `World`."""
        return asyncio.get_running_loop().call_later(delay_s, call)

    def waiter(self) -> Waiter:
        """See `World`."""
        return Waiter()

    def start(self, work: Coroutine[Any, Any, None]) -> None:
        """See `World`."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def send(self, request: Request) -> Response:
        """See `World`."""
        timeout = httpx.Timeout(None, connect=min(CONNECT_TIMEOUT_S, request.timeout_s))
        try:
            async with asyncio.timeout(request.timeout_s):
                answer = await self._http.request(
                    request.method,
                    request.url,
                    headers=dict(request.headers),
                    content=request.body,
                    timeout=timeout,
                )
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            raise NotSent(_why(error)) from None
        except httpx.RemoteProtocolError as error:
            raise AnswerLost(IS_IT_HTTPS if request.url.startswith("http:") else str(error)) from None
        except ssl.SSLError as error:  # of TLS 1.3: the client takes its handshake for done by then
            raise NotSent(NOT_WELCOME if "ALERT" in str(error) else str(error)) from None
        except (httpx.HTTPError, TimeoutError) as error:
            raise AnswerLost(type(error).__name__) from None
        return Response(answer.status_code, dict(answer.headers.items()), answer.content)

    def connect(self, url: str, ends: Ends, ping_s: float) -> None:
        """See `World`."""
        self.start(self._talk(url, ends, ping_s))

    async def _talk(self, url: str, ends: Ends, ping_s: float) -> None:
        parts = urlsplit(url)
        secure = parts.scheme == "https"
        try:
            async with connect(
                f"{'wss' if secure else 'ws'}://{parts.netloc}/ws",
                subprotocols=[SUBPROTOCOL],
                ssl=self._tls if secure else None,
                proxy=None,
                max_size=None,
                open_timeout=OPEN_TIMEOUT_S,
                close_timeout=CLOSE_TIMEOUT_S,
                ping_interval=ping_s,
                ping_timeout=ping_s,
            ) as connection:
                socket = _Socket(connection)
                sending = asyncio.get_running_loop().create_task(socket.send_all())
                try:
                    ends.opened(socket)
                    async for text in connection:
                        ends.received(msgspec.json.decode(text))
                finally:
                    sending.cancel()
        except (OSError, TimeoutError, WebSocketException):
            pass
        finally:
            ends.closed()

    async def close(self) -> None:
        """See `World`."""
        await self._http.aclose()
