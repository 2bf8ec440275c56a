"""A cluster, as a program uses it: users, records, watches and locks, with failover between the nodes.

The client repeats on another node what it may repeat: reads, logins, whatever certainly was not carried out, and writes
of records. Each write has a name (`dynatwist.client.naming`), by which the nodes know it again: it is made once, though
its answer was lost, or a node calls it ``uncertain``, and it is sent again. Somebody else may have written meanwhile;
the record that is answered says so then (`Record.superseded`), and theirs stays.

`Unavailable` with code ``uncertain`` is left for a write of whose tries one may have been carried out, and of which no
node could tell; for one that was given an empty name; and for `call` and `ask`, whose requests have none. Whoever gets
this error reads the record, and knows then.

A record remembers the names of its last 32 writes. Where others have made more between two tries of one write (a node
froze for five seconds, and the key is one that everybody changes) it counts as not made.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from typing import Any

import msgspec
from twisted.internet.task import deferLater

from .batch import carried_out
from .conflicts import Conflict, listed
from .contention import UPDATE_TIMEOUT_S, updated
from .failover import PAUSE_S, REQUEST_TIMEOUT_S, Failover
from .lock import USUAL_TTL_S, Lock
from .mirror import Mirror
from .naming import Op, name_of, named
from .paths import query, quoted, record_path
from .presence import Presence
from .record import Record
from .watch import Change, Watch, Where


class Client:
    """A cluster, as one user.

    Make it with `connect`.

    :ivar token: the bearer token in use; set it to use one from elsewhere.
    """

    def __init__(self, reactor: Any, urls: Iterable[str]) -> None:
        self._reactor = reactor
        self._nodes = Failover(reactor, [url.rstrip("/") for url in urls])
        self.token: str | None = None

    @classmethod
    async def connect(cls, reactor: Any, urls: Iterable[str]) -> Client:
        """A client, once one of the nodes answered.

        :param urls: of some nodes; all are used, beginning with the first that answers.
        :raises Unavailable: when none does.
        """
        client = cls(reactor, urls)
        await client._request("GET", "/heartbeat", repeatable=True)
        return client

    @property
    def reactor(self) -> Any:
        """The reactor that it runs on."""
        return self._reactor

    async def close(self) -> None:
        """Close the pooled connections."""
        await self._nodes.close()

    # Users

    async def login(self, name: str, secret: str) -> None:
        """Log in; a name that is not registered is registered.

        :raises Unauthorized: wrong secret.
        """
        answer = await self._json("POST", f"/auth/{quoted(name)}", {"secret": secret}, repeatable=True)
        self.token = answer["token"]

    register = login

    async def login_admin(self, password: str) -> None:
        """Log in as the administrator."""
        self.token = (await self._json("POST", "/admin/login", {"password": password}, repeatable=True))["token"]

    async def logout(self, name: str) -> None:
        """Have all of the user's tokens stop working."""
        await self._json("POST", f"/auth/{quoted(name)}/logout", {}, repeatable=True)
        self.token = None

    # Records

    async def put(
        self,
        table: str,
        key: str,
        value: Mapping[str, Any],
        *,
        w: str | None = None,
        ttl: int | None = None,
        if_match: str | None = None,
        if_none_match: bool = False,
        idempotency_key: str | None = None,
    ) -> Record:
        """Write a record.

        :param ttl: seconds until it expires.
        :param if_match: ETag that must be held; `if_none_match`: the key must be absent.
        :param idempotency_key: names this write, for ten minutes: sent again, by whomever of this user's programs, it
            is the same write. A fresh name when not given; empty for none, and then nothing is repeated that was made
            perhaps.
        :raises PreconditionFailed: says what is held instead.
        :raises Unavailable: see there, as for all writes.
        """
        headers = {"If-Match": f'"{if_match}"'} if if_match else {}
        if if_none_match:
            headers["If-None-Match"] = "*"
        if headers:
            headers["Prefer"] = "return=representation"
        path = record_path(table, key, w=w, ttl=ttl)
        body = await self._write("PUT", path, value, headers, idempotency_key)
        return msgspec.json.decode(body, type=Record)

    async def patch(
        self,
        table: str,
        key: str,
        changes: Mapping[str, Any],
        *,
        w: str | None = None,
        idempotency_key: str | None = None,
    ) -> Record:
        """Merge changes into a record (RFC 7396).

        :param idempotency_key: see `put`.
        """
        body = await self._write("PATCH", record_path(table, key, w=w), changes, {}, idempotency_key)
        fields = msgspec.json.decode(body)
        fields["value"] = fields["value"] or {}
        return msgspec.convert(fields, Record)

    async def touch(self, table: str, key: str, ttl: int) -> Record:
        """Have a record end so many seconds from now, as it is.

        :raises NotFound: there is none, or it has ended.
        """
        body = await self._request("POST", f"{record_path(table, key)}/touch{query(ttl=ttl)}", repeatable=True)
        return msgspec.json.decode(body, type=Record)

    async def update(
        self,
        table: str,
        key: str,
        change: Callable[[dict[str, Any] | None], Mapping[str, Any] | None],
        *,
        timeout_s: float = UPDATE_TIMEOUT_S,
    ) -> Record | None:
        """Change a record by what it is: read it, write what is made of it if nobody has written since, else again.

        Exact in a strong table; in others as exact as a condition is.

        :param change: makes the new value of the one there is, ``None`` where there is none; called once a try. If it
            answers ``None``, all is left as it is.
        :returns: the record that was written, or that is there and stays; ``None`` where there is none.
        :raises PreconditionFailed: others were quicker for all of `timeout_s`.
        :raises Unavailable: as for all writes; with code ``uncertain`` where nobody knows whether it was changed.
        """
        return await updated(self, self._reactor, table, key, change, timeout_s)

    async def get(self, table: str, key: str, *, r: str | None = None) -> Record:
        """Read a record.

        :raises NotFound: there is none.
        """
        body = await self._request("GET", record_path(table, key, r=r), repeatable=True)
        return msgspec.json.decode(body, type=Record)

    async def delete(self, table: str, key: str, *, w: str | None = None, idempotency_key: str | None = None) -> None:
        """Delete a record.

        :param idempotency_key: see `put`.
        :raises NotFound: there is none.
        """
        await self._write("DELETE", record_path(table, key, w=w), None, {}, idempotency_key)

    async def keys(self, table: str, prefix: str = "", after: str = "", limit: int | None = None) -> list[str]:
        """The keys that this user may read, in order."""
        asked = query(prefix=prefix or None, after=after or None, limit=limit)
        found: list[str] = await self._json("GET", f"/{quoted(table)}/keys{asked}", repeatable=True)
        return found

    async def get_many(self, table: str, keys: Iterable[str]) -> dict[str, Record]:
        """Those of some records that exist and this user may read."""
        body = await self._request("POST", f"/{quoted(table)}/keys", {"keys": list(keys)}, repeatable=True)
        return msgspec.json.decode(body, type=dict[str, Record])

    async def batch(self, table: str, ops: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Many puts and deletes in one request; an outcome each.

        :param ops: ``{"op": "put" or "delete", "key", "value"?, "idempotency_key"?}``; names as of `put`.
        """
        path = f"/{quoted(table)}/batch"

        async def ask(ops: list[Op]) -> list[dict[str, Any]]:
            has_names = all("idempotency_key" in op for op in ops)
            answer = await self._json("POST", path, {"ops": ops}, repeatable=has_names)
            results: list[dict[str, Any]] = answer["results"]
            return results

        async def ask_another(ops: list[Op]) -> list[dict[str, Any]]:
            self._nodes.leave(self._nodes.urls[0])
            await deferLater(self._reactor, PAUSE_S)
            return await ask(ops)

        return await carried_out(named(ops), ask, ask_another)

    def watch(
        self, table: str, key: str | None = None, prefix: str | None = None, from_cursor: str | None = None
    ) -> AsyncIterator[Change]:
        """Changes of a key, a prefix or a whole table, as they happen; resumed after a lost connection."""
        return self._watch(table, key, prefix, from_cursor)

    def mirror(self, table: str, prefix: str = "") -> Mirror:
        """What this user may read of a table, kept current: ``async with kv.mirror("presence") as present``."""
        return Mirror(self._watch(table, None, prefix, None, initial=True))

    def _watch(
        self, table: str, key: str | None, prefix: str | None, cursor: str | None, *, initial: bool = False
    ) -> Watch:
        where = Where(table, key, prefix, cursor, initial)
        return Watch(self._reactor, self._nodes.urls, lambda: self.token, where)

    def presence(self, table: str, key: str, value: Mapping[str, Any], *, ttl: int | None = None) -> Presence:
        """A record that is there as long as this program: ``async with kv.presence("present", "ann", {...}) as here``.

        :param ttl: seconds for which the program, its node or the network may be gone before the record ends; 15 when
            not given.
        """
        return Presence(self._reactor, self._nodes.urls, lambda: self.token, table, key, value, ttl)

    def lock(
        self, table: str, key: str, *, ttl_s: int = USUAL_TTL_S, wait_s: float | None = None, note: Any = None
    ) -> Lock:
        """A lock on a key of a strong table, for ``async with``: taken, renewed, and released.

        :param ttl_s: if this process dies, others wait so long at most.
        :param wait_s: how long to wait for it; for ever when not given.
        :param note: shown to those who find it held.
        """
        return Lock(self, self._reactor, table, key, ttl_s=ttl_s, wait_s=wait_s, note=note)

    async def conflicts(self, table: str | None = None, *, limit: int | None = None) -> list[Conflict]:
        """Values that lost a concurrent write, the newest first; those that this user may read."""
        return await listed(lambda path: self._request("GET", path, repeatable=True), table, limit)

    async def settle(self, conflict: str) -> None:
        """A conflict, by its id, is dealt with: it is listed no more.

        :raises NotFound: there is none, or it is settled already.
        """
        await self._request("DELETE", f"/conflicts/{quoted(conflict)}", repeatable=True)

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
        timeout_s: float,
        repeatable: bool = False,
    ) -> bytes:
        """Any route, with headers, that may take long.

        :param repeatable: whether it does no harm to carry it out again; if not, it is not repeated once it may have
            reached a node.
        """
        return await self._request(method, path, body, headers, timeout_s=timeout_s, repeatable=repeatable)

    # Requests

    async def _json(self, method: str, path: str, body: Any = None, *, repeatable: bool = False) -> Any:
        return msgspec.json.decode(await self._request(method, path, body, repeatable=repeatable))

    async def _write(
        self, method: str, path: str, body: Any, headers: dict[str, str], idempotency_key: str | None
    ) -> bytes:
        name = name_of(idempotency_key)
        if name:
            headers["Idempotency-Key"] = name
        return await self._request(method, path, body, headers, repeatable=bool(name))

    async def _request(
        self,
        method: str,
        path: str,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        *,
        repeatable: bool = False,
        timeout_s: float = REQUEST_TIMEOUT_S,
    ) -> bytes:
        sent = dict(headers or {})
        if self.token is not None:
            sent["Authorization"] = f"Bearer {self.token}"
        return await self._nodes.request(method, path, body, sent, repeatable=repeatable, timeout_s=timeout_s)
