"""Paths of requests, and the headers that set conditions."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote, urlencode


def quoted(text: str) -> str:
    """A name, as a segment of a path."""
    return quote(text, safe="")


def query(**parameters: Any) -> str:
    """What is given of some parameters, with the question mark; empty when nothing is."""
    given = {name: value for name, value in parameters.items() if value is not None}
    return f"?{urlencode(given)}" if given else ""


def record_path(table: str, key: str, **parameters: Any) -> str:
    """The path of a record."""
    return f"/{quoted(table)}/key/{quoted(key)}{query(**parameters)}"


def conditions(if_match: str | None, if_none_match: bool) -> dict[str, str]:
    """Headers of a write that is made only if an ETag is held, or nothing; refused, it is told what is."""
    headers = {"If-Match": if_match if if_match == "*" else f'"{if_match}"'} if if_match else {}
    if if_none_match:
        headers["If-None-Match"] = "*"
    if headers:
        headers["Prefer"] = "return=representation"
    return headers
