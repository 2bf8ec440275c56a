"""Parts of the document that many operations have, written once and referred to."""

from __future__ import annotations

from typing import Any


class Shared:
    """See the module.

    :ivar components: by kind and name.
    """

    def __init__(self) -> None:
        self.components: dict[str, dict[str, Any]] = {}

    def put(self, kind: str, name: str, part: dict[str, Any]) -> dict[str, str]:
        """A reference to a part.

        :param kind: as ``#/components`` has it.
        :param name: it gets a number where another part has it already.
        """
        parts = self.components.setdefault(kind, {})
        count = 1
        key = name
        while parts.setdefault(key, part) != part:
            count += 1
            key = f"{name}-{count}"
        return {"$ref": f"#/components/{kind}/{key}"}
