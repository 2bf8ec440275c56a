"""Schemas (JSON Schema 2020-12) of msgspec's types, with what their docstrings say of each member."""

from __future__ import annotations

import re
from collections.abc import Iterable
from inspect import cleandoc
from typing import Any

import msgspec

_REF = "#/components/schemas/{name}"
_MEMBER = re.compile(r"^:ivar (\w+): (.*?)(?=^:ivar |\Z)", re.MULTILINE | re.DOTALL)


class Schemas:
    """The schemas of some types.

    :ivar components: by name, for ``#/components/schemas``.
    """

    def __init__(self, types: Iterable[Any]) -> None:
        wanted = {repr(one): one for one in types}
        found, components = msgspec.json.schema_components(wanted.values(), ref_template=_REF)
        self._of = dict(zip(wanted, found, strict=True))
        self.components = {name: _told(schema) for name, schema in sorted(components.items())}

    def of(self, type_: Any) -> dict[str, Any]:
        """The schema of one of the types."""
        return self._of[repr(type_)]


def paragraphs(docstring: str | None) -> str:
    """A docstring as text: a line for each paragraph."""
    return "\n\n".join(" ".join(part.split()) for part in cleandoc(docstring or "").split("\n\n"))


def _told(schema: dict[str, Any]) -> dict[str, Any]:
    """A schema whose members have what the docstring says of them."""
    text = cleandoc(schema.pop("description", ""))
    members = {name: " ".join(said.split()) for name, said in _MEMBER.findall(text)}
    properties = {
        name: {**one, "description": members[name]} if name in members else one
        for name, one in schema.get("properties", {}).items()
    }
    about = paragraphs(_MEMBER.sub("", text)).strip()
    return {**schema, **({"description": about} if about else {}), **({"properties": properties} if properties else {})}
