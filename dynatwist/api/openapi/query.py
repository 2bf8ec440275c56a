"""What a route takes in its query, by what its handler says of itself. Anything else is refused: whoever misspells a
parameter would get an answer to another question."""

from __future__ import annotations

from collections.abc import Mapping

from dynatwist.errors import ApiError

from .described import Described, Who

TICKET = "ticket"
"""Of listeners: it is their right to ask, and so no parameter in the document."""
SHOWN_CHARS = 40
"""Of a name that nobody knows."""


class Query:
    """See the module.

    :param said: of the handler; ``None`` where it takes nothing.
    :ivar names: of all that it takes.
    """

    __slots__ = ("names",)

    def __init__(self, said: Described | None) -> None:
        names = {one.name for one in said.parameters if one.place == "query"} if said is not None else set[str]()
        if said is not None and said.who is Who.LISTENER:
            names.add(TICKET)
        self.names = frozenset(names)

    def require_known(self, query: Mapping[str, str]) -> None:
        """All that a request names is taken.

        :raises ApiError: 400 that names what is not, and what is.
        """
        if query and not self.names.issuperset(query):
            name = min(query.keys() - self.names)
            taken = ", ".join(sorted(self.names)) or "none"
            text = f"there is no parameter {name[:SHOWN_CHARS]!r} here: this path takes {taken}"
            raise ApiError(400, "unknown_parameter", f"{text}; correct it or leave it out")
