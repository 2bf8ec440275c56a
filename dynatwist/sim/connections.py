"""Connections on which users listen: a stream of one key, or a websocket with several subscriptions.

Whoever listens reads at once, or a while after it was woken; it leaves, and comes back with the cursor that it was told
last.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import msgspec
from twisted.internet.defer import ensureDeferred

from dynatwist.api.live import Stream
from dynatwist.api.request import Request
from dynatwist.api.session import Session
from dynatwist.core import Core
from dynatwist.errors import ApiError

from .clients import Clients
from .cluster import SimNode
from .hearing import Hearing
from .interests import Interest
from .world import Process

HARMLESS = ("starting", "removed", "bad_token")
"""Codes by which a node that is not ready, or does not know a user, refuses a subscription."""


class _Event(msgspec.Struct):
    """A frame of a websocket."""

    op: str = ""
    sub: int = 0
    type: str = ""
    table: str = ""
    key: str = ""
    record: msgspec.Raw = msgspec.Raw(b"null")
    cursor: str = ""
    error: str = ""
    code: str = ""


_EVENT = msgspec.json.Decoder(_Event)


class Connection(ABC):
    """A user with its connection to a node, which may be opened several times.

    :param who: listens.
    :param delay_s: how long it does not read after it was woken, at most.
    :ivar is_open: whether it listens now.
    :ivar is_refused: whether the node did not want it; it does not come back.
    """

    def __init__(
        self, *, node: SimNode, who: str, interests: list[Interest], delay_s: float, clients: Clients, hearing: Hearing
    ) -> None:
        assert node.process is not None
        self.process: Process = node.process
        self.interests = interests
        self.is_open = False
        self.is_refused = False
        self._node = node
        self._who = who
        self._delay_s = delay_s
        self._clients = clients
        self._hearing = hearing
        self._is_due = False
        self._is_reading = False

    def open(self) -> None:
        """Begin to listen, or go on behind what was heard last."""
        core = self._node.core
        assert core is not None
        headers = {name.lower(): text for name, text in self._clients.bearer(self._node, self._who).items()}
        for interest in self.interests:
            is_precise = core.hub.tells_exactly(interest.table, interest.cursor)
            interest.begin(self.process.world.now_s, is_precise=is_precise)
        self._connect(core, headers)

    @abstractmethod
    def _connect(self, core: Core, headers: dict[str, str]) -> None: ...

    @abstractmethod
    def _read(self) -> None:
        """All that waits to be read."""

    @abstractmethod
    def _has_more(self) -> bool: ...

    @abstractmethod
    def _close(self) -> None: ...

    def leave(self) -> None:
        """The connection is closed, from either side."""
        if self._node.core is not None and self.is_open:
            self.is_open = False
            self._close()

    def come_back(self) -> None:
        """Listen again, unless the process is gone."""
        if self.process.alive and not self.is_refused:
            self.process.run(self.open)

    def _woken(self) -> None:
        """There is something to read. Whoever is slow reads all that there is when it reads."""
        if self._delay_s == 0.0 or self._is_reading:
            self.drain()
        elif not self._is_due:
            self._is_due = True
            world = self.process.world
            world.later(world.random.uniform(0.0, self._delay_s), self.drain, self.process)

    def drain(self) -> None:
        """Read all that waits."""
        self._is_due = False
        self._read()
        self._is_reading = self.is_open and self._has_more()


class StreamConnection(Connection):
    """An event stream of one key."""

    _stream: Stream

    def _connect(self, core: Core, headers: dict[str, str]) -> None:
        (interest,) = self.interests
        assert interest.key is not None
        if interest.cursor:
            headers["last-event-id"] = interest.cursor
        request = Request(headers=headers)
        try:
            identity = core.handlers.context.identify_reader(request, interest.table)
            self._stream = core.handlers.live.subscribe(
                request, identity, interest.table, interest.key, wake=self._woken, end=self.leave
            )
        except ApiError:
            self.is_refused = True
            return
        self.is_open = True
        self.drain()

    def _read(self) -> None:
        while self.is_open and (chunk := self._stream.take()) is not None:
            self._hear(chunk)

    def _has_more(self) -> bool:
        return self._stream.has_more

    def _close(self) -> None:
        self._stream.close()

    def _hear(self, chunk: bytes) -> None:
        """An event, as a chunk of HTTP."""
        (interest,) = self.interests
        size, _, rest = chunk.partition(b"\r\n")
        text = rest[:-2]
        if int(size, 16) != len(text):
            self._hearing.say(f"P8: a chunk of {len(text)} bytes is said to have {size!r}")
        fields = dict(line.split(b": ", 1) for line in text.strip().split(b"\n"))
        if b"event" in fields:
            self._hearing.told(interest)
            return
        interest.cursor = fields[b"id"].decode()
        assert interest.key is not None
        data = fields[b"data"]
        shown = None if data == b'"Deleted"' else data.removeprefix(b'{"Updated":')[:-1]
        self._hearing.heard(interest, (interest.table, interest.key), shown)


class SocketConnection(Connection):
    """A websocket with some subscriptions."""

    _session: Session

    def _connect(self, core: Core, headers: dict[str, str]) -> None:
        try:
            identity = core.handlers.context.identify_reader(Request(headers=headers), "")
        except ApiError:
            self.is_refused = True
            return
        self._session = core.handlers.session(
            identity=identity, address="client", send=self._hear, wake=self._woken, end=self.leave
        )
        self.is_open = True
        for number, interest in enumerate(self.interests):
            subscribe = msgspec.json.encode(_subscribe(number, interest))
            ensureDeferred(self._session.receive(subscribe)).addErrback(self._clients.broke)
        self.process.world.later(0.0, self.drain, self.process)  # also a slow one begins to read at once

    def _read(self) -> None:
        while self.is_open and (frame := self._session.take()) is not None:
            self._hear(frame)

    def _has_more(self) -> bool:
        return self._session.is_behind

    def _close(self) -> None:
        self._session.close()

    def _hear(self, payload: bytes) -> None:
        """A frame."""
        frame = _EVENT.decode(payload)
        if frame.error:
            if frame.code not in HARMLESS:
                self._hearing.say(f"P8: a subscription at {self._node.host} is answered with {payload!r}")
            self.is_refused = True
            self.process.run(self.leave)
            return
        interest = self.interests[frame.sub]
        interest.cursor = frame.cursor
        if frame.op == "event":
            shown = None if frame.type == "Deleted" else bytes(frame.record)
            self._hearing.heard(interest, (frame.table, frame.key), shown)
        elif frame.op:
            self._hearing.told(interest)


def _subscribe(number: int, interest: Interest) -> dict[str, Any]:
    """The frame that asks for a subscription."""
    fields: dict[str, Any] = {"op": "subscribe", "id": number, "sub": number, "table": interest.table}
    if interest.key is not None:
        fields["key"] = interest.key
    elif interest.prefix:
        fields["prefix"] = interest.prefix
    if interest.cursor:
        fields["from"] = interest.cursor
    return fields
