"""Watching changes over the websocket, with reconnection."""

from __future__ import annotations

from collections import deque
from typing import Any

import msgspec

from .connection import REFUSALS, Connection
from .record import AnyRecord
from .session import Session
from .world import Timer, Waiter, World

BOOKMARK_S = 15.0
"""A watch that hears nothing asks so often where it is: an old cursor is worth less, since deletes that it does not
cover may be collected."""
QUEUE = 10_000
"""Events that wait for a slow reader; then it is told to read afresh, as a node would tell it."""


class Change(msgspec.Struct, frozen=True):
    """One change.

    :ivar type: ``Updated``, ``Deleted``; ``lagged`` or ``reset`` when something was missed: then read afresh. A watch
        that begins with what there is says ``begin`` instead, then all there is as ``Updated``, then ``synced``.
    :ivar record: what it is now; ``None`` unless updated.
    :ivar cursor: the position right behind it.
    :ivar reason: of a delete: ``deleted``, or ``expired`` by itself.
    """

    type: str
    table: str = ""
    key: str = ""
    record: AnyRecord | None = None
    cursor: str = ""
    reason: str = ""


class WatchRefused(Exception):
    """The node does not let this user watch; the text says why."""


class Where(msgspec.Struct, frozen=True):
    """What is watched, and from where.

    :ivar initial: whether it begins with what there is, also where something was missed.
    """

    table: str
    key: str | None = None
    prefix: str | None = None
    cursor: str | None = None
    initial: bool = False


class Watch:
    """An asynchronous iterator of `Change`; goes on at another node when a connection is lost.

    It goes on behind what was heard; a moment's changes may be heard again. Where deletes may have been missed,
    ``reset`` says so.
    """

    def __init__(self, world: World, session: Session, urls: list[str], where: Where) -> None:
        self._world = world
        self._where = where
        self._is_stale = False
        self._cursor = where.cursor
        self._changes: deque[Change | Exception] = deque(maxlen=QUEUE)
        self._waiting: Waiter | None = None
        self._ended = False
        self._subscribed = world.waiter()
        self._connection = Connection(world, session, urls, opened=self._opened, received=self._received)
        self._asking: Timer = world.later(BOOKMARK_S, self._ask_where)

    async def subscribed(self) -> None:
        """Until the first subscription stands: from then on nothing is missed.

        :raises WatchRefused: the node does not let this user watch.
        """
        await self._subscribed.awaited

    def __aiter__(self) -> Watch:
        return self

    async def __anext__(self) -> Change:
        while not self._changes:
            if self._ended:
                raise StopAsyncIteration
            self._waiting = self._world.waiter()
            await self._waiting.awaited
        change = self._changes.popleft()
        if isinstance(change, Exception):
            raise change
        return change

    def close(self) -> None:
        """End the watch; iteration stops after what was heard already."""
        self._end()
        self._wake()

    async def __aenter__(self) -> Watch:
        """Nothing is missed from here on."""
        try:
            await self.subscribed()
        except BaseException:
            self.close()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()

    def _end(self) -> None:
        self._ended = True
        self._asking.cancel()
        self._connection.close()

    def _ask_where(self) -> None:
        self._connection.send({"op": "bookmark", "id": 3, "sub": 2})
        self._asking = self._world.later(BOOKMARK_S, self._ask_where)

    def _opened(self) -> None:
        self._is_stale = False
        subscribe: dict[str, object] = {"op": "subscribe", "id": 2, "table": self._where.table}
        if self._where.initial and self._cursor is None:
            subscribe["initial"] = True
            self._add(Change("begin"))
        for name, value in (("key", self._where.key), ("prefix", self._where.prefix), ("from", self._cursor)):
            if value is not None:
                subscribe[name] = value
        self._connection.send(subscribe)

    def _received(self, message: dict[str, Any]) -> None:
        if self._is_stale:  # a new connection begins with all there is
            return
        if message.get("id") == 3:
            self._cursor = message.get("cursor") or self._cursor
        elif message.get("op") in ("lagged", "reset"):
            self._missed(str(message["op"]))
        elif message.get("op") == "event":
            self._cursor = message.get("cursor", self._cursor)
            self._add(msgspec.convert(message, Change))
        elif message.get("op") == "synced":
            self._cursor = message["cursor"]
            self._add(Change("synced"))
        elif "error" in message and message.get("code") in REFUSALS:
            if not self._connection.renews(message["code"]):
                self._refuse(WatchRefused(message["error"]))
        elif message.get("id") == 2 and "error" not in message:
            self._connection.settle()
            if not self._where.initial:
                self._cursor = self._cursor or message.get("cursor")
            self._subscribed.happen()
        elif "error" in message:
            self._connection.drop()

    def _refuse(self, error: WatchRefused) -> None:
        self._subscribed.fail(error)
        self._add(error)
        self._end()

    def _missed(self, word: str) -> None:
        """Something was missed: whoever wants all that there is begins anew with it."""
        if not self._where.initial:
            self._add(Change(word))
            return
        self._cursor, self._is_stale = None, True
        self._connection.drop()

    def _add(self, change: Change | Exception) -> None:
        if len(self._changes) == QUEUE:
            self._changes.clear()
            if self._where.initial:
                self._missed("lagged")
                return
            change = Change("lagged")
        self._changes.append(change)
        self._wake()

    def _wake(self) -> None:
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            waiting.happen()
