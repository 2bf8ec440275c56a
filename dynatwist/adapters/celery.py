"""Celery: results of tasks.

app = Celery(result_backend="dynatwist.adapters.celery.DynakvBackend://",
             result_backend_transport_options={"urls": ["http://127.0.0.1:6661"], "user": "web", "secret": "..."})
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from celery.backends.base import KeyValueStoreBackend

from dynatwist.sync import NotFound

from .account import Account


class DynakvBackend(KeyValueStoreBackend):
    """See the module. A result ends by itself after ``result_expires``."""

    persistent = True
    supports_autoexpire = True

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        given = dict(self.app.conf.get("result_backend_transport_options") or {})
        self._table = given.pop("table", "celery_results")
        self._account = Account(given.pop("urls"), **given)

    def get(self, key: str | bytes) -> str | None:
        """A result, as it was set."""
        try:
            text: str = self._account.client.get(self._table, _name(key)).value["result"]
        except NotFound:
            return None
        return text

    def mget(self, keys: Iterable[str | bytes]) -> list[str | None]:
        """Several, in one request."""
        names = [_name(key) for key in keys]
        found = self._account.client.get_many(self._table, names)
        return [found[name].value["result"] if name in found else None for name in names]

    def set(self, key: str | bytes, value: str | bytes) -> None:
        """Keep a result."""
        text = value.decode() if isinstance(value, bytes) else value
        ttl_s = int(self.expires) if self.expires else None
        self._account.client.put(self._table, _name(key), {"result": text}, ttl=ttl_s)

    def delete(self, key: str | bytes) -> None:
        """Forget one."""
        try:
            self._account.client.delete(self._table, _name(key))
        except NotFound:
            return


def _name(key: str | bytes) -> str:
    return key.decode() if isinstance(key, bytes) else key
