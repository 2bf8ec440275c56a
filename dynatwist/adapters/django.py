"""Django: sessions and a cache.

In ``settings.py``::

    DYNAKV = {"urls": ["http://127.0.0.1:6661", "http://127.0.0.1:6662"], "user": "web", "secret": "..."}
    SESSION_ENGINE = "dynatwist.adapters.django_sessions"
    CACHES = {"default": {"BACKEND": "dynatwist.adapters.django.DynakvCache"}}
"""

from __future__ import annotations

import pickle
from base64 import b64decode, b64encode
from functools import cache
from typing import Any

from django.conf import settings
from django.core.cache.backends.base import DEFAULT_TIMEOUT, BaseCache

from dynatwist.sync import NotFound, PreconditionFailed

from .account import Account

MAX_TTL_S = 10 * 365 * 86_400
"""Django's "for ever" is none of DynaTwist's, which takes seconds: ten years."""


@cache
def account() -> Account:
    """The one that ``settings.DYNAKV`` names."""
    given = settings.DYNAKV
    return Account(**{name: given[name] for name in ("urls", "user", "secret", "token", "ca") if name in given})


class DynakvCache(BaseCache):
    """A cache in one table; values are pickled, as in Django's other caches, so the table is to be this program's.

    :param table: ``LOCATION``; ``django_cache`` when not given.
    """

    def __init__(self, table: str, parameters: dict[str, Any]) -> None:
        super().__init__(parameters)
        self._table = table or "django_cache"

    def _key(self, key: str, version: int | None) -> str:
        made: str = self.make_and_validate_key(key, version=version)
        return made

    def _ttl_s(self, timeout: Any) -> int:
        """Seconds to live; 0 for not at all."""
        seconds = self.default_timeout if timeout is DEFAULT_TIMEOUT else timeout
        return MAX_TTL_S if seconds is None else max(0, int(seconds))

    def get(self, key: str, default: Any = None, version: int | None = None) -> Any:
        """What is cached, or `default`."""
        try:
            return _unpickled(account().client.get(self._table, self._key(key, version)).value)
        except NotFound:
            return default

    def set(self, key: str, value: Any, timeout: Any = DEFAULT_TIMEOUT, version: int | None = None) -> None:
        """Cache something."""
        name, ttl_s = self._key(key, version), self._ttl_s(timeout)
        if ttl_s:
            account().client.put(self._table, name, _pickled(value), ttl=ttl_s)
        else:
            self.delete(key, version)

    def add(self, key: str, value: Any, timeout: Any = DEFAULT_TIMEOUT, version: int | None = None) -> bool:
        """Cache something if nothing is; answers whether it was."""
        name, ttl_s = self._key(key, version), self._ttl_s(timeout)
        if not ttl_s:
            return not self.has_key(key, version)
        try:
            account().client.put(self._table, name, _pickled(value), ttl=ttl_s, if_none_match=True)
        except PreconditionFailed:
            return False
        return True

    def touch(self, key: str, timeout: Any = DEFAULT_TIMEOUT, version: int | None = None) -> bool:
        """Have something live for longer; answers whether it is there."""
        ttl_s = self._ttl_s(timeout)
        if not ttl_s:
            return self.delete(key, version)
        try:
            account().client.touch(self._table, self._key(key, version), ttl_s)
        except NotFound:
            return False
        return True

    def delete(self, key: str, version: int | None = None) -> bool:
        """Forget something; answers whether it was there."""
        try:
            account().client.delete(self._table, self._key(key, version))
        except NotFound:
            return False
        return True

    def get_many(self, keys: Any, version: int | None = None) -> dict[str, Any]:
        """Those that are cached, in one request."""
        names = {self._key(key, version): key for key in keys}
        found = account().client.get_many(self._table, names)
        return {names[name]: _unpickled(record.value) for name, record in found.items()}

    def incr(self, key: str, delta: int = 1, version: int | None = None) -> int:
        """Add to a number, however many do so at once; it goes on living as long as it had to."""
        client, name = account().client, self._key(key, version)
        while True:  # somebody has made progress each time that this begins anew
            try:
                held = client.get(self._table, name)
                made: int = _unpickled(held.value) + delta
                client.patch(self._table, name, {"p": None, **_pickled(made)}, if_match=held.etag)  # and its end stays
            except NotFound:
                raise ValueError(f"Key {key!r} not found") from None
            except PreconditionFailed:
                continue
            return made

    def clear(self) -> None:
        """Forget all, of every program that uses the table."""
        client = account().client
        page: list[str] = []
        for name in [*client.scan(self._table), ""]:
            if name:
                page.append(name)
            if page and (not name or len(page) == 500):
                client.batch(self._table, [{"op": "delete", "key": one} for one in page])
                page = []


def _pickled(value: Any) -> dict[str, Any]:
    if type(value) in (str, int, bool, type(None)):
        return {"v": value}
    return {"p": b64encode(pickle.dumps(value)).decode()}


def _unpickled(value: dict[str, Any]) -> Any:
    return value["v"] if "v" in value else pickle.loads(b64decode(value["p"]))
