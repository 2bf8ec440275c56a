"""One websocket's operations and subscriptions, apart from its transport."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import msgspec

from dynatwist.auth.tokens import Identity
from dynatwist.budget import Charge
from dynatwist.errors import ApiError
from dynatwist.feed.hub import Event, Notice, Subscription
from dynatwist.replication.request import Kind

from .audit import REFUSED
from .connected import Connected
from .context import Context
from .data import LONG_BYTES
from .frame import Frame, parsed
from .keeper import Keeper, check_ephemeral
from .leaving import Leaving
from .limits import check_key, check_prefix, check_table, string_of
from .live import Listening, Sights
from .measured import known_level, operation_of
from .record_door import RecordDoor, terms_of
from .request import Request
from .source import source_of
from .views import event_fields, written_json

MAX_SUBSCRIPTIONS = 1024
"""Of one socket: a page shows a few hundred things; whoever wants more listens to a table or a prefix."""
MAX_ID_BYTES = 128
"""Of the ``id`` of a frame: every event of a subscription repeats it."""


class Session:
    """See the module.

    :param identity: whose it is, when the handshake said so.
    :param address: where the client is.
    :param send: sends one text frame.
    :param wake: called when a subscription has something to send; then call `take` until it is empty.
    :param end: called when the token counts no more; the socket is to be closed then.
    :param keeps: called when records are put that live as long as the socket.
    :raises ApiError: when there are as many sockets as there may be.
    """

    def __init__(
        self,
        context: Context,
        door: RecordDoor,
        *,
        sights: Sights,
        connected: Connected,
        identity: Identity | None,
        address: str,
        send: Callable[[bytes], None],
        wake: Callable[[], None],
        end: Callable[[], None],
        leaving: Leaving,
        keeps: Callable[[], None],
    ) -> None:
        self._context = context
        self._door = door
        self._sights = sights
        self._connected = connected
        self._identity: Identity | None = None
        self._address = address
        self._send = send
        self._wake = wake
        self._end = end
        self._keeper = Keeper(context, door, leaving, keeps)
        self._subscriptions: dict[str, tuple[bytes, Listening]] = {}
        self._ready: dict[str, None] = {}
        self._is_subscribing = False
        self._has_read = context.anonymous_read
        self._charge = Charge(context.budget.streams, source_of(address))
        self._charge.take()
        if identity is not None:
            self._become(identity)
            if identity.is_by_certificate:
                self._note("auth", "ok")

    @property
    def holder(self) -> str:
        """Whom the socket is charged to."""
        return self._identity.uid if self._identity is not None else source_of(self._address)

    @property
    def is_stranger(self) -> bool:
        """Whether nobody has shown a token on it, where one is asked for."""
        return self._identity is None and not self._has_read

    def _become(self, identity: Identity) -> None:
        """Somebody has shown a token: the first one, or a fresh one of the same user.

        Another user's is refused. The socket ends with the last token that was shown; if that could be anybody's, what
        was subscribed to with an earlier one would go on behind that one's end. Where the connection's certificate says
        who, and nothing goes on yet, a token of anybody counts instead.
        """
        before = self._identity
        is_idle = not self._subscriptions and not self._keeper.is_busy
        is_superseded = before is not None and before.is_by_certificate and is_idle
        if (
            before is not None
            and not is_superseded
            and (before.uid, before.generation) != (identity.uid, identity.generation)
        ):
            raise ApiError(409, "another_user", "this socket is another user's, or of before a logout; open a new one")
        charge = Charge(self._context.budget.streams, identity.uid)
        charge.take()
        self._charge.give_back()
        self._charge = charge
        if self._identity is not None:
            self._connected.leave(self._identity, self._end)
        self._identity = identity
        self._keeper.identify(identity)
        self._connected.join(identity, self._end)

    async def receive(self, payload: bytes) -> int:
        """Take in one text frame; every one is answered, save an event.

        :returns: how long the answer was.
        """
        started_s = self._context.cluster.runtime.monotonic_s()
        status, route, level = 200, "websocket", ""
        message_id: Any = None
        try:
            frame = parsed(payload, self._context.limits)
            route, level = operation_of(frame.op), known_level(frame.r or frame.w) if frame.table is not None else ""
            message_id = frame.id if not isinstance(frame.id, dict | list) else None
            if isinstance(message_id, str) and len(message_id) > MAX_ID_BYTES:
                message_id = None
                raise ApiError(400, "malformed", f'the "id" has more than {MAX_ID_BYTES} characters')
            answer = b'{"id":' + msgspec.json.encode(message_id) + b',"ok":true' + await self._perform(frame) + b"}"
        except ApiError as error:
            status = error.status
            if status in REFUSED:
                self._note("refused", error.code)
            answer = msgspec.json.encode({"id": message_id, "error": error.text, "code": error.code})
        self._send(answer)
        if self._is_subscribing:
            self._is_subscribing = False
            self._wake()
        took_s = self._context.cluster.runtime.monotonic_s() - started_s
        self._context.metrics.observe("WS", status, took_s, route, level)
        return len(answer)

    def _note(self, what: str, outcome: str, on: tuple[str, ...] = ()) -> None:
        identity = self._identity
        who = identity.name if identity is not None else ""
        by = "certificate" if identity is not None and identity.is_by_certificate else ""
        self._context.audit.note(f"websocket.{what}", outcome, who=who, address=self._address, on=on, by=by)

    async def _perform(self, frame: Frame) -> bytes:
        match frame.op:
            case "ping":
                return b""
            case "auth":
                self._context.require_ready()
                token = string_of({"token": frame.token}, "token", 4096)
                identity = self._context.identify(Request(headers={"authorization": f"Bearer {token}"}))
                self._become(identity)
                self._note("auth", "ok")
                return b',"user":' + msgspec.json.encode(identity.name)
            case "subscribe":
                return self._subscribe(frame)
            case "unsubscribe":
                return self._unsubscribe(frame)
            case "bookmark":
                return self._bookmark(frame)
            case "get" | "put" | "patch" | "delete" as op:
                return await self._operate(Kind(op), frame)
            case _:
                raise ApiError(
                    400,
                    "unknown_op",
                    '"op" must be auth, subscribe, unsubscribe, bookmark, get, put, patch, delete or ping',
                )

    async def _operate(self, kind: Kind, frame: Frame) -> bytes:
        self._context.require_ready()
        table, key = self._names(frame)
        levels = {name: str(value) for name in ("r", "w", "ttl") if (value := getattr(frame, name)) is not None}
        request = Request(query=levels, address=self._address)
        if kind is Kind.GET:
            reader = self._reader(table)
            operation = self._door.read(table, key, request.level("r"))
            result = await self._door.carry_out(reader, operation)
        else:
            identity = self._current()
            if kind is not Kind.DELETE and bytes(memoryview(frame.value)[:1]) != b"{":
                raise ApiError(400, "not_an_object", '"value" must be a JSON object')
            if frame.ephemeral is not False:
                check_ephemeral(kind, frame.ephemeral, frame.idempotency_key)
                written = self._keeper.put((table, key), bytes(frame.value), request.level("w"), frame.ttl)
                operation, result = await written
            else:
                terms = terms_of(request).named(frame.idempotency_key)
                operation = self._door.write(identity, kind, table, key, bytes(frame.value), terms)
                result = await self._door.carry_out(identity, operation)
        record = result.record
        assert record is not None
        if self._context.rights.is_admin(self._identity):
            self._note(kind.value, "ok", (table, key))
        if kind is Kind.DELETE:
            return b""
        if kind is Kind.GET and record.value is not None and len(record.value) > LONG_BYTES:
            self._context.require_unread_room(self.holder, len(record.value))
        return b',"record":' + written_json(operation, result)

    def _names(self, frame: Frame) -> tuple[str, str]:
        if not isinstance(frame.table, str) or not isinstance(frame.key, str):
            raise ApiError(400, "malformed", '"table" and "key" must be strings')
        return check_table(frame.table, self._context.limits), check_key(frame.key, self._context.limits)

    def _current(self) -> Identity:
        if self._identity is None:
            raise ApiError(401, "no_token", 'authenticate first: {"op": "auth", "id": 1, "token": ...}')
        if not self._context.users.still_counts(self._identity):
            raise ApiError(401, "bad_token", "the token is not valid any more; log in again")
        return self._identity

    def _reader(self, table: str) -> Identity | None:
        if self._identity is None and not self._context.rights.of(None, table).reads_nothing:
            self._has_read = True
            return None
        return self._current()

    # Subscriptions

    def _subscribe(self, frame: Frame) -> bytes:
        context = self._context
        context.require_ready()
        table, key, prefix, cursor = frame.table, frame.key, frame.prefix, frame.from_
        if not isinstance(table, str) or not all(one is None or isinstance(one, str) for one in (key, prefix, cursor)):
            raise ApiError(400, "malformed", '"table", and "key", "prefix" or "from" where given, must be strings')
        check_table(table, context.limits)
        identity = self._reader(table)
        if key is not None:
            check_key(key, context.limits)
        check_prefix(prefix or "", context.limits)
        if not isinstance(frame.initial, bool):
            raise ApiError(400, "malformed", '"initial" must be true or false')
        if len(self._subscriptions) >= MAX_SUBSCRIPTIONS:
            raise ApiError(429, "too_many", f"one socket holds at most {MAX_SUBSCRIPTIONS} subscriptions")
        if not isinstance(frame.id, int | str):
            raise ApiError(400, "malformed", 'a subscribe needs an "id", a number or a string: events name it')
        encoded = msgspec.json.encode(frame.id)
        name = encoded.decode()
        if name in self._subscriptions:
            raise ApiError(409, "id_in_use", "a subscription with this id exists on this socket")
        charge = Charge(context.budget.subscriptions, self.holder)
        charge.take()
        subscription = Subscription(
            table=table,
            key=key,
            prefix=prefix or "",
            sight=self._sights.of(identity),
            wake=partial(self._woken, name),
        )
        self._is_subscribing = True
        listening = Listening(context, subscription, (charge,), cursor=cursor, wants_initial=frame.initial)
        self._subscriptions[name] = encoded, listening
        if listening.has_more:
            self._ready[name] = None
        return b',"sub":' + encoded + b',"cursor":' + msgspec.json.encode(listening.cursor)

    def _woken(self, name: str) -> None:
        """A queue is not empty any more. The answer to a subscribe goes before the events that it brings: its cursor is
        older than theirs."""
        self._ready[name] = None
        if not self._is_subscribing:
            self._wake()

    def _unsubscribe(self, frame: Frame) -> bytes:
        name, listening = self._named(frame)
        del self._subscriptions[name]
        self._ready.pop(name, None)
        listening.close()
        return b""

    def _bookmark(self, frame: Frame) -> bytes:
        """Where a listener is that has heard nothing for long: its last event's cursor grows old meanwhile."""
        return b',"cursor":' + msgspec.json.encode(self._named(frame)[1].place())

    def _named(self, frame: Frame) -> tuple[str, Listening]:
        name = msgspec.json.encode(frame.sub).decode() if isinstance(frame.sub, int | str) else ""
        entry = self._subscriptions.get(name)
        if entry is None:
            raise ApiError(404, "no_such_subscription", '"sub" must be the id of a subscribe on this socket')
        return name, entry[1]

    @property
    def is_behind(self) -> bool:
        """Whether some subscription has something to be told, in this turn or a later one."""
        return any(listening.has_more for _, listening in self._subscriptions.values())

    @property
    def has_more(self) -> bool:
        """Whether there may be something to take."""
        return bool(self._ready)

    def take(self) -> bytes | None:
        """The next event frame, or ``None``; the subscriptions that have some take turns."""
        while self._ready:
            name = next(iter(self._ready))
            del self._ready[name]
            encoded, listening = self._subscriptions[name]
            item = listening.take()
            if item is None:
                continue
            if listening.has_more:
                self._ready[name] = None
            if isinstance(item, Event):
                return b'{"op":"event","sub":' + encoded + b"," + event_fields(item) + b"}"
            if item is Notice.SYNCED:
                return b'{"op":"synced","sub":%b,"cursor":%b}' % (encoded, msgspec.json.encode(listening.cursor))
            cursor = msgspec.json.encode(self._context.hub.cursor)  # what is read afresh is at least as new
            return b'{"op":"%b","sub":%b,"cursor":%b}' % (item.value.encode(), encoded, cursor)
        return None

    def close(self, *, in_order: bool = False, silent_s: float = 0.0) -> None:
        """The socket is gone.

        :param in_order: whether its client said goodbye, or its token ended: what lives as long as the socket ends now.
        :param silent_s: for how long nothing had been heard of the client.
        """
        self._keeper.close(in_order=in_order, silent_s=silent_s)
        for _, listening in self._subscriptions.values():
            listening.close()
        self._subscriptions.clear()
        self._ready.clear()
        self._charge.give_back()
        if self._identity is not None:
            self._connected.leave(self._identity, self._end)
