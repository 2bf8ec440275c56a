"""The paths of a node's routes."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote, urlencode


def quoted(text: str) -> str:
    """A table, a key or a name, as one part of a path."""
    return quote(text, safe="")


def query_of(**parameters: Any) -> str:
    """A query of those parameters that are given; empty where none is."""
    given = {name: value for name, value in parameters.items() if value is not None}
    return f"?{urlencode(given)}" if given else ""


def path_of(table: str, key: str, **parameters: Any) -> str:
    """Of a record."""
    return f"/{quoted(table)}/key/{quoted(key)}{query_of(**parameters)}"
