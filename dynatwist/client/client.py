"""The client for Twisted; what it does is `dynatwist.sansio.verbs`."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

from dynatwist.sansio.requests import DEADLINE_S
from dynatwist.sansio.verbs import Verbs

from .tls import Policy
from .world import TwistedWorld


class Client(Verbs):
    """A cluster, as one user.

    :param urls: of some nodes; all are used, beginning with the first that answers. One alone may be given as it is.
    :param ca: path of the certificates that are trusted, PEM; the system's when not given.
    :param cert: paths of a certificate to show, and of its key, PEM.
    :param deadline_s: of a request with all its tries.
    """

    def __init__(
        self,
        reactor: Any,
        urls: str | Iterable[str],
        *,
        ca: str | None = None,
        cert: tuple[str, str] | None = None,
        deadline_s: float = DEADLINE_S,
    ) -> None:
        if isinstance(reactor, asyncio.AbstractEventLoop):
            raise TypeError("reactor: this is an event loop of asyncio; use dynatwist.aio, whose Client needs none")
        if not hasattr(reactor, "callLater"):
            raise TypeError(f"reactor: expected a reactor of Twisted, and not {type(reactor).__name__}")
        self._reactor = reactor
        super().__init__(TwistedWorld(reactor, Policy(ca, cert)), urls, deadline_s)

    @classmethod
    async def connect(
        cls,
        reactor: Any,
        urls: str | Iterable[str],
        *,
        ca: str | None = None,
        cert: tuple[str, str] | None = None,
        deadline_s: float = DEADLINE_S,
    ) -> Client:
        """A client, once one of the nodes answered; also for ``async with``.

        :raises Unavailable: when none does.
        """
        client = cls(reactor, urls, ca=ca, cert=cert, deadline_s=deadline_s)
        try:
            await client.ask("GET", "/heartbeat", None, {}, repeatable=True)
        except BaseException:
            await client.close()
            raise
        return client

    @property
    def reactor(self) -> Any:
        """The reactor that it runs on."""
        return self._reactor

    async def __aenter__(self) -> Client:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()
