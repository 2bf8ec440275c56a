"""What a handler says of itself, beside its code: who may ask, what it takes, gives and refuses.

The document is made of that (`dynatwist.api.openapi.document`), with the path and the method of its route, the names of
its arguments, and its docstring: the first line is the summary.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import Enum
from typing import Any, TypeVar

import msgspec

from .parameters import Parameter

F = TypeVar("F", bound=Callable[..., Any])
_NAME = "described"


class Who(Enum):
    """Who may ask."""

    ANYBODY = "For anybody, without a token."
    STATUS = "For anybody; with `--private-status`, for administrators only."
    READER = "For users; without a token, for anybody where rules of the table let `anonymous` read."
    LISTENER = "For users, by token or by `?ticket=`; without either, for anybody where rules let `anonymous` read."
    ACCOUNT = "For the user, by token or by the secret so far; or an administrator."
    USER = "For users."
    ADMIN = "For administrators."


class Media(msgspec.Struct, frozen=True):
    """An answer that is no JSON.

    :ivar or_else: other types of content.
    :ivar messages: types of what travels in it, where that has a form of its own.
    """

    content_type: str
    text: str
    messages: tuple[Any, ...] = ()
    or_else: tuple[str, ...] = ()


class Described(msgspec.Struct, frozen=True, kw_only=True):
    """See the module. A decorator of the handler.

    :ivar gives: by status, the type of the answer, a `Media`, or ``None`` for an answer without a body.
    :ivar takes: the type of the body; ``None`` where none is looked at.
    :ivar is_optional: whether the body may be left out.
    :ivar example: a body.
    :ivar parameters: of query and head; those of the path are the handler's arguments.
    :ivar headers: names of those that a success has.
    :ivar refuses: codes, beside those that follow from all the rest.
    """

    who: Who
    gives: Mapping[int, Any]
    takes: Any = None
    is_optional: bool = False
    example: Any = None
    parameters: tuple[Parameter, ...] = ()
    headers: tuple[str, ...] = ()
    refuses: tuple[str, ...] = ()

    def __call__(self, handler: F) -> F:
        """Note it of a handler: this is a decorator."""
        handler.__dict__[_NAME] = self
        return handler


def what_is_said_of(handler: Callable[..., Any]) -> Described | None:
    """What a handler says of itself; ``None`` for nothing."""
    found: Described | None = getattr(handler, _NAME, None)
    return found
