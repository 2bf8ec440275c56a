"""Errors that people read: one line, saying what, where, and what to do instead."""

from __future__ import annotations


class DynakvError(Exception):
    """Base of all errors meant for people."""


class ConfigError(DynakvError):
    """A setting that cannot be used."""


class StartError(DynakvError):
    """The node cannot start as asked."""


class ApiError(DynakvError):
    """A request that is answered with an error object.

    :ivar status: HTTP status.
    :ivar code: snake_case, for programs.
    :ivar headers: to be sent along, such as ``Retry-After``.
    """

    def __init__(self, status: int, code: str, text: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(text)
        self.status = status
        self.code = code
        self.text = text
        self.headers = headers or {}
