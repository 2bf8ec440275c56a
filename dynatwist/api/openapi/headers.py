"""Headers of answers."""

from __future__ import annotations

from typing import Any


def _text(description: str) -> dict[str, Any]:
    return {"description": description, "schema": {"type": "string"}}


HEADERS: dict[str, dict[str, Any]] = {
    "ETag": _text("Names the record as it is, for `If-Match` and `If-None-Match`."),
    "X-Replicas": _text("What was reached, as in `2/3`: of three owners, or members, two."),
    "X-Causal-Token": _text("Send it back, to any node, to see at least what was written or read here."),
    "X-Next-After": _text("For `after`, to have the next page; left out on the last one."),
    "X-Partial": _text("`HOST:PORT, ...`: members that were not heard; left out where all were."),
    "Cache-Control": _text("For how long it may be kept."),
}
