"""Tickets, each of which is good once, at whichever node somebody shows it first.

What was used of a user's tickets lately is one small record of a system table, and a ticket is used by a conditional
write of it: of two nodes that are shown one ticket at once, one finds that the record is another by then. The record
ends by itself. It is as consistent as any condition at level ``quorum``: two sides of a partition each take a ticket
once.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from dynatwist.errors import ApiError
from dynatwist.model.record import Record
from dynatwist.replication.request import Code, Kind, Operation, Result, etag
from dynatwist.requests.coordinator import Coordinator
from dynatwist.sometimes import sometimes

from .tokens import TICKET_S, Identity, Tokens

TICKETS_TABLE = "_tickets"
SKEW_S = 10
"""A used ticket is remembered for so much longer than it is good: by a clock that is behind, it still is. A node whose
clock is further behind refuses everything."""
MOST_USED = 256
"""So many of one user's tickets are used in `TICKET_S` + `SKEW_S`: eight kilobytes. Whoever opens more sends tokens."""
TRIES = 5
"""A condition fails when another ticket of the same user is used in the same milliseconds; five in a row are not."""

_USED = msgspec.json.Decoder(dict[str, int])


class Tickets:
    """See the module.

    :param wall_ms: wall time.
    """

    def __init__(self, coordinator: Coordinator, tokens: Tokens, wall_ms: Callable[[], int]) -> None:
        self._coordinator = coordinator
        self._tokens = tokens
        self._wall_ms = wall_ms

    async def redeem(self, text: str) -> Identity | None:
        """Whose ticket it is, which is used from now on; ``None`` when it is none, used or expired.

        :raises ApiError: 429 when a user has used too many, 503 when nobody can tell whether it was used.
        """
        ticket = self._tokens.take_ticket(text)
        if ticket is None:
            return None
        key = TICKETS_TABLE, ticket.identity.name
        held = self._found(await self._coordinator.execute(Operation(Kind.GET, key)))
        for _ in range(TRIES):
            used = self._lately(held)
            if ticket.number in used:
                sometimes("a ticket is shown at another node again")
                return None
            if len(used) >= MOST_USED:
                text = f"{MOST_USED} tickets of yours were used in {TICKET_S + SKEW_S} s; send tokens, or wait"
                raise ApiError(429, "too_many_tickets", text, {"Retry-After": "10"})
            used[ticket.number] = ticket.until_s
            result = await self._coordinator.execute(_write(key, used, held))
            if result.code in (Code.OK, Code.FULL):  # no room to remember it: listening is reading, and goes on
                return ticket.identity
            if result.code is not Code.PRECONDITION:
                break
            sometimes("two tickets of one user are used at once")
            held = result.record
        raise ApiError(503, "unavailable", "nobody can tell now whether the ticket was used; ask for a new one")

    def _found(self, result: Result) -> Record | None:
        if result.code not in (Code.OK, Code.ABSENT):
            raise ApiError(503, "unavailable", result.text or "the tickets cannot be read now")
        return result.record

    def _lately(self, held: Record | None) -> dict[str, int]:
        """Number and end of each ticket that a record says was used, and that some clock may still take for good."""
        used = _USED.decode(held.value) if held is not None and held.value is not None else {}
        now_s = self._wall_ms() // 1000
        return {number: until_s for number, until_s in used.items() if until_s + SKEW_S > now_s}


def _write(key: tuple[str, str], used: dict[str, int], held: Record | None) -> Operation:
    return Operation(
        Kind.PUT,
        key,
        value=msgspec.json.encode(used),
        any_owner=True,
        ttl_ms=1000 * (TICKET_S + SKEW_S),
        if_match=(etag(held),) if held is not None else (),
        if_none_match=held is None,
    )
