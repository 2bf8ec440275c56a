"""A parsed request, and an answer, apart from any HTTP library."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any

import msgspec

from dynatwist.errors import ApiError
from dynatwist.replication.quorum import Level

from .causal import NOTHING_SEEN, CausalToken

JSON = "application/json"
REPRESENTATION = "return=representation"
"""What ``Prefer`` says to be shown what is held (RFC 7240, section 4.2)."""


class Certificate(msgspec.Struct, frozen=True):
    """What a client's certificate says; it was checked when the connection was made.

    :ivar name: of a user.
    :ivar ends_s: until when it counts, in seconds since 1970.
    """

    name: str
    ends_s: int


class Request(msgspec.Struct, frozen=True):
    """One request.

    :ivar query: the last value of each parameter, decoded.
    :ivar headers: lower-case names to the last value of each.
    :ivar address: where the client is, for throttling.
    :ivar certificate: that the client has shown on the connection; counts where no token was sent.
    :ivar trace: ``traceparent`` of its span, for what it causes at other nodes; empty where it has none.
    """

    query: Mapping[str, str] = msgspec.field(default_factory=dict)
    headers: Mapping[str, str] = msgspec.field(default_factory=dict)
    body: bytes = b""
    address: str = ""
    certificate: Certificate | None = None
    trace: str = ""

    @property
    def token(self) -> str | None:
        """The bearer token, if one was sent."""
        scheme, _, token = self.headers.get("authorization", "").partition(" ")
        return (token.strip() or None) if scheme.lower() == "bearer" else None

    def level(self, name: str) -> Level:
        """The consistency level in ``?r=`` or ``?w=``."""
        text = self.query.get(name)
        if text is None:
            return Level.QUORUM
        try:
            return Level(text)
        except ValueError:
            raise ApiError(
                400, "bad_level", f"?{name}= must be one, quorum, majority or all, not '{text[:20]}'"
            ) from None

    def causal(self) -> CausalToken:
        """What ``X-Causal-Token`` names; empty when none was sent."""
        text = self.headers.get("x-causal-token")
        return CausalToken.parse(text) if text else NOTHING_SEEN

    @property
    def prefers_representation(self) -> bool:
        """Whether the client wants to be shown what is held."""
        return REPRESENTATION in self.headers.get("prefer", "").replace(" ", "").split(",")

    def integer(self, name: str, default: int, low: int, high: int) -> int:
        """A whole number in the query."""
        text = self.query.get(name)
        if text is None:
            return default
        if not text.isascii() or not text.isdecimal() or len(text) > 15 or not low <= int(text) <= high:
            raise ApiError(400, f"bad_{name}", f"?{name}= must be a whole number from {low} to {high}")
        return int(text)

    def switch(self, name: str) -> bool:
        """What is ``true`` or ``false`` in the query; false when it is not there."""
        text = self.query.get(name, "false")
        if text not in ("true", "false"):
            raise ApiError(400, f"bad_{name}", f"?{name}= must be true or false")
        return text == "true"

    def etags(self, name: str) -> tuple[str, ...]:
        """The ETags of a conditional header."""
        text = self.headers.get(name)
        if text is None:
            return ()
        return tuple(tag.strip().removeprefix("W/") for tag in text.split(",") if tag.strip())


class Answer(msgspec.Struct, frozen=True):
    """One answer.

    :ivar stream: instead of a body, pieces that are sent as they come.
    :ivar holder: the user whom it is for, charged while it is not read; empty where nobody was asked for a token.
    """

    status: int
    body: bytes = b""
    content_type: str = JSON
    headers: Mapping[str, str] = msgspec.field(default_factory=dict)
    stream: AsyncIterator[bytes] | None = None
    holder: str = ""


def json_answer(status: int, value: Any, headers: Mapping[str, str] | None = None) -> Answer:
    """An answer that is one JSON value."""
    return Answer(status, msgspec.json.encode(value), headers=headers or {})


def error_answer(error: ApiError, holder: str = "") -> Answer:
    """The error object.

    :param holder: see `Answer`.
    """
    body = msgspec.json.encode({"error": error.text, "code": error.code})
    return Answer(error.status, body, headers=error.headers, holder=holder)
