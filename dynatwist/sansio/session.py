"""As whom a client asks, and how it logs in again when its token has ended."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from .errors import Unauthorized
from .failover import REQUEST_TIMEOUT_S, Failover
from .trail import trail
from .world import Response, Waiter, World

ENDED = "bad_token"
"""The code of a refusal because a token counts no more; a new one may."""


class _Issued(msgspec.Struct):
    token: str


class Session:
    """See the module.

    A client that has logged in by a secret keeps it, and logs in anew when a node says that the token has ended: once,
    whatever number of requests wait for that.
    """

    def __init__(self, world: World, nodes: Failover) -> None:
        self._world = world
        self._nodes = nodes
        self._token: str | None = None
        self._login: tuple[str, bytes] | None = None
        self._renewing: Waiter | None = None

    @property
    def token(self) -> str | None:
        """The bearer token in use."""
        return self._token

    def use(self, token: str | None) -> None:
        """Go on with a token from elsewhere, or with none. When it ends, there is no secret to log in by."""
        self._token, self._login = token, None

    async def log_in(self, path: str, body: bytes, again: bytes) -> None:
        """Get a token, and another one whenever it has ended.

        :param again: the body by which another one is asked for.
        :raises Unauthorized: wrong secret.
        """
        self._token, self._login = await self._issued(path, body), (path, again)

    async def _issued(self, path: str, body: bytes) -> str:
        answer = await self._nodes.request("POST", path, body, trail(self._world.random), repeatable=True)
        return msgspec.json.decode(answer.body, type=_Issued).token

    def give_up(self, token: str | None) -> None:
        """A token has ended, and its secret is none any more; harmless where another login came between."""
        if self._token == token:
            self.use(None)

    def forget(self, path: str) -> None:
        """The user who logs in by a path has logged out."""
        if self._login is None or self._login[0] == path:
            self.use(None)

    @property
    def can_renew(self) -> bool:
        """Whether there is a secret to log in by."""
        return self._login is not None

    async def renew(self, ended: str | None) -> None:
        """Log in again, or wait for another request that does.

        :param ended: the token that counts no more.
        :raises KvError: the secret is none any more, or no node answers.
        """
        if self._token != ended or self._login is None:
            return
        if self._renewing is not None:
            await self._renewing.awaited
            return
        renewing = self._renewing = self._world.waiter()
        try:
            login = self._login
            token = await self._issued(*login)
            if self._login is login:  # else the program has logged out meanwhile, or is somebody else
                self._token = token
        finally:
            self._renewing = None
            renewing.happen()  # those that wait try with what there is, and are told what is wrong with it

    async def request(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        *,
        repeatable: bool = False,
        timeout_s: float = REQUEST_TIMEOUT_S,
    ) -> bytes:
        """Ask as this user; see `Failover.request`.

        :returns: the answer's body.
        """
        return (await self.answer(method, path, body, headers, repeatable=repeatable, timeout_s=timeout_s)).body

    async def answer(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        *,
        repeatable: bool = False,
        timeout_s: float = REQUEST_TIMEOUT_S,
    ) -> Response:
        """The same, with the answer's headers."""
        token, login = self._token, self._login
        sent = {**trail(self._world.random), **(headers or {})}
        try:
            return await self._ask(method, path, body, sent, repeatable, timeout_s)
        except Unauthorized as error:
            if error.code != ENDED or login is None:
                raise
            refused = error
        await self.renew(token)
        if self._login is not login:  # the program is somebody else by now, in whose name this is not asked
            raise refused
        return await self._ask(method, path, body, sent, repeatable, timeout_s)

    async def _ask(
        self,
        method: str,
        path: str,
        body: bytes | None,
        headers: Mapping[str, str],
        repeatable: bool,
        timeout_s: float,
    ) -> Response:
        sent = dict(headers)
        if self._token is not None:
            sent["Authorization"] = f"Bearer {self._token}"
        return await self._nodes.request(method, path, body, sent, repeatable=repeatable, timeout_s=timeout_s)
