"""What `dynatwist.sansio.requests` does, carried out in another thread and waited for.

Made by ``python -m tests.sync_face``: change the original, and make it anew.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeVar, overload

from dynatwist.aio.client import Client as AsyncClient
from dynatwist.sansio.conflicts import Conflicts
from dynatwist.sansio.contention import UPDATE_TIMEOUT_S
from dynatwist.sansio.failover import REQUEST_TIMEOUT_S
from dynatwist.sansio.record import AnyRecord, Record

from .portal import Portal

T = TypeVar("T")


class Requests:
    """See the module.

    :param inner: what is carried out in the portal's thread.
    """

    def __init__(self, portal: Portal, inner: AsyncClient) -> None:
        self._portal = portal
        self._inner = inner

    def close(self) -> None:
        """Close the connections that are kept for later requests."""
        return self._portal.run(self._inner.close())

    def login(self, name: str, secret: str, *, registers: bool = True) -> None:
        """Log in; a name that is not registered is registered, unless that is not wanted.

        The secret is kept in memory: when the token has ended, the client logs in again by itself.

        :param registers: whether a new name is to become a user's.
        :raises Unauthorized: wrong secret.
        :raises NotFound: the name is not registered, and is not to be.
        """
        return self._portal.run(self._inner.login(name, secret, registers=registers))

    def register(self, name: str, secret: str) -> None:
        """Become a user, and log in as `login` does.

        :raises KvError: with code ``user_exists``, the name is registered already.
        """
        return self._portal.run(self._inner.register(name, secret))

    def login_admin(self, password: str) -> None:
        """Log in as the administrator.

        :raises Unauthorized: wrong password.
        """
        return self._portal.run(self._inner.login_admin(password))

    def logout(self, name: str) -> None:
        """Have all of the user's tokens stop working."""
        return self._portal.run(self._inner.logout(name))

    def ticket(self) -> str:
        """A ticket for one subscription or websocket of a program that cannot send a token, such as a page; good for
        half a minute."""
        return self._portal.run(self._inner.ticket())

    def put(
        self,
        table: str,
        key: str,
        value: Any,
        *,
        w: str | None = None,
        ttl: int | None = None,
        if_match: str | None = None,
        if_none_match: bool = False,
        idempotency_key: str | None = None,
    ) -> AnyRecord:
        """Write a record.

        :param value: a dictionary, or anything with fields: a dataclass, a `msgspec.Struct`, a model of pydantic.
        :param w: how many owners have to have it: ``one``, ``quorum``, ``majority`` or ``all``.
        :param ttl: seconds until it expires.
        :param if_match: ETag that must be held, or ``*`` for any; `if_none_match`: the key must be absent.
        :param idempotency_key: names this write, for ten minutes: sent again, by whomever of this user's programs, it
            is the same write. A fresh name when not given; empty for none, and then nothing is repeated that was made
            perhaps.
        :raises PreconditionFailed: says what is held instead.
        :raises TypeError: the value has something in it that JSON cannot say; names the place.
        :raises Unavailable: see `dynatwist.sansio.verbs`, as for all writes.
        """
        return self._portal.run(
            self._inner.put(
                table,
                key,
                value,
                w=w,
                ttl=ttl,
                if_match=if_match,
                if_none_match=if_none_match,
                idempotency_key=idempotency_key,
            )
        )

    def patch(
        self,
        table: str,
        key: str,
        changes: Any,
        *,
        w: str | None = None,
        if_match: str | None = None,
        idempotency_key: str | None = None,
    ) -> AnyRecord:
        """Merge changes into a record (RFC 7396).

        :param changes: as a value of `put`; ``None`` in it takes a field away.
        :param if_match, idempotency_key: see `put`.
        :raises NotFound: there is none.
        """
        return self._portal.run(
            self._inner.patch(table, key, changes, w=w, if_match=if_match, idempotency_key=idempotency_key)
        )

    def touch(self, table: str, key: str, ttl: int) -> AnyRecord:
        """Have a record end so many seconds from now, as it is.

        :raises NotFound: there is none, or it has ended.
        """
        return self._portal.run(self._inner.touch(table, key, ttl))

    def update(
        self,
        table: str,
        key: str,
        change: Callable[[dict[str, Any] | None], Mapping[str, Any] | None],
        *,
        timeout_s: float = UPDATE_TIMEOUT_S,
    ) -> AnyRecord | None:
        """Change a record by what it is: read it, write what is made of it if nobody has written since, else again.

        Exact in a strong table; in others as exact as a condition is. A record that was to end is put without an end.

        :param change: makes the new value of the one there is, ``None`` where there is none; called once a try. If it
            answers ``None``, all is left as it is.
        :returns: the record that was written, or that is there and stays; ``None`` where there is none.
        :raises PreconditionFailed: others were quicker for all of `timeout_s`.
        :raises Unavailable: as for all writes; with code ``uncertain`` where nobody knows whether it was changed.
        """
        return self._portal.run(self._inner.update(table, key, change, timeout_s=timeout_s))

    @overload
    def get(self, table: str, key: str, *, r: str | None = None) -> AnyRecord: ...

    @overload
    def get(self, table: str, key: str, *, type: type[T], r: str | None = None) -> Record[T]: ...

    @overload
    def get(self, table: str, key: str, *, type: type[Any] | None, r: str | None = None) -> Record[Any]: ...

    def get(self, table: str, key: str, *, type: type[Any] | None = None, r: str | None = None) -> Record[Any]:
        """Read a record.

        :param type: what its value is to be: a dataclass, a `msgspec.Struct`, a model of pydantic; a dictionary when
            not given.
        :param r: how many owners are asked: ``one``, ``quorum``, ``majority`` or ``all``.
        :raises NotFound: there is none.
        :raises TypeError: the value is none of that type.
        """
        return self._portal.run(self._inner.get(table, key, type=type, r=r))

    def delete(
        self,
        table: str,
        key: str,
        *,
        w: str | None = None,
        if_match: str | None = None,
        idempotency_key: str | None = None,
    ) -> None:
        """Delete a record.

        :param if_match, idempotency_key: see `put`.
        :raises NotFound: there is none.
        """
        return self._portal.run(self._inner.delete(table, key, w=w, if_match=if_match, idempotency_key=idempotency_key))

    def keys(self, table: str, prefix: str = "", after: str = "", limit: int | None = None) -> list[str]:
        """The keys that this user may read, in order.

        :param after: only keys greater than this one.
        :param limit: so many at most.
        """
        return self._portal.run(self._inner.keys(table, prefix, after, limit))

    def scan(self, table: str, prefix: str = "") -> Iterator[str]:
        """The keys that this user may read, in order, page by page: for tables of any size."""
        return self._portal.iterate(self._inner.scan(table, prefix))

    def get_many(self, table: str, keys: Iterable[str]) -> dict[str, AnyRecord]:
        """Those of some records that exist and this user may read."""
        return self._portal.run(self._inner.get_many(table, keys))

    def store(self, table: str, prefix: str = "") -> Iterator[tuple[str, AnyRecord]]:
        """Keys and records that this user may read, in order, page by page: for tables of any size."""
        return self._portal.iterate(self._inner.store(table, prefix))

    def batch(self, table: str, ops: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Many puts and deletes in one request; an outcome each.

        :param ops: ``{"op": "put" or "delete", "key", "value"?, "ttl"?, "if_none_match"?, "idempotency_key"?}``, as of
            `put`; a value may be JSON already, a `msgspec.Raw`.
        """
        return self._portal.run(self._inner.batch(table, ops))

    def conflicts(self, table: str | None = None, *, limit: int | None = None) -> Conflicts:
        """Values that lost a concurrent write, the newest first; those that this user may read."""
        return self._portal.run(self._inner.conflicts(table, limit=limit))

    def settle(self, conflict: str) -> None:
        """A conflict, by its id, is dealt with: it is listed no more.

        :raises NotFound: there is none, or it is settled already.
        """
        return self._portal.run(self._inner.settle(conflict))

    def members(self) -> dict[str, Any]:
        """``GET /membership``."""
        return self._portal.run(self._inner.members())

    def stats(self) -> dict[str, Any]:
        """``GET /stats`` of the node in use."""
        return self._portal.run(self._inner.stats())

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """Any other route; not repeated once it may have reached a node."""
        return self._portal.run(self._inner.call(method, path, body))

    def ask(
        self,
        method: str,
        path: str,
        body: Any,
        headers: Mapping[str, str],
        *,
        timeout_s: float = REQUEST_TIMEOUT_S,
        repeatable: bool = False,
    ) -> bytes:
        """Any route, with headers, that may take long.

        :param repeatable: whether it does no harm to carry it out again; if not, it is not repeated once it may have
            reached a node.
        """
        return self._portal.run(
            self._inner.ask(method, path, body, headers, timeout_s=timeout_s, repeatable=repeatable)
        )
