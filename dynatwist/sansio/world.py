"""The world as a client sees it: requests, websockets, time and chance. Each face has one, and so have tests.

Everything here is awaited by coroutines that neither Twisted nor asyncio knows of: each world gives them awaitables of
its own kind.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Mapping
from contextvars import Context
from random import Random
from typing import Any, Protocol

import msgspec

GOODBYE, ELSEWHERE = 1000, 4000
"""Codes with which a websocket is closed: for good, and by a client that goes on at another node. A frozen node reads
that when it thaws, and must not take away by what its client is seen."""
Fields = Mapping[str, Any]
"""A message of the websocket."""


class Request(msgspec.Struct, frozen=True):
    """One request to one node.

    :ivar timeout_s: for all of it, from the connection to the last byte of the answer.
    """

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes | None
    timeout_s: float


class Response(msgspec.Struct, frozen=True):
    """What a node answered.

    :ivar headers: names in lower case.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes


NOT_WELCOME = "it does not accept the certificate that was shown, or wants one; see cert= (dynakv --cert and --key)"
NOT_TRUSTED = "its certificate is not trusted; name the authority's with ca= (dynakv --cacert)"
"""What people are told who reach a node by a private authority."""
IS_IT_HTTPS = "the connection was closed without an answer; does the node take https?"
"""What may be the matter where a node takes TLS, and is not asked by it."""


class NotSent(Exception):
    """No byte of a request has left: no connection was made, or it broke before. The text says why."""


class AnswerLost(Exception):
    """A request may have arrived, and no answer came. The text says why."""


class Waiter(Protocol):
    """Something that one or several await, and that happens once."""

    @property
    def awaited(self) -> Any:
        """To be awaited; in the face's own kind, a Deferred or a Future."""

    @property
    def has_happened(self) -> bool:
        """Whether it has."""

    def happen(self, result: Any = None) -> None:
        """It happens; harmless when repeated."""

    def fail(self, error: Exception) -> None:
        """It never will, and whoever awaits it is raised this; harmless when repeated."""


class Timer(Protocol):
    """A call that is to be made later."""

    def cancel(self) -> None:
        """It is not made; harmless when it was."""


class Socket(Protocol):
    """A websocket that stands."""

    def send(self, fields: Fields) -> None:
        """Send a message."""

    def close(self, code: int = GOODBYE) -> None:
        """End it; `Ends.closed` is called when the node has heard that, or is lost."""


class Ends(Protocol):
    """Who has a websocket."""

    def opened(self, socket: Socket) -> None:
        """It stands."""

    def received(self, fields: dict[str, Any]) -> None:
        """A message has come."""

    def closed(self) -> None:
        """It has ended, or never stood. Called once."""


class World(Protocol):
    """See the module."""

    @property
    def random(self) -> Random:
        """Chance: names of writes, and jitter."""

    def now_s(self) -> float:
        """Seconds by a clock that is never set."""

    def later(self, delay_s: float, call: Callable[[], object]) -> Timer:
        """Call something, some time from now."""

    def waiter(self) -> Waiter:
        """Something to await."""

    def start(self, work: Coroutine[Any, Any, None]) -> None:
        """Have work done beside what goes on."""

    def send(self, request: Request) -> Awaitable[Response]:
        """Ask a node.

        :raises NotSent: it certainly was not asked.
        :raises AnswerLost: it may have been.
        """

    def connect(self, url: str, ends: Ends, ping_s: float) -> None:
        """Open a websocket to a node.

        :param url: of the node, as for requests.
        :param ping_s: between two pings; a node that does not answer one for as long is lost.
        """

    def close(self) -> Awaitable[None]:
        """Close connections that are kept for later requests."""


def beside(world: World, work: Coroutine[Any, Any, None]) -> None:
    """Have work done that outlives the call which begins it: its requests are no part of what the program does there,
    neither by their id nor in a trace."""
    Context().run(world.start, work)


async def pause(world: World, delay_s: float) -> None:
    """Wait."""
    waits = world.waiter()
    world.later(delay_s, waits.happen)
    await waits.awaited
