"""Requests to the nodes of a cluster, each tried in turn until one answers.

Repeated on another node is what may be repeated: whatever certainly was not carried out, since no node was reached or
the node said so; and, where the caller says that it is `repeatable`, also what perhaps was: a read, or a write with a
name (see `dynatwist.client.naming`). Of anything else whose answer is lost, or that a node calls ``uncertain``, nobody
here can tell whether it was carried out, and `Unavailable` says so.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
import treq
from twisted.internet.task import deferLater
from twisted.web.client import Agent, HTTPConnectionPool

from dynatwist.twisted_inside.client import was_not_sent

from .errors import KvError, Unavailable, error_of

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
TELLS = (400, 404, 405, 409, 412, 413, 415, 422)
"""Refusals that hold of the tries before as well: by what is held, which shows a named write that was made, or for
good. Of others (a token that has ended meanwhile, a node that is full) a try before, whose answer was lost, knew
nothing."""


class Failover:
    """See the module.

    :param urls: of some nodes; the first one is tried first, and again as long as it answers.
    :raises ValueError: when there are none.
    """

    def __init__(self, reactor: Any, urls: list[str]) -> None:
        if not urls:
            raise ValueError("give at least one URL, such as http://127.0.0.1:6661")
        self._reactor = reactor
        self._urls = urls
        self._pool = HTTPConnectionPool(reactor, persistent=True)
        self._pool.maxPersistentPerHost = 8
        self._pool.cachedConnectionTimeout = KEEP_IDLE_S
        self._pool.retryAutomatically = False  # it would repeat deletes, whose answer may be what was lost
        self._http = treq.client.HTTPClient(Agent(reactor, connectTimeout=CONNECT_TIMEOUT_S, pool=self._pool))
        self._causal: str | None = None

    @property
    def urls(self) -> list[str]:
        """Of the nodes, the one in use first."""
        return list(self._urls)

    async def close(self) -> None:
        """Close the pooled connections."""
        await self._pool.closeCachedConnections()

    async def request(
        self,
        method: str,
        path: str,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        *,
        repeatable: bool = False,
        timeout_s: float = REQUEST_TIMEOUT_S,
    ) -> bytes:
        """The answer's body, of the first node that gives one.

        :param body: sent as JSON; ``None`` for none.
        :param repeatable: whether it does no harm to carry it out again.
        :param timeout_s: of each try.
        :raises KvError: the refusal, where it tells that nothing was done.
        :raises TypeError: for a body that is no JSON.
        :raises Unavailable: when no node answers; with code ``uncertain`` when it may have been carried out.
        """
        data = None if body is None else msgspec.json.encode(body)
        last: KvError = Unavailable(0, "unreachable", "no node answers")
        doubt: KvError | None = None
        for attempt in range(ROUNDS * len(self._urls)):
            if attempt and attempt % len(self._urls) == 0:
                await deferLater(self._reactor, PAUSE_S)
            url = self._urls[0]
            try:
                return await self._once(method, url + path, data, headers or {}, timeout_s)
            except KvError as error:
                if error.status != 503:
                    raise (error if doubt is None or error.status in TELLS else doubt) from None
                last = error
            except Exception as error:
                last = _failed(url, error)
            self.leave(url)
            if last.code == "uncertain":
                doubt = last
                if not repeatable:
                    break
        raise doubt or last  # one of the tries may have been carried out, whatever the others were told

    def leave(self, url: str) -> None:
        """The next request begins at another node than this; harmless where another request has seen to that."""
        if self._urls[0] == url:
            self._urls.append(self._urls.pop(0))

    async def _once(
        self, method: str, url: str, data: bytes | None, headers: Mapping[str, str], timeout_s: float
    ) -> bytes:
        sent: dict[bytes | str, bytes | str] = dict(headers.items())
        if self._causal is not None:
            sent["X-Causal-Token"] = self._causal
        response = await self._http.request(method, url, headers=sent, data=data, timeout=timeout_s)
        content: bytes = await response.content()
        causal = response.headers.getRawHeaders("X-Causal-Token")
        if causal:
            self._causal = causal[-1]
        if response.code < 400:
            return content
        raise error_of(response.code, content)


def _failed(url: str, error: Exception) -> Unavailable:
    """Whatever a connection died of: the request may have arrived, unless it never left."""
    if was_not_sent(error):
        return Unavailable(0, "unreachable", f"{url}: {error}")
    return Unavailable(0, "uncertain", f"{url} did not answer: {type(error).__name__}")
