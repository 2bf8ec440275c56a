"""Tickets, each of which is good once, at whichever node somebody shows it first.

What was used of a user's tickets lately is one small record of a system table, and tickets are used by a conditional
write of it: of two nodes that are shown one ticket at once, one finds that the record is another by then. All tickets
of a user that a node is shown meanwhile go into the next write together, so that all pages of a user may come back at
once. The record ends by itself. It is as consistent as any condition at level ``quorum``: two sides of a partition each
take a ticket once.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

import msgspec
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.logger import Logger

from dynatwist.cluster.cluster import Cluster
from dynatwist.errors import ApiError
from dynatwist.model.record import Key, Record
from dynatwist.replication.request import Code, Kind, Operation, etag
from dynatwist.requests.coordinator import Coordinator
from dynatwist.sometimes import sometimes

from .tokens import TICKET_S, Identity, Ticket, Tokens

TICKETS_TABLE = "_tickets"
SKEW_S = 10
"""A used ticket is remembered for so much longer than it is good: by a clock that is behind, it still is. A node whose
clock is further behind takes none."""
MOST_USED = 256
"""So many of one user's tickets are used in `TICKET_S` + `SKEW_S`: eight kilobytes. Whoever opens more sends tokens."""
PATIENCE_S = 2.0
"""Every client hears something by then, as with any request."""
PAUSE_S = 0.02
"""Two nodes that use tickets of one user in turn wait up to so long, each as chance will have it: a few round trips."""

_USED = msgspec.json.Decoder(dict[str, int])


class Tickets:
    """See the module.

    :param is_current: whether an identity counts, by what this node knows of users.
    :ivar not_remembered: how many were taken for want of room to say so: another node would take them too.
    """

    log = Logger()

    def __init__(
        self, cluster: Cluster, coordinator: Coordinator, tokens: Tokens, is_current: Callable[[Identity], bool]
    ) -> None:
        self._cluster = cluster
        self._coordinator = coordinator
        self._tokens = tokens
        self._is_current = is_current
        self._shown: dict[str, list[tuple[Ticket, Deferred[bool]]]] = {}
        self.not_remembered = 0

    async def redeem(self, text: str) -> Identity | None:
        """Whose ticket it is, which is used from now on; ``None`` when it is none, used, expired, or nobody's any more.

        :raises ApiError: 429 when a user has used too many, 503 when nobody can tell whether it was used.
        """
        refusal = self._cluster.times.refusal
        if refusal:
            raise ApiError(503, "unavailable", refusal)
        ticket = self._tokens.take_ticket(text)
        if ticket is None or not self._is_current(ticket.identity):
            return None
        done: Deferred[bool] = Deferred()
        name = ticket.identity.name
        is_first = name not in self._shown
        self._shown.setdefault(name, []).append((ticket, done))
        if is_first:
            ensureDeferred(self._use_all(name)).addErrback(lambda failure: self.log.failure("tickets", failure=failure))
        return ticket.identity if await done else None

    async def _use_all(self, name: str) -> None:
        """Use what a user shows, as long as there is something."""
        try:
            while shown := self._shown[name]:
                self._shown[name] = []
                waiting = {ticket.number: (ticket, done) for ticket, done in shown}
                try:
                    await self._use((TICKETS_TABLE, name), waiting)
                except ApiError as error:
                    for ticket, done in waiting.values():
                        self._tokens.give_back(ticket)
                        _answer(done, error)
        finally:
            del self._shown[name]

    async def _use(self, key: Key, waiting: dict[str, tuple[Ticket, Deferred[bool]]]) -> None:
        """Use some tickets of one user; who is answered does not wait any more.

        :raises ApiError: for those that still wait.
        """
        runtime = self._cluster.runtime
        until_s = runtime.monotonic_s() + PATIENCE_S
        result = await self._coordinator.execute(Operation(Kind.GET, key))
        if result.code not in (Code.OK, Code.ABSENT):
            raise ApiError(503, "unavailable", result.text or "the tickets cannot be read now")
        while True:
            used = self._lately(result.record)
            for number in used.keys() & waiting.keys():
                sometimes("a ticket is shown at another node again")
                _answer(waiting.pop(number)[1], False)
            now = list(waiting)[: max(0, MOST_USED - len(used))]
            if not now:
                break
            used |= {number: waiting[number][0].until_s for number in now}
            result = await self._coordinator.execute(_write(key, used, result.record))
            if result.code in (Code.OK, Code.FULL):  # no room to remember it: listening is reading, and goes on
                self.not_remembered += len(now) if result.code is Code.FULL else 0
                for number in now:
                    _answer(waiting.pop(number)[1], True)
                break
            if result.code is not Code.PRECONDITION or runtime.monotonic_s() > until_s:
                raise ApiError(503, "unavailable", "nobody can tell now whether the ticket was used; try again")
            sometimes("tickets of one user are used at two nodes at once")
            await _pause(self._cluster)
        if waiting:
            text = f"{MOST_USED} tickets of yours were used in {TICKET_S + SKEW_S} s; send tokens, or wait"
            raise ApiError(429, "too_many_tickets", text, {"Retry-After": "10"})

    def _lately(self, held: Record | None) -> dict[str, int]:
        """Number and end of each ticket that a record says was used, and that some clock may still take for good."""
        used: dict[str, int] = {}
        if held is not None and held.value is not None:
            with suppress(msgspec.MsgspecError):  # what a broken member has written is written over
                used = _USED.decode(held.value)
        now_s = self._cluster.runtime.wall_ms() // 1000
        return {number: until_s for number, until_s in used.items() if until_s + SKEW_S > now_s}


def _answer(done: Deferred[bool], outcome: bool | ApiError) -> None:
    """Answer one who waits, unless the connection has gone meanwhile."""
    if done.called:
        return
    if isinstance(outcome, ApiError):
        done.errback(outcome)
    else:
        done.callback(outcome)


def _pause(cluster: Cluster) -> Deferred[None]:
    paused: Deferred[None] = Deferred()
    cluster.runtime.clock.callLater(cluster.runtime.random.uniform(0.0, PAUSE_S), paused.callback, None)
    return paused


def _write(key: Key, used: dict[str, int], held: Record | None) -> Operation:
    return Operation(
        Kind.PUT,
        key,
        value=msgspec.json.encode(used),
        any_owner=True,
        ttl_ms=1000 * (TICKET_S + SKEW_S),
        if_match=(etag(held),) if held is not None else (),
        if_none_match=held is None,
    )
