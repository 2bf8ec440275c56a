"""Django's sessions: a record each, that ends by itself when the session does. See `dynatwist.adapters.django`."""

from __future__ import annotations

from typing import Any

from django.contrib.sessions.backends.base import CreateError, SessionBase, UpdateError

from dynatwist.sync import NotFound, PreconditionFailed

from .django import account

TABLE = "django_sessions"


class SessionStore(SessionBase):
    """See the module. Django calls its methods."""

    def load(self) -> dict[str, Any]:
        """What the session holds; an unknown key begins a new one."""
        try:
            value = account().client.get(TABLE, self.session_key or "-").value
        except NotFound:
            self._session_key = None
            return {}
        found: dict[str, Any] = self.decode(value["data"])
        return found

    def exists(self, session_key: str) -> bool:
        """Whether there is one of that key."""
        try:
            account().client.get(TABLE, session_key)
        except NotFound:
            return False
        return True

    def create(self) -> None:
        """Begin, under a key that nobody has."""
        while True:
            self._session_key = self._get_new_session_key()
            try:
                self.save(must_create=True)
            except CreateError:
                continue
            self.modified = True
            return

    def save(self, must_create: bool = False) -> None:
        """Keep it.

        :raises CreateError: `must_create`, and there is one of that key.
        :raises UpdateError: it was deleted meanwhile, by a logout elsewhere.
        """
        if self.session_key is None:
            self.create()
            return
        value = {"data": self.encode(self._get_session(no_load=must_create))}
        client, ttl_s = account().client, max(1, int(self.get_expiry_age()))
        try:
            if must_create:
                client.put(TABLE, self.session_key, value, ttl=ttl_s, if_none_match=True)
            else:
                client.put(TABLE, self.session_key, value, ttl=ttl_s, if_match="*")
        except PreconditionFailed:
            raise (CreateError if must_create else UpdateError) from None

    def delete(self, session_key: str | None = None) -> None:
        """End it."""
        key = session_key or self.session_key
        if key is None:
            return
        try:
            account().client.delete(TABLE, key)
        except NotFound:
            return

    @classmethod
    def clear_expired(cls) -> None:
        """Nothing is to be done: sessions end by themselves."""
