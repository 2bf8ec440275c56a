"""Flask: sessions on the server, by Flask-Session.

app.session_interface = DynakvSessions(app, ["http://127.0.0.1:6661"], user="web", secret="...")
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from flask import Flask
from flask_session.base import ServerSideSession, ServerSideSessionInterface

from dynatwist.sync import NotFound

from .account import Account


class Session(ServerSideSession):
    """One session."""


class DynakvSessions(ServerSideSessionInterface):
    """See the module.

    :param account: as of `dynatwist.adapters.account.Account`.
    :param table: where they are kept.
    """

    session_class = Session
    ttl = True

    def __init__(self, app: Flask, urls: str | Iterable[str], *, table: str = "flask_sessions", **account: Any) -> None:
        self._account = Account(urls, **account)
        self._table = table
        super().__init__(app)

    def _retrieve_session_data(self, store_id: str) -> dict[str, Any] | None:
        try:
            value = self._account.client.get(self._table, store_id).value
        except NotFound:
            return None
        found: dict[str, Any] = self.serializer.decode(b64decode(value["data"]))
        return found

    def _delete_session(self, store_id: str) -> None:
        try:
            self._account.client.delete(self._table, store_id)
        except NotFound:
            return

    def _upsert_session(self, session_lifetime: timedelta, session: ServerSideSession, store_id: str) -> None:
        data = b64encode(self.serializer.encode(session)).decode()
        ttl_s = max(1, int(session_lifetime.total_seconds()))
        self._account.client.put(self._table, store_id, {"data": data}, ttl=ttl_s)
