"""Requests for one record over a websocket: frames go into the session of a simulated node, its answers come back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
from twisted.internet.defer import ensureDeferred
from twisted.python.failure import Failure

from dynatwist.core import Core
from dynatwist.errors import ApiError
from dynatwist.replication.request import Kind

from .history import Call


class Framed(msgspec.Struct):
    """An answer: ``ok``, and a record where there is one; or a code."""

    ok: bool = False
    code: str = ""
    record: msgspec.Raw = msgspec.Raw(b"")


_FRAMED = msgspec.json.Decoder(Framed)
_encode = msgspec.json.Encoder().encode


def ask_by_frame(
    core: Core,
    call: Call,
    *,
    token: str,
    value: bytes,
    respond: Callable[[Framed], None],
    broke: Callable[[Failure], object],
) -> None:
    """Open a socket, show a token, ask, and close it.

    :param token: of the user that asks.
    :param respond: called once with the answer.
    :param broke: called with what the session raised that is no answer.
    """
    frames: list[bytes] = []
    fields: dict[str, Any] = {"op": call.kind.value, "id": 2, "table": call.key[0], "key": call.key[1]}
    fields["r" if call.kind is Kind.GET else "w"] = call.level
    if call.ttl_s:
        fields["ttl"] = call.ttl_s
    if value:
        fields["value"] = msgspec.Raw(value)

    async def talk() -> Framed:
        try:
            session = core.handlers.session(
                identity=None, address="client", send=frames.append, wake=lambda: None, end=lambda: None
            )
        except ApiError as error:
            return Framed(code=error.code)
        for frame in ({"op": "ping", "id": 0}, {"op": "auth", "id": 1, "token": token}, fields):
            await session.receive(_encode(frame))
        session.close()
        return _FRAMED.decode(frames[-1])

    ensureDeferred(talk()).addCallback(respond).addErrback(broke)
