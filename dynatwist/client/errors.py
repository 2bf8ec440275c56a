"""What a client raises."""

from __future__ import annotations


class KvError(Exception):
    """An error object from a node.

    :ivar status: HTTP status; 0 when no node answered.
    :ivar code: snake_case.
    """

    def __init__(self, status: int, code: str, text: str) -> None:
        super().__init__(text)
        self.status = status
        self.code = code


class Unauthorized(KvError):
    """401: no token, or none that counts."""


class Forbidden(KvError):
    """403: not yours."""


class NotFound(KvError):
    """404."""


class PreconditionFailed(KvError):
    """412: ``if_match`` or ``if_none_match`` did not hold."""


class Unavailable(KvError):
    """503, or no node answers.

    After a write whose ``code`` is ``uncertain`` the write may have taken effect, or may still do so. With any other
    code it did not.
    """
