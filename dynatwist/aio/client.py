"""The client for asyncio; what it does is `dynatwist.sansio.verbs`."""

from __future__ import annotations

import ssl
from collections.abc import Generator, Iterable
from typing import Any

from dynatwist.sansio.requests import DEADLINE_S
from dynatwist.sansio.urls import checked
from dynatwist.sansio.verbs import Verbs

from .world import AioWorld


class Client(Verbs):
    """A cluster, as one user.

    :param urls: of some nodes; all are used, beginning with the first that answers. One alone may be given as it is.
    :param ca: path of the certificates that are trusted, PEM; the system's when not given.
    :param cert: paths of a certificate to show, and of its key, PEM.
    :param deadline_s: of a request with all its tries.
    """

    def __init__(
        self,
        urls: str | Iterable[str],
        *,
        ca: str | None = None,
        cert: tuple[str, str] | None = None,
        deadline_s: float = DEADLINE_S,
    ) -> None:
        nodes = checked(urls)
        is_secure = any(url.startswith("https:") for url in nodes)
        super().__init__(AioWorld(_tls(ca, cert) if is_secure else None), nodes, deadline_s)

    @classmethod
    def connect(
        cls,
        urls: str | Iterable[str],
        *,
        ca: str | None = None,
        cert: tuple[str, str] | None = None,
        deadline_s: float = DEADLINE_S,
    ) -> Connecting:
        """A client, once one of the nodes answered: awaited, or used by ``async with``.

        :raises Unavailable: when none does.
        """
        return Connecting(cls(urls, ca=ca, cert=cert, deadline_s=deadline_s))

    async def __aenter__(self) -> Client:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


class Connecting:
    """A client that is to be connected."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def _connected(self) -> Client:
        try:
            await self._client.ask("GET", "/heartbeat", None, {}, repeatable=True)
        except BaseException:
            await self._client.close()
            raise
        return self._client

    def __await__(self) -> Generator[Any, Any, Client]:
        return self._connected().__await__()

    async def __aenter__(self) -> Client:
        return await self._connected()

    async def __aexit__(self, *_: object) -> None:
        await self._client.close()


def _tls(ca: str | None, cert: tuple[str, str] | None) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=ca)
    except ssl.SSLError:
        raise ValueError(f"{ca}: there is no certificate in it; give a PEM file") from None
    if cert is not None:
        try:
            context.load_cert_chain(*cert)
        except ssl.SSLError:
            raise ValueError(f"{cert[0]}, {cert[1]}: no certificate and key that belong together") from None
    return context
