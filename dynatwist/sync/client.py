"""The client for programs without an event loop; what it does is `dynatwist.sansio.verbs`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from dynatwist.aio.client import Client as AsyncClient
from dynatwist.sansio.lock import USUAL_TTL_S
from dynatwist.sansio.requests import DEADLINE_S

from .live import Lock, Mirror, Presence, Watch
from .portal import portal
from .requests import Requests


class Client(Requests):
    """A cluster, as one user; several threads may use one client.

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
        super().__init__(portal(), AsyncClient(urls, ca=ca, cert=cert, deadline_s=deadline_s))

    @classmethod
    def connect(
        cls,
        urls: str | Iterable[str],
        *,
        ca: str | None = None,
        cert: tuple[str, str] | None = None,
        deadline_s: float = DEADLINE_S,
    ) -> Client:
        """A client, once one of the nodes answered; also for ``with``.

        :raises Unavailable: when none does.
        """
        client = cls(urls, ca=ca, cert=cert, deadline_s=deadline_s)
        try:
            client.ask("GET", "/heartbeat", None, {}, repeatable=True)
        except BaseException:
            client.close()
            raise
        return client

    @property
    def token(self) -> str | None:
        """The bearer token in use; set it to use one from elsewhere."""
        return self._inner.token

    @token.setter
    def token(self, token: str | None) -> None:
        self._inner.token = token

    @property
    def urls(self) -> list[str]:
        """Of the nodes, the one in use first."""
        return self._inner.urls

    def watch(
        self,
        table: str,
        key: str | None = None,
        prefix: str | None = None,
        from_cursor: str | None = None,
        *,
        initial: bool = False,
    ) -> Watch:
        """Changes of a key, a prefix or a whole table, as they happen; resumed after a lost connection.

        :param from_cursor: of a change: go on behind it.
        :param initial: begin with what there is; see `Change.type`.
        """

        async def begin() -> Watch:
            return Watch(self._portal, self._inner.watch(table, key, prefix, from_cursor, initial=initial))

        return self._portal.run(begin())

    def mirror(self, table: str, prefix: str = "") -> Mirror:
        """What this user may read of a table, kept current: ``with kv.mirror("presence") as present``."""

        async def begin() -> Mirror:
            return Mirror(self._portal, self._inner.mirror(table, prefix))

        return self._portal.run(begin())

    def presence(self, table: str, key: str, value: Any, *, ttl: int | None = None) -> Presence:
        """A record that is there as long as this program: ``with kv.presence("present", "ann", {...}) as here``.

        :param ttl: seconds for which the program, its node or the network may be gone before the record ends; 15 when
            not given.
        """
        return Presence(self._portal, self._inner.presence(table, key, value, ttl=ttl))

    def lock(
        self, table: str, key: str, *, ttl_s: int = USUAL_TTL_S, wait_s: float | None = None, note: Any = None
    ) -> Lock:
        """A lock on a key of a strong table, for ``with``: taken, renewed, and released.

        :param ttl_s: if this process dies, others wait so long at most.
        :param wait_s: how long to wait for it; for ever when not given.
        :param note: shown to those who find it held.
        """
        return Lock(self._portal, self._inner.lock(table, key, ttl_s=ttl_s, wait_s=wait_s, note=note))

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
