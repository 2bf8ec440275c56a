"""Being seen: a record that is there as long as this program is, and not much longer, whatever ends it.

It is put on a websocket of its own. The node deletes it when the socket is closed in order; when this program, the node
or the network between dies, it ends by itself some seconds later. If the node is lost, the record is put anew at the
next one; whoever listens hears of that as a change, and not of an end in between.
"""

from __future__ import annotations

from typing import Any

import msgspec

from .connection import REFUSALS, Connection
from .errors import Forbidden, KvError, Unauthorized
from .session import Session
from .values import encoded
from .world import Waiter, World

PING_S = 4.0
"""A node that does not answer is left for the next one after twice that time: before others take this one for gone."""
NEVER = (*REFUSALS, "bad_ephemeral", "bad_ttl", "too_large", "too_deep", "malformed_json")
"""Codes that say that no node will ever take it."""
TOO_MANY = "too_many"
"""At first an error; once it is seen, a matter of records that have not ended yet of connections before."""
UNAUTHORIZED = ("no_token", "bad_token", "another_user")


class Presence:
    """See the module; made by `Client.presence`, used by ``async with``.

    :ivar lost: happens, with the error, when a node refuses the record for good while it is held: the token is not
        valid any more, or the rights were taken. It is tried no more then.
    """

    def __init__(
        self,
        *,
        world: World,
        session: Session,
        urls: list[str],
        table: str,
        key: str,
        value: Any,
        ttl: int | None,
    ) -> None:
        self._open = lambda: Connection(
            world, session, urls, opened=self._opened, received=self._received, ping_s=PING_S
        )
        self._frame: dict[str, object] = {"op": "put", "table": table, "key": key, "ephemeral": True}
        if ttl is not None:
            self._frame["ttl"] = ttl
        self._world = world
        self._value = msgspec.Raw(encoded(value))
        self._accepted: msgspec.Raw | None = None
        self._number = 1
        self._sent: dict[int, msgspec.Raw] = {}
        self._waiting: dict[int, Waiter] = {}
        self._connection: Connection | None = None
        self._failure: KvError | None = None
        self._lost = world.waiter()

    @property
    def lost(self) -> Any:
        """To be awaited; see the class."""
        return self._lost.awaited

    @property
    def is_lost(self) -> bool:
        """Whether that has happened."""
        return self._lost.has_happened

    async def update(self, value: Any) -> None:
        """Be seen with another value; awaits that a node has it.

        :raises KvError: it was refused, and what was seen before stays; or the presence is lost.
        """
        if self._failure is not None:
            raise self._failure
        self._value = msgspec.Raw(encoded(value))
        await self._wait(self._put()).awaited

    async def __aenter__(self) -> Presence:
        """Be seen.

        :raises Forbidden: this user may not write there.
        :raises KvError: it is refused for another reason.
        """
        self._connection = self._open()
        try:
            await self._wait(self._number + 1).awaited
        except KvError:
            await self._connection.close().awaited
            raise
        except BaseException:  # cancelled: nobody waits for the goodbye
            self._connection.close()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        """Be seen no more: the node has heard of it when this returns, and tells the others."""
        assert self._connection is not None
        await self._connection.close().awaited

    def _opened(self) -> None:
        self._put()

    def _wait(self, number: int) -> Waiter:
        """Until that put, or a later one, is made."""
        waits = self._waiting[number] = self._world.waiter()
        return waits

    def _put(self) -> int:
        """Put the value of now; at each node anew."""
        self._number += 1
        self._sent[self._number] = self._value
        if self._connection is not None:
            self._connection.send({**self._frame, "id": self._number, "value": self._value})
        return self._number

    def _received(self, message: dict[str, Any]) -> None:
        assert self._connection is not None
        number = message.get("id")
        if "error" in message:
            self._refused(number, message.get("code", ""), message["error"])
        elif number in self._sent:
            self._connection.settle()
            self._accepted = self._sent[number]
            self._done(number, None)

    def _refused(self, number: object, code: str, text: str) -> None:
        assert self._connection is not None
        if self._connection.renews(code):
            return
        if code not in NEVER and (code != TOO_MANY or self._accepted is not None):
            self._connection.drop()
            return
        kinds: dict[str, type[KvError]] = dict.fromkeys(UNAUTHORIZED, Unauthorized) | {"forbidden": Forbidden}
        statuses: dict[type[KvError], int] = {Unauthorized: 401, Forbidden: 403}
        kind = kinds.get(code, KvError)
        error = kind(statuses.get(kind, 400), code, text)
        is_value = kind is KvError and self._accepted is not None and number in self._sent
        if is_value and self._sent[int(str(number))] != self._accepted:  # what was seen before stays
            self._value = self._accepted or self._value
            self._done(int(str(number)), error)
        else:
            self._lose(error)

    def _lose(self, error: KvError) -> None:
        assert self._connection is not None
        self._failure = error
        was_seen = self._accepted is not None
        self._connection.close()
        self._done(self._number + 1, error)
        if was_seen:
            self._lost.happen(error)

    def _done(self, upto: int, error: KvError | None) -> None:
        """Puts up to a number are made, or that one is refused."""
        self._sent = {number: value for number, value in self._sent.items() if number > upto}
        for number in [number for number in self._waiting if number <= upto]:
            waits = self._waiting.pop(number)
            if error is None:
                waits.happen()
            else:
                waits.fail(error)
