"""Requests to the nodes of a cluster, each tried in turn until one answers.

Repeated on another node is what may be repeated: whatever certainly was not carried out, since no node was reached or
the node said so; and, where the caller says that it is `repeatable`, also what perhaps was: a read, or a write with a
name (see `dynatwist.sansio.naming`). Of anything else whose answer is lost, or that a node calls ``uncertain``, nobody
here can tell whether it was carried out, and `Unavailable` says so.
"""

from __future__ import annotations

from collections.abc import Mapping

from .errors import KvError, Unavailable, error_of
from .trail import id_of
from .world import AnswerLost, NotSent, Request, Response, World, pause

REQUEST_TIMEOUT_S = 5.0
"""Of one try. A node answers everything within two seconds, but for what is large."""
ROUNDS = 3
"""How often each node is tried: one may be frozen and the next just starting, and both are there a moment later."""
PAUSE_S = 0.2
"""Between two rounds, at most, the first time; twice as long the next: a node that is busy has room by then. A client
waits for some random time of at least half of it, so that those that failed together do not come together."""
TELLS = (400, 404, 405, 409, 412, 413, 415, 422)
"""Refusals that hold of the tries before as well: by what is held, which shows a named write that was made, or for
good. Of others (a token that has ended meanwhile, a node that is full) a try before, whose answer was lost, knew
nothing."""


class Failover:
    """See the module.

    :param urls: of some nodes; the first one is tried first, and again as long as it answers.
    :param deadline_s: of a request with all its tries; each client chooses it for itself.
    """

    def __init__(self, world: World, urls: list[str], deadline_s: float) -> None:
        self._world = world
        self._urls = urls
        self._deadline_s = deadline_s
        self._causal: str | None = None

    @property
    def urls(self) -> list[str]:
        """Of the nodes, the one in use first."""
        return list(self._urls)

    async def request(
        self,
        method: str,
        path: str,
        body: bytes | None,
        headers: Mapping[str, str],
        *,
        repeatable: bool,
        timeout_s: float = REQUEST_TIMEOUT_S,
    ) -> Response:
        """The answer of the first node that gives one.

        :param body: JSON; ``None`` for none.
        :param repeatable: whether it does no harm to carry it out again.
        :param timeout_s: of each try; where it is longer than usual, the deadline is so much later.
        :raises KvError: the refusal, where it tells that nothing was done. All that is raised has the request's id.
        :raises Unavailable: when no node answers in time; with code ``uncertain`` when it may have been carried out.
        """
        try:
            return await self._tried(method, path, body, headers, repeatable, timeout_s)
        except KvError as error:
            error.of_request(id_of(headers))
            raise

    async def _tried(
        self, method: str, path: str, body: bytes | None, headers: Mapping[str, str], repeatable: bool, timeout_s: float
    ) -> Response:
        until_s = self._world.now_s() + self._deadline_s + max(0.0, timeout_s - REQUEST_TIMEOUT_S)
        last: KvError = Unavailable(0, "unreachable", "no node answers")
        doubt: KvError | None = None
        for attempt in range(ROUNDS * len(self._urls)):
            if attempt and attempt % len(self._urls) == 0:
                await self._pause(attempt // len(self._urls))
            left_s = until_s - self._world.now_s()
            if left_s <= 0:
                break
            url = self._urls[0]
            try:
                return await self.once(Request(method, url + path, headers, body, min(timeout_s, left_s)))
            except NotSent as error:
                last = Unavailable(0, "unreachable", f"{url}: {error}")
            except AnswerLost as error:
                last = Unavailable(0, "uncertain", f"{url} did not answer: {error}")
            except KvError as error:
                if error.status != 503:
                    raise (error if doubt is None or error.status in TELLS else doubt) from None
                last = error
            self.leave(url)
            if last.code == "uncertain" and method != "GET":
                doubt = last
                if not repeatable:
                    break
        raise doubt or last  # one of the tries may have been carried out, whatever the others were told

    async def _pause(self, rounds: int) -> None:
        longest_s = PAUSE_S * 2 ** (rounds - 1)
        await pause(self._world, self._world.random.uniform(longest_s / 2, longest_s))

    def leave(self, url: str) -> None:
        """The next request begins at another node than this; harmless where another request has seen to that."""
        if self._urls[0] == url:
            self._urls.append(self._urls.pop(0))

    async def leave_this(self) -> None:
        """The next request begins at another node than the one in use, a moment later."""
        self.leave(self._urls[0])
        await self._pause(1)

    async def once(self, request: Request) -> Response:
        """One try, at one node.

        :raises KvError: the node's refusal.
        :raises NotSent, AnswerLost: there is no answer.
        """
        if self._causal is not None:
            headers = {**request.headers, "X-Causal-Token": self._causal}
            request = Request(request.method, request.url, headers, request.body, request.timeout_s)
        response = await self._world.send(request)
        self._causal = response.headers.get("x-causal-token", self._causal)
        if response.status < 400:
            return response
        raise error_of(response.status, response.body)
