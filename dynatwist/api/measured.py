"""By what the durations of requests are told apart: the handler, and the level of consistency where it has one."""

from __future__ import annotations

from typing import Any

from dynatwist.replication.quorum import Level

from .request import Request

USUAL_LEVEL = Level.QUORUM.value
LEVELS = frozenset(level.value for level in Level)
OPERATIONS = frozenset(("auth", "bookmark", "delete", "get", "patch", "ping", "put", "subscribe", "unsubscribe"))
"""Of websockets, counted by name. All others are made up."""
_PARAMETERS = {
    **dict.fromkeys(("data.get", "data.keys", "data.get_many", "data.store"), "r"),
    **dict.fromkeys(("data.put", "data.patch", "data.delete", "data.touch", "data.batch"), "w"),
}


def known_level(text: object) -> str:
    """A level that was asked for, as a label: what is no level has none."""
    if text is None:
        return USUAL_LEVEL
    return text if isinstance(text, str) and text in LEVELS else ""


def level_of(route: str, request: Request | None) -> str:
    """The level of a request; empty where its route has none.

    :param request: ``None`` where it could not be read.
    """
    parameter = _PARAMETERS.get(route)
    return known_level(request.query.get(parameter)) if parameter is not None and request is not None else ""


def operation_of(op: Any) -> str:
    """The route of a frame on a websocket."""
    return f"websocket.{op}" if isinstance(op, str) and op in OPERATIONS else "websocket"
