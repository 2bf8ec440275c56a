"""Answers after which the connection is closed, written past Twisted's request: there is none, or none that counts."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus

import msgspec

from dynatwist.errors import ApiError


def closing_answer(error: ApiError, shared: Mapping[str, str] | None = None) -> bytes:
    """Head and body of an answer that says what is wrong.

    :param shared: headers by which a page of another origin may read it.
    """
    body = msgspec.json.encode({"error": error.text, "code": error.code})
    more = "".join(f"{name}: {value}\r\n" for name, value in {**error.headers, **(shared or {})}.items())
    head = (
        f"HTTP/1.1 {error.status} {HTTPStatus(error.status).phrase}\r\nContent-Type: application/json\r\n{more}"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    return head.encode() + body
