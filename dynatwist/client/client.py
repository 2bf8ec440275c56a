"""Requests to a cluster, with failover between its nodes.

The client repeats on another node what it may repeat: reads, logins, and whatever certainly was not carried out, since
no node was reached or the node said so. A write whose answer was lost, or that a node calls ``uncertain``, raises
`Unavailable` with that code and is not repeated, not even a put of a whole value or a delete: it may have been carried
out, somebody else may have written since, and the repeated write would undo that one's write. Whoever gets this error
reads the record, and knows then. Or gives the write an `idempotency_key`: then it is made once, and is repeated.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from typing import Any, TypeVar

import msgspec
import treq
from twisted.internet.defer import Deferred
from twisted.web.client import Agent, HTTPConnectionPool

from dynatwist.twisted_inside.client import was_not_sent

from .contention import UPDATE_TIMEOUT_S, updated
from .errors import KvError, Unavailable, error_of
from .lock import USUAL_TTL_S, Lock
from .mirror import Mirror
from .paths import path_of, query_of, quoted
from .presence import Presence
from .record import Record
from .watch import Change, Watch, Where

CONNECT_TIMEOUT_S = 2.0
"""Then the next node is tried."""
REQUEST_TIMEOUT_S = 5.0
"""A node answers everything within two seconds, but for what is large."""
ROUNDS = 3
"""How often each node is tried: one may be frozen and the next just starting, and both are there a moment later."""
PAUSE_S = 0.2
"""Between two tries: a node that is busy or starting has room again by then."""
KEEP_IDLE_S = 30
"""How long a connection is kept that nothing is sent on. Nodes close idle ones after 75 s (`web.channel`). A client
that closes first sends no write into a connection that just ends, of which nobody could tell what became of it."""
T = TypeVar("T")


class Client:
    """A cluster, as one user.

    Make it with `connect`.

    :ivar token: the bearer token in use; set it to use one from elsewhere.
    """

    def __init__(self, reactor: Any, urls: Iterable[str]) -> None:
        self._reactor = reactor
        self._urls = [url.rstrip("/") for url in urls]
        if not self._urls:
            raise ValueError("give at least one URL, such as http://127.0.0.1:6661")
        self._pool = HTTPConnectionPool(reactor, persistent=True)
        self._pool.maxPersistentPerHost = 8
        self._pool.cachedConnectionTimeout = KEEP_IDLE_S
        self._pool.retryAutomatically = False  # it would repeat deletes, whose answer may be what was lost
        self._http = treq.client.HTTPClient(Agent(reactor, connectTimeout=CONNECT_TIMEOUT_S, pool=self._pool))
        self.token: str | None = None
        self._causal: str | None = None

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
        await self._pool.closeCachedConnections()

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
        :param idempotency_key: names this write, for ten minutes: sent again, it is the same write.
        :raises PreconditionFailed: says what is held instead.
        :raises Unavailable: see there, as for all writes.
        """
        headers = {"If-Match": f'"{if_match}"'} if if_match else {}
        if if_none_match:
            headers["If-None-Match"] = "*"
        if headers:
            headers["Prefer"] = "return=representation"
        path = path_of(table, key, w=w, ttl=ttl)
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
        body = await self._write("PATCH", path_of(table, key, w=w), changes, {}, idempotency_key)
        fields = msgspec.json.decode(body)
        fields["value"] = fields["value"] or {}
        return msgspec.convert(fields, Record)

    async def touch(self, table: str, key: str, ttl: int) -> Record:
        """Have a record end so many seconds from now, as it is.

        :raises NotFound: there is none, or it has ended.
        """
        body = await self._request("POST", f"{path_of(table, key)}/touch{query_of(ttl=ttl)}", repeatable=True)
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
        body = await self._request("GET", path_of(table, key, r=r), repeatable=True)
        return msgspec.json.decode(body, type=Record)

    async def delete(self, table: str, key: str, *, w: str | None = None, idempotency_key: str | None = None) -> None:
        """Delete a record.

        :param idempotency_key: see `put`.
        :raises NotFound: there is none.
        """
        await self._write("DELETE", path_of(table, key, w=w), None, {}, idempotency_key)

    async def keys(self, table: str, prefix: str = "", after: str = "", limit: int | None = None) -> list[str]:
        """The keys that this user may read, in order."""
        query = query_of(prefix=prefix or None, after=after or None, limit=limit)
        found: list[str] = await self._json("GET", f"/{quoted(table)}/keys{query}", repeatable=True)
        return found

    async def get_many(self, table: str, keys: Iterable[str]) -> dict[str, Record]:
        """Those of some records that exist and this user may read."""
        body = await self._request("POST", f"/{quoted(table)}/keys", {"keys": list(keys)}, repeatable=True)
        return msgspec.json.decode(body, type=dict[str, Record])

    async def batch(self, table: str, ops: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Many puts and deletes in one request; an outcome each."""
        answer = await self._json("POST", f"/{quoted(table)}/batch", {"ops": list(ops)})
        results: list[dict[str, Any]] = answer["results"]
        return results

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
        return Watch(self._reactor, self._urls, lambda: self.token, where)

    def presence(self, table: str, key: str, value: Mapping[str, Any], *, ttl: int | None = None) -> Presence:
        """A record that is there as long as this program: ``async with kv.presence("present", "ann", {...}) as here``.

        :param ttl: seconds for which the program, its node or the network may be gone before the record ends; 15 when
            not given.
        """
        return Presence(self._reactor, self._urls, lambda: self.token, table, key, value, ttl)

    def lock(
        self, table: str, key: str, *, ttl_s: int = USUAL_TTL_S, wait_s: float | None = None, note: Any = None
    ) -> Lock:
        """A lock on a key of a strong table, for ``async with``: taken, renewed, and released.

        :param ttl_s: if this process dies, others wait so long at most.
        :param wait_s: how long to wait for it; for ever when not given.
        :param note: shown to those who find it held.
        """
        return Lock(self, self._reactor, table, key, ttl_s=ttl_s, wait_s=wait_s, note=note)

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

    async def ask(self, method: str, path: str, body: Any, headers: Mapping[str, str], *, timeout_s: float) -> bytes:
        """Any route, with headers, that may take long; not repeated once it may have reached a node."""
        return await self._request(method, path, body, headers, timeout_s=timeout_s)

    # Requests

    async def _json(self, method: str, path: str, body: Any = None, *, repeatable: bool = False) -> Any:
        return msgspec.json.decode(await self._request(method, path, body, repeatable=repeatable))

    async def _write(
        self, method: str, path: str, body: Any, headers: dict[str, str], idempotency_key: str | None
    ) -> bytes:
        if idempotency_key is not None:
            headers["Idempotency-Key"] = idempotency_key
        return await self._request(method, path, body, headers, repeatable=idempotency_key is not None)

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
        last: KvError = Unavailable(0, "unreachable", "no node answers")
        doubt: KvError | None = None
        for attempt in range(ROUNDS * len(self._urls)):
            if attempt and attempt % len(self._urls) == 0:
                await self._pause()
            try:
                return await self._once(method, self._urls[0] + path, body, headers or {}, timeout_s)
            except KvError as error:
                if error.status != 503 or (error.code == "uncertain" and not repeatable):
                    raise
                last = error
                if error.code == "uncertain":
                    doubt = error
            except Exception as error:
                if was_not_sent(error):
                    last = Unavailable(0, "unreachable", f"{self._urls[0]}: {error}")
                elif repeatable:
                    last = doubt = self._uncertain(error)
                else:
                    raise self._uncertain(error) from None
            self._urls.append(self._urls.pop(0))
        raise doubt or last  # one of the tries may have been carried out, whatever the others were told

    def _uncertain(self, error: Exception) -> Unavailable:
        """Whatever the connection died of: the request may have arrived."""
        return Unavailable(0, "uncertain", f"{self._urls[0]} did not answer: {type(error).__name__}")

    async def _once(self, method: str, url: str, body: Any, headers: Mapping[str, str], timeout_s: float) -> bytes:
        sent: dict[bytes | str, bytes | str] = dict(headers.items())
        if self.token is not None:
            sent["Authorization"] = f"Bearer {self.token}"
        if self._causal is not None:
            sent["X-Causal-Token"] = self._causal
        data = None if body is None else msgspec.json.encode(body)
        response = await self._http.request(method, url, headers=sent, data=data, timeout=timeout_s)
        content: bytes = await response.content()
        causal = response.headers.getRawHeaders("X-Causal-Token")
        if causal:
            self._causal = causal[-1]
        if response.code < 400:
            return content
        raise error_of(response.code, content)

    def _pause(self) -> Deferred[None]:
        done: Deferred[None] = Deferred()
        self._reactor.callLater(PAUSE_S, done.callback, None)
        return done
