"""What is asked of a cluster, a request or some at a time; for what goes on beside a program see `verbs`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from typing import Any, TypeVar, overload

import msgspec

from .batch import carried_out, op_of
from .conflicts import Conflicts, listed
from .contention import UPDATE_TIMEOUT_S, updated
from .errors import NotFound
from .failover import REQUEST_TIMEOUT_S, Failover
from .naming import Op, name_of, named
from .paths import conditions, query, quoted, record_path
from .record import AnyRecord, Record
from .session import Session
from .trail import one_id
from .urls import checked
from .values import decoded, encoded
from .world import World

T = TypeVar("T")
DEADLINE_S = 30.0
"""Of a request with all its tries: three rounds of three nodes that do not answer take longer."""
PAGE = 500
"""Keys that are read together when a whole table is: some hundred kilobytes, as a rule."""


class Requests:
    """A cluster, as one user. Faces make it by their `connect`.

    :param urls: of some nodes; all are used, beginning with the first that answers. One alone may be given as it is.
    :param deadline_s: of a request with all its tries.
    """

    def __init__(self, world: World, urls: str | Iterable[str], deadline_s: float = DEADLINE_S) -> None:
        self._world = world
        self._nodes = Failover(world, checked(urls), deadline_s)
        self._session = Session(world, self._nodes)

    @property
    def token(self) -> str | None:
        """The bearer token in use; set it to use one from elsewhere."""
        return self._session.token

    @token.setter
    def token(self, token: str | None) -> None:
        self._session.use(token)

    @property
    def urls(self) -> list[str]:
        """Of the nodes, the one in use first."""
        return self._nodes.urls

    async def close(self) -> None:
        """Close the connections that are kept for later requests."""
        await self._world.close()

    # Users

    async def login(self, name: str, secret: str, *, registers: bool = True) -> None:
        """Log in; a name that is not registered is registered, unless that is not wanted.

        The secret is kept in memory: when the token has ended, the client logs in again by itself.

        :param registers: whether a new name is to become a user's.
        :raises Unauthorized: wrong secret.
        :raises NotFound: the name is not registered, and is not to be.
        """
        await self._enter(name, {"secret": secret, **({} if registers else {"new": False})})

    async def register(self, name: str, secret: str) -> None:
        """Become a user, and log in as `login` does.

        :raises KvError: with code ``user_exists``, the name is registered already.
        """
        await self._enter(name, {"secret": secret, "new": True})

    async def _enter(self, name: str, asked: dict[str, Any]) -> None:
        again = msgspec.json.encode({"secret": asked["secret"], "new": False})
        await self._session.log_in(f"/auth/{quoted(name)}", msgspec.json.encode(asked), again)

    async def login_admin(self, password: str) -> None:
        """Log in as the administrator.

        :raises Unauthorized: wrong password.
        """
        body = msgspec.json.encode({"password": password})
        await self._session.log_in("/admin/login", body, body)

    async def logout(self, name: str) -> None:
        """Have all of the user's tokens stop working."""
        await self._json("POST", f"/auth/{quoted(name)}/logout", {}, repeatable=True)
        self._session.forget(f"/auth/{quoted(name)}")

    async def ticket(self) -> str:
        """A ticket for one subscription or websocket of a program that cannot send a token, such as a page; good for
        half a minute."""
        found: str = (await self._json("POST", "/auth/ticket", {}))["ticket"]
        return found

    # Records

    async def put(
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
        headers = conditions(if_match, if_none_match)
        path = record_path(table, key, w=w, ttl=ttl)
        return decoded(await self._write("PUT", path, encoded(value), headers, idempotency_key), None)

    async def patch(
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
        path, sent = record_path(table, key, w=w), encoded(changes, "changes")
        fields = msgspec.json.decode(
            await self._write("PATCH", path, sent, conditions(if_match, False), idempotency_key)
        )
        fields["value"] = fields["value"] or {}
        return msgspec.convert(fields, AnyRecord)

    async def touch(self, table: str, key: str, ttl: int) -> AnyRecord:
        """Have a record end so many seconds from now, as it is.

        :raises NotFound: there is none, or it has ended.
        """
        path = f"{record_path(table, key)}/touch{query(ttl=ttl)}"
        return decoded(await self._session.request("POST", path, repeatable=True), None)

    async def update(
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

        async def read() -> AnyRecord | None:
            try:
                return await self.get(table, key)
            except NotFound:
                return None

        async def write(value: Mapping[str, Any], held: AnyRecord | None) -> AnyRecord:
            tag = held.etag if held is not None else None
            return await self.put(table, key, value, if_match=tag, if_none_match=held is None)

        return await updated(self._world, read, write, change, timeout_s)

    @overload
    async def get(self, table: str, key: str, *, r: str | None = None) -> AnyRecord: ...

    @overload
    async def get(self, table: str, key: str, *, type: type[T], r: str | None = None) -> Record[T]: ...

    @overload
    async def get(self, table: str, key: str, *, type: type[Any] | None, r: str | None = None) -> Record[Any]: ...

    async def get(self, table: str, key: str, *, type: type[Any] | None = None, r: str | None = None) -> Record[Any]:
        """Read a record.

        :param type: what its value is to be: a dataclass, a `msgspec.Struct`, a model of pydantic; a dictionary when
            not given.
        :param r: how many owners are asked: ``one``, ``quorum``, ``majority`` or ``all``.
        :raises NotFound: there is none.
        :raises TypeError: the value is none of that type.
        """
        return decoded(await self._session.request("GET", record_path(table, key, r=r), repeatable=True), type)

    async def delete(
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
        path = record_path(table, key, w=w)
        await self._write("DELETE", path, None, conditions(if_match, False), idempotency_key)

    async def keys(self, table: str, prefix: str = "", after: str = "", limit: int | None = None) -> list[str]:
        """The keys that this user may read, in order.

        :param after: only keys greater than this one.
        :param limit: so many at most.
        """
        asked = query(prefix=prefix or None, after=after or None, limit=limit)
        found: list[str] = await self._json("GET", f"/{quoted(table)}/keys{asked}", repeatable=True)
        return found

    async def scan(self, table: str, prefix: str = "") -> AsyncIterator[str]:
        """The keys that this user may read, in order, page by page: for tables of any size."""
        after = ""
        while page := await self.keys(table, prefix, after, PAGE):
            for key in page:
                yield key
            after = page[-1]

    async def get_many(self, table: str, keys: Iterable[str]) -> dict[str, AnyRecord]:
        """Those of some records that exist and this user may read."""
        body = await self._session.request(
            "POST", f"/{quoted(table)}/keys", msgspec.json.encode({"keys": list(keys)}), repeatable=True
        )
        return msgspec.json.decode(body, type=dict[str, AnyRecord])

    async def store(self, table: str, prefix: str = "") -> AsyncIterator[tuple[str, AnyRecord]]:
        """Keys and records that this user may read, in order, page by page: for tables of any size."""
        after = ""
        while page := await self.keys(table, prefix, after, PAGE):
            found = await self.get_many(table, page)
            for key in page:
                if key in found:  # else it was deleted meanwhile
                    yield key, found[key]
            after = page[-1]

    async def batch(self, table: str, ops: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Many puts and deletes in one request; an outcome each.

        :param ops: ``{"op": "put" or "delete", "key", "value"?, "ttl"?, "if_none_match"?, "idempotency_key"?}``, as of
            `put`; a value may be JSON already, a `msgspec.Raw`.
        """
        path = f"/{quoted(table)}/batch"

        async def ask(ops: list[Op]) -> list[dict[str, Any]]:
            has_names = all("idempotency_key" in op for op in ops)
            answer = await self._json("POST", path, {"ops": ops}, repeatable=has_names)
            results: list[dict[str, Any]] = answer["results"]
            return results

        async def ask_another(ops: list[Op]) -> list[dict[str, Any]]:
            await self._nodes.leave_this()
            return await ask(ops)

        with one_id(self._world.random):
            return await carried_out(named(map(op_of, ops), self._world.random), ask, ask_another)

    async def conflicts(self, table: str | None = None, *, limit: int | None = None) -> Conflicts:
        """Values that lost a concurrent write, the newest first; those that this user may read."""
        return await listed(lambda path: self._session.answer("GET", path, repeatable=True), table, limit)

    async def settle(self, conflict: str) -> None:
        """A conflict, by its id, is dealt with: it is listed no more.

        :raises NotFound: there is none, or it is settled already.
        """
        await self._session.request("DELETE", f"/conflicts/{quoted(conflict)}", repeatable=True)

    # The cluster

    async def members(self) -> dict[str, Any]:
        """``GET /membership``."""
        found: dict[str, Any] = await self._json("GET", "/membership", repeatable=True)
        return found

    async def stats(self) -> dict[str, Any]:
        """``GET /stats`` of the node in use."""
        found: dict[str, Any] = await self._json("GET", "/stats", repeatable=True)
        return found

    async def call(self, method: str, path: str, body: Any = None) -> Any:
        """Any other route; not repeated once it may have reached a node."""
        return await self._json(method, path, body, repeatable=method == "GET")

    async def ask(
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
        data = None if body is None else msgspec.json.encode(body)
        return await self._session.request(method, path, data, headers, timeout_s=timeout_s, repeatable=repeatable)

    # Requests

    async def _json(self, method: str, path: str, body: Any = None, *, repeatable: bool = False) -> Any:
        return msgspec.json.decode(await self.ask(method, path, body, {}, repeatable=repeatable))

    async def _write(
        self, method: str, path: str, body: bytes | None, headers: dict[str, str], idempotency_key: str | None
    ) -> bytes:
        name = name_of(idempotency_key, self._world.random)
        if name:
            headers["Idempotency-Key"] = name
        return await self._session.request(method, path, body, headers, repeatable=bool(name))
