"""Starlette and FastAPI: sessions on the server, in place of Starlette's own, which are in the cookie.

    app.add_middleware(DynakvSessions, urls=["http://127.0.0.1:6661"], user="web", secret="...")

``request.session`` is a dictionary, as there. A session that is emptied is deleted.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable
from contextlib import suppress
from http.cookies import SimpleCookie
from secrets import token_urlsafe
from typing import Any

from starlette.datastructures import MutableHeaders
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from dynatwist.aio import Client, NotFound, PreconditionFailed

ID_BYTES = 32
"""Of randomness in the cookie: nobody guesses another's session."""


class DynakvSessions:
    """See the module.

    :param user: logs in with `secret`; or `token`, a service token.
    :param cookie: its name.
    :param max_age_s: for how long a session lives that nobody uses.
    :param secure: whether the cookie is sent by https only.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        urls: str | Iterable[str],
        user: str = "",
        secret: str = "",
        token: str = "",
        table: str = "sessions",
        cookie: str = "session",
        max_age_s: int = 14 * 86_400,
        secure: bool = False,
    ) -> None:
        if not token and not (user and secret):
            raise ValueError("give a user and its secret, or a token")
        self._app = app
        self._urls, self._user, self._secret, self._token = urls, user, secret, token
        self._table, self._cookie, self._max_age_s, self._secure = table, cookie, max_age_s, secure
        self._client: Client | None = None

    async def _connected(self) -> Client:
        """The client, made when the first request comes: then there is a loop."""
        if self._client is None:
            made = Client(self._urls)
            if self._token:
                made.token = self._token
            else:
                await made.login(self._user, self._secret)
            self._client = self._client or made
        return self._client

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request with its session."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        name = HTTPConnection(scope).cookies.get(self._cookie, "")
        held = await self._load(name) if name else None
        scope["session"] = copy.deepcopy(held or {})

        async def with_cookie(message: Message) -> None:
            if message["type"] == "http.response.start":
                cookie = await self._keep(name if held is not None else "", held, scope["session"])
                if cookie:
                    MutableHeaders(scope=message).append("Set-Cookie", cookie)
            await send(message)

        await self._app(scope, receive, with_cookie)

    async def _load(self, name: str) -> dict[str, Any] | None:
        client = await self._connected()
        try:
            return (await client.get(self._table, name)).value
        except NotFound:
            return None

    async def _keep(self, name: str, before: dict[str, Any] | None, session: dict[str, Any]) -> str:
        """Write what has changed; answers the cookie that is to be sent, if one is."""
        if not session:
            if not name:
                return ""
            client = await self._connected()
            with suppress(NotFound):
                await client.delete(self._table, name)
            return self._cookie_of("", 0)
        client = await self._connected()
        if session == before:
            try:
                await client.touch(self._table, name, self._max_age_s)
            except NotFound:  # it was ended meanwhile
                return self._cookie_of("", 0)
            return self._cookie_of(name, self._max_age_s)  # it lives as long from now on, in the browser too
        held, name = ("*" if name else None), name or token_urlsafe(ID_BYTES)
        try:
            await client.put(self._table, name, session, ttl=self._max_age_s, if_match=held)
        except PreconditionFailed:  # it was ended meanwhile, by a logout elsewhere, and does not come back
            return self._cookie_of("", 0)
        return self._cookie_of(name, self._max_age_s)

    def _cookie_of(self, name: str, max_age_s: int) -> str:
        made: SimpleCookie = SimpleCookie({self._cookie: name})
        attributes = {"path": "/", "max-age": max_age_s, "httponly": True, "samesite": "lax", "secure": self._secure}
        for attribute, value in attributes.items():
            made[self._cookie][attribute] = value
        return made[self._cookie].OutputString()
