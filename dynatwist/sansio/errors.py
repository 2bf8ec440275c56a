"""What a client raises."""

from __future__ import annotations

from typing import Self

import msgspec

from .record import AnyRecord


class KvError(Exception):
    """An error object from a node.

    :ivar status: HTTP status; 0 when no node answered.
    :ivar code: snake_case.
    :ivar request_id: of the request, by which it is found in logs of nodes; empty for what was told on a websocket.
    """

    def __init__(self, status: int, code: str, text: str) -> None:
        super().__init__(text)
        self.status = status
        self.code = code
        self.request_id = ""

    def of_request(self, request_id: str) -> Self:
        """This, as what was answered to the request with an id."""
        self.request_id = request_id
        return self

    def __str__(self) -> str:
        """What is wrong; and by which id nodes have logged it, where it is something for whoever runs them."""
        text = super().__str__()
        is_theirs = self.status == 0 or self.status >= 500
        return f"{text} (request {self.request_id})" if self.request_id and is_theirs else text


class Unauthorized(KvError):
    """401: no token, or none that counts."""


class Forbidden(KvError):
    """403: not yours."""


class NotFound(KvError):
    """404."""


class PreconditionFailed(KvError):
    """412: ``if_match`` or ``if_none_match`` did not hold.

    :ivar is_shown: whether the node said what is held.
    :ivar held: which record that is; ``None`` where nothing is.
    """

    is_shown = False
    held: AnyRecord | None = None

    def show(self, held: AnyRecord | None) -> None:
        """This is held."""
        self.is_shown, self.held = True, held


class Unavailable(KvError):
    """503, or no node answers.

    After a write whose ``code`` is ``uncertain`` the write may have taken effect, or may still do so: no node could
    tell, or it had no name to ask by. With any other code it did not.
    """


_ERRORS: dict[int, type[KvError]] = {
    401: Unauthorized,
    403: Forbidden,
    404: NotFound,
    412: PreconditionFailed,
    503: Unavailable,
}


class _Error(msgspec.Struct):
    error: str
    code: str
    record: AnyRecord | msgspec.UnsetType | None = msgspec.UNSET


_ERROR = msgspec.json.Decoder(_Error)


def error_of(status: int, content: bytes) -> KvError:
    """What an answer of a node with an error status says."""
    try:
        told = _ERROR.decode(content)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        told = _Error(f"HTTP status {status}", "unknown")
    error = _ERRORS.get(status, KvError)(status, told.code, told.error)
    if isinstance(error, PreconditionFailed) and told.record is not msgspec.UNSET:
        error.show(told.record)
    return error
