"""Rules about event streams and websockets."""

from __future__ import annotations

from typing import Any

import msgspec
from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from dynatwist.api.request import Request
from dynatwist.errors import ApiError

from ..target import Found
from .model import KEYS, Listener, Socket
from .records import Records


class Listeners(Records):
    """See the module."""

    @rule(
        by=st.integers(-1, 50),
        table=st.integers(0, 1),
        key=st.sampled_from(KEYS),
        ticket=st.booleans(),
        at=st.integers(0, 9),
    )
    def subscribe(self, by: int, table: int, key: str, ticket: bool, at: int) -> None:
        """An event stream, with a token or a ticket for it; perhaps from a cursor that somebody else was given."""
        name, token = self._table(table), self._token(by) if by >= 0 else None
        query: dict[str, str] = {}
        if self.cursors and at > 4:
            query["from"] = self.cursors[at % len(self.cursors)]
        headers = {"authorization": f"Bearer {token.text}"} if token is not None else {}
        if ticket and token is not None:
            status, answer = self.routes.ask("POST", "auth", "ticket", token=token.text)
            self._is(status, 200 if self._counts(token) else 401, "a ticket")
            if status != 200:
                return
            query["ticket"], headers = answer["ticket"], {}
        listener = Listener(token, name, key, may_miss="from" in query)
        try:
            request = Request(query, headers)
            listener.stream = self.core.handlers.live.subscribe(
                request, self.routes.listener(request), name, key, wake=lambda: None, end=lambda: self._left(listener)
            )
        except ApiError as error:
            self._is(error.status, 401, "a subscription")
            self._is(self._counts(token), False, "a token that is refused counts")
            return
        self._is(self._counts(token), True, "a token that is taken counts")
        self.listeners.append(listener)
        self._drain()
        if "ticket" in query:
            self._is(self._is_used(query["ticket"]), True, "a ticket that opened something is used")

    def _is_used(self, ticket: str) -> bool:
        try:
            self.routes.listener(Request({"ticket": ticket}, {}))
        except ApiError as error:
            return error.code == "bad_ticket"
        return False

    def _left(self, listener: Listener) -> None:
        if listener.stream is not None:
            listener.stream.close()
        if listener in self.listeners:
            self.listeners.remove(listener)

    @rule()
    def connect(self) -> None:
        """A websocket."""
        if len(self.sockets) < 3:
            sent: list[bytes] = []
            socket: list[Socket] = []
            session = self.core.handlers.session(
                identity=None, address="x", send=sent.append, wake=lambda: None, end=lambda: self._ended(socket[0])
            )
            socket.append(Socket(session, sent))
            self.sockets.append(socket[0])

    def _ended(self, socket: Socket) -> None:
        socket.was_ended = True
        socket.session.close()
        if socket in self.sockets:
            self.sockets.remove(socket)

    @precondition(lambda self: self.sockets)
    @rule(on=st.integers(0, 2), by=st.integers(0, 50))
    def authenticate(self, on: int, by: int) -> None:
        """On a socket, also on one where somebody else did before."""
        socket, token = self.sockets[on % len(self.sockets)], self._token(by)
        answer = self._say(socket, {"op": "auth", "token": token.text})
        if "error" in answer:
            is_anothers = socket.token is not None and (
                socket.token.account is not token.account or socket.token.ended_s < float("inf")
            )
            if self._counts(token) and not (is_anothers and answer["code"] == "another_user"):
                raise Found(f"a token that counts is refused: {answer}")
            return
        self._is(self._counts(token), True, "a token that is taken counts")
        socket.token = token
        for listener in socket.listeners.values():
            if listener.token is not None and listener.token.account is token.account:
                listener.token = token

    @precondition(lambda self: self.sockets)
    @rule(on=st.integers(0, 2), table=st.integers(0, 1), key=st.sampled_from((*KEYS, None)), at=st.integers(0, 9))
    def listen(self, on: int, table: int, key: str | None, at: int) -> None:
        """On a socket, to a key or a table."""
        socket, name = self.sockets[on % len(self.sockets)], self._table(table)
        sub = next(self.serials)
        frame = {"op": "subscribe", "table": name, "id": sub, **({"key": key} if key else {})}
        if self.cursors and at > 6:
            frame["from"] = self.cursors[at % len(self.cursors)]
        answer = self._say(socket, frame)
        self._is("ok" in answer, self._counts(socket.token), f"a subscription: {answer}")
        if "ok" in answer:
            socket.listeners[sub] = Listener(socket.token, name, key, may_miss="from" in frame)
        self._drain()

    @precondition(lambda self: self.sockets)
    @rule(
        on=st.integers(0, 2), table=st.integers(0, 1), key=st.sampled_from(KEYS),
        how=st.sampled_from(("PUT", "PATCH", "GET", "DELETE")),
    )  # fmt: skip
    def operate(self, on: int, table: int, key: str, how: str) -> None:
        """On a socket."""
        socket, name = self.sockets[on % len(self.sockets)], self._table(table)
        row, serial = self._row(name, key), next(self.serials)
        value = {"value": {"n": serial}} if how in ("PUT", "PATCH") else {}
        answer = self._say(socket, {"op": how.lower(), "table": name, "key": key, **value})
        expected = {200: "ok", 201: "ok", 401: "token", 403: "forbidden", 404: "not_found"}[
            self._expected(how, socket.token, row, 201)
        ]
        found = "ok" if "ok" in answer else answer["code"]
        self._is(found.removeprefix("no_").removeprefix("bad_") if found.endswith("token") else found, expected, how)
        if "ok" in answer:
            self._happened(how, socket.token, (name, key), row, serial, False, answer.get("record"))

    def _say(self, socket: Socket, frame: dict[str, Any]) -> dict[str, Any]:
        """The answer to a frame; events that come before it are taken in."""
        socket.sent.clear()
        out: Any = self.nodes.result(socket.session.receive(msgspec.json.encode({"id": next(self.serials), **frame})))
        if isinstance(out, BaseException):
            raise out
        (answer,) = socket.sent
        said: dict[str, Any] = msgspec.json.decode(answer)
        return said
