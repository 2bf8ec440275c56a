"""Subscriptions, and the operations of a websocket, apart from both transports."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from dynatwist.auth.tokens import Identity
from dynatwist.coordinator.request import Kind
from dynatwist.errors import ApiError
from dynatwist.feed.hub import Event, Notice, Subscription
from dynatwist.model.record import Record

from .context import Context
from .data import DataRoutes
from .limits import check_depth, check_key, check_table, parse_value, string_of
from .request import Request
from .views import event_fields, record_json, sse_json

MAX_SUBSCRIPTIONS = 1024
MAX_PENDING = 256


class LiveRoutes:
    """Opens subscriptions."""

    def __init__(self, context: Context) -> None:
        self.context = context

    def subscribe(self, request: Request, table: str, key: str, wake: Callable[[], None]) -> Subscription:
        """The subscription of an SSE request."""
        self.context.require_ready()
        identity = self.context.identify_listener(request)
        check_table(table, self.context.limits)
        check_key(key, self.context.limits)
        cursor = request.headers.get("last-event-id") or request.query.get("from")
        subscription = Subscription(table, key, "", sight(self.context, identity), wake)
        self.context.hub.subscribe(subscription, cursor)
        return subscription


def sight(context: Context, identity: Identity | None) -> Callable[[Record], bool]:
    """Asked for each event: may this listener see it, and does its token still count?"""

    def may_see(record: Record) -> bool:
        if identity is not None and not context.users.is_current(identity):
            return False
        return context.may_read(identity, record)

    return may_see


def sse_bytes(item: Event | Notice) -> bytes:
    """What goes down an SSE connection, as a chunk of HTTP/1.1; of an event, made once for all listeners."""
    if isinstance(item, Notice):
        return _chunk(b"event: %b\ndata: {}\n\n" % item.value.encode())
    if item.encoded is None:
        item.encoded = {}
    encoded = item.encoded.get("chunk")
    if encoded is None:
        encoded = item.encoded["chunk"] = _chunk(b"id: %b\ndata: %b\n\n" % (item.cursor.encode(), sse_json(item)))
    return encoded


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


class Session:
    """One websocket's operations and subscriptions.

    :param send: sends one text frame.
    :param wake: called when a subscription has something to send; then call `take` until it is empty.
    """

    def __init__(
        self,
        context: Context,
        data: DataRoutes,
        identity: Identity | None,
        address: str,
        send: Callable[[bytes], None],
        wake: Callable[[], None],
    ) -> None:
        self._context = context
        self._data = data
        self._identity = identity
        self._address = address
        self._send = send
        self._wake = wake
        self._subscriptions: dict[str, tuple[bytes, Subscription]] = {}
        self._pending = 0
        self._is_subscribing = False

    async def receive(self, payload: bytes) -> None:
        """Take in one text frame; every one is answered, save an event."""
        started_s = self._context.cluster.runtime.monotonic_s()
        status = 200
        message_id: Any = None
        try:
            fields = self._parse(payload)
            message_id = fields.get("id")
            if isinstance(message_id, dict | list):
                message_id = None
            if self._pending >= MAX_PENDING:
                raise ApiError(429, "slow_down", f"more than {MAX_PENDING} operations are under way on this socket")
            self._pending += 1
            try:
                answer = await self._perform(fields)
            finally:
                self._pending -= 1
            self._send(b'{"id":' + msgspec.json.encode(message_id) + b',"ok":true' + answer + b"}")
        except ApiError as error:
            status = error.status
            self._send(msgspec.json.encode({"id": message_id, "error": error.text, "code": error.code}))
        if self._is_subscribing:
            self._is_subscribing = False
            self._wake()
        took_s = self._context.cluster.runtime.monotonic_s() - started_s
        self._context.metrics.observe("WS", status, took_s)

    def _parse(self, payload: bytes) -> dict[str, Any]:
        check_depth(payload, self._context.limits)
        try:
            fields = msgspec.json.decode(payload)
        except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
            raise ApiError(400, "malformed_json", "the frame is not valid JSON") from None
        if not isinstance(fields, dict):
            raise ApiError(400, "not_an_object", 'a frame is a JSON object with a member "op"')
        return fields

    async def _perform(self, fields: dict[str, Any]) -> bytes:
        match fields.get("op"):
            case "ping":
                return b""
            case "auth":
                self._context.require_ready()
                token = string_of(fields, "token", 4096)
                self._identity = self._context.identify(Request(headers={"authorization": f"Bearer {token}"}))
                return b',"user":' + msgspec.json.encode(self._identity.name)
            case "subscribe":
                return self._subscribe(fields)
            case "unsubscribe":
                return self._unsubscribe(fields)
            case "get" | "put" | "patch" | "delete" as op:
                return await self._operate(Kind(op), fields)
            case _:
                raise ApiError(
                    400,
                    "unknown_op",
                    '"op" must be auth, subscribe, unsubscribe, get, put, patch, delete or ping',
                )

    async def _operate(self, kind: Kind, fields: dict[str, Any]) -> bytes:
        self._context.require_ready()
        table, key = self._names(fields)
        request = Request(query=self._levels(fields), address=self._address)
        if kind is Kind.GET:
            result = await self._data.read(self._reader(), table, key, request.level("r"))
        else:
            identity = self._current()
            value = b""
            if kind is not Kind.DELETE:
                if not isinstance(fields.get("value"), dict):
                    raise ApiError(400, "not_an_object", '"value" must be a JSON object')
                value = parse_value(msgspec.json.encode(fields["value"]), self._context.limits)
            result = await self._data.write(identity, request, kind, table, key, value)
        assert result.record is not None
        if result.record.value is None:
            return b""
        return b',"record":' + record_json(result.record)

    def _levels(self, fields: dict[str, Any]) -> dict[str, str]:
        return {name: str(fields[name]) for name in ("r", "w", "ttl") if name in fields}

    def _names(self, fields: dict[str, Any]) -> tuple[str, str]:
        table, key = fields.get("table"), fields.get("key")
        if not isinstance(table, str) or not isinstance(key, str):
            raise ApiError(400, "malformed", '"table" and "key" must be strings')
        return check_table(table, self._context.limits), check_key(key, self._context.limits)

    def _current(self) -> Identity:
        if self._identity is None:
            raise ApiError(401, "no_token", 'authenticate first: {"op": "auth", "id": 1, "token": ...}')
        if not self._context.users.is_current(self._identity) or self._is_expired(self._identity):
            raise ApiError(401, "bad_token", "the token is not valid any more; log in again")
        return self._identity

    def _is_expired(self, identity: Identity) -> bool:
        return self._context.cluster.store.wall_ms() >= identity.expires_s * 1000

    def _reader(self) -> Identity | None:
        if self._identity is None and self._context.anonymous_read:
            return None
        return self._current()

    def _subscribe(self, fields: dict[str, Any]) -> bytes:
        self._context.require_ready()
        identity = self._reader()
        table, key, prefix, cursor = (fields.get(name) for name in ("table", "key", "prefix", "from"))
        if not isinstance(table, str) or not all(one is None or isinstance(one, str) for one in (key, prefix, cursor)):
            raise ApiError(400, "malformed", '"table", and "key", "prefix" or "from" where given, must be strings')
        check_table(table, self._context.limits)
        if key is not None:
            check_key(key, self._context.limits)
        if len(self._subscriptions) >= MAX_SUBSCRIPTIONS:
            raise ApiError(429, "too_many", f"one socket holds at most {MAX_SUBSCRIPTIONS} subscriptions")
        message_id = fields.get("id")
        if not isinstance(message_id, int | str):
            raise ApiError(400, "malformed", 'a subscribe needs an "id", a number or a string: events name it')
        name = msgspec.json.encode(message_id)
        if name.decode() in self._subscriptions:
            raise ApiError(409, "id_in_use", "a subscription with this id exists on this socket")
        subscription = Subscription(table, key, prefix or "", sight(self._context, identity), self._woken)
        self._is_subscribing = True
        self._subscriptions[name.decode()] = (name, subscription)
        told_from = self._context.hub.subscribe(subscription, cursor)
        return b',"sub":' + name + b',"cursor":' + msgspec.json.encode(told_from)

    def _woken(self) -> None:
        """A queue is not empty any more. The answer to a subscribe goes before the events that it brings: its cursor is
        older than theirs."""
        if not self._is_subscribing:
            self._wake()

    def _unsubscribe(self, fields: dict[str, Any]) -> bytes:
        sub = fields.get("sub")
        name = msgspec.json.encode(sub).decode() if isinstance(sub, int | str) else ""
        entry = self._subscriptions.pop(name, None)
        if entry is None:
            raise ApiError(404, "no_such_subscription", '"sub" must be the id of a subscribe on this socket')
        self._context.hub.unsubscribe(entry[1])
        return b""

    def take(self) -> bytes | None:
        """The next event frame, or ``None``."""
        for name, subscription in self._subscriptions.values():
            item = subscription.take()
            if isinstance(item, Event):
                return b'{"op":"event","sub":' + name + b"," + event_fields(item) + b"}"
            if item is not None:
                cursor = msgspec.json.encode(self._context.hub.cursor)  # what is read afresh is at least as new
                return b'{"op":"%b","sub":%b,"cursor":%b}' % (item.value.encode(), name, cursor)
        return None

    def close(self) -> None:
        """The socket is gone."""
        for _, subscription in self._subscriptions.values():
            self._context.hub.unsubscribe(subscription)
        self._subscriptions.clear()
